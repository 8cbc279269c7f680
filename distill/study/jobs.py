"""Jobs: the runs of a study, their folders, and what became of them.

A run is known by its settings alone, so that it is found again whatever became of the program that
started it.
"""

import functools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distill import cli
from distill.checkpoint import can_resume
from distill.config import DistillConfig
from distill.files import digest_of
from distill.run_folder import CONFIG, RESULT, digests_in, read_result, read_run, unused
from distill.settings import from_mapping
from distill.study.outcomes import Outcome, read_outcome
from distill.study.plan import Run, identity

MAX_NAME_BYTES = 180  # of a folder's name, of what comes before seed and id

# Or begun, to be gone on with; elsewhere, another process has it.
Status = Literal["planned", "begun", "running", "done", "failed", "stopped", "elsewhere"]


@dataclass
class Job:
    """A run and what became of it."""

    run: Run
    folder: Path
    status: Status = "planned"
    attempts: int = 0
    exit_status: int | None = None
    seconds: float = 0.0  # of this program's attempts

    def line(self) -> str:
        """Return this job's line of the manifest."""
        record: dict[str, Any] = {"id": self.run.id, "grid": self.run.grid}
        record |= {"labels": self.run.labels}
        record |= {"status": self.status, "attempts": self.attempts}
        record |= {"exit_status": self.exit_status, "seconds": round(self.seconds, 1)}
        record |= {"folder": str(self.folder), "flags": " ".join(cli.to_argv(self.run.cfg))}
        return json.dumps(record)


def is_finished(folder: Path) -> bool:
    """Whether a run has its result; a damaged one is made anew when the run is resumed."""
    try:
        return read_result(folder) is not None
    except ValueError:
        return False


def teachers_of(runs: Sequence[Run]) -> dict[str, str]:
    """Return the SHA-256 of each run's teacher, by the run's id; of those that are there."""
    paths = {run.id: run.cfg.teacher_chkpt for run in runs}
    there = {path for path in paths.values() if path is not None and path.is_file()}
    digests = {path: digest_of(path) for path in there}
    return {run_id: digests[path] for run_id, path in paths.items() if path in digests}


def runs_in(out: Path, teachers: Mapping[str, str]) -> dict[str, Path]:
    """Find the runs below a folder that are finished or can be resumed; of two the finished.

    One that cannot be read, as another version of the program made it, is left alone, with a
    warning: it is no reason to stop those that can. So is one of another teacher of that name.

    Args:
        out: the folder.
        teachers: of runs that are looked for, as `teachers_of` has them.
    """
    found: dict[str, Path] = {}
    for folder in sorted((path.parent for path in out.glob(f"*/{CONFIG}")), key=is_finished):
        if not (is_finished(folder) or can_resume(folder)):
            continue  # it died before its first checkpoint
        try:
            known = distillation_in(folder, (folder / CONFIG).stat().st_mtime_ns)
        except ValueError as error:
            warn(f"left alone: {error}")
            continue
        if known is None:
            continue
        run_id, digest = known
        if digest is None or teachers.get(run_id, digest) == digest:
            found[run_id] = folder
        else:
            warn(f"left alone: {folder} is of another teacher of the same name")
    return found


@functools.cache  # reading takes 20 ms, and all folders are looked at for the start of each run
def distillation_in(folder: Path, _changed_ns: int) -> tuple[str, str | None] | None:
    """Return a run's id and its teacher's SHA-256, if on record; None for another command's run.

    Args:
        folder: the run's.
        _changed_ns: when its record was last written; what was read of an older one is of no use.
    """
    record = read_run(folder)
    if "student" not in record["settings"]:
        return None
    cfg = from_mapping(DistillConfig, record["settings"], origin=str(folder / CONFIG))
    return identity(cfg), digests_in(record).get("teacher_chkpt")


def outcomes_of(jobs: Iterable[Job]) -> list[Outcome]:
    """Read the results of the jobs that are done; one that is damaged is told and left out."""
    found: list[Outcome] = []
    for job in jobs:
        if job.status == "done":
            try:
                outcome = read_outcome(job.folder)
            except (ValueError, FileNotFoundError) as error:
                warn(f"left out: {error}; without its {RESULT} the run is scored anew")
                continue
            assert outcome is not None, job.folder  # it is done
            found.append(outcome)
    return found


@functools.cache  # it is looked for again at the start of each run
def warn(text: str) -> None:
    """Say something on standard error, once."""
    sys.stderr.write(f"{text}\n")


def make_jobs(runs: Sequence[Run], out: Path) -> list[Job]:
    """Pair runs with their folders, old ones where there are, and note which are done."""
    found, jobs = runs_in(out, teachers_of(runs)), []
    for run in runs:
        if folder := found.get(run.id):
            jobs.append(Job(run, folder, "done" if is_finished(folder) else "begun"))
        else:
            jobs.append(Job(run, new_folder(out, run)))
    return jobs


def folder_now(job: Job) -> Path:
    """Return where a job's run is, or is to be.

    Another process may have had it since it was planned, in a folder of its own; a run that died
    before its first checkpoint begins anew in another.
    """
    out = job.folder.parent
    folder = runs_in(out, teachers_of([job.run])).get(job.run.id, job.folder)
    can_go_on = is_finished(folder) or can_resume(folder)
    return new_folder(out, job.run) if folder.exists() and not can_go_on else folder


def new_folder(out: Path, run: Run) -> Path:
    """Name a folder after a run, one that is not there yet."""
    words = [run.grid, *(value for axis, value in run.labels.items() if axis != "seed")]
    name = "_".join(words).replace(" ", "").replace("/", "-")
    shortened = name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")  # the id tells it apart
    return unused(out / f"{shortened}_seed{run.cfg.seed}_{run.id}")
