"""The ladder: teachers kept on the way, each a zip with a record beside it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3.common.base_class import BaseAlgorithm

from distill.envs import sticky_probability
from distill.files import locked, write_atomically, write_json
from distill.options import FOLDERS
from distill.origins import name_alone
from distill.ppo.fast_policy import FastCnnPolicy
from distill.ppo.sb3 import export_zip
from distill.settings import to_mapping
from distill.teacher_config import TeacherConfig
from distill.teacher_files import prefix_of, read_record, teacher_name
from distill.types import N_STACK


def ladder(total_steps: int) -> list[int]:
    """Return the steps at which a teacher is kept: about six a power of ten, and the end.

    On Pong a policy goes from hopeless to good within half a power of ten.
    """
    marks = [m * 10 ** (k - 1) for k in range(4, 13) for m in (10, 15, 20, 30, 50, 70)]
    return [*(mark for mark in marks if mark < total_steps), total_steps]


def teacher_path(cfg: TeacherConfig, started: datetime, run: str, mark: int) -> Path:
    """Return where a run's teacher is kept: `env{ENV}_{DATE}-{TIME}_n_iters{MARK}.zip`.

    Date and time are those of the run's start, a second later where another run has the name
    already: two may start at once, in folders of one name. Runs of one name are told apart by the
    microsecond, which records of earlier versions lack.
    """
    date, exactly = started, started.isoformat()
    while True:
        prefix = prefix_of(cfg.env, date)
        records = [read_record(path) for path in cfg.teachers_dir.glob(f"{prefix}_*.zip")]
        if all(r.get("run") == run and r.get("started", exactly) == exactly for r in records):
            return cfg.teachers_dir / teacher_name(prefix, mark)
        date += timedelta(seconds=1)


def _describe(model: BaseAlgorithm, cfg: TeacherConfig) -> dict[str, Any]:
    """Say what a teacher is, and how it did while training; of files, their names alone."""
    games = [game["r"] for game in model.ep_info_buffer or ()]
    settings = {k: v for k, v in to_mapping(cfg).items() if k not in FOLDERS}
    return {
        "env_id": cfg.env,
        "steps": model.num_timesteps,
        "seed": cfg.seed,
        "network": str(cfg.network),
        "n_stack": N_STACK,
        "sticky_probability": sticky_probability(cfg.env),
        "training_score": float(np.mean(games)) if games else None,
        "training_games": len(games),
        "settings": {k: name_alone(v) if isinstance(v, str) else v for k, v in settings.items()},
    }


def keep_teacher(
    model: BaseAlgorithm,
    cfg: TeacherConfig,
    started: datetime,
    *,
    mark: int,
    origin: dict[str, Any],
) -> Path:
    """Write a teacher's zip and the .json beside it; returns the zip's path.

    Args:
        model: what was trained.
        cfg: the run's settings.
        started: when the run began; all of its teachers carry this date.
        mark: the ladder's round number, which names the file, or that of a run that was stopped;
            the .json has the exact steps.
        origin: run, command, time taken, and commit, versions and machine of the process.
    """
    record = _describe(model, cfg) | {"started": started.isoformat()} | origin
    policy, space = model.policy, model.action_space
    assert isinstance(policy, FastCnnPolicy)
    assert isinstance(space, Discrete)

    cfg.teachers_dir.mkdir(parents=True, exist_ok=True)
    with locked(cfg.teachers_dir, wait=True):  # another run might find the same name to be free
        path = teacher_path(cfg, started, origin["run"], mark)

        def write(temporary: Path) -> None:
            export_zip(policy, int(space.n), temporary)
            # Before the zip has its name: without a record it would pass for another run's.
            write_json(path.with_suffix(".json"), record)

        write_atomically(path, write)
    return path
