"""The objective: one mechanism, a weighted sum of named terms.

    L = w_distill mean[u D(teacher || student)]             u: uncertainty weight of mean 1
      + w_icm [(1 - beta) L_inverse + beta L_forward]       on the student's own encoder
      + w_rnd L_predictor                                   on networks of its own
      + w_policy L_PPO-clip(A) + w_value L_value - w_entropy H

with A the GAE of c_ext sign(r_game) + c_int r_intrinsic / running std (distill.advantages). A term
has one name: the key of its weight and, under `loss/`, its TensorBoard tag. A term whose weight is
zero is not computed. Plain distillation is `distill` alone; PPO from scratch at the student's size
is w_distill 0 and c_ext 1: same code, same network.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from distill import losses
from distill.config import DistillConfig
from distill.icm import ICM, ICMOutput
from distill.networks import Student
from distill.rnd import RND
from distill.types import Batch, PolicyBatch
from distill.uncertainty import distill_weights


class Losses(NamedTuple):
    """What one minibatch costs."""

    terms: dict[str, Tensor]  # scalar losses by name; the names are the weights'
    divergence: Tensor | None  # (B,) of the ring's samples, for sampling by it
    logits: Tensor | None  # (B, A) the student's answers to them
    icm: ICMOutput | None


def compute_losses(
    student: Student,
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

    The encoder sees states and successors in one pass; which gradients reach it from the ICM is
    decided in `ICM.forward` alone.
    """
    out = Losses({}, None, None, None)
    if batch is not None:
        out = _ring_losses(student, icm, batch, cfg, names, icm_gradient)
        if rnd is not None and "rnd" in names:
            out = out._replace(terms=out.terms | {"rnd": rnd.loss(batch.obs)})
    if policy_batch is None:
        return out
    policy_terms = _policy_terms(student, policy_batch, cfg, names)
    return out._replace(terms=out.terms | policy_terms)


def _ring_losses(
    student: Student,
    icm: ICM | None,
    batch: Batch,
    cfg: DistillConfig,
    names: frozenset[str],
    icm_gradient: str,
) -> Losses:
    terms: dict[str, Tensor] = {}
    divergence = output = None
    phi, next_phi = _encode(student, batch)  # (B, F) each
    logits = student.action_net(phi)
    if "distill" in names:
        divergence = losses.divergence(
            cfg.loss,
            batch.teacher_logits,
            logits,
            temperature=cfg.temperature,
            match_temperature=cfg.match_temperature,
        )
        terms["distill"] = (_distill_weights(cfg, batch) * divergence).mean()
    if icm is not None and "icm" in names:
        assert batch.next_obs is not None
        output = icm(phi, next_phi, batch.action, icm_gradient)
        beta = cfg.icm_beta
        terms["icm"] = ((1 - beta) * output.inverse_loss + beta * output.forward_loss).mean()
    return Losses(terms, divergence, logits, output)


def _encode(student: Student, batch: Batch) -> tuple[Tensor, Tensor]:
    if batch.next_obs is None:
        phi = student.encoder(batch.obs)
        return phi, phi
    phi, next_phi = student.encoder(torch.cat((batch.obs, batch.next_obs))).chunk(2)
    return phi, next_phi


def _distill_weights(cfg: DistillConfig, batch: Batch) -> Tensor | float:
    if "distill" in cfg.doubts:
        return distill_weights(batch.uncertainty)
    return 1.0


def _policy_terms(
    student: Student, batch: PolicyBatch, cfg: DistillConfig, names: frozenset[str]
) -> dict[str, Tensor]:
    phi = student.encoder(batch.obs)
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
