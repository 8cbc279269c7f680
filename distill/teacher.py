"""Teachers: what they answer, and how they are read from their zips."""

from pathlib import Path

import torch
from torch import Tensor

from distill.networks import BLOCK, ActorCritic
from distill.sb3_zip import read_actor
from distill.teacher_files import check_exists
from distill.types import N_PIXELS

CPU = torch.device("cpu")
CHUNK_SIZE = 1024  # observations labeled at once: 0.3 GiB for a NatureCNN in float32


class FrozenPolicy:
    """A network that only answers: a teacher, or a student that is scored or filmed.

    Implements the Teacher protocol.

    Attributes:
        n_actions: actions it chooses from.
        n_stack: frames it sees.
        widths: of its network.
        network: encoder and action head.
        path: file it was read from, if any.
    """

    def __init__(
        self, network: ActorCritic, *, path: Path | None = None, chunk_size: int = CHUNK_SIZE
    ) -> None:
        self.network, self.path, self._chunk_size = network, path, chunk_size
        self.n_actions, self.n_stack = network.n_actions, network.encoder.n_stack
        self.widths = network.encoder.widths

    def logits(self, obs: Tensor) -> Tensor:
        """Answer observations with action logits; any number takes the memory of `chunk_size`.

        Args:
            obs: uint8 (B, S, 84, 84) or packed (B, 21, 21, 16 S), on any device.

        Returns:
            float32 logits (B, A), on the teacher's device.

        Raises:
            ValueError: if the observations stack another number of frames than the teacher sees.
        """
        n_stack = obs.shape[1] if obs.shape[-1] == N_PIXELS else obs.shape[-1] // BLOCK**2
        if n_stack != self.n_stack:
            raise ValueError(f"the teacher sees {self.n_stack} stacked frames, got {n_stack}")
        device = self.network.action_net.weight.device
        # Not inference_mode: losses keep these targets for their backward pass.
        with torch.no_grad():
            parts = obs.split(self._chunk_size)
            return torch.cat([self.network.logits(part.to(device)) for part in parts])


def load_teacher(
    path: Path, *, device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> FrozenPolicy:
    """Read the actor of a PPO or A2C zip; runs nothing in the file and draws no random number.

    Args:
        path: a zip that stable-baselines3 or this project wrote, weights in float32 or float16.
        device: where it answers.
        dtype: compute type of the encoder; weights and logits are float32.

    Raises:
        FileNotFoundError: if there is no such file, with the command that makes one.
        ValueError: if it is anything but a teacher, saying what it is and what is allowed.
    """
    check_exists(path)
    network = read_actor(path, dtype)
    # A teacher never learns; an optimizer given its parameters by mistake would fail at once.
    return FrozenPolicy(network.eval().requires_grad_(False).to(device), path=path)


def load_actor_critic(path: Path) -> ActorCritic:
    """Read a teacher to go on training from, its value head included; on the CPU, float32.

    Raises:
        FileNotFoundError, ValueError: as `load_teacher` does; also if the critic has an encoder
            of its own.
    """
    check_exists(path)
    return read_actor(path, torch.float32, with_value=True)


def check_fits(teacher: FrozenPolicy, env_id: str, n_actions: int) -> None:
    """Check that a teacher chooses from a game's actions.

    Raises:
        ValueError: otherwise, naming both numbers.
    """
    if teacher.n_actions != n_actions:
        name = teacher.path or "the teacher"
        raise ValueError(
            f"{name} chooses from {teacher.n_actions} actions, but {env_id} has {n_actions};"
            " it must be of a game with the same actions"
        )
