"""Players: teachers and students, read the same way, each with the game that it was trained on."""

from pathlib import Path
from typing import NamedTuple

import torch

from distill.checkpoint import load_student
from distill.teacher import CPU, NetworkTeacher, env_id_of, is_teacher, load_teacher


class Player(NamedTuple):
    """A checkpoint that can be asked for actions."""

    path: Path
    network: NetworkTeacher
    env_id: str | None  # the game it was trained on, if it says so


def load_player(
    path: Path, *, device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> Player:
    """Read a teacher's zip or a student's .safetensors.

    Raises:
        FileNotFoundError, ValueError: if it is not there, or neither.
    """
    if is_teacher(path):
        return Player(path, load_teacher(path, device=device, dtype=dtype), env_id_of(path))
    student, metadata = load_student(path, device=device, dtype=dtype)
    return Player(path, NetworkTeacher(student, path=path), metadata.get("env_id"))
