"""Settings of a teacher: which defaults follow from its length, and which stay as they were."""

from dataclasses import replace

import pytest

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
    assert "(default: muon in runs of up to 3,000,000 steps, adam in longer ones)" in text
    assert "(default: 0.00025:0 with muon, 0.0005:0 with adam)" in text
