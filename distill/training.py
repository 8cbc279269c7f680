"""The heart: the loop that acts, labels, rewards and learns."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from distill.acting import Actor
from distill.advantages import NewestRollout
from distill.initialization import FITTED_STATES, standardize
from distill.labels import label
from distill.metrics import MetricsLog, check_finite, check_weights_finite, describe
from distill.objective import POLICY_TERMS, RING_TERMS, Losses, compute_losses
from distill.run_state import Distillation
from distill.schedules import Every
from distill.tracking import Tracker
from distill.types import Batch, Envs, PolicyBatch, Teacher


class Hooks(NamedTuple):
    """What the loop calls: two hooks when due, two at every rollout."""

    evaluate: Callable[[int], None]  # the step
    checkpoint: Callable[[int], None]  # the step
    should_stop: Callable[[], bool]  # asked before each rollout
    on_progress: Callable[[int, str], None]  # steps played since the last call, a few words


def train_student(
    run: Distillation, envs: Envs, teacher: Teacher, *, tracker: Tracker, hooks: Hooks
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
        uncertainty = run.uncertainty if cfg.needs_uncertainty(progress) else None
        labels = label(rollout, teacher, uncertainty, run.device)
        places = run.ring.add(rollout, labels)
        run.coverage.add(rollout.obs, run.n_steps_done)
        run.n_steps_done += places.size
        fit_to_first_states(run)
        weights = cfg.weights(progress)
        newest = None
        if weights.keys() & POLICY_TERMS:
            advantages = run.advantage_estimator(rollout, labels, progress)
            newest = NewestRollout(rollout, places, advantages)
        run.games.extend(games)
        log.add(learn(run, newest, weights, progress, measure_gradients=log.wants_gradients))
        run.train_seconds += time.monotonic() - started
        hooks.on_progress(places.size, log.note())
        log.write_when_due(progress)
        if eval_due(run.n_steps_done):
            hooks.evaluate(run.n_steps_done)
        if checkpoint_due(run.n_steps_done):
            hooks.checkpoint(run.n_steps_done)


def fit_to_first_states(run: Distillation) -> None:
    """Standardize the student's fresh layers, once, right before its first update.

    What was played before was played by the layers as they were. The newest rollout's
    log-probabilities, to which PPO's ratio is taken, are theirs for this one round of updates; the
    KLs in the ring, by which samples are preferred, until a place is drawn or overwritten.
    """
    if run.updates_due() and run.ring.n_drawable and not run.is_fitted:
        standardize(run.student.encoder, run.ring.spread(FITTED_STATES))
        run.is_fitted = True


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
    n_due = run.updates_due()
    goes_by_kl = cfg.use_choice and cfg.prefer == "kl"
    for i in range(n_due):
        batch, policy_batch = draw(run, newest, weights)
        run.n_updates += 1
        if batch is None and policy_batch is None:
            continue
        gradient = cfg.encoder_gradient(progress)
        out = losses_of(run, batch, policy_batch, names=weights, icm_gradient=gradient)
        if i == n_due - 1:
            known = cfg.needs_uncertainty(progress)  # else the ring fills with zeros
            metrics = describe(out, batch, knows_uncertainty=known)
            metrics |= {} if newest is None else newest.metrics
            metrics |= gradient_norms(run, out) if measure_gradients else {}
        run.learner.step(out.terms, {name: weights[name] for name in out.terms}, lr)
        if run.average is not None:
            run.average.update_parameters(run.student)
        if goes_by_kl and batch is not None and out.kl is not None:
            run.ring.divergence[batch.place] = out.kl.cpu().numpy()
        rows.append({name: term.detach() for name, term in out.terms.items()})
    check_finite(rows, run.n_steps_done)
    return metrics


def gradient_norms(run: Distillation, out: Losses) -> dict[str, Tensor]:
    """Measure each term's own gradient, by tag."""
    norms = run.learner.gradient_norms(out.terms)
    return {f"grad_norm/{name}": norm for name, norm in norms.items()}


def losses_of(
    run: Distillation,
    batch: Batch | None,
    policy_batch: PolicyBatch | None,
    *,
    names: Iterable[str],
    icm_gradient: str,
) -> Losses:
    """Compute the terms called `names` of a run's networks."""
    return compute_losses(
        run.student,
        run.icm,
        batch,
        policy_batch,
        cfg=run.cfg,
        names=frozenset(names),
        icm_gradient=icm_gradient,
        rnd=run.rnd,
    )


def draw(
    run: Distillation, newest: NewestRollout | None, weights: Mapping[str, float]
) -> tuple[Batch | None, PolicyBatch | None]:
    """Draw an update's minibatches; None where no term needs one or there is nothing to draw.

    Layers that wait for their first states learn from nothing, not from the newest rollout either.
    """
    cfg, batch = run.cfg, None
    if weights.keys() & RING_TERMS and run.ring.n_drawable:
        batch = run.ring.sample(
            run.ring_rng,
            cfg.batch_size,
            pairs="icm" in weights,
            # Where the divergence does not count, curiosity learns from states drawn uniformly.
            n_candidates=cfg.n_candidates if "distill" in weights else 1,
            prefer=cfg.prefer,
        )
    if newest is None or not run.is_fitted:
        return batch, None
    return batch, newest.sample(run.ring, run.policy_rng, cfg.batch_size)


@torch.no_grad()  # only looked at
def check_saveable(run: Distillation) -> None:
    """Refuse to save a run whose next update would fail; draws no random number of the run's.

    Losses are measured before each update, so that none of them shows what the last one did. Of
    heads that the ring's states do not ask, and where there are none yet, weights alone tell.

    Raises:
        DivergedError: if a term or a weight is not finite.
    """
    if run.ring.n_drawable:
        rng = copy.deepcopy(run.ring_rng)
        batch = run.ring.sample(rng, run.cfg.batch_size, pairs=run.icm is not None)
        out = losses_of(run, batch, None, names=RING_TERMS, icm_gradient="none")
        check_finite([out.terms], run.n_steps_done)
    check_weights_finite(run.learner.parameters, run.n_steps_done)
