"""The parts that the bench measures: emulator, labels, updates, the whole loop, and PPO."""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from distill.acting import Actor
from distill.config import DistillConfig
from distill.device import resolve_device, resolve_precision
from distill.envs import AtariEnvs, check_env_id, make_atari
from distill.labels import label
from distill.measuring import Part, repeated
from distill.networks import ActorCritic
from distill.parsing import MAX_STEPS
from distill.ppo.process import PpoProcess
from distill.run_state import Distillation, make_distillation
from distill.teacher import CHUNK_SIZE, FrozenPolicy
from distill.teacher_config import TeacherConfig, preset_of
from distill.tool_config import BenchConfig
from distill.tracking import Tracker
from distill.training import Hooks, learn, train_student
from distill.types import N_PIXELS, N_STACK, WIDTHS

EMULATOR_CHUNK_STEPS = 32  # of each game, between two looks at the clock


class Setting(NamedTuple):
    """What is measured, the same for all parts."""

    distill: DistillConfig
    teacher: TeacherConfig
    device: torch.device
    dtype: torch.dtype


def make_setting(cfg: BenchConfig) -> Setting:
    """Fill in what the commands themselves would use.

    Raises:
        ValueError: if there is no such game or device.
    """
    device = resolve_device(cfg.device)
    env_id = check_env_id(cfg.env)
    distill = DistillConfig(
        env=env_id,
        student=cfg.student,
        n_envs=cfg.n_envs,
        n_threads=cfg.n_threads,
        ring_size=max(DistillConfig.ring_size, 2 * cfg.n_envs * DistillConfig.n_steps),
        learning_starts=0,  # the ring is full from the start
        total_steps=MAX_STEPS,  # so that schedules stay where they start
    )
    teacher = TeacherConfig(
        env=env_id, n_threads=cfg.n_threads, device=cfg.device, precision=cfg.precision
    )
    return Setting(distill, teacher, device, resolve_precision(cfg.precision, device))


def make_games(setting: Setting) -> AtariEnvs:
    """Build the games that emulator and loop play."""
    cfg = setting.distill
    assert cfg.env is not None
    return make_atari(cfg.env, cfg.n_envs, seed=0, training=True, n_threads=cfg.n_threads)


def make_teacher(setting: Setting, n_actions: int) -> FrozenPolicy:
    """Build a NatureCNN teacher of random weights."""
    network = ActorCritic(WIDTHS["nature"], n_actions, n_stack=N_STACK, dtype=setting.dtype)
    return FrozenPolicy(network.eval().requires_grad_(False).to(setting.device))


def make_run(setting: Setting, envs: AtariEnvs, teacher: FrozenPolicy) -> Distillation:
    """Build a run whose ring is full, of one rollout's copies: samples come from all its memory."""
    cfg, device = setting.distill, setting.device
    run = make_distillation(cfg, teacher, n_stack=N_STACK, device=device, dtype=setting.dtype)
    actor = Actor(envs, teacher, device=device, rng=run.act_rng)
    rollout, _ = actor.collect(run.student, cfg.n_steps, epsilon=0.0, teacher_mix=0.0)
    labels = label(rollout, teacher, run.uncertainty, device)
    while run.ring.n_added_rows <= run.ring.n_rows:
        run.ring.add(rollout, labels)
    return run


def make_emulator(setting: Setting) -> Part:
    """Make the part that only plays, at random."""
    envs, rng = make_games(setting), np.random.default_rng(0)
    envs.reset()
    shape = EMULATOR_CHUNK_STEPS, envs.n_envs

    def play() -> int:
        for actions in rng.integers(envs.n_actions, size=shape):
            envs.step(actions)
        return math.prod(shape)

    return Part("steps/s", repeated(play))


def make_labels(setting: Setting) -> Part:
    """Make the part that only labels."""
    teacher = make_teacher(setting, n_actions=18)
    obs = torch.randint(256, (CHUNK_SIZE, N_STACK, N_PIXELS, N_PIXELS), dtype=torch.uint8)

    def answer() -> int:
        return len(teacher.logits(obs.to(setting.device)).cpu())

    return Part("samples/s", repeated(answer))


def make_update(setting: Setting, **settings: int) -> Part:
    """Make the part that only learns, as many updates at once as are due after a rollout."""
    setting = setting._replace(distill=replace(setting.distill, **settings))
    cfg, envs = setting.distill, make_games(setting)
    run = make_run(setting, envs, make_teacher(setting, envs.n_actions))
    envs.close()

    def update() -> int:
        n_before = run.n_updates
        while not run.updates_due():
            run.n_steps_done += cfg.n_envs * cfg.n_steps
        learn(run, None, {"distill": 1.0}, 0.0, measure_gradients=False)
        return (run.n_updates - n_before) * cfg.batch_size

    return Part("samples/s", repeated(update))


def ignore(*args: object) -> None:
    """Do nothing when called by the loop."""


def make_loop(setting: Setting, **settings: bool | int) -> Part:
    """Make the part that is the whole loop; what it logs goes to a folder that is deleted."""
    setting = setting._replace(distill=replace(setting.distill, **settings))
    envs = make_games(setting)
    teacher = make_teacher(setting, envs.n_actions)
    run = make_run(setting, envs, teacher)

    def measure(seconds: float) -> float:
        # The loop's own clock, which leaves out that each measurement starts new games.
        n_before, seconds_before = run.n_steps_done, run.train_seconds
        run.ring.restart_games()
        hooks = Hooks(
            evaluate=ignore,
            checkpoint=ignore,
            should_stop=lambda: run.train_seconds - seconds_before >= seconds,
            on_progress=ignore,
        )
        with tempfile.TemporaryDirectory() as folder, Tracker(Path(folder)) as tracker:
            train_student(run, envs, teacher, tracker=tracker, hooks=hooks)
        return (run.n_steps_done - n_before) / (run.train_seconds - seconds_before)

    return Part("steps/s", measure)


def make_ppo(cfg: TeacherConfig, *, stock: bool) -> Part:
    """Make a part that is PPO's training, ours or stock SB3's."""
    ppo = PpoProcess(cfg, stock=stock)
    return Part("steps/s", repeated(ppo.learn), ppo.peak_mib)


MAKERS: Mapping[str, Callable[[Setting], Part]] = {
    "emulator": make_emulator,
    "labels": make_labels,
    "update": make_update,
    "update_512": lambda setting: make_update(setting, batch_size=512, steps_per_update=64),
    "loop": make_loop,
    "loop_1": lambda setting: make_loop(setting, batch_size=128, steps_per_update=128),
    "loop_curious": lambda setting: make_loop(setting, use_curiosity=True),
    "loop_uncertain": lambda setting: make_loop(setting, use_uncertainty=True),
    "ppo": lambda setting: make_ppo(setting.teacher, stock=False),
    "ppo_preset": lambda setting: make_ppo(preset_of(setting.teacher), stock=False),
    "sb3": lambda setting: make_ppo(preset_of(setting.teacher), stock=True),
}
