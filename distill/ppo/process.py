"""PPO that learns a rollout when the bench asks it to, in a process of its own: ours, or SB3's.

Stock SB3's is as its users run it, without our settings of allocator and OpenMP, which would speed
it up, too.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecFrameStack

from distill.device import prepare_process, resolve_device
from distill.ppo.algorithm import build, hyperparameters
from distill.teacher_config import TeacherConfig
from distill.types import N_STACK

LIBGOMP_SPINCOUNT = "300000"  # what libgomp takes if nothing is set


def build_ppo(cfg: TeacherConfig, *, stock: bool) -> PPO:
    """Build ours, or stock SB3's, at settings that stay where they start."""
    return build_stock_ppo(cfg, resolve_device(cfg.device)) if stock else build(cfg)


def build_stock_ppo(cfg: TeacherConfig, device: torch.device) -> PPO:
    """Build PPO as SB3's documentation and rl-zoo do."""
    # ALE/*-v5 skips four frames itself, and AtariWrapper four of those: one skip, as ours.
    games = make_atari_env(cfg.env, cfg.n_envs, seed=cfg.seed, env_kwargs={"frameskip": 1})
    return PPO(
        "CnnPolicy",
        VecFrameStack(games, N_STACK),
        **hyperparameters(cfg),
        seed=cfg.seed,
        device=device,
    )


def learn_a_rollout(model: PPO) -> int:
    """Play one rollout and learn from it; returns its steps."""
    before = model.num_timesteps
    # Reset at the first call, never again: the games go on.
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=before == 0)
    return model.num_timesteps - before


def serve_ppo(pipe: Connection, cfg: TeacherConfig, *, stock: bool) -> None:
    """Learn a rollout whenever asked to, and tell the peak of memory: a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; this ends with it
    gymnasium.logger.min_level = gymnasium.logger.ERROR  # it warns that -v0 is not the latest
    if stock:
        if cfg.n_threads is not None:
            torch.set_num_threads(cfg.n_threads)
    else:
        prepare_process(cfg.n_threads)
    model = build_ppo(cfg, stock=stock)
    model.set_logger(Logger(folder=None, output_formats=[]))
    with contextlib.suppress(EOFError):  # the parent is done
        while True:
            pipe.send(learn_a_rollout(model) if pipe.recv() == "learn" else peak_mib())


def peak_mib() -> float:
    """Return the largest amount of memory that this process has held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage remembers the parent's, from before exec
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def start_ppo(pipe: Connection, cfg: TeacherConfig, *, stock: bool) -> None:
    """Start the process; stock SB3's is spared what this program sets for its own processes."""
    process = multiprocessing.get_context("spawn").Process(
        target=serve_ppo, args=(pipe, cfg), kwargs={"stock": stock}, daemon=True
    )
    ours = os.environ["GOMP_SPINCOUNT"]
    os.environ["GOMP_SPINCOUNT"] = LIBGOMP_SPINCOUNT if stock else ours
    process.start()
    os.environ["GOMP_SPINCOUNT"] = ours


class PpoProcess:
    """A process that runs PPO.

    Args:
        cfg: its settings; stock SB3 takes what both know.
        stock: whether it is stock SB3's PPO.
    """

    def __init__(self, cfg: TeacherConfig, *, stock: bool = False) -> None:
        self._pipe, other_end = multiprocessing.Pipe()
        assert isinstance(other_end, Connection)
        start_ppo(other_end, cfg, stock=stock)
        other_end.close()  # so that the end of the process is seen here

    def learn(self) -> int:
        """Play one rollout and learn from it; returns its steps."""
        return self._ask("learn")

    def peak_mib(self) -> float:
        """Return the largest amount of memory that the process has held, in MiB."""
        return self._ask("peak")

    def _ask(self, question: str) -> Any:
        try:
            self._pipe.send(question)
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            raise OSError("the process that runs PPO ended; it says why above") from None
