"""Floors that were measured once and kept: files of JSON, keyed by env id."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.files import locked, read_json, write_json
from distill.floors import Floors, measure_floors
from distill.protocol import EVAL_ENVS, EVAL_GAMES, EVAL_SEED, PROTOCOL
from distill.provenance import TEACHERS
from distill.types import Envs

OWN_FLOORS = Path("runs/floors.json")  # measured by whoever runs the program
CACHES = (TEACHERS / "floors.json", OWN_FLOORS)  # the former ship


def _read_cache(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ValueError(f"{path} is damaged; its floors are measured again") from None


def cached_floors(path: Path, env_id: str, n_games: int) -> Floors | None:
    """Look floors up in a JSON file that is keyed by env id.

    Returns:
        The floors; None if they were never measured, by another protocol, or over fewer than
        min(`n_games`, EVAL_GAMES) games: so many serve any evaluation.

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
    return floors if floors.n_games >= min(n_games, EVAL_GAMES) else None


def floors_of(
    env_id: str, envs: Envs, n_games: int, *, seed: int, caches: Sequence[Path]
) -> tuple[Floors, list[str]]:
    """Return a game's floors: from the first cache that has them, else measured for the last.

    Floors over the games that students are scored over serve any evaluation; others serve only one
    of the same seed with as many games at a time.

    Returns:
        The floors, and a warning for each cache that was damaged or could not be written.
    """
    warnings = []
    for path in caches:
        try:
            floors = cached_floors(path, env_id, n_games)
            if floors is not None and (
                _serves_all(floors) or (floors.n_envs, floors.seed) == (envs.n_envs, seed)
            ):
                return floors, warnings
        except ValueError as error:
            warnings.append(str(error))
    floors = measure_floors(envs, n_games, seed=seed)
    try:
        if _is_worth_keeping(caches[-1], env_id, floors):
            _write_cache(caches[-1], env_id, floors)
    except OSError as error:
        warnings.append(f"the floors are not cached: {error}")
    return floors, warnings


def first_score_note(
    env_id: str, n_envs: int, n_steps: int, caches: Sequence[Path] = CACHES
) -> str:
    """Say when a game is over, so that a long one does not look like a hang.

    Args:
        env_id: which game is trained on.
        n_envs: at so many games at a time.
        n_steps: for so many steps over all of them.
        caches: files of floors, which know how long a game lasts by random actions.
    """
    for path in caches:
        try:
            floors = cached_floors(path, env_id, 1)
        except ValueError:
            continue
        if floors is not None:
            first = n_envs * floors.random.mean_length_steps
            if first > n_steps:
                return f"no score on the way: {n_envs} games take some {first:,.0f} steps to end"
            return f"first score after about {first:,.0f} steps: {n_envs} games at a time"
    return f"first score when the first of {n_envs} games is over"


def _is_worth_keeping(path: Path, env_id: str, floors: Floors) -> bool:
    """Whether nothing better is lost by it: floors that serve every student stay, or such come."""
    try:
        kept = cached_floors(path, env_id, 1)
    except ValueError:
        return True
    return kept is None or not _serves_all(kept) or _serves_all(floors)


def _serves_all(floors: Floors) -> bool:
    return (floors.n_envs, floors.seed) == (EVAL_ENVS, EVAL_SEED)


def _write_cache(path: Path, env_id: str, floors: Floors) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent, wait=True):  # another run may add another game's
        try:
            entries = _read_cache(path)
        except ValueError:
            entries = {}
        write_json(path, entries | {env_id: floors.to_json()})
