"""The command that trains teachers, from its command line to its files."""

import csv
import errno
import io
import itertools
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import run_main
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import ppo_teacher
from distill import cli, teacher_config
from distill.checkpoint import NAMES, load_run, save_run
from distill.files import lock_folder
from distill.muon import MuonWithAdam
from distill.networks import ActorCritic
from distill.parsing import MAX_STEPS
from distill.ppo import algorithm, callback, ladder
from distill.ppo.fast_policy import FastCnnPolicy
from distill.ppo.predecessors import note_of_other_games
from distill.run_folder import read_run
from distill.settings import from_mapping
from distill.student_files import save_student
from distill.teacher import load_actor_critic
from distill.teacher_config import TeacherConfig
from distill.teacher_files import read_record
from distill.types import WIDTHS

pytestmark = pytest.mark.atari

ENV = "PongNoFrameskip-v4"
SMALL = (
    f"--env {ENV} --network 0.1pct --n_envs 2 --n_steps 64 --batch_size 128 --n_epochs 1".split()
)
EXTRA = ["--seed", "3", "--repeat_steps", "1280"]
ROLLOUT_STEPS = 2 * 64
LONG = "3000"


def command(*argv: str) -> list[str]:
    return [sys.executable, "-W", "ignore", str(Path(ppo_teacher.__file__).resolve()), *argv]


def wait_for(path: Path, done: Callable[[], bool] = lambda: False) -> None:
    """Wait until there is such a file, or until it cannot come any more."""
    end = time.monotonic() + 120
    while not path.exists() and not done():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


def logged(run_dir: Path, tag: str) -> list[tuple[int, float]]:
    """Return (step, value) from metrics.csv, in the order of the file."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        return [(int(row["step"]), float(row["value"])) for row in rows if row["tag"] == tag]


def shown(run_dir: Path, tag: str) -> list[tuple[int, float]]:
    """Return (step, value) as TensorBoard shows them."""
    accumulator = EventAccumulator(str(run_dir), size_guidance={"scalars": 0}).Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


# --- the ladder ---


@pytest.mark.parametrize(
    ("total_steps", "expected"),
    [
        (2_000, [2_000]),
        (10_000, [10_000]),
        (20_000, [10_000, 15_000, 20_000]),
        (100_000, [10_000, 15_000, 20_000, 30_000, 50_000, 70_000, 100_000]),
        (110_000, [10_000, 15_000, 20_000, 30_000, 50_000, 70_000, 100_000, 110_000]),
    ],
)
def test_teachers_are_kept_six_times_a_power_of_ten_and_at_the_end(total_steps, expected):
    assert ladder.ladder(total_steps) == expected


def test_the_ladder_reaches_the_longest_run():
    assert ladder.ladder(MAX_STEPS)[-2:] == [7 * MAX_STEPS // 10, MAX_STEPS]


def test_runs_started_in_one_second_have_a_folder_each(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ppo_teacher.py", "1000"])
    monkeypatch.setattr(ppo_teacher, "time_stamp", lambda: "20260101-000000")
    asked = cli.parse_command(TeacherConfig, "")
    folders = [ppo_teacher.start(asked)[1] for _ in range(2)]
    name = f"teacher_{TeacherConfig.env}_20260101-000000_seed0"
    assert [folder.name for folder in folders] == [name, f"{name}_2"]


# --- a whole run ---


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder in which `python ppo_teacher.py 2500` has run to its end: two games and a bit."""
    folder = tmp_path_factory.mktemp("finished")
    argv = ["2.5e3", *SMALL, *EXTRA]
    done = subprocess.run(command(*argv), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


@pytest.mark.slow
def test_a_run_says_where_it_is_and_what_to_do_next(finished):
    out = (finished / "stdout").read_text()
    assert f"training {ENV} for 2,500 steps in runs/teacher_{ENV}_" in out
    assert re.search(r"^first score after about [\d,]+ steps: \d+ games at a time$", out, re.M)
    made = f"--teacher_chkpt {only(finished, 'teachers/*.zip').relative_to(finished)}\n"
    assert f"python eval_teacher.py {made}(--write_score keeps the scores" in out
    assert f"python scripts/run_distillation.py {made}" in out
    assert "tensorboard --logdir runs" in out
    lines = (finished / "stderr").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("first score"))
    assert re.fullmatch(r"first score -(\d+) after [12],\d+ steps", lines.pop(first))
    for i, line in enumerate(lines):  # of a slow machine: a line each half minute
        score = r"score -\d+\.\d" if i >= first else "no game finished yet"
        assert re.fullmatch(rf"[\d,]+ of 2,500 steps, [\d,]+/s, \d+ min left {score}", line), line


def test_a_run_has_its_folder_with_settings_curves_and_checkpoint(finished):
    run_dir = only(finished, "runs/*")
    assert re.fullmatch(rf"teacher_{ENV}_\d{{8}}-\d{{6}}_seed3", run_dir.name)
    names = {path.name.split(".out.")[0] for path in run_dir.iterdir()}
    assert names == {"config.yaml", "metrics.csv", "events", *NAMES}
    settings = read_run(run_dir)["settings"]
    cfg = from_mapping(TeacherConfig, settings, origin="config.yaml")
    assert (cfg.env, cfg.total_steps, cfg.seed) == (ENV, 2500, 3)
    assert cfg.network == WIDTHS["0.1pct"]


def test_a_short_run_logs_every_rollout(finished):
    run_dir = only(finished, "runs/*")
    steps = [step for step, _ in logged(run_dir, "time/fps")]
    assert steps == list(range(ROLLOUT_STEPS, 2500 + ROLLOUT_STEPS, ROLLOUT_STEPS))
    for tag in ("train/learning_rate", "train/approx_kl", "train/explained_variance"):
        assert [step for step, _ in logged(run_dir, tag)] == steps[1:]
        assert [step for step, _ in shown(run_dir, tag)] == steps[1:]
    assert -21 <= logged(run_dir, "rollout/ep_rew_mean")[-1][1] < -10


def test_fewer_and_fewer_actions_are_held(finished):
    values = logged(only(finished, "runs/*"), "train/repeat_probability")
    # A line from 0.8 at step 0 to 0 at step 1,280; logged as it was when a rollout began.
    expected = [max(0.0, 0.8 * (1 - i / 10)) for i in range(len(values))]
    assert [step for step, _ in values] == [ROLLOUT_STEPS * (i + 1) for i in range(len(values))]
    assert [value for _, value in values] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert expected[-1] == 0


def test_the_entropy_bonus_follows_its_schedule(finished):
    values = logged(only(finished, "runs/*"), "train/entropy_weight")
    begun = [ROLLOUT_STEPS * i for i in range(len(values))]  # steps when the rollout began
    assert [value for _, value in values] == pytest.approx(
        [0.03 * (1 - step / 2500) for step in begun], rel=1e-5
    )


def test_the_teacher_is_named_after_game_date_and_steps(finished):
    path = only(finished, "teachers/*.zip")
    assert re.fullmatch(rf"env{ENV}_\d{{8}}-\d{{6}}_n_iters2500\.zip", path.name)
    assert only(finished, "teachers/*.json") == path.with_suffix(".json")


def test_the_teachers_record_tells_how_it_was_made(finished):
    record = json.loads(only(finished, "teachers/*.json").read_text())
    assert record["steps"] == 2500 + -2500 % ROLLOUT_STEPS  # whole rollouts
    assert record["env_id"] == ENV
    assert record["seed"] == 3
    assert record["network"] == "0.1pct"
    assert record["n_stack"] == 4
    assert record["sticky_probability"] == 0.0
    assert record["settings"]["n_steps"] == 64
    assert record["training_games"] in (1, 2, 3)
    assert -21 <= record["training_score"] < -10
    assert {"commit", "dirty", "versions", "machine"} <= set(record)
    assert 1 <= record["wall_seconds"] < 600
    assert record["command"] == " ".join(["python ppo_teacher.py 2.5e3", *SMALL, *EXTRA])


def test_two_runs_that_start_in_one_second_keep_their_teachers_apart(tmp_path):
    cfg = small_config(tmp_path, teachers_dir=tmp_path)
    model, started = algorithm.build(cfg), datetime(2026, 1, 31, 23, 59, 59)
    paths = {
        (run, mark): ladder.keep_teacher(model, cfg, started, mark=mark, origin={"run": run})
        for mark in (10, 20)
        for run in ("a", "b", "c")
    }
    stem = f"env{ENV}_2026"
    assert {(*key, path.name) for key, path in paths.items()} == {
        ("a", 10, f"{stem}0131-235959_n_iters10.zip"),
        ("a", 20, f"{stem}0131-235959_n_iters20.zip"),
        ("b", 10, f"{stem}0201-000000_n_iters10.zip"),
        ("b", 20, f"{stem}0201-000000_n_iters20.zip"),
        ("c", 10, f"{stem}0201-000001_n_iters10.zip"),
        ("c", 20, f"{stem}0201-000001_n_iters20.zip"),
    }
    assert all(
        json.loads(p.with_suffix(".json").read_text())["run"] == r for (r, _), p in paths.items()
    )


def test_two_runs_of_one_name_and_second_keep_their_teachers_apart(tmp_path):
    """Their folders may be in two places."""
    cfg = small_config(tmp_path, teachers_dir=tmp_path)
    model, one = algorithm.build(cfg), datetime(2026, 1, 31, 23, 59, 59, 5)
    starts = (one, one.replace(microsecond=6))
    kept = [
        ladder.keep_teacher(model, cfg, started, mark=mark, origin={"run": "a"}).name
        for mark in (10, 20)
        for started in starts
    ]
    seconds = ("0131-235959", "0201-000000")
    assert kept == [f"env{ENV}_2026{s}_n_iters{mark}.zip" for mark in (10, 20) for s in seconds]


def test_a_resumed_run_of_an_earlier_version_keeps_its_teachers_date(tmp_path):
    cfg = small_config(tmp_path, teachers_dir=tmp_path)
    model, started = algorithm.build(cfg), datetime(2026, 1, 31, 23, 59, 59)
    first = ladder.keep_teacher(model, cfg, started, mark=10, origin={"run": "a"})
    record = json.loads(first.with_suffix(".json").read_text())
    del record["started"]
    first.with_suffix(".json").write_text(json.dumps(record))
    again = ladder.keep_teacher(model, cfg, started, mark=20, origin={"run": "a"})
    assert again.name.replace("20.zip", "10.zip") == first.name


def test_a_run_that_keeps_a_teacher_while_another_does_takes_another_name(monkeypatch, tmp_path):
    cfg = small_config(tmp_path, teachers_dir=tmp_path)
    model, started = algorithm.build(cfg), datetime(2026, 1, 31, 23, 59, 59)
    export, kept = ladder.export_zip, {}

    def keep(run: str) -> None:
        kept[run] = ladder.keep_teacher(model, cfg, started, mark=10, origin={"run": run}).name

    other = threading.Thread(target=keep, args=("b",))

    def meanwhile(*args: Any) -> None:
        monkeypatch.setattr(ladder, "export_zip", export)
        other.start()
        other.join(2)  # long enough to take the same name, if it does not wait for this one
        export(*args)

    monkeypatch.setattr(ladder, "export_zip", meanwhile)
    keep("a")
    other.join()
    stem = f"env{ENV}_2026"
    assert kept == {
        "a": f"{stem}0131-235959_n_iters10.zip",
        "b": f"{stem}0201-000000_n_iters10.zip",
    }
    assert {read_record(tmp_path / name)["run"]: name for name in kept.values()} == kept


def test_a_teacher_cut_short_leaves_no_zip_that_passes_for_another_runs(monkeypatch, tmp_path):
    cfg = small_config(tmp_path, teachers_dir=tmp_path)
    model, started = algorithm.build(cfg), datetime(2026, 1, 31, 23, 59, 59)
    first = ladder.keep_teacher(model, cfg, started, mark=10, origin={"run": "a"})

    def killed(path: Path, record: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ladder, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            ladder.keep_teacher(model, cfg, started, mark=20, origin={"run": "a"})
    again = ladder.keep_teacher(model, cfg, started, mark=20, origin={"run": "a"})
    assert again.name.replace("20.zip", "10.zip") == first.name


def test_the_teachers_weights_are_those_of_the_last_checkpoint(finished):
    state, _ = load_run(only(finished, "runs/*"))
    with zipfile.ZipFile(only(finished, "teachers/*.zip")) as archive:
        weights = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    assert weights.keys() == state["policy"].keys()
    assert all(torch.equal(weights[name], state["policy"][name].half()) for name in weights)


def test_a_run_goes_on_from_a_student_near_a_teacher(monkeypatch, finished, tmp_path):
    """The critic alone learns at first, no action is held, and the teacher's KL is logged.

    As the run ends, its last checkpoint but one is of the end of the warm-up.
    """
    monkeypatch.chdir(tmp_path)
    student = ActorCritic(WIDTHS["0.3pct"], 6)
    save_student(tmp_path / "s.safetensors", student, {})
    teacher = only(finished, "teachers/*.zip")
    where = ["--init_from", "s.safetensors", "--kickstart", str(teacher), "--run_dir", "run"]
    small = [word for word in SMALL if word not in ("--network", "0.1pct")]
    where += ["--warm_up_steps", "256", "--checkpoint_steps", "1", "--learning_rate", "1e-3"]
    where += ["--w_kickstart", "1:0"]  # by default it is over when the policy begins to learn
    assert run_main(monkeypatch, ppo_teacher, "384", *small, *where) == 0
    taught = torch.load(Path("run", NAMES[1]), map_location="cpu", weights_only=True)
    assert taught["steps"] == 256
    for name, weight in student.encoder.state_dict().items():
        assert torch.equal(taught["policy"][f"features_extractor.{name}"], weight)
    assert taught["policy"]["value_net.weight"].abs().sum() > 0
    ended = load_run(Path("run"))[0]["policy"]["features_extractor.cnn.0.weight"]
    assert not torch.equal(ended, taught["policy"]["features_extractor.cnn.0.weight"])
    assert {value for _, value in logged(Path("run"), "train/repeat_probability")} == {0.0}
    assert all(value > 0 for _, value in logged(Path("run"), "train/kickstart_kl"))
    entropies = [-value for _, value in logged(Path("run"), "train/entropy_loss")]
    assert entropies  # of the policy, not the term of the loss that weighs it and the KL
    assert all(0.5 < entropy <= math.log(6) + 1e-6 for entropy in entropies)
    settings = json.loads(only(tmp_path, "teachers/*.json").read_text())["settings"]
    assert (settings["network"], settings["kickstart"]) == ("0.3pct", teacher.name)


def test_a_kickstarted_run_is_not_gone_on_with_near_another_teacher(
    monkeypatch, finished, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    teacher = only(finished, "teachers/*.zip")
    shutil.copy(teacher, "mine.zip")
    where = ["--kickstart", "mine.zip", "--run_dir", "run"]
    assert run_main(monkeypatch, ppo_teacher, "128", *SMALL, *where) == 0
    capsys.readouterr()
    Path("mine.zip").write_bytes(b"another")
    assert run_main(monkeypatch, ppo_teacher, "256", "--resume", "run") == 2
    assert "--resume run began with another --kickstart than mine.zip" in capsys.readouterr().err
    shutil.copy(teacher, "mine.zip")
    assert run_main(monkeypatch, ppo_teacher, "256", "--resume", "run") == 0


def test_networks_of_another_game_are_named(tmp_path, finished):
    """Of as many actions they are accepted, be it that --config brought another run's game."""
    save_student(tmp_path / "s.safetensors", ActorCritic(WIDTHS["0.3pct"], 6), {})
    teacher, student = only(finished, "teachers/*.zip"), tmp_path / "s.safetensors"
    cfg = TeacherConfig(total_steps=128, env=ENV, init_from=student, kickstart=teacher)
    assert note_of_other_games(cfg) == ""
    other = replace(cfg, env="ALE/Qbert-v5")
    assert note_of_other_games(other) == f"; --kickstart {teacher} was trained on {ENV}"


@pytest.mark.parametrize("kickstarted", [False, True])
def test_ppo_learns_by_the_schedules(monkeypatch, finished, tmp_path, kickstarted):
    monkeypatch.chdir(tmp_path)
    train, found = PPO.train, []

    def watched(model: PPO) -> None:
        assert isinstance(model.policy, FastCnnPolicy)
        teacher = model.policy.kickstart
        weights = () if teacher is None else (teacher.w_entropy, teacher.w_kl)
        weights = (model.policy.repeat_probability, model.ent_coef, *weights)
        train(model)
        logged, (group,) = model.logger.name_to_value, model.policy.optimizer.param_groups
        found.append((group["lr"], logged["train/clip_range"], *weights))

    monkeypatch.setattr(PPO, "train", watched)
    schedules = ["--w_entropy", "0.04:0", "--repeat_probability", "0.8", "--repeat_steps", "512"]
    schedules += ["--learning_rate", "4e-4:0", "--clip_range", "0.4:0"]
    if kickstarted:
        teacher = only(finished, "teachers/*.zip")
        schedules += ["--kickstart", str(teacher), "--w_kickstart", "0.8:0:0.5"]
    assert run_main(monkeypatch, ppo_teacher, "512", *SMALL, *schedules) == 0
    rates = (4e-4, 3e-4, 2e-4, 1e-4), (0.4, 0.3, 0.2, 0.1)  # the last rollout is learned from, too
    held, w_entropy = (0.8, 0.6, 0.4, 0.2), (0.04, 0.03, 0.02, 0.01)
    if kickstarted:  # its regularizer has both weights in it, and stands where the entropy does
        expected = zip(*rates, held, [1.0] * 4, w_entropy, (0.8, 0.4, 0.0, 0.0), strict=True)
    else:
        expected = zip(*rates, held, w_entropy, strict=True)
    np.testing.assert_allclose(found, list(expected), rtol=1e-6, atol=1e-9)


def test_a_run_is_resumed_without_what_it_went_on_from(monkeypatch, finished, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    first = Path("mine.zip")  # whose steps its header says, and no name or record beside it
    shutil.copy(only(finished, "teachers/*.zip"), first)
    small = [word for word in SMALL if word not in ("--network", "0.1pct")]
    game = ["--env", ENV, "--init_from", str(first), "--run_dir", "run"]
    assert run_main(monkeypatch, ppo_teacher, "6000", *small, *game) == 0
    first.unlink()
    kept = sorted(Path("teachers").glob("*.zip"))
    assert run_main(monkeypatch, ppo_teacher, "--resume", "run") == 0
    assert "all steps are done" in capsys.readouterr().out
    assert sorted(Path("teachers").glob("*.zip")) == kept


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (r"started: .*", "", ["config.yaml is damaged: `started` must be a date", "got None"]),
        (r"started: .*", "started: soon", ["config.yaml is damaged: `started` must", "'soon'"]),
        (r"(?s)argv:.*?(?=\n\w)", "", ["config.yaml is damaged: it lacks 'argv'"]),
        (r"total_steps: .*", "total_steps: null", ["--resume", "config.yaml has no total_steps"]),
        (r"first_step: .*", "first_step: abc", ["config.yaml is damaged: `first_step`", "'abc'"]),
        (r"argv:", "lengthened: 5\nargv:", ["config.yaml is damaged: `lengthened`", "'5'"]),
        (r"argv:", "lengthened: [{a: 1}]\nargv:", ["config.yaml is damaged: `lengthened`"]),
    ],
)
def test_a_run_whose_config_was_edited_is_refused_in_a_line(
    monkeypatch, finished, tmp_path, capsys, old, new, parts
):
    run_dir = copied_run(finished, tmp_path, monkeypatch)
    path = run_dir / "config.yaml"
    text, n = re.subn(old, new, path.read_text(), count=1)
    assert n == 1
    path.write_text(text)
    line = refusal(monkeypatch, capsys, "--resume", str(run_dir))
    assert all(part in line for part in parts), line


def test_a_run_goes_on_from_a_teacher_at_its_step(monkeypatch, finished, tmp_path, capsys):
    """Curves, ladder and schedules begin where the teacher ends, and all layers learn at once."""
    monkeypatch.chdir(tmp_path)
    teacher = only(finished, "teachers/*.zip")
    done = json.loads(teacher.with_suffix(".json").read_text())["steps"]
    small = [word for word in SMALL if word not in ("--network", "0.1pct")]
    begun = ["--init_from", str(teacher), "--run_dir", "run", "--teachers_dir", "made"]
    assert run_main(monkeypatch, ppo_teacher, str(2 * done), *small, *begun) == 0
    assert f"\ngoing on at step {done:,}\n" in capsys.readouterr().out
    steps, rates = zip(*logged(Path("run"), "train/learning_rate"), strict=True)
    assert min(steps) > done
    assert max(rates) <= TeacherConfig().learning_rate(0.5)
    state = load_run(Path("run"))[0]
    assert state["steps"] >= 2 * done
    first, name = load_actor_critic(teacher).encoder.state_dict(), "cnn.0.weight"
    assert not torch.equal(state["policy"][f"features_extractor.{name}"], first[name])
    assert [p.name.split("n_iters")[1] for p in Path("made").glob("*.zip")] == [f"{2 * done}.zip"]
    assert {value for _, value in logged(Path("run"), "train/repeat_probability")} == {0.0}


def test_a_runs_own_config_can_be_given_again(finished):
    config = only(finished, "runs/*") / "config.yaml"
    cfg = cli.parse_settings(TeacherConfig, "", ["--config", str(config), "--seed", "4"])
    assert (cfg.total_steps, cfg.env, cfg.seed, cfg.network) == (2500, ENV, 4, WIDTHS["0.1pct"])
    assert cfg.run_dir is None


def copied_run(finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in `folder`, on a copy of the finished run; returns its folder."""
    shutil.copytree(finished / "runs", folder / "runs")
    monkeypatch.chdir(folder)
    return only(Path(), "runs/*")


@pytest.mark.slow
def test_resuming_a_finished_run_changes_nothing(monkeypatch, finished, tmp_path, capsys):
    run_dir = copied_run(finished, tmp_path, monkeypatch)
    before = logged(run_dir, "time/fps"), load_run(run_dir)[0]["steps"]
    assert run_main(monkeypatch, ppo_teacher, "--resume", str(run_dir)) == 0
    assert (logged(run_dir, "time/fps"), load_run(run_dir)[0]["steps"]) == before
    out = capsys.readouterr().out
    assert "all steps are done; to go on, give a larger total beside --resume\n" in out
    assert "going on" not in out


@pytest.mark.slow
def test_a_folder_of_teachers_that_cannot_be_written_to_costs_no_training(
    monkeypatch, finished, tmp_path, capsys
):
    run_dir = copied_run(finished, tmp_path, monkeypatch)
    monkeypatch.setattr(callback, "ladder", lambda total_steps: [3000, total_steps])
    begun = load_run(run_dir)[0]["steps"]
    with monkeypatch.context() as full:
        full.setattr(callback, "keep_teacher", no_space)
        assert run_main(monkeypatch, ppo_teacher, "4000", "--resume", str(run_dir)) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert load_run(run_dir)[0]["steps"] >= 3000 > begun
    Path("a_file").touch()
    there = ["--resume", str(run_dir), "--teachers_dir"]
    assert "a_file is a file" in refusal(monkeypatch, capsys, *there, "a_file")
    assert run_main(monkeypatch, ppo_teacher, *there, "elsewhere") == 0
    kept = {p.name.split("n_iters")[1] for p in Path("elsewhere").glob("*.zip")}
    assert kept == {"3000.zip", "4000.zip"}  # made up for


def no_space(*args: object, **more: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def fails(*args: object, **more: object) -> None:
    raise ValueError("no device")


@pytest.mark.slow
def test_a_run_can_be_given_more_steps_over_which_its_schedules_stretch(
    monkeypatch, finished, tmp_path, capsys
):
    run_dir = copied_run(finished, tmp_path, monkeypatch)
    begun = load_run(run_dir)[0]["steps"]
    config = (run_dir / "config.yaml").read_text()
    with monkeypatch.context() as no_device:
        no_device.setattr(ppo_teacher, "build", fails)
        assert "no device" in refusal(monkeypatch, capsys, "4000", "--resume", str(run_dir))
    line = refusal(monkeypatch, capsys, "2550", "--resume", str(run_dir))  # rollouts are whole
    assert (
        f"total_steps must be above the 2,560 that --resume {run_dir} has done, got 2,550" in line
    )
    held = lock_folder(run_dir)  # another process trains there
    line = refusal(monkeypatch, capsys, "4000", "--resume", str(run_dir))
    assert "is being written by another process" in line
    os.close(held)
    assert (run_dir / "config.yaml").read_text() == config
    monkeypatch.setattr(callback, "ladder", lambda total_steps: [500, 2000, 3000, total_steps])
    monkeypatch.setattr(teacher_config, "MUON_STEPS", 3000)  # a new one of 4,000 would have Adam
    assert run_main(monkeypatch, ppo_teacher, "4000", "--resume", str(run_dir)) == 0
    out = capsys.readouterr().out
    assert "for 4,000 steps" in out
    assert "\noptimizer muon, learning rate 0.00025:0\n" in out
    # The rungs below belong to the run as it was: what is kept now would not be theirs.
    kept = {path.name.split("n_iters")[1] for path in Path("teachers").glob("*.zip")}
    assert kept == {"3000.zip", "4000.zip"}
    assert load_run(run_dir)[0]["steps"] == 4000 + -4000 % ROLLOUT_STEPS
    rates = [rate for rate in logged(run_dir, "train/learning_rate") if rate[0] > begun]
    assert rates
    for step, rate in rates:  # higher than the 1e-5 that it had come to
        assert rate == pytest.approx(2.5e-4 * (1 - (step - 2 * ROLLOUT_STEPS) / 4000), rel=1e-6)
    record = json.loads(only(tmp_path, "teachers/*_n_iters4000.json").read_text())
    assert record["command"].endswith(f", then 4000 --resume {run_dir.name}")
    assert record["settings"]["total_steps"] == 4000
    assert run_main(monkeypatch, ppo_teacher, "--resume", str(run_dir)) == 0  # it stays so
    assert "for 4,000 steps" in capsys.readouterr().out
    line = refusal(monkeypatch, capsys, "2500", "--resume", str(run_dir))
    assert f"total_steps must be at least the 4,000 of --resume {run_dir}, got 2,500" in line


# --- killed, damaged, interrupted ---


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A folder with the run that SIGKILL stopped after two checkpoints."""
    folder = tmp_path_factory.mktemp("killed")
    argv = [LONG, *SMALL, "--checkpoint_steps", "256", "--run_dir", "run"]
    process = subprocess.Popen(command(*argv), cwd=folder, stdout=subprocess.DEVNULL)
    wait_for(folder / "run" / NAMES[1], lambda: process.poll() is not None)
    while load_run(folder / "run")[0]["steps"] < 512:  # the first checkpoint is of step 0
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)  # so that it is amid other work
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 512 <= load_run(folder / "run")[0]["steps"] < int(LONG)
    return folder


def check_curves(run_dir: Path) -> None:
    """Assert that the curves are those of a run that never stopped."""
    last_step = int(LONG) + -int(LONG) % ROLLOUT_STEPS
    rates = logged(run_dir, "train/learning_rate")
    for (step, rate), (next_step, next_rate) in itertools.pairwise(rates):
        assert next_step > step
        assert next_rate < rate
    assert rates[-1][0] == last_step
    # A rollout's rate is that of its start; SB3 logs it with the next one.
    for step, rate in rates:
        begun = step - 2 * ROLLOUT_STEPS
        assert rate == pytest.approx(2.5e-4 * (1 - begun / int(LONG)), rel=1e-6)
    steps = [step for step, _ in logged(run_dir, "time/fps")]
    assert steps == list(range(ROLLOUT_STEPS, last_step + 1, ROLLOUT_STEPS))
    for tag in ("time/fps", "train/learning_rate"):
        assert [step for step, _ in shown(run_dir, tag)] == [s for s, _ in logged(run_dir, tag)]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_total_first_asked_for(monkeypatch, killed, tmp_path, capsys):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    begun = load_run(Path("run"))[0]["steps"]
    assert run_main(monkeypatch, ppo_teacher, "--resume", "run") == 0
    out, err = capsys.readouterr()
    assert f"for 3,000 steps in run\ngoing on at step {begun:,}\n" in out
    assert "damaged" not in err
    state, _ = load_run(Path("run"))
    assert state["steps"] == int(LONG) + -int(LONG) % ROLLOUT_STEPS
    check_curves(Path("run"))
    record = json.loads(only(Path(), f"teachers/*_n_iters{LONG}.json").read_text())
    assert record["steps"] == state["steps"]


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(monkeypatch, killed, tmp_path, capsys):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    newest = Path("run") / NAMES[0]
    newest.write_bytes(newest.read_bytes()[:5000])
    assert run_main(monkeypatch, ppo_teacher, "--resume", "run") == 0
    assert "run/checkpoint.pt is damaged" in capsys.readouterr().err
    check_curves(Path("run"))


@pytest.mark.slow
def test_a_checkpoint_of_other_settings_is_refused(monkeypatch, killed, tmp_path, capsys):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    config = Path("run/config.yaml")
    config.write_text(re.sub("network: .*", "network: 1pct", config.read_text()))
    assert run_main(monkeypatch, ppo_teacher, "--resume", "run") == 2
    message = "--resume run has a checkpoint of other settings than its config.yaml: "
    assert message in capsys.readouterr().err


@contextmanager
def signal_at(path: Path, number: signal.Signals) -> Iterator[None]:
    """Send this process a signal as soon as there is such a file."""

    def watch() -> None:
        wait_for(path, over.is_set)
        if not over.is_set():
            os.kill(os.getpid(), number)

    over = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_resume(monkeypatch, tmp_path, capsys, number):
    monkeypatch.chdir(tmp_path)
    with signal_at(Path("run") / NAMES[1], number):
        argv = ["1e5", *SMALL, "--checkpoint_steps", "1", "--run_dir", "run"]
        assert run_main(monkeypatch, ppo_teacher, *argv) == 130
    err = capsys.readouterr().err
    steps = load_run(Path("run"))[0]["steps"]
    assert f"stopped at step {steps:,}; continue with: python ppo_teacher.py --resume run\n" in err
    assert "Traceback" not in err
    (record,) = Path("teachers").glob(f"*_n_iters{steps}.json")
    assert json.loads(record.read_text())["steps"] == steps


def test_ctrl_c_before_the_first_checkpoint_leaves_nothing_in_the_way(
    monkeypatch, tmp_path, capsys
):
    def stopped(*args: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ppo_teacher, "build", stopped)
    assert run_main(monkeypatch, ppo_teacher, "1e5", *SMALL, "--run_dir", "run") == 130
    out, err = capsys.readouterr()
    assert out.startswith("training ")  # before what takes its time
    assert err == "\nstopped; start again: it was stopped before its first checkpoint\n"
    assert not Path("run").exists()


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_costs_no_checkpoint(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # a teacher's zip is larger
    try:
        argv = ["300", *SMALL, "--checkpoint_steps", "128", "--run_dir", "run"]
        status = run_main(monkeypatch, ppo_teacher, *argv)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    err = capsys.readouterr().err
    assert status == 1
    assert re.fullmatch(r"ppo_teacher\.py: error: cannot write teachers/.*\.zip: .+\n", err), err
    assert err.endswith("; continue with: python ppo_teacher.py --resume run\n")
    assert list(Path("teachers").iterdir()) == []
    assert load_run(Path("run"))[0]["steps"] == 384
    # The teacher was all that was missing; with room for it, it is kept.
    assert run_main(monkeypatch, ppo_teacher, "--resume", "run") == 0
    out = capsys.readouterr().out
    made = only(Path(), "teachers/*_n_iters300.zip")
    assert f"--teacher_chkpt {made}\n" in out
    assert json.loads(made.with_suffix(".json").read_text())["steps"] == 384
    assert "no score on the way" not in out


# --- states ---


def small_config(tmp_path: Path, **changes) -> TeacherConfig:
    settings = {"env": ENV, "n_envs": 2, "n_steps": 16, "batch_size": 32, "precision": "float32"}
    cfg = TeacherConfig(total_steps=320, network=WIDTHS["net3"], run_dir=tmp_path, **settings)
    return replace(cfg, **changes)


@pytest.mark.atari
def test_a_smaller_last_minibatch_is_nothing_to_warn_of(tmp_path, recwarn):
    algorithm.build(small_config(tmp_path, batch_size=20))
    assert not [warning for warning in recwarn if "mini-batch" in str(warning.message)]


def trained(cfg: TeacherConfig) -> PPO:
    return algorithm.build(cfg).learn(64)


def equal_states(a: object, b: object) -> bool:
    """Compare nested containers of tensors and plain values."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal_states(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal_states, a, b))
    return a == b


def test_a_restored_model_continues_where_the_saved_one_stood(tmp_path):
    cfg = small_config(tmp_path)
    model = trained(cfg)
    assert model.ep_info_buffer is not None
    model.ep_info_buffer.append({"r": -20.0, "l": 900, "t": 3.0})
    save_run(tmp_path, algorithm.training_state(model))
    state, _ = load_run(tmp_path)
    fresh = algorithm.build(cfg, first_step=state["steps"])
    algorithm.restore(fresh, state)
    assert equal_states(algorithm.training_state(fresh), algorithm.training_state(model))
    assert fresh.num_timesteps == 64
    assert isinstance(fresh.policy.optimizer, MuonWithAdam)
    assert all(part.state for part in fresh.policy.optimizer.parts)


def test_muon_steps_along_the_encoders_weights_alone(tmp_path):
    policy = algorithm.build(small_config(tmp_path)).policy
    assert isinstance(policy.optimizer, MuonWithAdam)
    adam, muon = (
        {id(p) for p in part.param_groups[0]["params"]} for part in policy.optimizer.parts
    )
    weights = {
        id(p)
        for name, p in policy.named_parameters()
        if name.startswith("features_extractor") and name.endswith("weight")
    }
    assert muon == weights
    assert adam == {id(p) for p in policy.parameters()} - weights
    plain = algorithm.build(small_config(tmp_path, optimizer="adam")).policy.optimizer
    assert type(plain) is torch.optim.Adam
    assert plain.defaults["eps"] == policy.optimizer.parts[0].defaults["eps"] == 1e-5


def test_one_seed_trains_one_teacher_bit_for_bit(tmp_path):
    cfg = small_config(tmp_path)
    first, second = (algorithm.training_state(trained(cfg)) for _ in range(2))
    assert equal_states(first, second)
    other = algorithm.training_state(trained(replace(cfg, seed=1)))
    assert not equal_states(first["policy"], other["policy"])


def test_seeds_beyond_32_bits_are_fine(tmp_path):
    algorithm.build(small_config(tmp_path, seed=2**40))


def test_a_run_that_died_before_its_first_checkpoint_begins_again(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    argv = ["256", *SMALL, "--run_dir", "run"]
    with monkeypatch.context() as dying:
        dying.setattr(ppo_teacher, "learn", killed)
        assert run_main(monkeypatch, ppo_teacher, *argv) == 130
    begun = load_run(Path("run"))[0]
    assert begun["steps"] == 0
    assert run_main(monkeypatch, ppo_teacher, "--resume", "run") == 0
    assert load_run(Path("run"))[0]["steps"] == 256


def test_a_run_named_by_a_dot_keeps_its_name(monkeypatch, finished, tmp_path, capsys):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    run_dir = only(tmp_path, "runs/*")
    monkeypatch.chdir(run_dir)
    where = ["--resume", "."]
    assert run_main(monkeypatch, ppo_teacher, "2600", *where) == 0
    record = json.loads(only(run_dir, "teachers/*_n_iters2600.json").read_text())
    assert record["run"] == run_dir.name
    assert record["command"].endswith(f"then 2600 --resume {run_dir.name}")
    (made,) = Path("teachers").glob("*.zip")
    assert f"python eval_teacher.py --teacher_chkpt {made}\n" in capsys.readouterr().out


# --- bad input: status 2, one line, nothing left behind ---


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the one line that a command line is refused with."""
    before = sorted(Path().rglob("*"))
    assert run_main(monkeypatch, ppo_teacher, *argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"ppo_teacher\.py: error: .+\n", err), err
    assert sorted(Path().rglob("*")) == before
    return err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], ["total_steps is missing", "python ppo_teacher.py 1e7"]),
        (["1.5"], ["total_steps", "'1.5'", "whole number"]),
        (["0"], ["total_steps", "'0'", "whole number"]),
        (["-3"], ["total_steps", "'-3'", "whole number"]),
        (["1e-3"], ["total_steps", "'1e-3'", "whole number"]),
        (["nan"], ["total_steps", "'nan'", "whole number"]),
        (["1e400"], ["total_steps", "'1e400'", "whole number"]),
        (["abc"], ["total_steps", "'abc'", "whole number"]),
        (["1e5", "--sedd", "3"], ["--sedd"]),
        (["1e5", "--check", "3"], ["--check"]),
        (["1e5", "--env", "FreewyNoFrameskip-v0"], ["--env", "FreewyNo", "FreewayNoFrameskip-v0"]),
        (["1e5", "--network", "net9"], ["--network", "'net9'", "net3", "C1,C2,C3,FC"]),
        (["1e5", "--device", "tpu"], ["--device", "'tpu'", "cuda"]),
        (["1e5", "--precision", "float16"], ["--precision", "'float16'", "bfloat16"]),
        (["1e5", "--learning_rate", "fast"], ["--learning_rate", "'fast'", "START"]),
        (["1e5", "--gamma", "1.5"], ["--gamma", "'1.5'", "from 0 to 1"]),
        (["1e5", "--batch_size", "1"], ["--batch_size", "at least 2", "got 1"]),
        (["1e5", "--learning_rate", "0"], ["--learning_rate must be above 0 at some time"]),
        (["1e5", "--clip_range", "0"], ["--clip_range must be above 0 at some time"]),
        (["1e5", "--clip_range", "1e300"], ["--clip_range", "1e300", "from 1e-38 to 1e+38"]),
        (["1e5", "--n_envs", "1", "--n_steps", "1"], ["--n_envs", "at least 2", "got 1"]),
        (["1e5", "--run_dir", "exists"], ["--run_dir", "exists", "--resume exists"]),
        (["1e5", "--teachers_dir", "file"], ["--teachers_dir", "folder", "file"]),
        (["1e5", "--teachers_dir", "file/made"], ["--teachers_dir", "folder", "file/made"]),
        (["--resume", "missing"], ["--resume", "missing", "not a run"]),
        (["--resume", "exists"], ["--resume", "exists", "not a run"]),
        (["--resume", "file"], ["--resume", "file", "not a run"]),
        (["--resume", "begun"], ["--resume", "begun", "no whole checkpoint"]),
        (["--resume", "begun", "--seed", "3"], ["--resume", "brings its own", "--seed"]),
        (["--resume", "other"], ["settings that do not exist", "use_curiosity"]),
        (["1e5", "--config", "missing.yaml"], ["--config", "missing.yaml"]),
        (["1e5", "--w_kickstart", "2"], ["--w_kickstart without --kickstart would change nothing"]),
        (
            ["1e5", "--repeat_probability", "0", "--repeat_steps", "5"],
            ["--repeat_steps without --repeat_probability above 0 would change nothing"],
        ),
        (["1e5", "--warm_up_steps", "9"], ["--warm_up_steps without --init_from STUDENT would"]),
        (
            ["1e5", "--init_from", "file", "--warm_up_steps", "9"],  # a teacher's name
            ["--warm_up_steps without --init_from STUDENT would change nothing"],
        ),
        (
            ["1e5", "--kickstart", "file", "--w_kickstart", "0"],
            ["--kickstart without --w_kickstart above 0 would change nothing"],
        ),
        (
            ["1e5", "--init_from", "file", "--no-data_init", "--repeat_steps", "9"],
            [
                "--no-data_init, --repeat_steps without a fresh network, which there is not with"
                " --init_from, would change nothing"
            ],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_before_anything_is_made(monkeypatch, tmp_path, capsys, argv, named):
    monkeypatch.chdir(tmp_path)
    Path("exists").mkdir()
    Path("file").write_text("")
    for name, setting in (("begun", "seed"), ("other", "use_curiosity")):
        Path(name).mkdir()
        Path(name, "config.yaml").write_text(f"settings: {{{setting}: 1}}\nstarted: 2026-01-01\n")
    line = refusal(monkeypatch, capsys, *argv)
    assert all(text in line for text in named), line


def test_a_folder_for_teachers_that_cannot_be_written_to_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere else
    line = refusal(monkeypatch, capsys, "1e5", "--teachers_dir", "made")
    assert "--teachers_dir must be a folder to write to, got made: . is not" in line


def test_a_missing_device_is_refused_before_anything_is_made(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = refusal(monkeypatch, capsys, "1e5", "--device", "cuda")
    assert "--device cuda is not available here; there is: cpu" in line


def test_help_names_the_flags_and_starts_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, ppo_teacher, "--help") == 0
    out = capsys.readouterr().out
    assert all(flag in out for flag in ("total_steps", "--env", "--resume", "--network"))
    assert list(tmp_path.iterdir()) == []


def test_a_game_without_any_reward_yet_trains_on(monkeypatch, tmp_path):
    """All returns are 0 there, and the share of their variance that is explained is none."""
    monkeypatch.chdir(tmp_path)
    small = ["256", *SMALL, "--env", "FreewayNoFrameskip-v0", "--run_dir", "run"]
    assert run_main(monkeypatch, ppo_teacher, *small) == 0
    assert {value for _, value in logged(Path("run"), "train/value_loss")} == {0.0}
    assert not logged(Path("run"), "train/explained_variance")


@pytest.mark.parametrize("total_steps", ["128", "600"])
def test_what_the_last_step_broke_is_neither_kept_nor_saved(
    monkeypatch, tmp_path, capsys, total_steps
):
    monkeypatch.chdir(tmp_path)
    argv = [total_steps, *SMALL, "--learning_rate", "1e30", "--checkpoint_steps", "128"]
    assert run_main(monkeypatch, ppo_teacher, *argv, "--run_dir", "run") == 1
    assert "weights not finite at step 128; lower --learning_rate" in capsys.readouterr().err
    assert list(Path("teachers").glob("*.zip")) == []
    assert load_run(Path("run"))[0]["steps"] == 0  # as it began


def test_a_policy_that_turns_nan_stops_the_run_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["600", *SMALL, "--learning_rate", "1e30", "--run_dir", "run"]
    assert run_main(monkeypatch, ppo_teacher, *argv) == 1
    err = capsys.readouterr().err
    assert re.search(
        r"ppo_teacher\.py: error: .+ not finite at step \d+; lower --learning_rate", err
    )
    assert "tensor(" not in err
    assert list(Path("teachers").glob("*.zip")) == []
