"""What the records beside teachers say: all of them, those with a score, and the ladder's rungs."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Rung(NamedTuple):
    """A teacher of the ladder and its sampled score, beside the floors."""

    zip_name: str
    env_id: str
    steps: int
    mean: float
    low: float
    high: float
    random: float
    constant: float
    grade: str | None = None  # good, medium or bad, if the studies use it

    @property
    def floor(self) -> float:
        """The higher of the two floors: what a teacher has to beat."""
        return max(self.random, self.constant)


def teacher_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the records of all teachers in a folder, by name and in its order."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("env*.json"))}


def scored_teachers(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of a folder's scored teachers: by name, fewest steps first."""
    records = teacher_records(folder)
    scored = {name: record for name, record in records.items() if "evaluation" in record}
    return dict(sorted(scored.items(), key=lambda item: item[1]["steps"]))


def read_rungs(folder: Path) -> list[Rung]:
    """Read the scores of all scored teachers in a folder, by steps."""
    rungs = []
    for name, record in scored_teachers(folder).items():
        sampled, floors = (record["evaluation"][key] for key in ("sampled", "floors"))
        means = [floors[name]["mean"] for name in ("random", "constant")]
        who = f"{name}.zip", record["env_id"], record["steps"]
        score = sampled["mean"], *sampled["ci95"]
        rungs.append(Rung(*who, *score, *means, grade=record.get("grade")))
    return rungs
