"""What policies that look at nothing score.

A floor is random actions, or always the best single action. On Freeway the latter crosses the road
some 21 times, so no score should stand without them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.evaluation import Policy, Score, constant_policy, play, random_policy
from distill.progress import Progress
from distill.protocol import PROTOCOL
from distill.types import Envs

NO_SHARE = "none: the teacher is no better than the floor"
FINALISTS = 3  # constant actions that are scored in full


@dataclass(frozen=True)
class Floors:
    """Scores of policies that look at nothing."""

    random: Score
    constant: Score  # always `best_action`
    best_action: int
    n_envs: int  # that played the games at once
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

    def first(self, n_games: int) -> "Floors":
        """Return the floors over the first `n_games`, or all if there are fewer."""
        random, constant = self.random.first(n_games), self.constant.first(n_games)
        return replace(self, random=random, constant=constant)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` reads them back."""
        return {
            "protocol": PROTOCOL,
            "n_games": self.n_games,
            "n_envs": self.n_envs,
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
        random, constant = (Score.from_json(values[name]) for name in ("random", "constant"))
        try:
            best_action, n_envs, seed = (
                int(values[name]) for name in ("best_action", "n_envs", "seed")
            )
        except OverflowError as error:  # JSON has Infinity
            raise ValueError("floors") from error
        return cls(random, constant, best_action, n_envs, seed)


def highest_in(record: Mapping[str, Any]) -> float:
    """Return the higher floor's mean of what `to_json` wrote, whatever else of it there is."""
    return max(record[name]["mean"] for name in ("random", "constant"))


def share_of(student: float, *, teacher: float, floor: float) -> float | None:
    """Return (student - floor) / (teacher - floor) of mean scores.

    None where the teacher is no better than the floor: there is nothing to have a share in.
    """
    room = teacher - floor
    return (student - floor) / room if room > 0 else None


def measure_floors(envs: Envs, n_games: int, *, seed: int) -> Floors:
    """Score random play and the best constant action, by the protocol of `evaluate`.

    Every constant action is tried for one game an environment, the best few are scored over
    `n_games`: first games can mislead (on Breakout they name an action of half the best's score).

    Args:
        envs: environments built for evaluation.
        n_games: games for each floor.
        seed: of the random actions; kept in the record.
    """
    n_trial = min(n_games, envs.n_envs)
    n_finalists = min(FINALISTS, envs.n_actions)
    n_all = envs.n_actions * n_trial + (n_finalists + 1) * n_games
    progress = Progress(n_all, unit="game", title="floors")

    def score(policy: Policy, n: int) -> Score:
        return Score.of(play(envs, policy, n, progress=progress))

    trials = [score(constant_policy(action), n_trial).mean for action in range(envs.n_actions)]
    finalists = sorted(range(envs.n_actions), key=lambda action: -trials[action])[:n_finalists]
    finals = {action: score(constant_policy(action), n_games) for action in finalists}
    best = max(finals, key=lambda action: finals[action].mean)
    random = score(random_policy(envs.n_actions, np.random.default_rng(seed)), n_games)
    progress.close()
    return Floors(random, finals[best], best, envs.n_envs, seed)
