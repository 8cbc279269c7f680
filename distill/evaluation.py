"""Whole games for the raw score: one protocol for teachers, students and the floors beneath them.

Every environment plays a share of the games that is fixed in advance. Counting whichever games end
first would favor the short ones, which are often the bad ones. A lost life ends no game. No game is
endless: the emulator cuts it at 108,000 frames (27,000 steps), and its score until then counts.

A floor is what a policy that looks at nothing scores: random actions, or always the best single
action. On Freeway the latter crosses the road some 21 times, so no score should stand without them.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from distill.files import write_text
from distill.progress import Progress
from distill.types import ByteArray, Envs, FloatArray, Game, IntArray, as_tensor

PROTOCOL = (
    "whole games, raw score, equal quota per environment, frame skip 4, up to 30 no-ops at the "
    "start, sticky actions as the id says"
)
MODES = ("greedy", "sampled")
FULL_FLOOR_GAMES = 100  # a floor measured over this many games serves any evaluation
T_975 = {1: 12.706, 2: 4.303}  # where the expansion in `t_quantile` is too coarse
Z_975 = 1.959963984540054

Policy = Callable[[ByteArray], IntArray]  # raw observations (N, S, 84, 84) -> actions (N,)


class Network(Protocol):
    """A teacher or a student."""

    def logits(self, obs: Tensor) -> Tensor:
        """Answer uint8 observations with logits (B, A)."""
        ...


def _logits(network: Network, obs: ByteArray, device: torch.device) -> FloatArray:
    with torch.no_grad():  # only played, never learned from
        return network.logits(as_tensor(obs, device)).float().cpu().numpy()  # (N, A)


def greedy(network: Network, device: torch.device) -> Policy:
    """Make the policy that takes the network's most probable action."""
    return lambda obs: _logits(network, obs, device).argmax(1)


def sampled(network: Network, device: torch.device, rng: np.random.Generator) -> Policy:
    """Make the policy that draws from the network's softmax.

    The largest of logit + Gumbel noise is such a draw (Gumbel 1954), from a generator of its own.
    """

    def act(obs: ByteArray) -> IntArray:
        logits = _logits(network, obs, device)
        return (logits + rng.gumbel(size=logits.shape)).argmax(1)

    return act


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
        Exactly `n_games` games, in the order in which they ended.
    """
    quota = np.full(envs.n_envs, n_games // envs.n_envs)
    quota[: n_games % envs.n_envs] += 1
    games: list[Game] = []
    obs = envs.reset()
    while quota.any():
        step = envs.step(policy(obs))
        obs = step.obs
        for game in step.games:
            if quota[game.env] > 0:
                quota[game.env] -= 1
                games.append(game)
                if progress is not None:
                    progress.update(1, f"score {np.mean([g.score for g in games]):.1f}")
    return games


def t_quantile(df: int) -> float:
    """Return the 0.975 quantile of Student's t distribution, to 0.004.

    Abramowitz and Stegun 1964, equation 26.7.5 (four terms); below 3 degrees of freedom, a table.
    """
    if df in T_975:
        return T_975[df]
    z = Z_975
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / df**k for k, term in enumerate(terms, start=1))


@dataclass(frozen=True)
class Score:
    """The scores of some whole games and what they say."""

    scores: tuple[float, ...]  # in the order in which the games ended
    mean_length_steps: float  # agent decisions a game

    @classmethod
    def of(cls, games: Sequence[Game]) -> "Score":
        """Summarize games."""
        length = float(np.mean([game.length_steps for game in games]))
        return cls(tuple(game.score for game in games), length)

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
        if self.sd is None:
            return None
        half = t_quantile(self.n_games - 1) * self.sd / math.sqrt(self.n_games)
        return self.mean - half, self.mean + half

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
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Score":
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        scores = tuple(float(score) for score in values["scores"])
        length = float(values["mean_length_steps"])
        if not scores or not all(map(math.isfinite, (*scores, length))):
            raise ValueError("scores")
        return cls(scores, length)


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


@dataclass(frozen=True)
class Floors:
    """Scores of policies that look at nothing."""

    random: Score
    constant: Score  # always `best_action`
    best_action: int
    seed: int

    @property
    def n_games(self) -> int:
        """Games behind each of the two."""
        return min(self.random.n_games, self.constant.n_games)

    def ranked(self) -> list[tuple[str, Score]]:
        """Return name and score of both, the higher first."""
        named = [("constant-action floor", self.constant), ("random floor", self.random)]
        return sorted(named, key=lambda pair: -pair[1].mean)

    @property
    def highest(self) -> float:
        """Mean of the higher floor: what a policy has to beat."""
        return self.ranked()[0][1].mean

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` reads them back."""
        return {
            "protocol": PROTOCOL,
            "n_games": self.n_games,
            "seed": self.seed,
            "best_action": self.best_action,
            "random": self.random.to_json(),
            "constant": self.constant.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Floors":
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        scores = [Score.from_json(values[name]) for name in ("random", "constant")]
        return cls(*scores, best_action=int(values["best_action"]), seed=int(values["seed"]))


def measure_floors(envs: Envs, n_games: int, *, seed: int) -> Floors:
    """Score random play and the best constant action, by the protocol of `evaluate`.

    Every constant action is tried for one game an environment, the best one scored over `n_games`.

    Args:
        envs: environments built for evaluation.
        n_games: games for each floor.
        seed: of the random actions; kept in the record.
    """
    n_trial = min(n_games, envs.n_envs)
    progress = Progress(envs.n_actions * n_trial + 2 * n_games, unit="game", title="floors")

    def score(policy: Policy, n: int) -> Score:
        return Score.of(play(envs, policy, n, progress=progress))

    trials = [score(constant_policy(action), n_trial).mean for action in range(envs.n_actions)]
    best = int(np.argmax(trials))
    constant = score(constant_policy(best), n_games)
    random = score(random_policy(envs.n_actions, np.random.default_rng(seed)), n_games)
    progress.close()
    return Floors(random, constant, best, seed)


def _read_cache(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        entries = None
    if not isinstance(entries, dict):
        raise ValueError(f"{path} is damaged; its floors are measured again")
    return entries


def cached_floors(path: Path, env_id: str, n_games: int) -> Floors | None:
    """Look floors up in a JSON file that is keyed by env id.

    Returns:
        The floors; None if they were never measured, by another protocol, or over fewer than
        min(`n_games`, 100) games.

    Raises:
        ValueError: if the file or the entry is damaged.
    """
    entry = _read_cache(path).get(env_id)
    if entry is None:
        return None
    try:
        floors, protocol = Floors.from_json(entry), entry["protocol"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} is damaged at {env_id}; its floors are measured again") from None
    enough = floors.n_games >= min(n_games, FULL_FLOOR_GAMES)
    return floors if enough and protocol == PROTOCOL else None


def floors_of(
    env_id: str, envs: Envs, n_games: int, *, seed: int, caches: Sequence[Path]
) -> tuple[Floors, list[str]]:
    """Return a game's floors: from the first cache that has them, else measured for the last.

    Returns:
        The floors, and a warning for each cache that was damaged or could not be written.
    """
    warnings = []
    for path in caches:
        try:
            if (floors := cached_floors(path, env_id, n_games)) is not None:
                return floors, warnings
        except ValueError as error:
            warnings.append(str(error))
    floors = measure_floors(envs, n_games, seed=seed)
    try:
        _write_cache(caches[-1], env_id, floors)
    except OSError as error:
        warnings.append(f"the floors are not cached: {error}")
    return floors, warnings


def _write_cache(path: Path, env_id: str, floors: Floors) -> None:
    try:
        entries = _read_cache(path)
    except ValueError:
        entries = {}
    write_text(path, json_text(entries | {env_id: floors.to_json()}))


def json_text(record: Mapping[str, Any]) -> str:
    """Write JSON with a line a key and each list of numbers on one line."""
    text = json.dumps(record, indent=1)
    # Strings hold no line breaks in JSON, so that this meets lists only.
    one_line = re.sub(r"\[\n([\s\d.,eE+-]*)\]", lambda f: f"[{' '.join(f[1].split())}]", text)
    return one_line + "\n"


def verdict(score: Score, floors: Floors, env_id: str) -> str:
    """Say in words what a score is worth: against the floors and, if known, a very good game."""
    (name, higher), (other_name, lower) = floors.ranked()
    parts = [_compare(score, name, higher)]
    if not parts[0].startswith("above"):
        parts.append(_compare(score, other_name, lower))
    game = env_id.removeprefix("ALE/").removesuffix("-v5").split("NoFrameskip")[0]
    if game == "Freeway":
        parts.append(f"{100 * score.mean / 30:.0f} % of a 30-point Freeway")
    elif game == "Pong":
        parts.append(f"{score.mean:+.1f} of Pong's 21 points")
    return "; ".join(parts)


def _compare(score: Score, name: str, floor: Score) -> str:
    """Compare two means; distinguishable are those whose 95 % intervals do not overlap."""
    floor_text = f"the {name} ({floor.mean:.1f})"
    if score.ci95 is None or floor.ci95 is None:
        return f"one game is too few to tell it from {floor_text}"
    if score.ci95[0] <= floor.ci95[1] and floor.ci95[0] <= score.ci95[1]:
        return f"not distinguishable from {floor_text}: the 95 % intervals overlap"
    difference = score.mean - floor.mean
    side = "above" if difference > 0 else "below"
    pooled_sd = math.hypot(score.sd or 0, floor.sd or 0) / math.sqrt(2)
    in_sd = f" ({abs(difference) / pooled_sd:.1f} sd)" if pooled_sd else ""
    return f"{side} {floor_text} by {abs(difference):.1f}{in_sd}"
