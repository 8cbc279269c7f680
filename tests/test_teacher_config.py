"""Settings of a teacher: which defaults follow from its length, and which stay as they were."""

from dataclasses import replace

import pytest
import yaml

from distill import cli
from distill.schedules import LinearSchedule
from distill.settings import from_mapping, non_defaults, to_mapping
from distill.teacher_config import TeacherConfig

SLOW, FAST = LinearSchedule(2.5e-4, 0.0), LinearSchedule(5e-4, 0.0)


@pytest.mark.parametrize(
    ("words", "optimizer", "learning_rate"),
    [
        ([], "muon", SLOW),
        (["3e6"], "muon", SLOW),
        (["3000001"], "adam", FAST),
        (["1e7"], "adam", FAST),
        (["1e7", "--optimizer", "muon"], "muon", SLOW),
        (["2e6", "--optimizer", "adam"], "adam", FAST),
        (["2e6", "--learning_rate", "1e-3"], "muon", LinearSchedule(1e-3, 1e-3)),
        (["1e7", "--learning_rate", "1e-3"], "adam", LinearSchedule(1e-3, 1e-3)),
    ],
)
def test_long_runs_have_adam_by_default_each_optimizer_its_own_rate(
    words, optimizer, learning_rate
):
    cfg = cli.parse_settings(TeacherConfig, "", words)
    assert (cfg.optimizer, cfg.learning_rate) == (optimizer, learning_rate)


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        (["1e7"], []),
        (["1e7", "--optimizer", "adam", "--learning_rate", "5e-4:0"], []),
        (["1e7", "--optimizer", "muon"], ["--optimizer", "muon"]),
        (["2e6", "--optimizer", "muon"], []),
        (["2e6", "--optimizer", "adam"], ["--optimizer", "adam"]),
        (["2e6", "--learning_rate", "5e-4:0"], ["--learning_rate", "0.0005:0"]),
        (["1e7", "--learning_rate", "2.5e-4:0"], ["--learning_rate", "0.00025:0"]),
    ],
)
def test_a_command_line_made_of_settings_gives_them_back(words, spelled):
    cfg = cli.parse_settings(TeacherConfig, "", words)
    assert cli.to_argv(cfg) == [str(cfg.total_steps), *spelled]
    assert cli.parse_settings(TeacherConfig, "", cli.to_argv(cfg)) == cfg


def test_a_run_keeps_the_optimizer_that_it_began_with_when_it_is_lengthened_or_repeated():
    begun = TeacherConfig(total_steps=2_000_000)
    longer = replace(begun, total_steps=10_000_000)
    assert (longer.optimizer, longer.learning_rate) == ("muon", SLOW)
    assert set(non_defaults(longer)) == {"total_steps", "optimizer"}
    written = to_mapping(longer)
    assert (written["optimizer"], written["learning_rate"]) == ("muon", "0.00025:0")
    assert from_mapping(TeacherConfig, written, origin="config.yaml") == longer


def test_help_says_which_defaults_follow_from_what(capsys):
    with pytest.raises(SystemExit):
        cli.parse_settings(TeacherConfig, "", ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: muon up to total_steps 3,000,000, adam beyond)" in text
    assert "(default: 0.00025:0 with muon, 0.0005:0 with adam)" in text


@pytest.mark.parametrize(
    ("words", "optimizer", "learning_rate"),
    [
        ([], "muon", SLOW),
        (["--seed", "3"], "muon", SLOW),
        (["--optimizer", "adam"], "adam", FAST),
        (["--optimizer", "muon"], "muon", SLOW),
        (["1e7"], "muon", SLOW),
        (["--optimizer", "adam", "--learning_rate", "2.5e-4:0"], "adam", SLOW),
    ],
)
def test_a_files_rate_follows_when_a_flag_gives_another_optimizer(
    tmp_path, words, optimizer, learning_rate
):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"settings": to_mapping(TeacherConfig(total_steps=1000))}))
    cfg = cli.parse_settings(TeacherConfig, "", ["--config", str(file), *words])
    assert (cfg.optimizer, cfg.learning_rate) == (optimizer, learning_rate)


def test_a_rate_that_a_file_gives_itself_stays(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("{total_steps: 1000, learning_rate: 1e-3}\n")
    cfg = cli.parse_settings(TeacherConfig, "", ["--config", str(file), "--optimizer", "adam"])
    assert cfg.learning_rate == LinearSchedule(1e-3, 1e-3)
