"""Settings and command lines: what they mean, what they refuse, and in which words."""

# ruff: noqa: RUF009 (`option` returns a dataclass field)

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill import cli, idle
from distill.cli import Switch, parse_command, parse_settings, refuse_unheard
from distill.config import DistillConfig
from distill.parsing import (
    flag,
    fraction,
    nonnegative,
    number,
    one_of,
    positive,
    positive_int,
    steps,
)
from distill.ppo import predecessors
from distill.schedules import LinearSchedule
from distill.settings import check, from_mapping, option, read_yaml, to_mapping
from distill.teacher_config import TeacherConfig
from distill.tool_config import WatchConfig
from distill.types import Widths


@dataclass(frozen=True)
class Config:
    """One setting of every kind."""

    total_steps: int | None = option(None, "steps, about 50 % of them", steps, positional=True)
    seed: int = option(0, "seed", number(int, "a whole number of at least 0", lambda x: x >= 0))
    n_envs: int = option(8, "games", positive_int)
    max_norm: float = option(0.5, "norm", positive)
    w_value: float = option(0.5, "weight", nonnegative)
    gamma: float = option(0.99, "discount", fraction)
    color: str = option("red", "a color", one_of("red", "blue"))
    name: str = option("x", "a name", str)
    epsilon: LinearSchedule = option(LinearSchedule(1.0, 0.0), "schedule", LinearSchedule.parse)
    use_fire: bool = option(False, "a truth", flag)
    run_dir: Path | None = option(None, "folder", Path)
    resume: Path | None = option(None, "folder", Path)

    def __post_init__(self) -> None:
        check(self)

    @property
    def is_long(self) -> bool:
        return (self.total_steps or 0) > 9


def parse(*argv: str) -> Config:
    return parse_settings(Config, "What it does.", argv)


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the one line that a command line is refused with."""
    with pytest.raises(SystemExit) as exit_:
        parse(*argv)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# --- values ---


def test_without_flags_the_defaults_hold():
    assert parse() == Config()


def test_flags_are_spelled_as_the_fields():
    cfg = parse("1e7", "--seed", "3", "--n_envs=4", "--epsilon", "0.5:0.1", "--use_fire")
    expected = Config(10_000_000, seed=3, n_envs=4, epsilon=LinearSchedule(0.5, 0.1), use_fire=True)
    assert cfg == expected


def test_a_truth_can_be_taken_back():
    assert parse("--use_fire", "--no-use_fire").use_fire is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("200000", 200_000), ("1e7", 10_000_000), ("2.5e3", 2500), ("1e12", 10**12)],
)
def test_steps_are_whole_numbers_in_either_notation(text, expected):
    assert parse(text).total_steps == expected


@pytest.mark.parametrize(
    "text",
    ["1.5", "0", "-3", "1e-3", "nan", "inf", "1e400", "1e13", "abc", "", "-1e5", "2e5 steps"],
)
def test_steps_of_any_other_form_are_refused(capsys, text):
    with pytest.raises(ValueError, match="200000 or 2e5"):
        steps(text)
    line = refusal(capsys, "--", text)
    assert "total_steps must be a whole number of steps from 1 to 1e+12" in line
    assert f"got {text!r}" in line


@pytest.mark.parametrize("text", ["1.5", "0", "-3", "1e-3", "nan", "1e400", "abc"])
def test_steps_are_refused_as_a_user_types_them(capsys, text):
    line = refusal(capsys, text)
    assert "error: total_steps must be a whole number of steps from 1 to 1e+12" in line
    assert f"such as 200000 or 2e5, got {text!r}" in line


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("seed", "-1", "a whole number of at least 0"),
        ("seed", "1.5", "a whole number of at least 0"),
        ("n_envs", "0", "a whole number of at least 1"),
        ("n_envs", "1e3", "a whole number of at least 1"),
        ("n_envs", "1000000000001", "at most 1e+12"),
        ("max_norm", "0", "a number above 0"),
        ("max_norm", "nan", "a number above 0"),
        ("max_norm", "1e400", "a number above 0"),
        ("w_value", "-0.1", "a number of at least 0"),
        ("gamma", "1.01", "a number from 0 to 1"),
        ("color", "green", "one of red, blue"),
        ("color", "re", "one of red, blue"),
        ("epsilon", "x", "START[:END[:FRACTION]]"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(capsys, name, text, allowed):
    line = refusal(capsys, f"--{name}", text)
    assert f"--{name} must be {allowed}" in line
    assert f"got {text!r}" in line


def test_a_number_beyond_any_float_is_a_number_still(capsys):
    assert parse("--seed", "1" + 400 * "0").seed == 10**400
    refusal(capsys, "--seed", 5000 * "9")  # more digits than Python reads


def test_values_from_python_become_of_their_types():
    text: Any = {"use_curiosity": "False", "student": "net1", "learning_rate": "1e-3"}
    cfg = DistillConfig(**text, epsilon=0.1)  # pyright: ignore[reportArgumentType]
    assert cfg.use_curiosity is False
    assert not cfg.use_icm
    assert cfg.student == Widths(16, 32, 32, 256)
    assert cfg.learning_rate(0.5) == 1e-3
    assert cfg.epsilon(1.0) == 0.1


def test_values_from_python_are_checked_too():
    with pytest.raises(ValueError, match="--n_envs must be a whole number of at least 1, got '0'"):
        Config(n_envs=0)
    with pytest.raises(ValueError, match="--gamma must be"):
        replace(Config(), gamma=float("nan"))
    with pytest.raises(ValueError, match="--seed must have a value"):
        Config(seed=None)  # pyright: ignore[reportArgumentType] (what YAML's `seed:` makes of it)


# --- flags ---


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--sed", "3"], "--sed"),
        (["--se", "3"], "--se"),
        (["--use"], "--use"),
        (["1e5", "2e5"], "2e5"),
        (["-x"], "-x"),
        (["--seed"], "--seed"),
        (["--seed", "--n_envs", "3"], "--seed"),
        (["--use_fire=maybe"], "--use_fire"),
    ],
)
def test_an_unknown_abbreviated_or_empty_flag_is_refused_by_name(capsys, argv, named):
    assert named in refusal(capsys, *argv)


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--sed", "3"], "--sed; did you mean --seed?"),
        (["--use-fire"], "--use-fire; did you mean --use_fire?"),
        (["--no_use_fire"], "--no_use_fire; did you mean --no-use_fire?"),
        (["--epsilonn=1:0"], "--epsilonn=1:0; did you mean --epsilon?"),
        (["--total_steps", "5"], "--total_steps; total_steps is given without a flag"),
        (["--quick"], "--quick; --help lists what there is"),
        (["--epsil", "1"], "--epsil; did you mean --epsilon?"),
        (["--use"], "--use; did you mean --use_fire?"),
    ],
)
def test_a_flag_that_may_be_meant_is_named(capsys, argv, hint):
    assert refusal(capsys, *argv).endswith(f"error: unrecognized arguments: {hint}\n")


def test_a_value_for_a_flag_that_has_none_is_refused_with_what_to_write(capsys):
    line = refusal(capsys, "--use_fire=false")
    assert line.endswith(
        "ignored explicit argument 'false'; write --use_fire or --no-use_fire alone\n"
    )


@pytest.mark.parametrize("word", ["false", "True"])
def test_a_truth_value_behind_a_switch_is_refused_with_what_to_write(capsys, word):
    line = refusal(capsys, "5", "--use_fire", word)
    hint = "a switch takes no value: write --NAME or --no-NAME alone"
    assert line.endswith(f"error: unrecognized arguments: {word}; {hint}\n")


def test_help_shows_every_flag_and_its_default(capsys):
    with pytest.raises(SystemExit) as exit_:
        parse("--help")
    assert exit_.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for text in ("What it does.", "about 50 % of them", "--no-use_fire", "--config FILE"):
        assert text in out
    assert "--epsilon EPSILON schedule (default: 1:0)" in out


@pytest.mark.parametrize("cls", [DistillConfig, TeacherConfig])
def test_help_has_a_heading_over_each_group_of_settings(capsys, cls):
    with pytest.raises(SystemExit):
        parse_settings(cls, "", ["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, heading in cls.HEADINGS.items():
        flag = lines[lines.index(f"{heading}:") + 1].split()[0].rstrip(",")
        assert flag == f"--{name}"


# --- back to a command line ---


def test_settings_at_their_defaults_need_no_flag():
    assert cli.to_argv(Config()) == []


def test_settings_are_spelled_as_a_command_line_that_gives_them():
    given = ["1000", "--gamma", "0.9", "--epsilon", "1:0.5:0.25", "--use_fire", "--run_dir", "a b"]
    cfg = parse(*given)
    assert cli.to_argv(cfg) == given
    assert cli.to_argv(Many(numbers=(3, 4), seed=1)) == ["3", "4", "--seed", "1"]


def test_a_truth_that_is_the_default_is_taken_back_by_its_no():
    @dataclass(frozen=True)
    class Truth:
        eval_greedy: bool = option(True, "a truth", flag)

    assert cli.to_argv(Truth(eval_greedy=False)) == ["--no-eval_greedy"]
    assert parse_settings(Truth, "", ["--no-eval_greedy"]) == Truth(eval_greedy=False)


# --- a positional of many values ---


@dataclass(frozen=True)
class Many:
    """Numbers, and a flag."""

    numbers: tuple[int, ...] = option((), "numbers", positive_int, positional=True, many=True)
    seed: int = option(0, "seed", number(int, "a whole number of at least 0", lambda x: x >= 0))

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("argv", "numbers"), [([], ()), (["3"], (3,)), (["3", "4", "3"], (3, 4, 3))], ids=str
)
@pytest.mark.parametrize("flag_first", [False, True])
def test_many_values_stay_in_their_order_before_or_after_a_flag(argv, numbers, flag_first):
    seed = ["--seed", "5"]
    cfg = parse_settings(Many, "", [*seed, *argv] if flag_first else [*argv, *seed])
    assert cfg == Many(numbers, seed=5)


def test_each_of_many_values_is_checked(capsys):
    with pytest.raises(SystemExit):
        parse_settings(Many, "", ["3", "x", "4"])
    assert "numbers must be a whole number of at least 1, got 'x'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"numbers must be .* got '0'"):
        Many((3, 0))


def test_many_values_read_back_from_a_file_and_give_way_to_the_command_line(tmp_path):
    file = write(tmp_path / "a.yaml", yaml.safe_dump(to_mapping(Many((3, 4)))))
    assert parse_settings(Many, "", ["--config", file]) == Many((3, 4))
    assert parse_settings(Many, "", ["5", "--config", file]) == Many((5,))


# --- settings files ---


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_settings_file_replaces_defaults_and_flags_replace_both(tmp_path):
    file = write(tmp_path / "a.yaml", "seed: 3\nn_envs: 2\ntotal_steps: 1e5\nuse_fire: true\n")
    assert parse("--config", file, "--n_envs", "5") == Config(
        100_000, seed=3, n_envs=5, use_fire=True
    )
    assert parse("--config", file, "--no-use_fire").use_fire is False


@pytest.mark.parametrize("text", ["1:0", "0:1", "1", "1e-3", "0.5:0.1:0.5", "12:30:1"])
def test_a_value_means_the_same_in_a_file_as_in_a_flag(tmp_path, text):
    file = write(tmp_path / "a.yaml", f"epsilon: {text}\n")
    assert parse("--config", file) == parse("--epsilon", text)


def test_what_was_written_reads_back(tmp_path):
    cfg = parse("2e5", "--epsilon", "0.12345678:1e-7:0.3", "--run_dir", "runs/x", "--name", "1e3")
    text = yaml.safe_dump(to_mapping(cfg))
    values = read_yaml(Path(write(tmp_path / "a.yaml", text)))
    assert from_mapping(Config, values, origin="a.yaml") == cfg


def test_a_runs_own_record_gives_its_settings_but_not_its_folder(tmp_path):
    old = Config(1000, seed=3, run_dir=Path("runs/old"), resume=Path("runs/older"))
    record = {"settings": to_mapping(old), "started": "2026-01-01", "argv": ["1000"], "dirty": True}
    file = write(tmp_path / "config.yaml", yaml.safe_dump(record))
    assert parse("--config", file) == Config(1000, seed=3)
    assert parse("--config", file, "--run_dir", "runs/new").run_dir == Path("runs/new")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sed: 3\n", "holds settings that do not exist: sed"),
        ("settings: 3\n", "holds settings that do not exist: settings"),
        ("settings: {sed: 3}\n", "holds settings that do not exist: sed"),
        ("1: 2\nsed: 3\ntrue: 1\n", "holds settings that do not exist: 1, True, sed"),
        ("seed: -3\n", "--seed must be a whole number of at least 0, got '-3'"),
        ("seed:\n", "--seed must have a value"),
        ("total_steps: 1.5\n", "total_steps must be a whole number of steps"),
        ("color: [red]\n", "--color must be one of red, blue"),
        ("use_fire: 3\n", "--use_fire must be true or false, got '3'"),
        ("- seed\n", "must hold settings as `name: value` lines"),
        ("", "must hold settings as `name: value` lines"),
        ("seed: 3\ngamma: 0.9\nseed: 4\n", "a.yaml holds seed twice"),
        ("settings: {seed: 3, seed: 3}\n", "a.yaml holds seed twice"),
        ("a: [\n", "is not valid YAML"),
        ("!!python/object/apply:os.system [exit]\n", "is not valid YAML"),
        ("use_fire: !!bool maybe\n", "is not valid YAML"),
        ("seed: !!int x\n", "is not valid YAML"),
    ],
)
def test_a_settings_file_with_anything_else_is_refused(capsys, tmp_path, text, reason):
    assert reason in refusal(capsys, "--config", write(tmp_path / "a.yaml", text))


def test_a_settings_file_that_is_not_there_or_not_text_is_refused(capsys, tmp_path):
    missing, folder, binary = (tmp_path / name for name in ("missing.yaml", "folder", "binary"))
    folder.mkdir()
    binary.write_bytes(b"\xff\x00\xfe")
    assert f"--config {missing} is not a file" in refusal(capsys, "--config", str(missing))
    assert f"--config {folder} is not a file" in refusal(capsys, "--config", str(folder))
    assert f"--config {binary} is not valid YAML" in refusal(capsys, "--config", str(binary))


# --- settings that nothing listens to ---


@pytest.mark.parametrize("name", ["env", "teacher_chkpt", "run_dir", "config"])
def test_an_empty_name_is_refused(capsys, name):
    with pytest.raises(SystemExit):
        parse_command(DistillConfig, "What it does.", [f"--{name}", ""])
    assert f"error: --{name} must not be empty\n" in capsys.readouterr().err


def test_yaml_that_is_nested_without_end_is_no_yaml(capsys, tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 20_000)
    assert f"--config {path} is not valid YAML" in refusal(capsys, "--config", str(path))


def test_a_setting_that_needs_another_is_refused_without_it():
    switches = [Switch[Config]("--use_fire", lambda cfg: cfg.use_fire, ("color", "gamma"))]

    def refuse(*argv: str) -> None:
        refuse_unheard(parse_command(Config, "What it does.", argv), switches)

    with pytest.raises(ValueError, match="--gamma, --color without --use_fire would"):
        refuse("--color", "blue", "--gamma", "0.5")
    refuse("--color", "blue", "--use_fire")
    refuse("--color", "red")  # as it is anyway
    refuse("--seed", "1")


def test_a_setting_that_needs_more_of_another_is_refused_in_the_words_of_its_switch():
    switches = [Switch[Config]("--total_steps above 9", lambda cfg: cfg.is_long, ("gamma",))]

    def refuse(*argv: str) -> None:
        refuse_unheard(parse_command(Config, "What it does.", argv), switches)

    with pytest.raises(
        ValueError, match=r"--gamma without --total_steps above 9 would change nothing"
    ):
        refuse("9", "--gamma", "0.5")
    refuse("10", "--gamma", "0.5")


def test_a_setting_that_needs_certain_values_of_another_is_refused_at_others():
    switches = [
        Switch[Config]("--color green|blue", lambda cfg: cfg.color in ("green", "blue"), ("gamma",))
    ]

    def refuse(*argv: str) -> None:
        refuse_unheard(parse_command(Config, "What it does.", argv), switches)

    with pytest.raises(
        ValueError, match=r"--gamma without --color green\|blue would change nothing"
    ):
        refuse("--gamma", "0.5")
    refuse("--gamma", "0.5", "--color", "blue")


@pytest.mark.parametrize(
    ("cls", "switches"),
    [(DistillConfig, idle.SWITCHES), (TeacherConfig, predecessors.SWITCHES)],
)
def test_switches_name_settings_only(cls, switches):
    named = {name for switch in switches for name in switch.names}
    assert named <= cls.__dataclass_fields__.keys()


def test_what_a_file_sets_counts_as_asked_for(tmp_path):
    file = write(tmp_path / "a.yaml", "color: blue\n")
    assert parse_command(Config, "", ["--config", file, "--seed", "0"]).names == {"color", "seed"}


def test_files_may_stand_on_both_sides_of_a_flag():
    argv = ["a.zip", "--greedy", "b.zip", "--seed", "3", "c.zip"]
    cfg = parse_settings(WatchConfig, "", argv)
    assert cfg.checkpoints == (Path("a.zip"), Path("b.zip"), Path("c.zip"))
    assert (cfg.greedy, cfg.seed) == (True, 3)
