"""Measure how fast each part runs on this machine: `python scripts/bench.py`.

    emulator   the games alone, random actions, as many as the loop plays
    labels     a NatureCNN teacher answering raw observations in big batches
    update     the student's updates: gather from a full ring, losses, backward, clip, step
    loop       the whole distillation loop, without evaluations and checkpoints
    ppo        our PPO: playing and learning, NatureCNN, the preset of ppo_teacher.py
    sb3        stock stable-baselines3 PPO: make_atari_env, CnnPolicy, float32, the same preset

The parts take turns, round by round, so that what else the machine does falls on all of them;
ratios are taken within each round. Weights are random: trained ones cost the same. Stock SB3 runs
in a process of its own, as its users run it: prepare_process would speed it up, too.
Ends with a table of medians and ranges and, as its last line, one JSON object.
"""

import contextlib
import json
import math
import multiprocessing
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

# Elsewhere only ppo_teacher.py and distill/sb3.py may import it; here stock SB3 is measured.
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

import _bootstrap  # noqa: F401 (puts the root on sys.path)
from distill import cli
from distill.acting import Actor
from distill.config import BenchConfig, DistillConfig, TeacherConfig
from distill.device import prepare_process, resolve_device, resolve_precision
from distill.envs import AtariEnvs, check_env_id, make_atari
from distill.labels import label
from distill.networks import Student
from distill.progress import Progress
from distill.provenance import provenance
from distill.sb3 import N_STACK, AtariVecEnv, FastCnnPolicy, policy_kwargs
from distill.teacher import CHUNK_SIZE, NetworkTeacher
from distill.tracking import Tracker
from distill.training import Distillation, Hooks, learn, train_student
from distill.types import WIDTHS

EMULATOR_CHUNK_STEPS = 32  # of each game, between two looks at the clock
WARM_UP_SECONDS = 0.5
RATIOS = (("loop", "emulator"), ("ppo", "sb3"))


class Part(NamedTuple):
    """Something whose speed is measured."""

    unit: str
    measure: Callable[[float], float]  # works at least so many seconds; returns units a second


class Setting(NamedTuple):
    """What is measured, the same for all parts."""

    distill: DistillConfig
    preset: TeacherConfig
    device: torch.device
    dtype: torch.dtype


def make_setting(cfg: BenchConfig) -> Setting:
    """Fill in what the commands themselves would use.

    Raises:
        ValueError: if there is no such game or device, or the ring is too small for the games.
    """
    device = resolve_device(cfg.device)
    env_id = check_env_id(cfg.env)
    distill = DistillConfig(
        env=env_id,
        student=cfg.student,
        n_envs=cfg.n_envs,
        n_threads=cfg.n_threads,
        learning_starts=0,  # the ring is full from the start
        total_steps=cli.MAX_STEPS,  # so that schedules stay where they start
    )
    preset = TeacherConfig(env=env_id, n_threads=cfg.n_threads)
    return Setting(distill, preset, device, resolve_precision(cfg.precision, device))


def repeated(work: Callable[[], int]) -> Callable[[float], float]:
    """Make a measurement of a function that returns how many units of work it did."""

    def measure(seconds: float) -> float:
        n, elapsed, started = 0, 0.0, time.perf_counter()
        while n == 0 or elapsed < seconds:
            n += work()
            elapsed = time.perf_counter() - started
        return n / elapsed

    return measure


def measure_in_turn(
    parts: Mapping[str, Part], repeats: int, seconds: float, *, progress: Progress
) -> dict[str, list[float]]:
    """Warm all parts up, then measure each once a round; returns a rate a round for each."""
    for name, part in parts.items():
        part.measure(min(WARM_UP_SECONDS, seconds))
        progress.update(1, f"({name} is warm)")
    rates: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            rates[name].append(part.measure(seconds))
            progress.update(1, f"({name}: {rates[name][-1]:,.0f} {part.unit})")
    return rates


def make_games(setting: Setting) -> AtariEnvs:
    """Build the games that emulator and loop play."""
    cfg = setting.distill
    assert cfg.env is not None
    return make_atari(cfg.env, cfg.n_envs, seed=0, training=True, n_threads=cfg.n_threads)


def make_teacher(setting: Setting, n_actions: int) -> NetworkTeacher:
    """Build a NatureCNN teacher of random weights."""
    network = Student(WIDTHS["nature"], n_actions, n_stack=N_STACK, dtype=setting.dtype)
    return NetworkTeacher(network.eval().requires_grad_(False).to(setting.device))


def make_run(setting: Setting, envs: AtariEnvs, teacher: NetworkTeacher) -> Distillation:
    """Build a run whose ring is full, of one rollout's copies: samples come from all its memory."""
    cfg, device = setting.distill, setting.device
    student = Student(cfg.student, envs.n_actions, n_stack=N_STACK, dtype=setting.dtype).to(device)
    run = Distillation(cfg, student, n_stack=N_STACK, device=device)
    actor = Actor(envs, teacher, device=device, rng=run.act_rng)
    rollout, _ = actor.collect(student, cfg.n_steps, epsilon=0.0, teacher_mix=0.0)
    labels = label(rollout, teacher, None, device)
    while run.ring.n_added_rows <= run.ring.n_rows:
        run.ring.add(rollout, *labels)
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
    obs = torch.randint(256, (CHUNK_SIZE, N_STACK, 84, 84), dtype=torch.uint8)

    def answer() -> int:
        return len(teacher.logits(obs.to(setting.device)).cpu())

    return Part("samples/s", repeated(answer))


def make_update(setting: Setting) -> Part:
    """Make the part that only learns, as many updates at once as are due after a rollout."""
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


def make_loop(setting: Setting) -> Part:
    """Make the part that is the whole loop; what it logs goes to a folder that is deleted."""
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
            train_student(run, envs, teacher, tracker, hooks)
        return (run.n_steps_done - n_before) / (run.train_seconds - seconds_before)

    return Part("steps/s", measure)


def build_ppo(
    preset: TeacherConfig,
    envs: VecEnv,
    *,
    policy: str | type[FastCnnPolicy],
    device: torch.device,
    kwargs: dict[str, Any] | None = None,
) -> PPO:
    """Build SB3's PPO; its schedules stay where they start, as a bench never gets further."""
    model = PPO(
        policy,
        envs,
        n_steps=preset.n_steps,
        batch_size=preset.batch_size,
        n_epochs=preset.n_epochs,
        learning_rate=preset.learning_rate.start,
        clip_range=preset.clip_range.start,
        gamma=preset.gamma,
        gae_lambda=preset.gae_lambda,
        vf_coef=preset.w_value,
        ent_coef=preset.w_entropy,
        max_grad_norm=preset.max_grad_norm,
        policy_kwargs=kwargs,
        seed=0,
        device=device,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def build_our_ppo(setting: Setting) -> PPO:
    """Build PPO as ppo_teacher.py does."""
    cfg = setting.preset
    envs = make_atari(cfg.env, cfg.n_envs, seed=0, training=True, n_threads=cfg.n_threads)
    kwargs = policy_kwargs(WIDTHS["nature"], setting.dtype)
    return build_ppo(
        cfg, AtariVecEnv(envs), policy=FastCnnPolicy, device=setting.device, kwargs=kwargs
    )


def build_stock_ppo(setting: Setting) -> PPO:
    """Build PPO as SB3's documentation and rl-zoo do."""
    cfg = setting.preset
    # ALE/*-v5 skips four frames itself, and AtariWrapper four of those: one skip, as ours.
    games = make_atari_env(cfg.env, cfg.n_envs, seed=0, env_kwargs={"frameskip": 1})
    envs = VecFrameStack(games, N_STACK)
    return build_ppo(cfg, envs, policy="CnnPolicy", device=setting.device)


def learn_a_rollout(model: PPO) -> int:
    """Play one rollout and learn from it; returns its steps."""
    before = model.num_timesteps
    # Reset at the first call, never again: the games go on.
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=before == 0)
    return model.num_timesteps - before


def make_our_ppo(setting: Setting) -> Part:
    """Make the part that is ppo_teacher.py's training."""
    model = build_our_ppo(setting)
    return Part("steps/s", repeated(lambda: learn_a_rollout(model)))


def serve_stock_ppo(pipe: Connection, setting: Setting) -> None:
    """Learn a rollout whenever asked to: the stock part's own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; this ends with it
    if setting.preset.n_threads is not None:
        torch.set_num_threads(setting.preset.n_threads)
    gymnasium.logger.min_level = gymnasium.logger.ERROR  # it warns that -v0 is not the latest
    model = build_stock_ppo(setting)
    with contextlib.suppress(EOFError):  # the parent is done
        while pipe.recv():
            pipe.send(learn_a_rollout(model))


def make_stock_ppo(setting: Setting) -> Part:
    """Make the part that is stock SB3, in a process that is spared our allocator settings."""
    context = multiprocessing.get_context("spawn")
    pipe, other_end = context.Pipe()
    arguments = other_end, setting
    context.Process(target=serve_stock_ppo, args=arguments, daemon=True).start()
    other_end.close()  # so that the end of the process is seen here

    def ask() -> int:
        try:
            pipe.send(True)
            return pipe.recv()
        except (EOFError, ConnectionError):
            raise OSError("the process that runs stock SB3 ended; it says why above") from None

    return Part("steps/s", repeated(ask))


MAKERS: Mapping[str, Callable[[Setting], Part]] = {
    "emulator": make_emulator,
    "labels": make_labels,
    "update": make_update,
    "loop": make_loop,
    "ppo": make_our_ppo,
    "sb3": make_stock_ppo,
}


def summarize(numbers: Sequence[float]) -> dict[str, Any]:
    """Return median and range, and what they are of."""
    return {
        "median": statistics.median(numbers),
        "min": min(numbers),
        "max": max(numbers),
        "rounds": list(numbers),
    }


def ratios_of(rates: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Divide round by round, for each ratio whose two parts were measured."""
    return {
        f"{above} / {below}": [a / b for a, b in zip(rates[above], rates[below], strict=True)]
        for above, below in RATIOS
        if above in rates and below in rates
    }


def table(record: Mapping[str, Any]) -> str:
    """Lay the medians and ranges out, a line each."""
    lines = [f"{'part':<18}{'unit':<11}{'median':>9}   lowest to highest"]
    for name, row in record["parts"].items():
        numbers = f"{row['median']:>9,.0f}   {row['min']:,.0f} to {row['max']:,.0f}"
        lines.append(f"{name:<18}{row['unit']:<11}{numbers}")
    for name, row in record["ratios"].items():
        numbers = f"{row['median']:>9.2f}   {row['min']:.2f} to {row['max']:.2f}"
        lines.append(f"{name:<18}{'':<11}{numbers}")
    return "\n".join(lines)


def describe(cfg: BenchConfig, setting: Setting) -> dict[str, Any]:
    """Return what was measured, and on what, as plain values."""
    return {
        "settings": cli.to_yaml(cfg),
        "device": str(setting.device),
        "precision": str(setting.dtype).removeprefix("torch."),
        "n_threads": torch.get_num_threads(),
        **provenance(),
    }


def main() -> None:
    """Measure the parts in turn and print the table."""
    cfg = cli.parse_settings(BenchConfig, __doc__ or "")
    prepare_process(cfg.n_threads)
    setting = make_setting(cfg)
    torch.manual_seed(0)
    parts = {name: MAKERS[name](setting) for name in cfg.parts}
    progress = Progress(len(parts) * (1 + cfg.repeats), unit="measurement", title="bench")
    rates = measure_in_turn(parts, cfg.repeats, cfg.seconds, progress=progress)
    progress.close()
    record = {
        "parts": {name: {"unit": parts[name].unit, **summarize(rates[name])} for name in parts},
        "ratios": {name: summarize(ratios) for name, ratios in ratios_of(rates).items()},
        **describe(cfg, setting),
    }
    where = f"{record['machine']}; {record['n_threads']} threads, {record['device']}"
    print(f"{where}, {record['precision']}; {cfg.env}, student {cfg.student}")
    print(table(record))
    print(json.dumps(record))


if __name__ == "__main__":
    cli.run_command(main)
