"""Results: from run folders and teachers' records to CSV files, and back to records."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

from distill.config import PLACES, decisive
from distill.files import write_text
from distill.tracking import CSV_COLUMNS, read_run

TEACHER_CURVE = "rollout/ep_rew_mean"
TEACHER_NETWORK, SMALL_PPO = "nature", "PPO "
THEN = ", then "  # before what lengthened a run, in its command
TAGS = (TEACHER_CURVE, "eval/mean_reward", "eval/teacher", "eval/floor", "distill/kl")


class Point(NamedTuple):
    """One value of one run's curve, with where it came from."""

    run: str
    kind: str  # as `kind_of` calls it
    env_id: str
    seed: int
    commit: str
    machine: str
    command: str
    step: int
    tag: str
    value: float


def read_origin(run_dir: Path) -> dict[str, Any]:
    """Return the fields of a Point that say where a run's numbers come from.

    Raises:
        FileNotFoundError: if it is not a run.
    """
    record = read_run(run_dir, flag="--collect")
    settings = record["settings"]
    return {
        "run": run_dir.name,
        "kind": kind_of(settings),
        "env_id": settings["env"],
        "seed": int(settings["seed"]),
        "commit": str(record["commit"]),
        "machine": record["machine"],
        "command": command_of(record, run_dir),
    }


def kind_of(settings: Mapping[str, Any]) -> str:
    """Name what was trained: `plain` and `curious` students, a `teacher`, or PPO of another size.

    The latter is called after its network, and after what it began with and stayed near, if
    anything: `PPO net3`, `PPO net3 from a student, kickstarted`.
    """
    if "student" in settings:
        return "curious" if settings.get("use_curiosity") else "plain"
    network = settings.get("network", TEACHER_NETWORK)
    origin = " from a student" if settings.get("init_from") else ""
    near = ", kickstarted" if settings.get("kickstart") else ""
    is_teacher = network == TEACHER_NETWORK and not origin
    return "teacher" if is_teacher else f"{SMALL_PPO}{network}{origin}{near}"


def small_network_of(kind: str) -> str | None:
    """Return the network that a kind's name says PPO trained; None if it is not of that sort."""
    return kind.split()[1].rstrip(",") if kind.startswith(SMALL_PPO) else None


def read_curve(run_dir: Path) -> list[Point]:
    """Read the curves of a run folder.

    Raises:
        FileNotFoundError: if it is not a run.
    """
    origin = read_origin(run_dir)
    return [
        Point(**origin, step=int(row["step"]), tag=row["tag"], value=float(row["value"]))
        for row in read_metrics(run_dir)
        if row["tag"] in TAGS
    ]


def read_metrics(run_dir: Path) -> list[dict[str, str]]:
    """Read what a run logged: a row a value."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [{str(k): v for k, v in row.items()} for row in csv.DictReader(file, CSV_COLUMNS)]


def values_of(run_dir: Path, tag: str) -> list[float]:
    """Return all that a run logged under a tag."""
    return [float(row["value"]) for row in read_metrics(run_dir) if row["tag"] == tag]


def command_of(record: dict[str, Any], run_dir: Path) -> str:
    """Return the words that a run was started with, and those that lengthened it.

    Args:
        record: its config.yaml.
        run_dir: its folder.
    """
    begun = " ".join(without_places(list(map(str, record["argv"]))))
    later = [
        f"{change['total_steps']} --resume {run_dir.name}"
        for change in record.get("lengthened", [])
    ]
    return THEN.join([begun, *later])


def without_places(argv: list[str]) -> list[str]:
    """Drop from a command line where things lay on one machine, and how many threads it had."""
    places = [f"--{name}" for name in PLACES]
    kept = [
        word
        for before, word in zip(["", *argv], argv, strict=False)
        if word not in places and before not in places
    ]
    return [Path(word).name if Path(word).is_absolute() else word for word in kept]


def collect(run_dirs: Sequence[Path], path: Path) -> None:
    """Add the curves of runs to a CSV file; those of a run that is in it already are replaced."""
    names = {run_dir.name for run_dir in run_dirs}
    kept = [point for point in read_rows(path, Point) if point.run not in names]
    points = [point for run_dir in run_dirs for point in read_curve(run_dir)]
    write_rows(path, Point._fields, [*kept, *points])


class Outcome(NamedTuple):
    """What became of one finished distillation."""

    run: str
    env_id: str
    teacher: str
    student: str
    kind: str  # plain or curious
    seed: int
    parameters: int  # of the student's actor
    floor: float  # the higher of the random and the best constant policy's mean score
    teacher_mean: float  # this and all scores below: sampled actions, but for greedy_mean
    student_mean: float
    student_low: float
    student_high: float
    games: int
    greedy_mean: float | None
    score_share: float | None  # (student - floor) / (teacher - floor)
    kl: float
    agreement: float
    steps: int
    updates: int
    train_seconds: float
    commit: str
    machine: str
    command: str
    settings: str  # all of them, JSON
    coverage: float | None = None  # the most that explore/coverage came to


def read_outcome(run_dir: Path) -> Outcome | None:
    """Return a finished distillation as one row; None for any other run."""
    path = run_dir / "result.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    origin = read_origin(run_dir)
    scores = found["student_score"]
    low, high = scores["sampled"]["ci95"]
    floors = found["floors"]
    return Outcome(
        run=run_dir.name,
        env_id=found["env_id"],
        teacher=found["teacher_chkpt"],
        student=found["student"],
        kind=origin["kind"],
        seed=origin["seed"],
        parameters=found["student_parameters"],
        floor=round(max(floors[name]["mean"] for name in ("random", "constant")), 3),
        teacher_mean=round(found["teacher_score"]["sampled"]["mean"], 3),
        student_mean=round(scores["sampled"]["mean"], 3),
        student_low=round(low, 3),
        student_high=round(high, 3),
        games=scores["sampled"]["n_games"],
        greedy_mean=round(scores["greedy"]["mean"], 3) if "greedy" in scores else None,
        score_share=None if found["score_share"] is None else round(found["score_share"], 4),
        kl=round(found["kl"], 5),
        agreement=round(found["agreement"], 4),
        steps=found["steps"],
        updates=found["updates"],
        train_seconds=round(found["train_seconds"], 1),
        commit=found["commit"],
        machine=found["machine"],
        command=origin["command"],
        settings=json.dumps(decisive(found["settings"])),
        coverage=max(values_of(run_dir, "explore/coverage"), default=None),
    )


def collect_outcomes(run_dirs: Sequence[Path], path: Path) -> None:
    """Add the outcomes of runs to a CSV file, a row each; a run that is in it is replaced."""
    rows = {row.run: row for row in read_rows(path, Outcome)}
    found = [row for run_dir in run_dirs if (row := read_outcome(run_dir)) is not None]
    rows |= {row.run: row for row in found}
    write_rows(path, Outcome._fields, list(rows.values()))


RowT = TypeVar("RowT")


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write records of one kind as CSV, a column a field; None as nothing."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_text(path, text.getvalue())


def read_rows(path: Path, kind: Callable[..., RowT]) -> list[RowT]:
    """Read what `write_rows` wrote as records of this kind; nothing if there is no such file."""
    if not path.is_file():
        return []
    parsers = {name: _parser(hint) for name, hint in get_type_hints(kind).items()}
    with path.open(newline="") as file:
        return [
            kind(**{name: parsers[name](text) for name, text in row.items()})
            for row in csv.DictReader(file)
        ]


def _parser(hint: Any) -> Callable[[str], Any]:
    if get_args(hint) == (float, type(None)):
        return lambda text: float(text) if text else None
    return hint


class Rung(NamedTuple):
    """A teacher of the ladder and its sampled score, beside the floors."""

    env_id: str
    steps: int
    mean: float
    low: float
    high: float
    random: float
    constant: float


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
    for record in scored_teachers(folder).values():
        sampled, floors = (record["evaluation"][key] for key in ("sampled", "floors"))
        means = [floors[name]["mean"] for name in ("random", "constant")]
        score = sampled["mean"], *sampled["ci95"]
        rungs.append(Rung(record["env_id"], record["steps"], *score, *means))
    return rungs


def read_zoo(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the published curves: (steps, mean score) by game."""
    found: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            point = int(row["steps"]), float(row["score_mean"])
            found.setdefault(row["env_id"], []).append(point)
    return found
