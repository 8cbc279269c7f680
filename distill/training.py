"""The heart: the loop that acts, labels, rewards and learns."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill import losses
from distill.acting import Actor
from distill.advantages import NewestRollout, Rewarder
from distill.cli import DivergedError
from distill.config import DistillConfig
from distill.icm import ICM
from distill.labels import label
from distill.learner import Learner
from distill.networks import Student
from distill.objective import Losses, compute_losses
from distill.rollouts import Ring
from distill.schedules import Every
from distill.tracking import Tracker
from distill.types import Batch, Envs, Game, Teacher
from distill.uncertainty import Uncertainty

GRAD_NORMS_EVERY_LOGS = 5


class Distillation:
    """Everything of a run that changes while it trains."""

    def __init__(
        self,
        cfg: DistillConfig,
        student: Student,
        *,
        n_stack: int,
        device: torch.device,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        self.cfg, self.student, self.device, self.uncertainty = cfg, student, device, uncertainty
        self.icm = make_icm(cfg, student).to(device) if cfg.use_icm else None
        modules = [student] if self.icm is None else [student, self.icm]
        self.learner = Learner(modules, max_grad_norm=cfg.max_grad_norm)
        self.ring = Ring(cfg.ring_size, cfg.n_envs, student.n_actions, n_stack, device)
        self.rewarder = Rewarder(cfg, student, self.icm, device)
        # One stream each, so that switching one use of randomness on does not shift another.
        streams = np.random.SeedSequence(cfg.seed).spawn(3)
        self.act_rng, self.ring_rng, self.policy_rng = map(np.random.default_rng, streams)
        self.games: deque[Game] = deque(maxlen=100)
        self.n_steps_done = self.n_updates = 0
        self.train_seconds = 0.0  # acting, labeling and learning; no evaluation, no checkpoints

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as tensors and plain values."""
        return {
            "steps": self.n_steps_done,
            "n_updates": self.n_updates,
            "train_seconds": self.train_seconds,
            "student": self.student.state_dict(),
            "icm": None if self.icm is None else self.icm.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "ring": self.ring.state(),
            "reward_scale": self.rewarder.scale.state(),
            "games": [[game.env, game.score, game.length_steps] for game in self.games],
            "rng": [rng.bit_generator.state for rng in self._rngs()],
            "uncertainty": None if self.uncertainty is None else self.uncertainty.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` returned; the games start anew."""
        self.n_steps_done, self.n_updates = state["steps"], state["n_updates"]
        self.train_seconds = state["train_seconds"]
        self.student.load_state_dict(state["student"])
        if self.icm is not None:
            self.icm.load_state_dict(state["icm"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.ring.load_state(state["ring"])
        self.ring.restart_games()
        self.rewarder.scale.load_state(state["reward_scale"])
        self.games.extend(Game(*game) for game in state["games"])
        for rng, saved in zip(self._rngs(), state["rng"], strict=True):
            rng.bit_generator.state = saved
        if self.uncertainty is not None:
            self.uncertainty.load_state(state["uncertainty"])

    def _rngs(self) -> tuple[np.random.Generator, ...]:
        return self.act_rng, self.ring_rng, self.policy_rng

    def updates_due(self) -> int:
        """Return how many updates are due: one every `steps_per_update` since learning started."""
        learned_steps = self.n_steps_done - self.cfg.learning_starts
        return max(0, learned_steps // self.cfg.steps_per_update - self.n_updates)


def make_icm(cfg: DistillConfig, student: Student) -> ICM:
    """Build the ICM from random numbers of its own: the student starts alike without it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed + 1)
        return ICM(student.encoder.features_dim, student.n_actions)


class Hooks(NamedTuple):
    """What the loop calls out to when due; each gets the step."""

    evaluate: Callable[[int], None]
    checkpoint: Callable[[int], None]
    should_stop: Callable[[], bool]
    on_progress: Callable[[int, str], None]  # steps played since the last call, a few words


def train_student(
    run: Distillation, envs: Envs, teacher: Teacher, tracker: Tracker, hooks: Hooks
) -> None:
    """Distill `teacher` into `run.student` until `cfg.total_steps`, or until asked to stop.

    Raises:
        DivergedError: if a loss is not finite, naming the term and the step.
    """
    cfg = run.cfg
    actor = Actor(envs, teacher, device=run.device, rng=run.act_rng)
    log = MetricsLog(run, tracker)
    eval_due = Every(cfg.eval_steps, run.n_steps_done)
    checkpoint_due = Every(cfg.checkpoint_steps, run.n_steps_done)
    while run.n_steps_done < cfg.total_steps and not hooks.should_stop():
        progress, started = run.n_steps_done / cfg.total_steps, time.monotonic()
        rollout, games = actor.collect(
            run.student,
            cfg.n_steps,
            epsilon=cfg.epsilon(progress),
            teacher_mix=cfg.teacher_mix(progress),
        )
        labels = label(rollout, teacher, run.uncertainty, run.device)
        places = run.ring.add(rollout, *labels)
        weights = cfg.weights(progress)
        newest = None
        if "policy" in weights or "value" in weights:
            newest = NewestRollout(rollout, places, *run.rewarder(rollout, labels, progress))
        run.n_steps_done += places.size
        run.games.extend(games)
        log.add(learn(run, newest, weights, progress, measure_gradients=log.wants_gradients))
        run.train_seconds += time.monotonic() - started
        hooks.on_progress(places.size, log.note())
        log.write_when_due(progress)
        if eval_due(run.n_steps_done):
            hooks.evaluate(run.n_steps_done)
        if checkpoint_due(run.n_steps_done):
            hooks.checkpoint(run.n_steps_done)


def learn(
    run: Distillation,
    newest: NewestRollout | None,
    weights: Mapping[str, float],
    progress: float,
    *,
    measure_gradients: bool,
) -> dict[str, Tensor | float]:
    """Make the updates that are due; returns the metrics of the last one.

    Raises:
        DivergedError: if a term of any of them is not finite.
    """
    cfg, rows = run.cfg, []
    metrics: dict[str, Tensor | float] = {}
    lr = cfg.learning_rate(progress)
    from_ring = weights.keys() & {"distill", "icm"}
    n_updates = run.updates_due()
    for left in reversed(range(n_updates)):
        batch = None
        if from_ring:
            batch = run.ring.sample(
                run.ring_rng, cfg.batch_size, n_candidates=cfg.n_candidates, pairs="icm" in weights
            )
        policy_batch = newest and newest.sample(run.ring, run.policy_rng, cfg.batch_size)
        out = compute_losses(
            run.student, run.icm, batch, policy_batch, cfg=cfg, names=frozenset(weights)
        )
        if left == 0:
            metrics = describe(out, batch) | run.rewarder.metrics
            if measure_gradients:
                norms = run.learner.gradient_norms(out.terms)
                metrics |= {f"grad_norm/{name}": norm for name, norm in norms.items()}
        run.learner.step(out.terms, {name: weights[name] for name in out.terms}, lr)
        if cfg.n_candidates > 1 and batch is not None and out.divergence is not None:
            run.ring.divergence[batch.place] = out.divergence.detach().cpu().numpy()
        rows.append({name: term.detach() for name, term in out.terms.items()})
        run.n_updates += 1
    check_finite(rows, run.n_steps_done)
    return metrics


def check_finite(rows: list[dict[str, Tensor]], step: int) -> None:
    """Raise DivergedError if a loss is not finite, naming the terms that first were not."""
    if not rows or bool(
        torch.stack([torch.stack(list(row.values())).sum() for row in rows]).isfinite().all()
    ):
        return
    for row in rows:
        if bad := [name for name, term in row.items() if not bool(term.isfinite())]:
            raise DivergedError(
                f"loss term {' and '.join(bad)} is not finite at step {step}; lower --learning_rate"
                " or the term's weight; the last checkpoint is intact"
            )


@torch.no_grad()  # metrics only describe
def describe(out: Losses, batch: Batch | None) -> dict[str, Tensor | float]:
    """Return the metrics of one minibatch by tag."""
    metrics: dict[str, Tensor | float] = {f"loss/{k}": v.detach() for k, v in out.terms.items()}
    if batch is None or out.logits is None:
        return metrics
    teacher, student = batch.teacher_logits, out.logits
    metrics |= {
        "distill/kl": losses.divergence("kl", teacher, student).mean(),
        "distill/agreement": (teacher.argmax(1) == student.argmax(1)).float().mean(),
        "distill/teacher_entropy": losses.entropy(teacher).mean(),
        "distill/student_entropy": losses.entropy(student).mean(),
        "uncertainty/mean": batch.uncertainty.mean(),
    }
    if out.icm is not None:
        metrics |= {
            "icm/inverse_loss": out.icm.inverse_loss.mean(),
            "icm/forward_loss": out.icm.forward_loss.mean(),
            "icm/inverse_accuracy": out.icm.inverse_correct.float().mean(),
            "icm/majority_share": batch.action.bincount().max() / len(batch.action),
            "icm/forward_skill": 1 - out.icm.forward_loss.mean() / out.icm.identity_error.mean(),
        }
    return metrics


class MetricsLog:
    """Averages the metrics of rollouts and writes them when due."""

    def __init__(self, run: Distillation, tracker: Tracker) -> None:
        self._run, self._tracker = run, tracker
        self._due = Every(run.cfg.log_steps, run.n_steps_done)
        self._gradients_due = Every(GRAD_NORMS_EVERY_LOGS * run.cfg.log_steps, run.n_steps_done)
        self._rows: list[dict[str, Tensor | float]] = []
        self.wants_gradients = True

    def add(self, metrics: dict[str, Tensor | float]) -> None:
        """Take in the metrics of a rollout's last update; none if there was no update."""
        if metrics:
            self._rows.append(metrics)
            self.wants_gradients = False

    def note(self) -> str:
        """Say in a few words how it goes."""
        games = self._run.games
        return f"score {np.mean([g.score for g in games]):.1f}" if games else "no game finished yet"

    def write_when_due(self, progress: float) -> None:
        """Write a row if one is due."""
        run, cfg = self._run, self._run.cfg
        if self._gradients_due(run.n_steps_done):
            self.wants_gradients = True
        if not self._due(run.n_steps_done):
            return
        row: dict[str, Tensor | float] = {
            "time/fps": run.n_steps_done / run.train_seconds,
            "train/learning_rate": cfg.learning_rate(progress),
            "train/n_updates": run.n_updates,
            "explore/epsilon": cfg.epsilon(progress),
            "explore/teacher_mix": cfg.teacher_mix(progress),
        }
        for tag in dict.fromkeys(tag for metrics in self._rows for tag in metrics):
            values = [float(metrics[tag]) for metrics in self._rows if tag in metrics]
            row[tag] = float(np.mean(values))
        if run.games:
            row["rollout/ep_rew_mean"] = float(np.mean([g.score for g in run.games]))
            row["rollout/ep_len_mean"] = float(np.mean([g.length_steps for g in run.games]))
        self._tracker.log(row, run.n_steps_done)
        self._rows = []
