"""What happens between two rollouts of a teacher: schedules, curves, checkpoints, the ladder."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import FloatSchedule
from typing_extensions import override

from distill.checkpoint import save_run
from distill.errors import diverged
from distill.interruption import Interruption
from distill.origins import command_of
from distill.ppo.algorithm import training_state
from distill.ppo.fast_policy import FastCnnPolicy
from distill.ppo.ladder import keep_teacher, ladder, teacher_path
from distill.ppo.predecessors import first_step
from distill.ppo.warm_start import learn_only_values
from distill.progress import Progress
from distill.provenance import provenance
from distill.run_folder import name_of, read_run
from distill.schedules import Every, LinearSchedule
from distill.tags import TAGS
from distill.teacher_config import TeacherConfig
from distill.teacher_files import is_teacher
from distill.tracking import Tracker

# 0 / 0 where all returns are alike, as they are before a game's first reward.
UNDEFINED_WITHOUT_REWARD = "train/explained_variance"


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
        *,
        progress: Progress,
        interruption: Interruption,
        tracker: Tracker,
    ) -> None:
        super().__init__()
        self._cfg, self._run_dir, self._started = cfg, run_dir, started
        self._progress, self._interruption, self._tracker = progress, interruption, tracker
        # Now, not when a teacher is kept: the checkout may have moved on by then.
        record = read_run(run_dir)
        command = f"python ppo_teacher.py {command_of(record, run_dir)}"
        self._origin = {"run": name_of(run_dir), "command": command}
        self._origin |= provenance(cfg.device, cfg.precision)
        # On record, as what it went on from may be gone; in runs of earlier versions it is not.
        self._first_step = int(record["first_step"]) if "first_step" in record else first_step(cfg)

    def _init_callback(self) -> None:
        self.model.set_logger(Logger(folder=None, output_formats=[TrackerOutput(self._tracker)]))

    def _on_training_start(self) -> None:
        cfg = self._cfg
        self._checkpoint_due = Every(cfg.checkpoint_steps, self.num_timesteps)
        self._marks = [mark for mark in ladder(cfg.last_step) if self._is_due(mark)]
        self._began = self.num_timesteps
        self._seen_score = bool(self.model.ep_info_buffer)

    def _is_due(self, mark: int) -> bool:
        """Say whether a teacher is still to be kept at `mark`, where this process begins.

        A run that could not write one was saved right there, and is resumed with it still due.
        """
        cfg = self._cfg
        if mark > self.num_timesteps:
            return True
        before = max(self._first_step, self.num_timesteps - cfg.n_envs * cfg.n_steps)
        return mark > before and not self._path(mark).exists()

    def _path(self, mark: int) -> Path:
        return teacher_path(self._cfg, self._started, self._origin["run"], mark)

    def _on_rollout_start(self) -> None:
        # The one safe place: the last rollout was learned from, the next has not begun.
        self._check_finite()
        self._keep_due_teachers()
        if self._interruption.requested:
            self._save()
            if self.num_timesteps > self._began:  # all that is left, should the run be lost
                self._keep_teacher(self.num_timesteps)
            raise KeyboardInterrupt(f"stopped at step {self.num_timesteps:,}")
        if self._checkpoint_due(self.num_timesteps):
            self._save()
        self._follow_schedules()

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
        if np.isnan(losses.get(UNDEFINED_WITHOUT_REWARD, 0.0)):
            del losses[UNDEFINED_WITHOUT_REWARD]
        bad = [k for k in losses if k.startswith("train/") and not np.isfinite(losses[k])]
        # Losses were measured before the last step; and float16 is what a teacher's zip holds.
        if not all(
            bool(p.detach().half().isfinite().all()) for p in self.model.policy.parameters()
        ):
            bad.append("weights")
        if bad:
            raise diverged(" and ".join(bad), self.num_timesteps)

    def _follow_schedules(self) -> None:
        cfg, model = self._cfg, self.model
        assert isinstance(model, PPO)
        assert isinstance(model.policy, FastCnnPolicy)
        progress = self.num_timesteps / cfg.last_step
        w_entropy = cfg.w_entropy(progress)
        falling = LinearSchedule(cfg.repeat_probability if cfg.is_fresh else 0.0, 0.0)
        probability = falling(self.num_timesteps / cfg.repeat_steps)
        model.policy.repeat_probability = probability
        # SB3 would ask for these once the rollout is played: at a run's end, where they are 0.
        model.lr_schedule = FloatSchedule(cfg.learning_rate(progress))
        model.clip_range = FloatSchedule(cfg.clip_range(progress))
        model.ent_coef = w_entropy
        if (kickstart := model.policy.kickstart) is not None:
            kickstart.w_entropy, kickstart.w_kl = w_entropy, cfg.w_kickstart(progress)
            model.ent_coef = 1.0
            kl, entropy = kickstart.pop_means()
            if kl is not None:
                self.logger.record("train/kickstart_kl", kl)
            if entropy is not None:
                self.logger.record("train/entropy_loss", -entropy)
        if cfg.init_from and not is_teacher(cfg.init_from):
            learn_only_values(model.policy, self.num_timesteps < cfg.warm_up_steps)
        self.logger.record("train/entropy_weight", w_entropy)
        self.logger.record("train/repeat_probability", probability)

    def _save(self) -> None:
        save_run(self._run_dir, training_state(self.model))

    def _keep_due_teachers(self) -> None:
        while self._marks and self.num_timesteps >= self._marks[0]:
            self._keep_teacher(self._marks.pop(0))

    def _keep_teacher(self, mark: int) -> None:
        origin = self._origin | {"wall_seconds": round(self._tracker.wall_seconds)}
        try:
            keep_teacher(self.model, self._cfg, self._started, mark=mark, origin=origin)
        except OSError:  # that is another folder than the run's, which keeps what was learned
            self._save()
            raise
