"""Distill a teacher into a smaller student that plays for itself.

    python scripts/run_distillation.py --use_curiosity

Without flags: the best teacher in teachers/, into net3. Ends with a table and, in a file or a pipe,
all of it as one line of JSON.
"""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import _bootstrap  # noqa: F401 (puts the root on sys.path)

from distill import cli
from distill.checkpoint import reopen, restoring, resumable, save_run, saved_settings
from distill.config import DistillConfig
from distill.device import prepare_process
from distill.envs import AtariEnvs, training_seed
from distill.errors import run_command
from distill.evaluation import MODES
from distill.fidelity import ComparedGames
from distill.files import print_for_programs, write_json
from distill.floor_caches import CACHES, first_score_note, floors_of
from distill.idle import SWITCHES, refuse_idle
from distill.interruption import Interruption
from distill.progress import Progress
from distill.protocol import EVAL_ENVS, EVAL_SEED
from distill.provenance import provenance
from distill.report import describe, describe_finished, report
from distill.run_folder import RESULT, check_files, create_run, read_result, unused
from distill.run_state import Distillation
from distill.scoring import Reference, Scorer, evaluate_modes, recorded_scores
from distill.task import (
    Task,
    default_run_dir,
    find_teacher,
    headline,
    make_games,
    make_run,
    prepare,
)
from distill.tracking import Tracker
from distill.training import Hooks, check_saveable, train_student

INTERIM_SEED = 20_000  # the best student is not chosen on the final games


def start(asked: cli.Asked[DistillConfig]) -> tuple[Task, Path, dict[str, Any] | None]:
    """Create the run's folder, or find the one to resume.

    Returns:
        What the run is about, its folder, and the checkpoint to continue from.
    """
    cfg = asked.settings
    if cfg.resume is None:
        cli.refuse_unheard(asked, SWITCHES)
        refuse_idle(cfg)
        task = prepare(cfg)
        make_games(task, 1, seed=0, training=False).close()  # refuses a teacher of other actions
        # The teacher is written down by name: a better one may ship when the run is resumed.
        fixed = replace(cfg, teacher_chkpt=task.teacher_path, env=task.env_id)
        made_by = provenance(cfg.device, cfg.precision)
        # Last, so that no other run of this second takes the name meanwhile.
        run_dir = cfg.run_dir or unused(default_run_dir(task))
        create_run(run_dir, fixed, made_by=made_by, files={"teacher_chkpt": task.teacher_path})
        return task._replace(cfg=fixed), run_dir, None
    saved, record, state = reopen(asked, cfg.resume)
    teacher = find_teacher(saved)
    check_files(cfg.resume, record, {"teacher_chkpt": teacher})
    return prepare(replace(saved, teacher_chkpt=teacher)), cfg.resume, state


def finished(asked: cli.Asked[DistillConfig]) -> tuple[dict[str, Any], str] | None:
    """Return result and table of the run to resume, if it is finished; it needs no checkpoint then.

    Raises:
        FileNotFoundError, ValueError: if it is no run, more is asked for, or the result is damaged.
    """
    run_dir = asked.settings.resume
    if run_dir is None:
        return None
    try:
        record = read_result(run_dir)
    except ValueError as error:
        sys.stderr.write(f"{error}: it is made anew\n")
        return None
    if record is None:
        return None
    saved_settings(asked, run_dir)  # which refuses others
    table = describe_finished(run_dir, record)
    sys.stderr.write(f"{run_dir} is finished; its result:\n")
    return record, table


def find_reference(task: Task, envs: AtariEnvs, n_games: int) -> Reference:
    """Return the teacher's scores and the floors: those on record, else measured now."""
    floors, warnings = floors_of(task.env_id, envs, n_games, seed=EVAL_SEED, caches=CACHES)
    sys.stderr.writelines(f"{warning}\n" for warning in warnings)
    scores = recorded_scores(task.teacher_path, task.env_id, n_games)
    if scores is None:
        keep = f"python eval_teacher.py --teacher_chkpt {shlex.quote(str(task.teacher_path))}"
        print(f"no score of the teacher is on record; to keep one: {keep} --write_score")
        scores = evaluate_modes(
            task.teacher, envs, n_games, seed=EVAL_SEED, device=task.device, title="teacher"
        )
    return Reference(scores, floors.first(n_games))


def make_scorer(
    task: Task, run: Distillation, reference: Reference, run_dir: Path, tracker: Tracker
) -> Scorer:
    """Build what scores the student, on the way and in the end."""
    return Scorer(
        run.scored_student,
        reference,
        run_dir=run_dir,
        tracker=tracker,
        metadata={"teacher": task.teacher_path.name, "env_id": task.env_id},
        seed=EVAL_SEED,
        device=task.device,
        modes=MODES if task.cfg.eval_greedy else ("sampled",),
    )


def train(task: Task, run: Distillation, scorer: Scorer, run_dir: Path, tracker: Tracker) -> None:
    """Train to the end; on Ctrl-C save, say how to go on, and stop the program."""
    cfg = task.cfg
    first_seed = training_seed(cfg.seed, run.n_steps_done)
    envs = make_games(task, cfg.n_envs, seed=first_seed, training=True)
    n_interim = cfg.n_interim_episodes
    interim_envs = make_games(task, min(EVAL_ENVS, n_interim), seed=INTERIM_SEED, training=False)
    progress = Progress(cfg.total_steps, done=run.n_steps_done, title="distillation")

    def evaluate(step: int) -> None:
        if step < cfg.total_steps:  # the final score follows
            progress.say(scorer.interim(interim_envs, n_interim, step))

    def save() -> None:
        check_saveable(run)
        save_run(run_dir, run.state_dict())

    def save_on_the_way(step: int) -> None:
        if step < cfg.total_steps:  # the last one follows
            save()

    with Interruption() as interruption:
        hooks = Hooks(
            evaluate=evaluate,
            checkpoint=save_on_the_way,
            should_stop=lambda: interruption.requested,
            on_progress=progress.update,
        )
        train_student(run, envs, task.teacher, tracker=tracker, hooks=hooks)
    progress.close()
    save()
    if interruption.requested:  # be it during the last steps: the final score takes minutes
        raise KeyboardInterrupt(f"stopped at step {run.n_steps_done:,}")


def run_to_end(
    task: Task, run: Distillation, run_dir: Path, state: dict[str, Any] | None
) -> dict[str, Any]:
    """Train to the end and score; returns the result, which result.json holds too."""
    cfg = task.cfg
    origin = provenance(cfg.device, cfg.precision)  # of the code that runs, whatever comes after it
    print(headline(task, run_dir))
    if (n_left := cfg.total_steps - run.n_steps_done) > 0:  # else it is scored only
        print(first_score_note(task.env_id, cfg.n_envs, n_left))
    n_games = cfg.n_eval_episodes
    final_envs = make_games(task, min(EVAL_ENVS, n_games), seed=EVAL_SEED, training=False)
    with Tracker(run_dir, resume_step=None if state is None else run.n_steps_done) as tracker:
        reference = find_reference(task, final_envs, n_games)
        scorer = make_scorer(task, run, reference, run_dir, tracker)
        train(task, run, scorer, run_dir, tracker)
        games = ComparedGames(final_envs, run.scored_student, task.teacher, task.device)
        student = scorer.final(games, n_games, run.n_steps_done)
        record = report(
            task.teacher,
            run,
            teacher_name=task.teacher_path.name,
            reference=reference,
            student=student,
            fresh=games.fidelity,
        )
        record |= origin | {
            "run_dir": str(run_dir),
            "wall_seconds": tracker.wall_seconds,
            "train_seconds": run.train_seconds,
            "steps_per_second": run.n_steps_done / run.train_seconds,
        }
        tracker.finish(record["settings"], ("eval/mean_reward", "distill/kl"))
    write_json(run_dir / RESULT, record)
    return record


def distill(task: Task, run_dir: Path, state: dict[str, Any] | None) -> dict[str, Any]:
    """Run to the end, from the start or from a checkpoint; say how to go on where it is stopped."""
    with resumable("scripts/run_distillation.py", run_dir, is_new=state is None):
        run = make_run(task)
        if state is None:  # from here on the run can be resumed, whenever it dies
            save_run(run_dir, run.state_dict())
        else:
            with restoring(run_dir):
                run.load_state_dict(state)
            if run.n_steps_done < task.cfg.total_steps:
                print(f"going on at step {run.n_steps_done:,}")
        return run_to_end(task, run, run_dir, state)


def main() -> None:
    """Distill, unless it is done already; score; print."""
    asked = cli.parse_command(DistillConfig, __doc__ or "")
    prepare_process()
    done = finished(asked)
    if done is None:
        task, run_dir, state = start(asked)
        prepare_process(task.cfg.n_threads)
        record = distill(task, run_dir, state)
        done = record, describe(record)
    record, table = done
    print(f"\n{table}")
    print_for_programs(record)


if __name__ == "__main__":
    run_command(main)
