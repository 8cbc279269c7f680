"""Labels: what the teacher says about the states of a rollout."""

import torch

from distill import losses
from distill.types import Labels, Rollout, Teacher
from distill.uncertainty import Uncertainty


@torch.no_grad()  # labels are constants
def label(
    rollout: Rollout, teacher: Teacher, uncertainty: Uncertainty | None, device: torch.device
) -> Labels:
    """Ask the teacher about a whole rollout at once: one big batch is cheaper than many small."""
    shape = rollout.age.shape
    obs = torch.from_numpy(rollout.obs).flatten(0, 1).to(device)  # (T N, S, 84, 84)
    logits = teacher.logits(obs)
    doubt = torch.zeros(len(obs)) if uncertainty is None else uncertainty(obs, logits).cpu()
    student_logits = torch.from_numpy(rollout.student_logits).flatten(0, 1)
    logits = logits.cpu()
    divergence = losses.divergence("kl", logits, student_logits)
    return Labels(
        teacher_logits=logits.numpy().reshape(*shape, -1),
        uncertainty=doubt.numpy().reshape(shape),
        divergence=divergence.numpy().reshape(shape),
    )
