"""The bench: its settings, and every part on real games."""

import json
import math

import bench
import pytest
import torch
from in_process import run_main

from distill import bench_parts
from distill.config import DistillConfig
from distill.teacher_config import TeacherConfig
from distill.tool_config import BENCH_PARTS, BenchConfig
from distill.types import WIDTHS

CPU = torch.device("cpu")
PONG = "PongNoFrameskip-v4"


def run(monkeypatch, capsys, *argv):
    """Run the command in this process; returns its exit status and what it printed."""
    return run_main(monkeypatch, bench, *argv), capsys.readouterr()


def tiny_setting(env_id=PONG):
    """Two games, a small ring, rollouts of 16 steps: every part in a second or two."""
    widths = WIDTHS["0.1pct"]
    distill = DistillConfig(
        env=env_id, student=widths, n_envs=2, n_steps=8, ring_size=64, learning_starts=0,
        steps_per_update=8, batch_size=16, total_steps=10**12
    )  # fmt: skip
    teacher = TeacherConfig(env=env_id, n_envs=2, n_steps=8, batch_size=8, precision="float32")
    return bench_parts.Setting(distill, teacher, CPU, torch.float32)


# --- settings ---


def test_all_means_every_part_and_a_list_its_parts_in_the_one_order():
    assert BenchConfig().parts == list(BENCH_PARTS) == list(bench.MAKERS)
    assert BenchConfig(what="loop,emulator").parts == ["emulator", "loop"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--what", "nonsense"], "--what must be all, or one or more of emulator,labels"),
        (["--what", "all,nonsense"], "--what must be"),
        (["--what", ""], "--what must be"),
        (["--repeats", "0"], "--repeats must be"),
        (["--seconds", "nan"], "--seconds must be"),
        (["--student", "huge"], "--student must be"),
        (["--device", "mps"], "--device"),
        (["--env", "PongNoFrameskip-v3"], "closest are Pong"),
        (["--speed", "1"], "--speed"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(monkeypatch, capsys, argv, message):
    monkeypatch.setattr(bench, "MAKERS", {})  # to be asked for a part would be a KeyError
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    status, output = run(monkeypatch, capsys, *argv)
    assert status == 2
    assert message in output.err
    assert output.out == ""


# --- real games ---


@pytest.mark.atari
@pytest.mark.parametrize("name", BENCH_PARTS[:-3])
def test_part_measures_a_rate(name):
    part = bench.MAKERS[name](tiny_setting())
    rates = [part.measure(0.01), part.measure(0.01)]
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)
    assert part.unit in ("steps/s", "samples/s")


@pytest.mark.atari
def test_update_and_loop_sample_from_a_full_ring():
    setting = tiny_setting()
    envs = bench_parts.make_games(setting)
    run = bench_parts.make_run(setting, envs, bench_parts.make_teacher(setting, envs.n_actions))
    assert len(run.ring) == setting.distill.ring_size
    assert (run.n_steps_done, run.n_updates) == (0, 0)


@pytest.mark.atari
@pytest.mark.parametrize(
    ("name", "is_curious", "is_uncertain"),
    [("loop", False, False), ("loop_curious", True, False), ("loop_uncertain", False, True)],
)
def test_loops_do_what_they_are_named_for(monkeypatch, name, is_curious, is_uncertain):
    runs, make_run = [], bench_parts.make_run

    def keep(*args):
        runs.append(make_run(*args))
        return runs[-1]

    monkeypatch.setattr(bench_parts, "make_run", keep)
    bench.MAKERS[name](tiny_setting()).measure(0.01)
    [run] = runs
    moments = run.learner.optimizer.parts[0].state
    trained = run.icm is not None and all(p in moments for p in run.icm.parameters())
    assert (trained, bool(run.ring.state_dict()["uncertainty"].any())) == (is_curious, is_uncertain)


@pytest.mark.atari
def test_last_line_is_json_with_parts_ratios_and_machine(monkeypatch, capsys):
    monkeypatch.setattr(bench, "make_setting", lambda cfg: tiny_setting(cfg.env))
    argv = "--what", "emulator,loop", "--repeats", "3", "--seconds", "0.01", "--env", PONG
    status, output = run(monkeypatch, capsys, *argv)
    assert status == 0
    record = json.loads(output.out.splitlines()[-1])
    assert list(record["parts"]) == ["emulator", "loop"]
    emulator, ratio = record["parts"]["emulator"], record["ratios"]["loop / emulator"]
    assert emulator["unit"] == "steps/s"
    assert emulator["min"] <= emulator["median"] <= emulator["max"]
    assert len(emulator["rounds"]) == len(ratio["rounds"]) == 3
    assert {"machine", "n_threads", "precision", "device", "commit", "versions"} <= record.keys()
    assert record["settings"]["env"] == PONG
    assert record["machine"] in output.out.splitlines()[0]


@pytest.mark.atari
def test_command_measures_the_emulator_as_a_user_runs_it(monkeypatch, capsys):
    argv = "--what", "emulator", "--repeats", "1", "--seconds", "0.01", "--n_envs", "2"
    status, output = run(monkeypatch, capsys, *argv)
    assert status == 0
    record = json.loads(output.out.splitlines()[-1])
    assert record["parts"]["emulator"]["median"] > 0
    assert record["ratios"] == {}
