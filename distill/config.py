"""Every setting of every command: default, unit, help and validation. One frozen dataclass a command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.cli import check, flag, fraction, nonnegative, nonnegative_int, one_of, option, positive, positive_int, steps
from distill.device import DEVICES, PRECISIONS
from distill.schedules import LinearSchedule

DEFAULT_ENV = "FreewayNoFrameskip-v0"


def _env(default: str | None) -> Any:
    return option(default, "game: {Game}NoFrameskip-v0 (sticky actions), {Game}NoFrameskip-v4 or ALE/{Game}-v5", str)


def _seed(default: int) -> Any:
    return option(default, "seed of networks, sampling and games", nonnegative_int)


def _device() -> Any:
    return option("auto", f"one of {', '.join(DEVICES)}; auto takes CUDA if there is one", one_of(*DEVICES))


def _precision() -> Any:
    text = f"compute type of the convolutions, one of {', '.join(PRECISIONS)}; auto takes bfloat16 where the device has it natively"
    return option("auto", text, one_of(*PRECISIONS))


def _threads() -> Any:
    return option(None, "threads for torch and for the emulator (default: one a core)", positive_int)


def _resume() -> Any:
    return option(None, "run folder to continue from its last checkpoint, with the settings it was started with", Path)


def _run_dir() -> Any:
    return option(None, "folder to create for this run (default: a new one under runs/)", Path)


@dataclass(frozen=True)
class TeacherConfig:
    """Settings of ppo_teacher.py; the defaults are rl-zoo's Atari preset."""

    total_steps: int | None = option(None, "agent steps over all games, such as 1e7", steps, positional=True)
    env: str = _env(DEFAULT_ENV)
    seed: int = _seed(0)
    network: str = option("nature", "nature, net1, net2, net3, 1pct, 0.3pct, 0.1pct, or C1,C2,C3,FC", str)
    n_envs: int = option(8, "games played in parallel", positive_int)
    n_steps: int = option(128, "steps of each game between two updates", positive_int)
    batch_size: int = option(256, "samples in a minibatch", positive_int)
    n_epochs: int = option(4, "passes over each rollout", positive_int)
    learning_rate: LinearSchedule = option(LinearSchedule(2.5e-4, 0.0), "Adam's step size, START[:END[:FRACTION]]", LinearSchedule.parse)
    clip_range: LinearSchedule = option(LinearSchedule(0.1, 0.0), "PPO's clipping range, START[:END[:FRACTION]]", LinearSchedule.parse)
    gamma: float = option(0.99, "discount a step", fraction)
    gae_lambda: float = option(0.95, "GAE's lambda", fraction)
    w_value: float = option(0.5, "weight of the value loss", nonnegative)
    w_entropy: float = option(0.01, "weight of the entropy bonus", nonnegative)
    max_grad_norm: float = option(0.5, "gradients are clipped to this norm", positive)
    device: str = _device()
    precision: str = _precision()
    n_threads: int | None = _threads()
    checkpoint_steps: int = option(100_000, "steps between two checkpoints of the run (the ladder's come on top)", steps)
    teachers_dir: Path = option(Path("teachers"), "folder that receives the teachers", Path)
    run_dir: Path | None = _run_dir()
    resume: Path | None = _resume()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class EvalConfig:
    """Settings of eval_teacher.py."""

    teacher_chkpt: Path | None = option(None, "teacher .zip or student .safetensors (default: the latest in teachers/)", Path)
    n_eval_episodes: int = option(100, "whole games for each of greedy and sampled play", positive_int)
    env: str | None = _env(None)
    seed: int = _seed(10_000)
    n_envs: int = option(10, "games played in parallel", positive_int)
    device: str = _device()
    precision: str = _precision()
    n_threads: int | None = _threads()
    write_score: bool = option(False, "write the result into the .json beside the checkpoint", flag)

    def __post_init__(self) -> None:
        check(self)
