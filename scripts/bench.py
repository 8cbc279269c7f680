"""Measure how fast each part runs on this machine: `python scripts/bench.py`.

    emulator   the games alone, random actions, as many as the loop plays
    labels     a NatureCNN teacher answering raw observations in big batches
    update     the student's updates: gather from a full ring, losses, backward, clip, step
    update_512 the same in minibatches of 512, as many samples a step: what learning costs
    loop       the whole distillation loop, without evaluations and checkpoints
    loop_1     the same with a minibatch of 128 every 128 steps, an eighth as many samples a step:
               what playing costs
    loop_curious    the loop with --use_curiosity
    loop_uncertain  the loop with --use_uncertainty
    ppo        our PPO: playing and learning, NatureCNN, the defaults of ppo_teacher.py up to
               3e6 steps
    ppo_preset the same with as many games, steps, epochs and samples as rl-zoo's Atari preset
    sb3        stock stable-baselines3 PPO: make_atari_env, CnnPolicy, float32, at that preset

The parts take turns, round by round, so that what else the machine does falls on all of them;
ratios are taken within each round. Weights are random: trained ones cost the same. Each PPO runs in
a process of its own, whose peak of memory is told.
Ends with a table of medians and ranges and, in a file or a pipe, all of it as one line of JSON.
"""

from typing import Any

import _bootstrap  # noqa: F401 (puts the root on sys.path)

import torch

from distill import cli
from distill.bench_parts import MAKERS, Setting, make_setting
from distill.device import prepare_process
from distill.errors import run_command
from distill.files import print_for_programs
from distill.measuring import describe_part, measure_in_turn, ratios_of, summarize, table
from distill.progress import Progress
from distill.provenance import provenance
from distill.settings import to_mapping
from distill.tool_config import BenchConfig

RATIOS = (
    ("loop", "emulator"),
    ("loop_1", "emulator"),
    ("loop_curious", "loop"),
    ("loop_uncertain", "loop"),
    ("ppo", "sb3"),
    ("ppo_preset", "sb3"),
)


def describe(cfg: BenchConfig, setting: Setting, origin: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured, and on what, as plain values."""
    return {
        "settings": to_mapping(cfg),
        "device": str(setting.device),
        "precision": str(setting.dtype).removeprefix("torch."),
        "n_threads": torch.get_num_threads(),
        **origin,
    }


def main() -> None:
    """Measure the parts in turn and print the table."""
    cfg = cli.parse_settings(BenchConfig, __doc__ or "")
    origin = provenance(cfg.device, cfg.precision)  # of the code that runs, whatever comes after it
    prepare_process(cfg.n_threads)
    setting = make_setting(cfg)
    torch.manual_seed(0)
    parts = {name: MAKERS[name](setting) for name in cfg.parts}
    progress = Progress(len(parts) * (1 + cfg.repeats), unit="measurement", title="bench")
    rates = measure_in_turn(parts, cfg.repeats, cfg.seconds, progress=progress)
    progress.close()
    record = {
        "parts": {name: describe_part(parts[name], rates[name]) for name in parts},
        "ratios": {name: summarize(found) for name, found in ratios_of(rates, RATIOS).items()},
        **describe(cfg, setting, origin),
    }
    where = f"{record['machine']}; {record['n_threads']} threads, {record['device']}"
    print(f"{where}, {record['precision']}; {cfg.env}, student {cfg.student}")
    print(table(record))
    print_for_programs(record)


if __name__ == "__main__":
    run_command(main)
