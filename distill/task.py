"""The task of a distillation: settings, teacher, game and device, all checked before it begins."""

import sys
from pathlib import Path
from typing import NamedTuple

import torch

from distill.config import DistillConfig
from distill.device import resolve_device, resolve_precision
from distill.envs import AtariEnvs, check_env_id
from distill.errors import of_setting
from distill.game_names import game_in_names
from distill.options import DEFAULT_ENV
from distill.player import find_game, games_for
from distill.provenance import TEACHERS
from distill.run_folder import time_stamp
from distill.run_state import Distillation, make_distillation
from distill.teacher import FrozenPolicy, load_teacher
from distill.teacher_files import best_teacher, env_id_of


class Task(NamedTuple):
    """What a run is about, fixed before it begins."""

    cfg: DistillConfig
    teacher_path: Path
    env_id: str
    teacher: FrozenPolicy
    device: torch.device
    dtype: torch.dtype


def find_teacher(cfg: DistillConfig) -> Path:
    """Return the teacher asked for, else the game's best.

    If it is not where the settings say, the one of its name in teachers/ is meant, which is said on
    standard error: names hold the second that training began in, and settings come from other
    folders and machines, too.
    """
    path = cfg.teacher_chkpt
    if path is None:
        return best_teacher(TEACHERS, check_env_id(cfg.env or DEFAULT_ENV))
    here = TEACHERS / path.name
    if path.exists() or not here.exists():
        return path
    sys.stderr.write(f"--teacher_chkpt {path} is not there: {here} is taken for it\n")
    return here


def check_ring(cfg: DistillConfig, n_stack: int) -> None:
    """Check that the ring holds whole stacks of the newest rollout, and a state with its successor.

    Raises:
        ValueError: otherwise. At four frames the settings have been checked already.
    """
    least = cfg.n_envs * max(cfg.n_steps + n_stack - 1, n_stack + 1)
    if cfg.ring_size < least:
        raise ValueError(
            f"--ring_size must be at least {least} with a teacher that sees {n_stack} frames, got"
            f" {cfg.ring_size}"
        )


def prepare(cfg: DistillConfig) -> Task:
    """Check and load all that a run needs, before its folder is made.

    Raises:
        FileNotFoundError, ValueError: if a teacher, a game or a device is not there. Whether the
            former two fit each other is checked by `make_games`.
    """
    device = resolve_device(cfg.device)
    dtype = resolve_precision(cfg.precision, device)
    path = find_teacher(cfg)
    with of_setting("--teacher_chkpt"):
        teacher = load_teacher(path, device=device, dtype=dtype)
    check_ring(cfg, teacher.n_stack)
    env_id = find_game(cfg.env, {str(path): env_id_of(path)})
    return Task(cfg, path, env_id, teacher, device, dtype)


def headline(task: Task, run_dir: Path) -> str:
    """Say what is done, and if the teacher is another game's: `--config` may have brought an id."""
    own = env_id_of(task.teacher_path)
    trained = "" if own in (None, task.env_id) else f", trained on {own},"
    what = f"distilling {task.teacher_path}{trained} into {task.cfg.student}"
    return f"{what} on {task.env_id}, in {run_dir}"


def make_games(task: Task, n_envs: int, *, seed: int, training: bool) -> AtariEnvs:
    """Build games as the teacher sees them; ValueError if it knows another number of actions."""
    n_threads = task.cfg.n_threads
    return games_for(
        task.teacher, task.env_id, n_envs, seed=seed, training=training, n_threads=n_threads
    )


def make_run(task: Task) -> Distillation:
    """Build the student and everything that trains it."""
    cfg, teacher = task.cfg, task.teacher
    n_stack, device = teacher.n_stack, task.device
    return make_distillation(cfg, teacher, n_stack=n_stack, device=device, dtype=task.dtype)


def default_run_dir(task: Task) -> Path:
    """Name a new folder after game, student, kind of run, time and seed."""
    cfg = task.cfg
    student = str(cfg.student).replace(",", "-")
    game = game_in_names(task.env_id)
    name = f"distill_{game}_{student}_{kind_of_run(cfg)}_{time_stamp()}_seed{cfg.seed}"
    return Path("runs") / name


def kind_of_run(cfg: DistillConfig) -> str:
    """Name what a run learns from, as TensorBoard lists it: `plain`, `curious-both-uncertain`.

    `untaught` is what no teacher teaches, `rewarded` what learns from the game's reward beside one;
    a loss is named where it is not the default one.
    """
    words = [] if cfg.use_teacher else ["untaught"]
    if cfg.use_curiosity:
        words += ["curious", "rnd" if cfg.curiosity_source == "rnd" else cfg.curiosity]
    if cfg.use_teacher and not cfg.c_ext.is_zero:
        words.append("rewarded")
    words = words or ["plain"]
    if cfg.use_uncertainty:
        words.append("uncertain")
    if cfg.use_teacher and cfg.loss != DistillConfig.loss:
        words.append(cfg.loss)
    return "-".join(words)
