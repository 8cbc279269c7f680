"""Everything of a distillation that changes while it runs, and its way to and from a checkpoint."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill.advantages import AdvantageEstimator
from distill.config import DistillConfig
from distill.coverage import Coverage
from distill.icm import ICM, CollapseWatch
from distill.learner import Learner
from distill.networks import ActorCritic
from distill.rnd import RND
from distill.rollouts import Ring
from distill.types import Game, Teacher
from distill.uncertainty import Uncertainty


class Distillation:
    """Everything of a run that changes while it trains."""

    def __init__(
        self,
        cfg: DistillConfig,
        student: ActorCritic,
        *,
        device: torch.device,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        self.cfg, self.student, self.device, self.uncertainty = cfg, student, device, uncertainty
        self.icm = make_icm(cfg, student).to(device) if cfg.use_icm else None
        self.rnd = make_rnd(cfg).to(device) if cfg.use_rnd else None
        predictor = None if self.rnd is None else self.rnd.predictor  # its target stays as it is
        modules = [m for m in (student, self.icm, predictor) if m is not None]
        matrices = student.encoder.weights() if cfg.optimizer == "muon" else ()
        self.learner = Learner(modules, max_grad_norm=cfg.max_grad_norm, matrices=matrices)
        self.ring = Ring(
            cfg.ring_size,
            n_envs=cfg.n_envs,
            n_actions=student.n_actions,
            n_stack=student.n_stack,
            device=device,
        )
        source = self.icm if self.rnd is None else self.rnd
        self.advantage_estimator = AdvantageEstimator(cfg, student, source, device)
        averaging = get_ema_multi_avg_fn(cfg.ema_decay)
        self.average = AveragedModel(student, multi_avg_fn=averaging) if cfg.ema_decay else None
        self.coverage, self.collapse_watch = Coverage(), CollapseWatch()
        # One stream each, so that switching one use of randomness on does not shift another.
        streams = np.random.SeedSequence(cfg.seed).spawn(3)
        self.act_rng, self.ring_rng, self.policy_rng = map(np.random.default_rng, streams)
        self.games: deque[Game] = deque(maxlen=100)
        self.n_steps_done = self.n_updates = 0
        self.is_fitted = not cfg.data_init  # the student's layers, to the first states
        self.train_seconds = 0.0  # acting, labeling and learning; no evaluation, no checkpoints

    @property
    def scored_student(self) -> ActorCritic:
        """Return the student that is scored and kept: the averaged one if there is one."""
        if self.average is None:
            return self.student
        assert isinstance(self.average.module, ActorCritic)
        return self.average.module

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as tensors and plain values."""
        return {
            "steps": self.n_steps_done,
            "n_updates": self.n_updates,
            "is_fitted": self.is_fitted,
            "train_seconds": self.train_seconds,
            "games": [[game.env, game.score, game.length_steps] for game in self.games],
            "rng": [rng.bit_generator.state for rng in self._rngs()],
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned; the games start anew."""
        self.n_steps_done, self.n_updates = state["steps"], state["n_updates"]
        self.is_fitted, self.train_seconds = state["is_fitted"], state["train_seconds"]
        self.games.extend(Game(*game) for game in state["games"])
        for rng, saved in zip(self._rngs(), state["rng"], strict=True):
            rng.bit_generator.state = saved
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.ring.restart_games()

    def _parts(self) -> dict[str, Any]:
        """Return what there is with a state of its own, by its name in a checkpoint."""
        parts = {
            "student": self.student,
            "icm": self.icm,
            "rnd": self.rnd,
            "average": self.average,
            "optimizer": self.learner.optimizer,
            "ring": self.ring,
            "reward_scale": self.advantage_estimator.scale,
            "coverage": self.coverage,
            "collapse_watch": self.collapse_watch,
            "uncertainty": self.uncertainty,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _rngs(self) -> tuple[np.random.Generator, ...]:
        return self.act_rng, self.ring_rng, self.policy_rng

    def updates_due(self) -> int:
        """Return how many updates are due: one every `steps_per_update` since learning started."""
        learned_steps = self.n_steps_done - self.cfg.learning_starts
        return max(0, learned_steps // self.cfg.steps_per_update - self.n_updates)


def make_distillation(
    cfg: DistillConfig,
    teacher: Teacher,
    *,
    n_stack: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Distillation:
    """Build the student and everything that trains it.

    Args:
        cfg: settings; weights are drawn from its seed.
        teacher: whose actions the student chooses from.
        n_stack: frames that both see.
        device: where the student learns.
        dtype: compute type of its encoder.
    """
    torch.manual_seed(cfg.seed)
    student = ActorCritic(
        cfg.student, teacher.n_actions, n_stack=n_stack, dtype=dtype, with_value=cfg.use_reward
    )
    uncertainty = Uncertainty(teacher, seed=cfg.seed) if cfg.use_uncertainty else None
    return Distillation(cfg, student.to(device), device=device, uncertainty=uncertainty)


@contextmanager
def own_random_numbers(cfg: DistillConfig) -> Iterator[None]:
    """Draw weights from a stream of their own: a student starts alike with and without an ICM."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed + 1)
        yield


def make_icm(cfg: DistillConfig, student: ActorCritic) -> ICM:
    """Build the ICM from random numbers of its own."""
    with own_random_numbers(cfg):
        return ICM(student.encoder.features_dim, student.n_actions)


def make_rnd(cfg: DistillConfig) -> RND:
    """Build the RND from random numbers of its own."""
    with own_random_numbers(cfg):
        return RND()
