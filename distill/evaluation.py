"""Whole games for the raw score: one protocol for teachers, students and their floors.

Every environment plays a share of the games that is fixed in advance. Counting whichever games end
first would favor the short ones, which are often the bad ones. A lost life ends no game. No game is
endless: the emulator cuts it at 108,000 frames (27,000 steps), and its score until then counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import torch

from distill.acting import logits_of, sample_actions
from distill.progress import Progress
from distill.statistics import t_interval
from distill.types import ByteArray, Envs, Game, IntArray, Network

MODES = ("greedy", "sampled")
NOTE_STEPS = 100  # between two looks at whether a line of progress is due

Policy = Callable[[ByteArray], IntArray]  # raw observations (N, S, 84, 84) -> actions (N,)


def greedy(network: Network, device: torch.device) -> Policy:
    """Make the policy that takes the network's most probable action."""
    return lambda obs: logits_of(network, obs, device).argmax(1)


def sampled(network: Network, device: torch.device, rng: np.random.Generator) -> Policy:
    """Make the policy that draws from the network's softmax.

    The largest of logit + Gumbel noise is such a draw (Gumbel 1954), from a generator of its own.
    """
    return lambda obs: sample_actions(logits_of(network, obs, device), rng)


def random_policy(n_actions: int, rng: np.random.Generator) -> Policy:
    """Make the policy that takes each action equally often."""
    return lambda obs: rng.integers(n_actions, size=len(obs))


def constant_policy(action: int) -> Policy:
    """Make the policy that always takes one action."""
    return lambda obs: np.full(len(obs), action, np.int64)


def play(
    envs: Envs, policy: Policy, n_games: int, *, progress: Progress | None = None
) -> list[Game]:
    """Play whole games from a reset, each environment its quota; quotas differ by at most 1.

    An environment that is done with its quota is stepped on, its further games do not count.

    Args:
        envs: environments built for evaluation (whole games, raw rewards).
        policy: chooses the actions.
        n_games: games in all.
        progress: counted in games.

    Returns:
        Exactly `n_games` games: each environment's first, then each one's second, ... So the first
        n of them are those of a call for n games, whoever played longest.
    """
    quota = np.full(envs.n_envs, n_games // envs.n_envs)
    quota[: n_games % envs.n_envs] += 1
    games: list[list[Game]] = [[] for _ in quota]  # by environment
    obs, n_steps = envs.reset(), 0
    while any(len(mine) < n for mine, n in zip(games, quota, strict=True)):
        step = envs.step(policy(obs))
        obs, n_steps = step.obs, n_steps + 1
        if progress is not None and n_steps % NOTE_STEPS == 0:  # a game may last for minutes
            progress.update(0, f"after {n_steps:,} steps each")
        for game in step.games:
            if len(games[game.env]) < quota[game.env]:
                games[game.env].append(game)
                if progress is not None:
                    progress.update(1, f"score {np.mean([g.score for g in chain(*games)]):.1f}")
    return [game for turn in zip_longest(*games) for game in turn if game is not None]


@dataclass(frozen=True)
class Score:
    """The scores of some whole games and what they say."""

    scores: tuple[float, ...]  # in the order of `play`
    lengths_steps: tuple[int, ...]  # agent decisions in each of the games

    @classmethod
    def of(cls, games: Sequence[Game]) -> "Score":
        """Summarize games."""
        return cls(tuple(game.score for game in games), tuple(game.length_steps for game in games))

    def first(self, n_games: int) -> "Score":
        """Return the score over the first `n_games`, or all if there are fewer."""
        return Score(self.scores[:n_games], self.lengths_steps[:n_games])

    @property
    def n_games(self) -> int:
        """Number of games."""
        return len(self.scores)

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores))

    @property
    def sd(self) -> float | None:
        """Standard deviation over games, n - 1 in the denominator; None for a single game."""
        return float(np.std(self.scores, ddof=1)) if self.n_games > 1 else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Student-t 95 % interval of the mean; None for a single game.

        It takes the games for independent. A greedy policy without sticky actions may play the same
        few games again and again (see `n_unique`); the interval is too narrow then.
        """
        return t_interval(self.scores)

    @property
    def mean_length_steps(self) -> float:
        """Mean length of the games."""
        return float(np.mean(self.lengths_steps))

    @property
    def n_unique(self) -> int:
        """Number of distinct scores."""
        return len(set(self.scores))

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` reads them back."""
        return {
            "mean": self.mean,
            "sd": self.sd,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n_games": self.n_games,
            "n_unique": self.n_unique,
            "mean_length_steps": self.mean_length_steps,
            "scores": list(self.scores),
            "lengths_steps": list(self.lengths_steps),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Score":
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        try:
            scores = tuple(float(score) for score in values["scores"])
            lengths = tuple(int(length) for length in values["lengths_steps"])
        except OverflowError as error:  # JSON has integers beyond float's range, and Infinity
            raise ValueError("scores") from error
        if not scores or len(scores) != len(lengths) or not all(map(math.isfinite, scores)):
            raise ValueError("scores")
        return cls(scores, lengths)


def evaluate(
    network: Network,
    envs: Envs,
    n_games: int,
    *,
    mode: str,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
) -> Score:
    """Score a network over whole games.

    Args:
        network: teacher or student.
        envs: environments built for evaluation; each call plays them from the same start.
        n_games: games in all.
        mode: `greedy` or `sampled`.
        seed: of the sampled actions.
        device: where the network is.
        progress: counted in games.
    """
    assert mode in MODES, mode
    rng = np.random.default_rng(seed)
    policy = greedy(network, device) if mode == "greedy" else sampled(network, device, rng)
    return Score.of(play(envs, policy, n_games, progress=progress))
