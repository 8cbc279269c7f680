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
