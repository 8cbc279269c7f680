"""What a run is called after, and the command it is known by."""

import shlex
from pathlib import Path

import pytest

from distill import origins
from distill.config import DistillConfig
from distill.run_folder import create_run, lengthen_run, read_run
from distill.schedules import LinearSchedule
from distill.settings import to_mapping
from distill.teacher_config import TeacherConfig
from distill.types import WIDTHS, Widths

NO_WEIGHT = LinearSchedule(0.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "kind", "network"),
    [
        (TeacherConfig(), "teacher", None),
        (TeacherConfig(network=WIDTHS["net3"]), "PPO net3", "net3"),
        (TeacherConfig(init_from=Path("s.safetensors")), "PPO nature from a student", "nature"),
        (TeacherConfig(init_from=Path("t.zip")), "teacher", None),
        (
            TeacherConfig(
                network=WIDTHS["1pct"], init_from=Path("s.safetensors"), kickstart=Path("t.zip")
            ),
            "PPO 1pct from a student, kickstarted",
            "1pct",
        ),
        (
            TeacherConfig(network=WIDTHS["net3"], init_from=Path("t.zip")),
            "PPO net3 from a teacher",
            "net3",
        ),
        (TeacherConfig(network=Widths(1, 2, 3, 4)), "PPO 1,2,3,4", "1,2,3,4"),
        (DistillConfig(), "plain", None),
        (DistillConfig(use_curiosity=True), "curious", None),
        (DistillConfig(w_distill=NO_WEIGHT, c_ext=LinearSchedule(1.0, 1.0)), "untaught", None),
        (DistillConfig(w_distill=NO_WEIGHT, use_curiosity=True), "untaught", None),
    ],
    ids=str,
)
def test_runs_are_told_apart_by_what_they_train(settings, kind, network):
    assert origins.kind_of(to_mapping(settings)) == kind
    assert origins.small_network_of(kind) == network


def test_commands_are_kept_without_places_of_a_machine():
    argv = ["1e6", "--run_dir", "/x/y", "--teacher_chkpt", "/x/t.zip", "--seed", "3"]
    kept = origins.without_places(argv)
    assert kept == ["1e6", "--teacher_chkpt", "t.zip", "--seed", "3"]
    joined = ["1e6", "--run_dir=/x/y", "--teacher_chkpt=/x/t.zip", "--seed=3"]
    assert origins.without_places(joined) == kept


def test_a_command_can_be_read_back_whatever_its_words(tmp_path):
    argv = ["1e6", "--init_from", "my teachers/tom's.zip", "--learning_rate", "2e-4:0"]
    assert shlex.split(origins.command_of({"argv": argv}, tmp_path)) == argv


@pytest.mark.parametrize("words", [["--config", "mine.yaml"], ["--config=mine.yaml"]])
@pytest.mark.parametrize(
    ("cfg", "command"),
    [
        (TeacherConfig(total_steps=1_000_000, precision="float32"), "1000000 --precision float32"),
        (DistillConfig(seed=3, n_threads=1), "--seed 3"),
    ],
)
def test_a_file_of_settings_is_told_by_what_it_said(tmp_path, words, cfg, command):
    record = {"argv": ["1e6", *words], "settings": to_mapping(cfg)}
    assert origins.command_of(record, tmp_path) == command


@pytest.mark.parametrize(
    ("argv", "settings", "command"),
    [
        (["1e7"], {"optimizer": "muon", "learning_rate": "0.00025:0"}, "1e7 --optimizer muon"),
        (
            ["1e6", "--optimizer=adam", "--run_dir", "r"],
            {"optimizer": "adam", "learning_rate": "0.00025:0", "run_dir": "r"},
            "1e6 --optimizer adam --learning_rate 0.00025:0",
        ),
        (["1e7", "--no-data_init"], {"data_init": False}, "1e7 --no-data_init"),
        (["1e6"], {"n_threads": 2, "device": "cpu", "checkpoint_steps": 9}, "1e6"),
        (["1e6", "--seed", 3], {"seed": 3, "a_setting_that_is_gone": 1}, "1e6 --seed 3"),
        (
            ["1e6", "--init_from", "s.safetensors"],
            {"init_from": "s.safetensors", "network": "16,16,16,64", "env": "ALE/Boxing-v5"},
            "1e6 --init_from s.safetensors",
        ),
    ],
)
def test_what_was_a_default_and_is_none_any_more_is_told(tmp_path, argv, settings, command):
    total_steps = int(float(argv[0]))
    record = {"argv": argv, "settings": {"total_steps": total_steps, **settings}}
    assert origins.command_of(record, tmp_path) == command


def test_a_distillation_from_before_a_default_changed_is_told_by_what_it_was(tmp_path):
    then = to_mapping(DistillConfig(env="PongNoFrameskip-v4", temperature=1.0))
    record = {"argv": ["--env", "PongNoFrameskip-v4"], "settings": then}
    assert origins.command_of(record, tmp_path) == "--env PongNoFrameskip-v4 --temperature 1.0"


def test_a_lengthened_run_from_before_a_default_changed_is_told_by_what_it_began_with(tmp_path):
    settings = {"total_steps": 10_000_000, "optimizer": "muon", "learning_rate": "0.00025:0"}
    change = {"total_steps_before": 5_000_000, "total_steps": 10_000_000}
    record = {"argv": ["5e6"], "settings": settings, "lengthened": [change]}
    command = origins.command_of(record, tmp_path / "a")
    assert command == "5e6 --optimizer muon, then 10000000 --resume a"
    short = {"total_steps": 5_000_000, "optimizer": "muon", "learning_rate": "0.00025:0"}
    change["total_steps_before"] = 2_000_000
    record = {"argv": ["2e6"], "settings": short, "lengthened": [change]}
    assert origins.command_of(record, tmp_path / "a").startswith("2e6, then ")


def test_a_run_whose_settings_lack_something_is_named(tmp_path):
    create_run(tmp_path / "a", TeacherConfig(total_steps=1000))
    path = tmp_path / "a" / "config.yaml"
    path.write_text(path.read_text().replace("machine:", "apparatus:"))
    with pytest.raises(ValueError, match=r"a/config.yaml is damaged: it lacks 'machine'"):
        origins.read_origin(tmp_path / "a")


def test_a_lengthened_run_keeps_the_command_that_it_began_with(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["ppo_teacher.py", "--config", "mine.yaml"])
    create_run(tmp_path / "a", TeacherConfig(total_steps=1000, seed=3))
    begun = origins.command_of(read_run(tmp_path / "a"), tmp_path / "a")
    assert begun == "1000 --seed 3"
    for total_steps in (2000, 3000):
        lengthen_run(tmp_path / "a", total_steps, at_step=1024)
    command = origins.command_of(read_run(tmp_path / "a"), tmp_path / "a")
    assert command == f"{begun}, then 2000 --resume a, then 3000 --resume a"


def test_a_lengthened_runs_command_says_to_what(tmp_path):
    record = {"argv": ["1e6", "--seed", 3], "lengthened": [{"total_steps": "2000000"}]}
    assert origins.command_of(record, tmp_path / "a") == "1e6 --seed 3, then 2000000 --resume a"
