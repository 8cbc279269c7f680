"""What the records beside teachers say: all of them, those that ship, and the ladder's rungs."""

from pathlib import Path
from typing import Any, NamedTuple

from distill.evaluation import Score
from distill.files import read_json
from distill.floors import Floors
from distill.protocol import is_of_student_games
from distill.teacher_files import env_id_of


class Rung(NamedTuple):
    """A teacher of the ladder and its sampled score, beside the floors."""

    zip_name: str
    env_id: str
    steps: int
    sampled: Score
    floors: Floors
    grade: str | None = None  # best, good, medium or bad, if the studies use it
    run: str | None = None  # that it was kept of

    def first(self, n_games: int) -> "Rung":
        """Return the same over the first `n_games`, or all if there are fewer."""
        fewer = self.sampled.first(n_games), self.floors.first(n_games)
        return self._replace(sampled=fewer[0], floors=fewer[1])

    @property
    def mean(self) -> float:
        """Mean sampled score."""
        return self.sampled.mean

    @property
    def floor(self) -> float:
        """The higher of the two floors: what a teacher has to beat."""
        return self.floors.highest


def teacher_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the records of all teachers in a folder, by name and in its order.

    Raises:
        ValueError: if one is damaged, naming it.
    """
    return {path.stem: read_json(path) for path in sorted(folder.glob("env*.json"))}


def teachers_by_grade(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the zips whose .json names a grade, by game and grade.

    Raises:
        ValueError: if two of a game have the same grade, or one is of no game that is known.
    """
    found: dict[tuple[str, str], Path] = {}
    for name, record in teacher_records(folder).items():
        if "grade" not in record:
            continue
        path = folder / f"{name}.json"
        env_id = env_id_of(path.with_suffix(".zip"))
        if env_id is None:
            raise ValueError(f"{path} has a grade, but neither it nor its name says the game")
        key = env_id, record["grade"]
        if key in found:
            raise ValueError(f"{path} and {found[key]} are both the {key[1]} teacher of {key[0]}")
        found[key] = path.with_suffix(".zip")
    return found


def shipped_teachers(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of a folder's teachers that ship and are scored: fewest steps first.

    Pages and figures show these alone, whatever its owner trains into the same folder. One without
    steps was not trained here, but only scored, and is left out.
    """
    shipped = {
        name: record
        for name, record in teacher_records(folder).items()
        if record.get("ships") and {"evaluation", "steps"} <= record.keys()
    }
    return dict(sorted(shipped.items(), key=lambda item: item[1]["steps"]))


def read_rungs(folder: Path) -> list[Rung]:
    """Read the scores of a folder's teachers that ship, by steps.

    Raises:
        ValueError: if one was scored over other games than students are.
    """
    return [_rung(folder, name, record) for name, record in shipped_teachers(folder).items()]


def _rung(folder: Path, name: str, record: dict[str, Any]) -> Rung:
    evaluation = record["evaluation"]
    if not is_of_student_games(evaluation):
        again = f"python eval_teacher.py --write_score --teacher_chkpt {folder / name}.zip"
        raise ValueError(
            f"{folder / name}.json: scored over other games than students are: {again}"
        )
    scores = Score.from_json(evaluation["sampled"]), Floors.from_json(evaluation["floors"])
    known = record.get("grade"), record.get("run")
    return Rung(f"{name}.zip", record["env_id"], record["steps"], *scores, *known)
