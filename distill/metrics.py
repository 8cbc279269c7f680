"""What is measured of the updates: metrics by tag, their log, and the check that all is finite."""

import sys
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from distill import losses
from distill.errors import diverged
from distill.objective import Losses
from distill.run_state import Distillation
from distill.schedules import Every
from distill.tracking import Tracker
from distill.types import Batch

GRAD_NORMS_EVERY_LOGS = 5
COLLAPSE_ADVICE = {  # by which of ICM's losses reach the encoder
    "both": "--icm_gradient inverse or a smaller --w_icm may prevent it",
    "inverse": "a smaller --w_icm may prevent it",
    "none": "no loss of ICM's reaches them, what else trains the student does this",
}


def check_weights_finite(weights: Iterable[Tensor], step: int) -> None:
    """Raise DivergedError if a weight is not finite."""
    if not all(bool(tensor.isfinite().all()) for tensor in weights):
        raise diverged("weights are", step)


def check_finite(rows: list[dict[str, Tensor]], step: int) -> None:
    """Raise DivergedError if a loss is not finite, naming the terms that first were not."""
    terms = [term for row in rows for term in row.values()]
    if not terms or bool(torch.stack(terms).isfinite().all()):  # the device is waited for once
        return
    for row in rows:
        if bad := [name for name, term in row.items() if not bool(term.isfinite())]:
            what = f"loss term {' and '.join(bad)} is"
            raise diverged(what, step, lower="--learning_rate or the term's weight")


@torch.no_grad()  # metrics only describe
def describe(
    out: Losses, batch: Batch | None, *, knows_uncertainty: bool
) -> dict[str, Tensor | float]:
    """Return the metrics of one minibatch by tag."""
    metrics: dict[str, Tensor | float] = {f"loss/{k}": v.detach() for k, v in out.terms.items()}
    if batch is None or out.logits is None or out.kl is None:
        return metrics
    teacher, student = batch.teacher_logits, out.logits
    metrics |= {
        "distill/kl": out.kl.mean(),
        "distill/agreement": (teacher.argmax(1) == student.argmax(1)).float().mean(),
        "distill/teacher_entropy": losses.entropy(teacher).mean(),
        "distill/student_entropy": losses.entropy(student).mean(),
    }
    if knows_uncertainty:
        metrics["uncertainty/mean"] = batch.uncertainty.mean()
    if out.icm is not None:
        metrics |= {
            "icm/inverse_loss": out.icm.inverse_loss.mean(),
            "icm/forward_loss": out.icm.forward_loss.mean(),
            "icm/inverse_accuracy": out.icm.inverse_accuracy,
            "icm/forward_skill": out.icm.forward_skill,
        }
        if len(out.icm.phi) > 1:  # a single sample does not vary
            metrics["icm/feature_std"] = out.icm.phi.std(0, correction=0).mean()
    return metrics


class MetricsLog:
    """Averages the metrics of rollouts and writes them when due.

    A resumed run's first row is of the rollouts since it went on: no checkpoint holds this.
    """

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
        """Write a row if one is due, as it is at the end."""
        run, cfg = self._run, self._run.cfg
        if self._gradients_due(run.n_steps_done):
            self.wants_gradients = True
        if not self._due(run.n_steps_done) and run.n_steps_done < cfg.total_steps:
            return
        row: dict[str, Tensor | float] = {
            "time/fps": run.n_steps_done / run.train_seconds,
            "train/learning_rate": cfg.learning_rate(progress),
            "train/n_updates": run.n_updates,
            "explore/epsilon": cfg.epsilon(progress),
            "explore/teacher_mix": cfg.teacher_mix(progress),
            "explore/coverage": len(run.coverage),
        }
        for tag in dict.fromkeys(tag for metrics in self._rows for tag in metrics):
            values = [float(metrics[tag]) for metrics in self._rows if tag in metrics]
            row[tag] = float(np.mean(values))
        if "icm/inverse_accuracy" in row:  # in a minibatch, some action is the commonest by chance
            row["icm/majority_share"] = run.ring.majority_share
        if run.games:
            row["rollout/ep_rew_mean"] = float(np.mean([g.score for g in run.games]))
            row["rollout/ep_len_mean"] = float(np.mean([g.length_steps for g in run.games]))
        self._tracker.log(row, run.n_steps_done)
        self._rows = []
        self._watch_features(row, progress)

    def _watch_features(self, row: dict[str, Tensor | float], progress: float) -> None:
        std, run = row.get("icm/feature_std"), self._run
        if std is not None and run.collapse_watch(float(std)):
            sys.stderr.write(
                f"\nthe student's features have collapsed at step {run.n_steps_done}: see"
                f" icm/feature_std; {COLLAPSE_ADVICE[run.cfg.encoder_gradient(progress)]}\n"
            )
