"""Teachers: label observations, find the zips they are read from."""

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.networks import BLOCK, N_PIXELS, ActorCritic
from distill.sb3_zip import read_actor

COMMAND = "python ppo_teacher.py 1e7"
CPU = torch.device("cpu")
CHUNK_SIZE = 1024  # observations labeled at once: 0.3 GiB for a NatureCNN in float32

_NAME = re.compile(
    r"env(?P<env>.+)_(?P<day>\d{8})[-_](?P<time>\d{6})_n_iters(?P<steps>\d+)\.zip", re.ASCII
)


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
        dtype: compute type of the convolutions; weights and logits are float32.

    Raises:
        FileNotFoundError: if there is no such file, with the command that makes one.
        ValueError: if it is anything but a teacher, saying what it is and what is allowed.
    """
    _check_exists(path)
    network = read_actor(path, dtype)
    # A teacher never learns; an optimizer given its parameters by mistake would fail at once.
    return FrozenPolicy(network.eval().requires_grad_(False).to(device), path=path)


def is_teacher(path: Path) -> bool:
    """Whether a file is a teacher by its name, not a student."""
    return path.suffix != ".safetensors"


def load_actor_critic(path: Path) -> ActorCritic:
    """Read a teacher to go on training from, its value head included; on the CPU, float32.

    Raises:
        FileNotFoundError, ValueError: as `load_teacher` does; also if the critic has an encoder
            of its own.
    """
    _check_exists(path)
    return read_actor(path, torch.float32, with_value=True)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"no teacher at {path}: make one with `{COMMAND}`")


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


def latest_teacher(folder: Path, env_id: str | None = None) -> Path:
    """Return the zip with the latest date in its name, of those the one with the most steps.

    Args:
        folder: where the teachers are.
        env_id: of this game; None: of any.

    Raises:
        FileNotFoundError: if there is none, with the command that makes one.
    """
    if env_id is not None:
        return max(_of_game(folder, env_id), key=_age)
    found = _teachers_in(folder)
    if not found:
        raise FileNotFoundError(f"no teacher in {folder}: make one with `{COMMAND}`")
    return max(found, key=_age)


def _of_game(folder: Path, env_id: str) -> list[Path]:
    name = env_id.replace("/", "-")
    found = [path for path in _teachers_in(folder) if _named(path)["env"] == name]
    if not found:
        command = f"{COMMAND} --env {env_id}"
        raise FileNotFoundError(f"no teacher of {env_id} in {folder}: make one with `{command}`")
    return found


def best_teacher(folder: Path, env_id: str) -> Path:
    """Return the game's zip with the highest sampled score in its .json, else the latest.

    Raises:
        FileNotFoundError: if the game has none, with the command that makes one.
    """
    return max(_of_game(folder, env_id), key=lambda path: (_sampled_score(path), *_age(path)))


def env_id_of(path: Path) -> str | None:
    """Return the game a teacher was trained on, from the .json beside it, else from its name."""
    record = read_record(path)
    if isinstance(record.get("env_id"), str):
        return record["env_id"]
    match = _NAME.fullmatch(path.name)
    return re.sub(r"^ALE-", "ALE/", match["env"]) if match else None


def steps_of(path: Path) -> int:
    """Return the steps that a teacher was trained for, from the .json beside it; 0 if unknown."""
    steps = read_record(path).get("steps")
    return steps if isinstance(steps, int) and steps > 0 else 0


def _teachers_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.zip") if path.is_file() and _NAME.fullmatch(path.name)]


def _named(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    return match


def _age(path: Path) -> tuple[str, str, int]:
    match = _named(path)
    return match["day"], match["time"], int(match["steps"])


def _sampled_score(path: Path) -> float:
    try:
        mean = float(read_record(path)["evaluation"]["sampled"]["mean"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return -math.inf
    return mean if math.isfinite(mean) else -math.inf


def read_record(path: Path) -> dict[str, Any]:
    """Return the .json beside a zip, an empty dict if there is none that can be read."""
    try:
        record = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
