"""Files of teachers: what the name and the record beside each say; the latest and the best."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from distill.files import digest_of
from distill.game_names import game_in_names, id_in_name, title_of
from distill.protocol import EVAL_GAMES

COMMAND = "python ppo_teacher.py 1e7"
NETWORK_SUFFIXES = (".zip", ".safetensors")  # of files of teachers and of students
OWN_TEACHERS = Path("teachers")  # of the folder worked in: where that command leaves them

_NAME = re.compile(
    r"env(?P<env>.+)_(?P<day>\d{8})[-_](?P<time>\d{6})_n_iters(?P<steps>\d+)\.zip", re.ASCII
)


def prefix_of(env_id: str, started: datetime) -> str:
    """Return what the names of a run's teachers begin with: its game, and when it began."""
    return f"env{game_in_names(env_id)}_{started:%Y%m%d-%H%M%S}"


def teacher_name(prefix: str, mark: int) -> str:
    """Return the name of a run's teacher after so many steps, as `_NAME` reads it."""
    return f"{prefix}_n_iters{mark}.zip"


def steps_in_name(name: str) -> int | None:
    """Return the steps that a teacher's name tells; None of other files."""
    match = _NAME.fullmatch(name)
    return int(match["steps"]) if match else None


def is_teacher(path: Path) -> bool:
    """Whether a file is a teacher by its name, not a student."""
    return path.suffix != ".safetensors"


def check_exists(path: Path) -> None:
    """Check that there is such a file.

    Raises:
        FileNotFoundError: otherwise, with the command that makes one.
    """
    if not path.exists():
        raise FileNotFoundError(f"no teacher at {path}: make one with `{COMMAND}`")


def latest_teacher(folder: Path, env_id: str | None = None) -> Path:
    """Return the zip with the latest date in its name, of those the one with the most steps.

    Args:
        folder: where the teachers are.
        env_id: of this game; None: of any.

    Raises:
        FileNotFoundError: if there is none, with the command that makes one.
    """
    if env_id is not None:
        return max(_of_game([folder], env_id), key=_age)
    found = _teachers_in(folder)
    if not found:
        raise FileNotFoundError(
            f"--teachers_dir {folder} has no teacher: make one with `{COMMAND}`"
        )
    return max(found, key=_age)


def best_teacher(shipped: Path, env_id: str) -> Path:
    """Return the game's zip with the highest sampled score in its .json, else the latest.

    A score of few games, as of a trial, counts only where none has one of EVAL_GAMES.

    Args:
        shipped: the folder of those that ship, beside which one's own are looked at.
        env_id: the game.

    Raises:
        FileNotFoundError: if the game has none, with the command that makes one.
    """
    folders = dict.fromkeys((OWN_TEACHERS.resolve(), shipped))  # mostly the same one
    found = _of_game(list(folders), env_id)
    return max(found, key=lambda path: (*_sampled_score(path), *_age(path)))


def _of_game(folders: Sequence[Path], env_id: str) -> list[Path]:
    name = game_in_names(env_id)
    found = [p for folder in folders for p in _teachers_in(folder) if _named(p)["env"] == name]
    if not found:
        where = " or ".join(map(str, folders))
        command = f"{COMMAND} --env {env_id}"
        raise FileNotFoundError(
            f"no teacher of {env_id} in {where}: make one with `{command}`"
            f"{_hint_at_other_ids(folders, name)}"
        )
    return found


def _hint_at_other_ids(folders: Sequence[Path], name: str) -> str:
    """Name a game's other ids of which there are teachers: they may serve this one, too."""
    names = {_named(path)["env"] for folder in folders for path in _teachers_in(folder)}
    others = sorted(other for other in names if title_of(other) == title_of(name))
    if not others:
        return ""
    return f", or give one of {', '.join(others)} by --teacher_chkpt"


def env_id_of(path: Path) -> str | None:
    """Return the game a teacher was trained on, from the .json beside it, else from its name.

    A .json with the scores of another file, whose place this one took, does not say.
    """
    record = read_record(path)
    if isinstance(record.get("env_id"), str) and _is_beside_its_file(record, path):
        return record["env_id"]
    match = _NAME.fullmatch(path.name)
    return id_in_name(match["env"]) if match else None


def steps_of(path: Path) -> int:
    """Return the steps that a teacher was trained for; 0 if unknown.

    The .json beside it says them, unless it has the scores of another file, whose place this one
    took; else, to within a rollout, its name.
    """
    record = read_record(path)
    steps = record.get("steps")
    if isinstance(steps, int) and steps > 0 and _is_beside_its_file(record, path):
        return steps
    return steps_in_name(path.name) or 0


def _teachers_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.zip") if path.is_file() and _NAME.fullmatch(path.name)]


def _named(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    return match


def _age(path: Path) -> tuple[str, str, int]:
    match = _named(path)
    return match["day"], match["time"], int(match["steps"])


def is_of_file(evaluation: Mapping[str, Any], path: Path) -> bool:
    """Tell whether scores are of a file as it is now; of those that do not say it is assumed."""
    digest = evaluation.get("sha256")
    return digest is None or digest == digest_of(path)


def _is_beside_its_file(record: Mapping[str, Any], path: Path) -> bool:
    evaluation = record.get("evaluation")
    return not isinstance(evaluation, dict) or not path.is_file() or is_of_file(evaluation, path)


def _sampled_score(path: Path) -> tuple[bool, float]:
    """Return whether a teacher was scored over enough games, and its mean, -inf without one."""
    try:
        evaluation = read_record(path)["evaluation"]
        if not is_of_file(evaluation, path):
            return False, -math.inf
        mean, n_games = float(evaluation["sampled"]["mean"]), evaluation.get("n_games")
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return False, -math.inf
    if not math.isfinite(mean):
        return False, -math.inf
    return isinstance(n_games, int) and n_games >= EVAL_GAMES, mean


def read_record(path: Path) -> dict[str, Any]:
    """Return the .json beside a zip, an empty dict if there is none that can be read."""
    try:
        record = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
