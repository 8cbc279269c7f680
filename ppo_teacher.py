"""Train a PPO teacher on an Atari game with stable-baselines3: `python ppo_teacher.py 1e7`.

The algorithm is SB3's own PPO; the games, the forward pass, checkpoints and curves are ours. It
differs from `make_atari_env` + CnnPolicy in: whole games are seeded per emulator, FIRE after a lost
life is one step of the learner (SB3 hides it) and counts as the action that it chose there, the
encoder's weights take Muon's steps in runs of up to 3e6 steps, Adam is fused, schedules say what
holds from a rollout's start on (SB3's rates: from its end), layers start standardized on real
states, the critic at 0, and at first actions are held to explore. For rl-zoo's Atari preset:
`--n_envs 8 --n_epochs 4 --optimizer adam --learning_rate 2.5e-4:0 --clip_range 0.1:0
--w_entropy 0.01 --repeat_probability 0 --no-data_init`.

`python ppo_teacher.py 2e7 --resume RUN` gives a run more steps than it was started with, and
`python ppo_teacher.py 2e7 --init_from TEACHER.zip` does so where only a teacher of it is left.
"""

import shlex
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from distill import cli
from distill.checkpoint import reopen, restoring, resumable, save_run
from distill.device import prepare_process, resolve_device
from distill.envs import check_env_id
from distill.errors import run_command
from distill.files import check_folder
from distill.floor_caches import first_score_note
from distill.game_names import game_in_names
from distill.interruption import Interruption
from distill.ppo.algorithm import build, learn, restore, training_state
from distill.ppo.callback import TeacherCallback
from distill.ppo.ladder import teacher_path
from distill.ppo.predecessors import (
    SWITCHES,
    check_networks,
    check_steps,
    first_step,
    note_of_other_games,
    with_own_game,
)
from distill.ppo.warm_start import begin_with
from distill.progress import Progress
from distill.provenance import provenance
from distill.run_folder import (
    check_files,
    create_run,
    lengthen_run,
    name_of,
    started_at,
    time_stamp,
    unused,
)
from distill.teacher_config import TeacherConfig
from distill.tracking import Tracker

LOG_EVERY_STEPS = 10_000
MIN_LOGS = 100  # a short run logs at least so often, as far as its rollouts allow


def check_settings(cfg: TeacherConfig) -> None:
    """Refuse what would fail later, while there is nothing to clean up.

    Raises:
        ValueError: naming the setting, the value and what is allowed.
    """
    if cfg.total_steps is None:
        raise ValueError(
            "total_steps is missing: say how long to train, as in `python ppo_teacher.py 1e7`"
        )
    check_env_id(cfg.env)
    resolve_device(cfg.device)
    check_folder(cfg.teachers_dir, flag="--teachers_dir")
    n_samples = min(cfg.batch_size, cfg.n_envs * cfg.n_steps)
    if n_samples < 2:  # SB3 normalizes advantages
        raise ValueError(
            f"--batch_size and --n_envs x --n_steps must be at least 2, got {n_samples}"
        )


def start(
    asked: cli.Asked[TeacherConfig],
) -> tuple[TeacherConfig, Path, datetime, dict[str, Any] | None]:
    """Create the run's folder, or find the one to resume.

    Returns:
        The settings, the folder, when the run was first started, and the checkpoint to continue
        from.
    """
    cfg = asked.settings
    if cfg.resume is None:
        cli.refuse_unheard(asked, SWITCHES)
        cfg = cfg if "env" in asked.names else with_own_game(cfg)
        check_settings(cfg)
        cfg = check_networks(cfg, size_is_asked_for="network" in asked.names)
        check_steps(cfg)
        made_by = provenance(cfg.device, cfg.precision)
        name = f"teacher_{game_in_names(cfg.env)}_{time_stamp()}_seed{cfg.seed}"
        # Last, so that no other run of this second takes the name meanwhile.
        run_dir = cfg.run_dir or unused(Path("runs") / name)
        record = create_run(
            run_dir, cfg, made_by=made_by, files=files_read_again(cfg), first_step=first_step(cfg)
        )
        return cfg, run_dir, started_at(run_dir, record), None
    saved, record, state = reopen(asked, cfg.resume, beside=("total_steps",))
    started = started_at(cfg.resume, record)
    check_folder(saved.teachers_dir, flag="--teachers_dir")
    check_files(cfg.resume, record, files_read_again(saved))
    if saved.total_steps is None:
        raise ValueError(f"--resume {cfg.resume}: its config.yaml has no total_steps")
    if cfg.total_steps is not None:
        saved = lengthen(saved, cfg.total_steps, done=state["steps"], run_dir=cfg.resume)
    return saved, cfg.resume, started, state


def files_read_again(cfg: TeacherConfig) -> dict[str, Path]:
    """Return the files that a resumed run reads, by setting; what it began with is none."""
    return {} if cfg.kickstart is None else {"kickstart": cfg.kickstart}


def lengthen(saved: TeacherConfig, total_steps: int, *, done: int, run_dir: Path) -> TeacherConfig:
    """Give a run more steps; its schedules stretch over all of them, so that rates rise once more.

    Raises:
        ValueError: if there would be fewer, or no more than the rollouts so far have had.
    """
    if total_steps < saved.last_step:
        raise ValueError(
            f"total_steps must be at least the {saved.last_step:,} of --resume {run_dir}, got"
            f" {total_steps:,}"
        )
    if saved.last_step < total_steps <= done:
        raise ValueError(
            f"total_steps must be above the {done:,} that --resume {run_dir} has done, got"
            f" {total_steps:,}"
        )
    return replace(saved, total_steps=total_steps)


def train(
    cfg: TeacherConfig, run_dir: Path, started: datetime, state: dict[str, Any] | None
) -> None:
    """Train, from the start or from a checkpoint, to the total that was asked for."""
    done = first_step(cfg) if state is None else state["steps"]
    title = f"training {cfg.env} for {cfg.last_step:,} steps in {run_dir}"
    if state is None:  # building takes its time, and cannot be refused any more
        print(f"{title}{note_of_other_games(cfg)}")
    model = build(cfg, first_step=done)
    begin_with(model, cfg, is_new=state is None)
    if state is not None:
        with restoring(run_dir):
            restore(model, state)
    with (
        Tracker(run_dir, resume_step=None if state is None else done) as tracker,
        Interruption() as interruption,
    ):
        if state is None:  # from here on the run can be resumed, whenever it dies
            save_run(run_dir, training_state(model))
        else:
            made_by = provenance(cfg.device, cfg.precision)
            lengthen_run(run_dir, cfg.last_step, done, made_by=made_by)  # now the folder is ours
            print(title)
        say_what_is_left(cfg, done, is_new=state is None)
        progress = Progress(cfg.last_step, done=done)
        callback = TeacherCallback(
            cfg, run_dir, started, progress=progress, interruption=interruption, tracker=tracker
        )
        log_every_steps = min(LOG_EVERY_STEPS, cfg.last_step // MIN_LOGS)
        log_interval = max(1, log_every_steps // (cfg.n_envs * cfg.n_steps))
        learn(model, cfg.last_step - done, callback, log_interval=log_interval)
        progress.close()


def say_what_is_left(cfg: TeacherConfig, done: int, *, is_new: bool) -> None:
    """Print where a run goes on and when to expect a score, or that nothing is left to do."""
    n_steps = cfg.last_step - done
    if n_steps <= 0:  # all that may be missing is its last teacher
        print("all steps are done; to go on, give a larger total beside --resume")
        return
    if done or not is_new:
        print(f"going on at step {done:,}")
    print(f"optimizer {cfg.optimizer}, learning rate {cfg.learning_rate}")
    print(first_score_note(cfg.env, cfg.n_envs, n_steps))


def main() -> None:
    """Train; say where the teacher is, and how to go on."""
    asked = cli.parse_command(TeacherConfig, __doc__ or "")
    prepare_process()
    cfg, run_dir, started, state = start(asked)
    prepare_process(cfg.n_threads)
    with resumable("ppo_teacher.py", run_dir, is_new=state is None):
        train(cfg, run_dir, started, state)
    made = shlex.quote(str(teacher_path(cfg, started, name_of(run_dir), cfg.last_step)))
    print(f"done; score it with: python eval_teacher.py --teacher_chkpt {made}")
    print("(--write_score keeps the scores for later distillations)")
    print(f"distill it with: python scripts/run_distillation.py --teacher_chkpt {made}")
    print(f"curves: tensorboard --logdir {shlex.quote(str(run_dir.parent))}")


if __name__ == "__main__":
    run_command(main)
