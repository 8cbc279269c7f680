"""Distillation losses, the PPO-clip loss and GAE: tensors in, one number a sample out.

Every function keeps the batch dimension; the caller takes the mean, so that a loss never depends
on the batch size. Teacher logits are constants: they come without a graph.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _centered(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _reverse_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return _kl(log_q, log_p)


def _js(log_p: Tensor, log_q: Tensor) -> Tensor:
    log_mean = torch.logaddexp(log_p, log_q) - math.log(2)
    return 0.5 * (_kl(log_p, log_mean) + _kl(log_q, log_mean))


# Of two distributions, as log-probabilities (B, A), the teacher's first.
TEMPERED = {"kl": _kl, "reverse_kl": _reverse_kl, "js": _js}
DIVERGENCES = (*TEMPERED, "nll", "mse")


def divergence(
    name: str,
    teacher_logits: Tensor,
    student_logits: Tensor,
    *,
    temperature: float = 1.0,
    match_temperature: bool = False,
) -> Tensor:
    """Measure how far the student's answer is from the teacher's.

    Rusu et al. 2015, section 3, divide the teacher's logits alone by the temperature; Hinton et al.
    2015, section 2, divide both and multiply by its square, which keeps the gradient's size. The
    temperature has no part in `nll` (an argmax does not depend on it) and `mse`.

    - `kl`: KL(teacher || student), mass-covering; Rusu's equation 3.
    - `reverse_kl`: KL(student || teacher), mode-seeking: an action the teacher rules out costs
      most.
    - `js`: Jensen-Shannon, at temperature 1 symmetric and at most ln 2.
    - `nll`: cross-entropy against the teacher's best action; Rusu's equation 1.
    - `mse`: squared distance of the logits, summed over actions; Rusu's equation 2, but on logits
      less their mean, since unlike Q-values logits mean nothing up to a constant.

    Args:
        name: one of DIVERGENCES.
        teacher_logits: (B, A).
        student_logits: (B, A).
        temperature: above 0.
        match_temperature: Hinton's convention instead of Rusu's.

    Returns:
        (B,), summed over actions.
    """
    if name == "nll":
        return F.cross_entropy(student_logits, teacher_logits.argmax(1), reduction="none")
    if name == "mse":
        return (_centered(teacher_logits) - _centered(student_logits)).square().sum(1)
    log_t = F.log_softmax(teacher_logits / temperature, 1)
    log_s = F.log_softmax(student_logits / (temperature if match_temperature else 1.0), 1)
    per_sample = TEMPERED[name](log_t, log_s)
    return per_sample * temperature**2 if match_temperature else per_sample


def entropy(logits: Tensor) -> Tensor:
    """Measure the entropy (B,) of softmax(logits) in nats."""
    log_p = F.log_softmax(logits, 1)
    return -(log_p.exp() * log_p).sum(1)


def log_prob(logits: Tensor, action: Tensor) -> Tensor:
    """Look up the log-probability (B,) of each sample's action (B,)."""
    return F.log_softmax(logits, 1).gather(1, action[:, None]).squeeze(1)


def ppo_clip(new_log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Compute the clipped surrogate objective as a loss; Schulman et al. 2017, equation 7, negated.

    Args:
        new_log_prob: (B,) under the policy that learns.
        old_log_prob: (B,) under the policy that acted.
        advantage: (B,).
        clip: epsilon of the paper.

    Returns:
        (B,).
    """
    ratio = (new_log_prob - old_log_prob).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def gae(
    reward: Tensor, value: Tensor, done: Tensor, last_value: Tensor, *, gamma: float, lam: float
) -> Tensor:
    """Estimate advantages (GAE); Schulman et al. 2016, equation 16.

    Args:
        reward: (T, N).
        value: (T, N), estimates for the states in which the actions were taken.
        done: (T, N) bool, the step ended an episode: nothing after it counts.
        last_value: (N,), estimate for the state after the last step.
        gamma: discount a step.
        lam: lambda of the paper.

    Returns:
        Advantages (T, N); with `value` added they are the targets of the value loss.
    """
    advantage = torch.zeros_like(reward)
    next_value, carried = last_value, torch.zeros_like(last_value)
    for t in reversed(range(len(reward))):
        goes_on = (~done[t]).float()
        delta = reward[t] + gamma * goes_on * next_value - value[t]
        carried = delta + gamma * lam * goes_on * carried
        advantage[t] = carried
        next_value = value[t]
    return advantage
