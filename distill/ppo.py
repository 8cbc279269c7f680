"""PPO teachers as stable-baselines3 trains them: building, checkpoints, the ladder, curves."""

import json
import sys
from collections import deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from typing_extensions import override

from distill import cli
from distill.checkpoint import save_run
from distill.config import TeacherConfig
from distill.device import resolve_device, resolve_precision
from distill.envs import make_atari, sticky_probability
from distill.fast_policy import N_STACK, FastCnnPolicy, FastRolloutBuffer, policy_kwargs
from distill.files import write_atomically, write_text
from distill.progress import Interruption, Progress
from distill.provenance import provenance
from distill.results import without_places
from distill.sb3 import AtariVecEnv, export_zip
from distill.schedules import Every, LinearSchedule
from distill.teacher import read_record
from distill.tracking import TAGS, Tracker, read_run

PLACES = ("teachers_dir", "run_dir", "resume")  # of one machine, no part of what a teacher is


def ladder(total_steps: int) -> list[int]:
    """Return the steps at which a teacher is kept: about six a power of ten, and the end.

    On Pong a policy goes from hopeless to good within half a power of ten.
    """
    marks = [m * 10 ** (k - 1) for k in range(4, 13) for m in (10, 15, 20, 30, 50, 70)]
    return [*(mark for mark in marks if mark < total_steps), total_steps]


def build(cfg: TeacherConfig, *, first_step: int = 0) -> PPO:
    """Build SB3's PPO on our games.

    Args:
        cfg: the run's settings.
        first_step: where training starts; a resumed run plays other games than the run it
        continues.
    """
    device = resolve_device(cfg.device)
    seed = (cfg.seed + first_step) % 2**32  # all that numpy takes
    envs = make_atari(
        cfg.env,
        cfg.n_envs,
        seed=1000 * cfg.seed + first_step,
        training=True,
        n_threads=cfg.n_threads,
    )
    return PPO(
        FastCnnPolicy,
        AtariVecEnv(envs),
        n_steps=cfg.n_steps,
        batch_size=cfg.batch_size,
        n_epochs=cfg.n_epochs,
        learning_rate=lambda remaining: cfg.learning_rate(1 - remaining),
        clip_range=lambda remaining: cfg.clip_range(1 - remaining),
        gamma=cfg.gamma,
        gae_lambda=cfg.gae_lambda,
        vf_coef=cfg.w_value,
        ent_coef=cfg.w_entropy.start,
        max_grad_norm=cfg.max_grad_norm,
        rollout_buffer_class=FastRolloutBuffer,
        policy_kwargs=policy_kwargs(cfg.network, resolve_precision(cfg.precision, device)),
        seed=seed,
        device=device,
    )


def learn(
    model: PPO, n_steps: int, callback: BaseCallback, *, log_interval: int, fresh: bool
) -> None:
    """Train for `n_steps` more steps; `fresh` starts the counters at 0.

    Raises:
        DivergedError: if a loss or the policy's answer is not finite.
    """
    try:
        model.learn(n_steps, callback, log_interval=log_interval, reset_num_timesteps=fresh)
    except RuntimeError as error:  # torch.multinomial refuses NaN so
        if "probability tensor" not in str(error):
            raise
        raise cli.DivergedError(
            f"policy logits not finite at step {model.num_timesteps}; lower --learning_rate;"
            " the last checkpoint is intact"
        ) from error


def training_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return all that a resumed run needs, as plain values; games and random numbers restart."""
    return {
        "steps": model.num_timesteps,
        "n_updates": model._n_updates,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (SB3 has no public name for it)
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "games": [[float(game["r"]), int(game["l"])] for game in model.ep_info_buffer or ()],
    }


def restore(model: PPO, state: dict[str, Any]) -> None:
    """Put back what `training_state` returned."""
    model.set_parameters({"policy": state["policy"], "policy.optimizer": state["optimizer"]})
    model.num_timesteps = state["steps"]
    model._n_updates = state["n_updates"]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (SB3 has no public name for it)
    model.ep_info_buffer = deque(
        ({"r": score, "l": length} for score, length in state["games"]), maxlen=100
    )
    model.ep_success_buffer = deque(maxlen=100)


def name_prefix(cfg: TeacherConfig, started: datetime, run: str) -> str:
    """Return how a run's teachers are called: after game and start, `env{ENV}_{DATE}-{TIME}`.

    A second later where another run has the name already: two may start at once.
    """
    while True:
        prefix = f"env{cfg.env.replace('/', '-')}_{started:%Y%m%d-%H%M%S}"
        namesakes = cfg.teachers_dir.glob(f"{prefix}_*.zip")
        if all(read_record(path).get("run") == run for path in namesakes):
            return prefix
        started += timedelta(seconds=1)


def keep_teacher(
    model: BaseAlgorithm, cfg: TeacherConfig, started: datetime, mark: int, origin: dict[str, Any]
) -> Path:
    """Write a teacher's zip and the .json beside it; returns the zip's path.

    Args:
        model: what was trained.
        cfg: the run's settings.
        started: when the run began; all of its teachers carry this date.
        mark: the ladder's round number, which names the file; the .json has the exact steps.
        origin: run, command, time taken, and commit, versions and machine of the process.
    """
    path = cfg.teachers_dir / f"{name_prefix(cfg, started, origin['run'])}_n_iters{mark}.zip"
    games = [game["r"] for game in model.ep_info_buffer or ()]
    record = {
        "env_id": cfg.env,
        "steps": model.num_timesteps,
        "seed": cfg.seed,
        "network": str(cfg.network),
        "n_stack": N_STACK,
        "sticky_probability": sticky_probability(cfg.env),
        "training_score": float(np.mean(games)) if games else None,
        "training_games": len(games),
        "settings": {k: v for k, v in cli.to_yaml(cfg).items() if k not in PLACES},
        **origin,
    }
    policy, space = model.policy, model.action_space
    assert isinstance(policy, FastCnnPolicy)
    assert isinstance(space, Discrete)
    write_atomically(path, lambda temporary: export_zip(policy, int(space.n), temporary))
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    return path


class TrackerOutput(KVWriter):
    """Sends what SB3 logs to our tracker: TensorBoard and metrics.csv."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    @override
    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Log the values that have a documented tag."""
        self._tracker.log({k: v for k, v in key_values.items() if k in TAGS}, step)

    def close(self) -> None:
        """Leave the tracker open; its `with` block closes it."""


class TeacherCallback(BaseCallback):
    """Between two rollouts: checkpoint when due, keep the ladder's teachers, stop when asked to."""

    def __init__(
        self,
        cfg: TeacherConfig,
        run_dir: Path,
        started: datetime,
        progress: Progress,
        interruption: Interruption,
        tracker: Tracker,
    ) -> None:
        super().__init__()
        self._cfg, self._run_dir, self._started = cfg, run_dir, started
        self._progress, self._interruption, self._tracker = progress, interruption, tracker
        # Now, not when a teacher is kept: the checkout may have moved on by then.
        words = without_places(list(map(str, read_run(run_dir)["argv"])))
        command = " ".join(["python ppo_teacher.py", *words])
        self._origin = {"run": run_dir.name, "command": command} | provenance()

    def _init_callback(self) -> None:
        self.model.set_logger(Logger(folder=None, output_formats=[TrackerOutput(self._tracker)]))

    def _on_training_start(self) -> None:
        assert self._cfg.total_steps is not None
        self._checkpoint_due = Every(self._cfg.checkpoint_steps, self.num_timesteps)
        self._marks = [mark for mark in ladder(self._cfg.total_steps) if mark > self.num_timesteps]
        self._seen_score = bool(self.model.ep_info_buffer)

    def _on_rollout_start(self) -> None:
        # The one safe place: the last rollout was learned from, the next has not begun.
        self._check_finite()
        self._keep_due_teachers()
        if self._interruption.requested:
            self._save()
            resume = f"python ppo_teacher.py --resume {self._run_dir}"
            sys.stderr.write(f"\nstopped at step {self.num_timesteps:,}; continue with: {resume}\n")
            raise KeyboardInterrupt
        if self._checkpoint_due(self.num_timesteps):
            self._save()
        self._set_exploration()

    def _on_step(self) -> bool:
        scores = self.model.ep_info_buffer
        if scores and not self._seen_score:
            self._seen_score = True
            self._progress.say(f"first score {scores[0]['r']:g} after {self.num_timesteps:,} steps")
        note = (
            f"score {np.mean([game['r'] for game in scores]):.1f}"
            if scores
            else "no game finished yet"
        )
        self._progress.update(self.training_env.num_envs, note)
        return True

    def _on_training_end(self) -> None:
        self._check_finite()
        self._keep_due_teachers()
        self._save()

    def _check_finite(self) -> None:
        losses = self.logger.name_to_value  # of the last update, until they are written
        bad = [k for k in losses if k.startswith("train/") and not np.isfinite(losses[k])]
        if bad:
            raise cli.DivergedError(
                f"{' and '.join(bad)} not finite at step {self.num_timesteps}; lower"
                " --learning_rate; the last checkpoint is intact"
            )

    def _set_exploration(self) -> None:
        assert isinstance(self.model.policy, FastCnnPolicy)
        falling = LinearSchedule(self._cfg.repeat_probability, 0.0)
        probability = falling(self.num_timesteps / self._cfg.repeat_steps)
        self.model.policy.repeat_probability = probability
        assert isinstance(self.model, PPO)
        assert self._cfg.total_steps is not None
        self.model.ent_coef = self._cfg.w_entropy(self.num_timesteps / self._cfg.total_steps)
        self.logger.record("train/repeat_probability", probability)

    def _save(self) -> None:
        save_run(self._run_dir, training_state(self.model))

    def _keep_due_teachers(self) -> None:
        while self._marks and self.num_timesteps >= self._marks[0]:
            origin = self._origin | {"wall_seconds": round(self._tracker.wall_seconds)}
            keep_teacher(self.model, self._cfg, self._started, self._marks.pop(0), origin)
