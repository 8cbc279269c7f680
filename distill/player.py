"""Players: teachers and students, read the same way, and games that show what they can see."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from distill.envs import AtariEnvs, check_env_id, make_atari
from distill.student_files import load_student
from distill.teacher import CPU, FrozenPolicy, check_fits, load_teacher
from distill.teacher_files import env_id_of, is_teacher


class Player(NamedTuple):
    """A checkpoint that can be asked for actions."""

    path: Path
    policy: FrozenPolicy
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
    return Player(path, FrozenPolicy(student, path=path), metadata.get("env_id"))


def find_game(asked: str | None, known: Mapping[str, str | None]) -> str:
    """Return the game asked for, else the first that is known.

    Args:
        asked: what `--env` says, if anything.
        known: of the checkpoints, at least one, what each was trained on, if it says so.

    Raises:
        ValueError: if there is no such game, or none is said.
    """
    env_id = asked or next(filter(None, known.values()), None)
    if env_id is None:
        silent = next(iter(known))
        raise ValueError(f"--env is missing: {silent} does not say which game it was trained on")
    return check_env_id(env_id)


def games_for(
    network: FrozenPolicy,
    env_id: str,
    n_envs: int,
    *,
    seed: int,
    training: bool,
    n_threads: int | None,
) -> AtariEnvs:
    """Build games as a network sees them; the arguments are those of `make_atari`.

    Raises:
        ValueError: if there is no such game, or the network knows another number of actions.
    """
    envs = make_atari(
        env_id,
        n_envs,
        seed=seed,
        training=training,
        n_threads=n_threads,
        n_stack=network.n_stack,
    )
    check_fits(network, env_id, envs.n_actions)
    return envs
