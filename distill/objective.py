"""The objective: one mechanism, a weighted sum of named terms.

    L = w_distill mean[u tau^2 D(teacher / tau || student / tau)]
      + w_icm [(1 - beta) L_inverse + beta L_forward]       on the student's own encoder
      + w_rnd L_predictor                                   on networks of its own
      + w_policy L_PPO-clip(A) + w_value L_value - w_entropy H

with u the uncertainty weight of mean 1, times the importance weight if asked for, tau the
temperature (distill.losses), and A the GAE of c_ext sign(r_game) + c_int v r_intrinsic / running
std (distill.advantages), v an uncertainty weight of mean 1. A term has one name: the key of its
weight and, under `loss/`, its TensorBoard tag. A term whose weight is zero is not computed, but for
ICM's while its error is a bonus (DistillConfig.weights). Plain distillation is `distill` alone; PPO
from scratch at the student's size is w_distill 0 and c_ext 1: same code, same network.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from distill import losses
from distill.config import DistillConfig
from distill.icm import ICM, ICMOutput
from distill.networks import ActorCritic
from distill.rnd import RND
from distill.types import Batch, PolicyBatch
from distill.uncertainty import distill_weights

RING_TERMS = frozenset({"distill", "icm", "rnd"})  # on states drawn from the ring
POLICY_TERMS = frozenset({"policy", "value", "entropy"})  # on the newest rollout's


class Losses(NamedTuple):
    """What one minibatch costs."""

    terms: dict[str, Tensor]  # scalar losses by name; the names are the weights'
    # (B,) KL(teacher || student) of the ring's samples, at temperature 1 whatever is trained: the
    # ring compares it with the KLs of the labels. No graph.
    kl: Tensor | None = None
    logits: Tensor | None = None  # (B, A) the student's answers to them
    icm: ICMOutput | None = None


def compute_losses(
    student: ActorCritic,
    icm: ICM | None,
    batch: Batch | None,
    policy_batch: PolicyBatch | None,
    *,
    cfg: DistillConfig,
    names: frozenset[str],
    icm_gradient: str,
    rnd: RND | None = None,
) -> Losses:
    """Compute the terms called `names`, each averaged over its minibatch; no others.

    What trains a network that is not there, `icm` or `rnd`, is left out.

    The encoder sees all states and successors in one pass; which gradients reach it from the ICM is
    decided in `ICM.forward` alone.

    Args:
        student: what is trained.
        icm: its inverse and forward models, if there are any.
        batch: drawn from the ring, if a term of RING_TERMS counts.
        policy_batch: of the newest rollout, if a term of POLICY_TERMS counts.
        cfg: which divergence, temperature, clipping range and weights of samples.
        names: of the terms: distill, icm, rnd, policy, value, entropy.
        icm_gradient: which of the ICM's losses reach the encoder, as `ICM.forward` takes it.
        rnd: the predictor and its target, if there are any.

    Returns:
        Scalar losses with a graph, not yet weighted, and what was measured on the way.
    """
    features = _encode(student, batch, policy_batch)
    out = Losses({})
    if batch is not None:
        out = _ring_losses(
            student, icm, batch, features=features, cfg=cfg, names=names, icm_gradient=icm_gradient
        )
        if rnd is not None and "rnd" in names:
            out.terms["rnd"] = rnd.loss(batch.obs)
    if policy_batch is not None:
        phi = features["policy"]
        out.terms.update(_policy_terms(student, policy_batch, phi, cfg=cfg, names=names))
    return out


def _encode(
    student: ActorCritic, batch: Batch | None, policy_batch: PolicyBatch | None
) -> dict[str, Tensor]:
    """Encode what there is of a ring's states, their successors and the policy's states."""
    obs: dict[str, Tensor] = {}
    if batch is not None:
        obs["state"] = batch.obs
        if batch.next_obs is not None:
            obs["successor"] = batch.next_obs
    if policy_batch is not None:
        obs["policy"] = policy_batch.obs
    parts = list(obs.values())
    features = student.encoder(torch.cat(parts) if len(parts) > 1 else parts[0])
    return dict(zip(obs, features.split([len(part) for part in parts]), strict=True))


def _ring_losses(
    student: ActorCritic,
    icm: ICM | None,
    batch: Batch,
    *,
    features: Mapping[str, Tensor],
    cfg: DistillConfig,
    names: frozenset[str],
    icm_gradient: str,
) -> Losses:
    terms: dict[str, Tensor] = {}
    output = None
    logits = student.action_net(features["state"])
    with torch.no_grad():  # only measured, and written to the ring
        kl = losses.divergence("kl", batch.teacher_logits, logits)
    if "distill" in names:
        divergence = _divergence(cfg, batch, logits)
        terms["distill"] = (_sample_weights(cfg, batch) * divergence).mean()
    if icm is not None and "icm" in names:
        output = icm(features["state"], features["successor"], batch.action, icm_gradient)
        beta = cfg.icm_beta
        terms["icm"] = ((1 - beta) * output.inverse_loss + beta * output.forward_loss).mean()
    return Losses(terms, kl, logits, output)


def _divergence(cfg: DistillConfig, batch: Batch, logits: Tensor) -> Tensor:
    return losses.divergence(
        cfg.loss,
        batch.teacher_logits,
        logits,
        temperature=cfg.temperature,
        match_temperature=cfg.match_temperature,
    )


def _sample_weights(cfg: DistillConfig, batch: Batch) -> Tensor | float:
    weights = distill_weights(batch.uncertainty) if "distill" in cfg.uncertain_terms else 1.0
    if cfg.importance_weights:
        rarity = 1 / batch.inclusion
        weights = weights * (rarity / rarity.mean())
    return weights


def _policy_terms(
    student: ActorCritic,
    batch: PolicyBatch,
    phi: Tensor,
    *,
    cfg: DistillConfig,
    names: frozenset[str],
) -> dict[str, Tensor]:
    logits = student.action_net(phi)
    terms: dict[str, Tensor] = {}
    if "policy" in names:
        new_log_prob = losses.log_prob(logits, batch.action)
        clipped = losses.ppo_clip(new_log_prob, batch.old_log_prob, batch.advantage, cfg.clip_range)
        terms["policy"] = clipped.mean()
    if "value" in names:
        # What a bonus will be worth is no fact of the game: its critic reads features, and no more.
        read = phi.detach() if cfg.c_ext.is_zero else phi
        terms["value"] = (student.value(read) - batch.target_value).square().mean()
    if "entropy" in names:
        terms["entropy"] = -losses.entropy(logits).mean()
    return terms
