"""What policies that look at nothing score, measured once and kept.

A floor is random actions, or always the best single action. On Freeway the latter crosses the road
some 21 times, so no score should stand without them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.evaluation import PROTOCOL, Policy, Score, constant_policy, play, random_policy
from distill.files import write_json
from distill.options import EVAL_ENVS, EVAL_SEED
from distill.progress import Progress
from distill.provenance import ROOT
from distill.types import Envs

# Where floors are kept: those that ship, and those measured by whoever runs the program.
CACHES = (ROOT / "teachers" / "floors.json", Path("runs/floors.json"))
FINALISTS = 3  # constant actions that are scored in full
FULL_FLOOR_GAMES = 100  # a floor measured over this many games serves any evaluation


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
        fewer = {name: getattr(self, name).first(n_games) for name in ("random", "constant")}
        return replace(self, **fewer)

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
        best_action, n_envs, seed = (
            int(values[name]) for name in ("best_action", "n_envs", "seed")
        )
        return cls(random, constant, best_action, n_envs, seed)


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
        if entry["protocol"] != PROTOCOL:
            return None
        floors = Floors.from_json(entry)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} is damaged at {env_id}; its floors are measured again") from None
    return floors if floors.n_games >= min(n_games, FULL_FLOOR_GAMES) else None


def floors_of(
    env_id: str, envs: Envs, n_games: int, *, seed: int, caches: Sequence[Path]
) -> tuple[Floors, list[str]]:
    """Return a game's floors: from the first cache that has them, else measured for the last.

    Those over the games that students are scored over serve all; others, of another seed or number
    of games at a time, serve their like alone.

    Returns:
        The floors, and a warning for each cache that was damaged or could not be written.
    """
    warnings = []
    for path in caches:
        try:
            floors = cached_floors(path, env_id, n_games)
            if floors is not None and (floors.n_envs, floors.seed) in (
                (EVAL_ENVS, EVAL_SEED),
                (envs.n_envs, seed),
            ):
                return floors, warnings
        except ValueError as error:
            warnings.append(str(error))
    floors = measure_floors(envs, n_games, seed=seed)
    try:
        _write_cache(caches[-1], env_id, floors)
    except OSError as error:
        warnings.append(f"the floors are not cached: {error}")
    return floors, warnings


def first_score_note(env_id: str, n_envs: int, caches: Sequence[Path] = CACHES) -> str:
    """Say when the first score is to be expected, so that a long game does not look like a hang."""
    for path in caches:
        try:
            floors = cached_floors(path, env_id, 1)
        except ValueError:
            continue
        if floors is not None:
            n_steps = n_envs * floors.random.mean_length_steps
            return f"first score after about {n_steps:,.0f} steps: {n_envs} games at a time"
    return f"first score when the first of {n_envs} games is over"


def _write_cache(path: Path, env_id: str, floors: Floors) -> None:
    try:
        entries = _read_cache(path)
    except ValueError:
        entries = {}
    write_json(path, entries | {env_id: floors.to_json()})
