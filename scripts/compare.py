"""Run a study: many distillations, each a process of its own.

    python scripts/compare.py --grid curiosity --dry_run    # list its runs
    python scripts/compare.py --grid curiosity              # run them, one a core at a time
    python scripts/compare.py --grid curiosity --shard 1/2  # half of them, on one of two machines
    python scripts/compare.py --grid curiosity --known scripts/results/distillation.csv  # the rest
    python scripts/compare.py --grid mine.yaml              # a question of your own, as README says

It ends with a table of what was found, which --dry_run shows on the way. Start it again, and it
goes on: finished runs are skipped, broken ones continue from their checkpoints. The runs, their
logs and a manifest with a line a run are below --out; `python scripts/make_figures.py --collect
OUT/*/` takes their results into scripts/results, and those of studies that have a name into the
pages' tables.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import _bootstrap  # noqa: F401 (puts the root on sys.path)

from distill import cli
from distill.device import n_cores, resolve_device
from distill.errors import of_setting, run_command
from distill.files import check_folder
from distill.interruption import Interruption
from distill.progress import Progress
from distill.provenance import TEACHERS
from distill.rows import read_rows
from distill.study.axes import BEST, GRADES
from distill.study.cells import by_identity, cells_of
from distill.study.custom import plan_custom
from distill.study.jobs import Job, make_jobs, outcomes_of
from distill.study.outcomes import Outcome, beside_teachers
from distill.study.plan import Run, shard_of
from distill.study.plan import plan as plan_grid
from distill.study.rungs import read_rungs, teachers_by_grade
from distill.study.runner import Study
from distill.study.study_config import CompareConfig
from distill.study.summary import summary
from distill.tracking import last_step

OF_NAMES = cli.Switch[CompareConfig](
    "a study's name for --grid", lambda cfg: cfg.study_file is None, ("teachers_dir",)
)


class Plan(NamedTuple):
    """What a study is to do."""

    runs: list[Run]  # this shard's
    known: dict[str, Outcome]  # of runs that are done elsewhere, by what decided them
    jobs: list[Job]  # the other runs


def make_plan(cfg: CompareConfig) -> Plan:
    """List this shard's runs, and see what became of them.

    Raises:
        FileNotFoundError: if a file or a teacher is not there.
        ValueError: if a file is damaged.
    """
    known = read_known(cfg.known) if cfg.known is not None else {}
    runs = graded_runs(cfg) if cfg.study_file is None else plan_custom(cfg.study_file)
    mine = shard_of(runs, cfg.shard)
    return Plan(mine, known, make_jobs([run for run in mine if run.id not in known], cfg.out))


def graded_runs(cfg: CompareConfig) -> list[Run]:
    """List the runs of a study that has a name.

    Raises:
        FileNotFoundError: if no teacher of its games has a grade.
    """
    runs = plan_grid(cfg.grid, teachers_by_grade(cfg.teachers_dir))
    if not runs:
        wanted = f'"grade": one of {", ".join((BEST, *GRADES))}'
        raise FileNotFoundError(
            f"--teachers_dir {cfg.teachers_dir} has no teacher whose .json says {wanted}, of a game"
            f" of --grid {cfg.grid}"
        )
    return runs


def read_known(path: Path) -> dict[str, Outcome]:
    """Read the results that a file has, by what decided them."""
    if not path.is_file():
        raise FileNotFoundError(f"--known must be a .csv of results, got {path}: no such file")
    with of_setting("--known"):
        return by_identity(read_rows(path, Outcome))


def describe(job: Job) -> str:
    """Say in a line what a job is and how it stands."""
    labels = ", ".join(f"{axis} {value}" for axis, value in job.run.labels.items())
    return f"{job.run.id}  {job.status:<9} {labels}"


def count(jobs: Sequence[Job]) -> str:
    """Count the jobs by how they stand."""
    counts = Counter(job.status for job in jobs)
    return ", ".join(f"{n} {status}" for status, n in counts.items()) or "nothing to run"


def steps_of(job: Job) -> int:
    """Return how many of a job's steps are behind it."""
    total_steps = job.run.cfg.total_steps
    if job.status == "done":
        return total_steps
    try:
        return min(total_steps, last_step(job.folder))
    except ValueError:  # its file is damaged, which is for the run itself to say
        return 0


def show(cfg: CompareConfig, plan: Plan) -> None:
    """Print what is known by now, and how the jobs stand."""
    if plan.jobs:
        found = [*plan.known.values(), *outcomes_of(plan.jobs)]
        done = by_identity(beside_teachers(found, read_rungs(TEACHERS)))
        if text := summary(cells_of(plan.runs, done)):
            print(f"\n{text}\n")
    print(f"{cfg.name}: {count(plan.jobs)}")


def run_study(cfg: CompareConfig, jobs: Sequence[Job]) -> bool:
    """Run what is not done; returns whether it was interrupted."""
    shard = f"_{cfg.shard.part}-of-{cfg.shard.n}" if cfg.shard.n > 1 else ""
    todo = [job for job in jobs if job.status != "done"]
    total_steps = sum(job.run.cfg.total_steps for job in todo)
    progress = Progress(total_steps, done=sum(map(steps_of, todo)), title=cfg.name)

    def on_look() -> None:
        progress.reach(sum(map(steps_of, todo)), f"({count(jobs)})")

    def on_change(job: Job) -> None:
        if job.status == "planned":
            progress.say(f"{job.run.id}  failed, status {job.exit_status}, to be tried again")
        elif job.status != "running":
            progress.say(f"{describe(job)}  {job.seconds:,.0f} s")
        on_look()

    n_workers = cfg.workers or n_cores()
    progress.say(f"{len(todo)} runs, {n_workers} at a time; their logs: {cfg.out}/*.log")
    with Interruption() as interruption:
        Study(
            jobs,
            cfg.out / f"manifest_{cfg.name}{shard}.jsonl",
            n_workers=n_workers,
            flags=("--n_threads", str(cfg.n_threads), "--device", cfg.device),
            n_retries=cfg.retries,
            on_change=on_change,
            on_look=on_look,
        ).run(lambda: interruption.requested)
    progress.close()
    return interruption.requested


def main() -> None:
    """List the grid, or run it."""
    asked = cli.parse_command(CompareConfig, __doc__ or "")
    cfg = asked.settings
    cli.refuse_unheard(asked, [OF_NAMES])
    resolve_device(cfg.device)  # else each run would fail by itself
    plan = make_plan(cfg)
    jobs = plan.jobs
    if cfg.dry_run:
        print("".join(f"{describe(job)}\n" for job in jobs), end="")
    if cfg.dry_run or all(job.status == "done" for job in jobs):
        show(cfg, plan)
        return
    check_folder(cfg.out, flag="--out")
    interrupted = run_study(cfg, jobs)
    show(cfg, plan)
    if interrupted:
        sys.stderr.write("stopped; the same command goes on\n")
        raise KeyboardInterrupt
    if others := sum(job.status == "elsewhere" for job in jobs):
        again = "start again when it is done"
        sys.stderr.write(f"another process has {others} of these runs: {again}\n")
    if failed := [job for job in jobs if job.status == "failed"]:
        raise OSError(f"{len(failed)} runs failed; {cfg.out}/{failed[0].run.id}.log says why")


if __name__ == "__main__":
    run_command(main)
