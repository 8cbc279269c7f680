"""Studies of one's own: from a YAML file to runs, and what of it is refused."""

from dataclasses import replace

import pytest

from distill.config import DistillConfig
from distill.provenance import TEACHERS
from distill.study.custom import plan_custom
from distill.study.plan import identity
from distill.task import prepare
from distill.types import WIDTHS

BREAKOUT = "BreakoutNoFrameskip-v4"


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """List the runs of a study, told as its file's text; the folder worked in has no teachers."""
    monkeypatch.chdir(tmp_path)

    def plan(text: str):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return plan_custom(path)

    return plan


def test_all_combinations_are_run_seed_by_seed(planned):
    runs = planned(
        "seeds: 2\naxes: {student: [net3, 1pct], arm: {plain: {}, curious: {use_curiosity: true}}}"
    )
    cells = [("net3", "plain"), ("net3", "curious"), ("1pct", "plain"), ("1pct", "curious")]
    assert [run.labels for run in runs] == [
        {"seed": seed, "game": "Freeway", "student": student, "arm": arm}
        for seed in "01"
        for student, arm in cells
    ]
    for run in runs:
        assert run.grid == "mine"
        assert run.cfg.seed == int(run.labels["seed"])
        assert run.cfg.student == WIDTHS[run.labels["student"]]
        assert run.cfg.use_curiosity == (run.labels["arm"] == "curious")
    assert len({run.id for run in runs}) == 8


def test_settings_are_all_runs_and_an_axis_goes_before_them(planned):
    small, usual = planned(
        "settings: {total_steps: 25000, batch_size: 64, n_eval_episodes: 7}\n"
        "seeds: 1\n"
        "axes: {size: {small: {batch_size: 16}, usual: }}\n"
    )
    assert (small.cfg.batch_size, usual.cfg.batch_size) == (16, 64)
    for run in (small, usual):
        assert (run.cfg.total_steps, run.cfg.n_eval_episodes) == (25_000, 7)
        assert not run.cfg.eval_greedy  # as in studies that have a name: one score, at the end
        assert run.cfg.eval_steps > run.cfg.total_steps
        assert run.cfg.temperature == DistillConfig.temperature


def test_a_file_that_says_nothing_of_axes_repeats_the_defaults(planned):
    runs = planned("settings: {total_steps: 5000}")
    assert [run.labels for run in runs] == [{"seed": s, "game": "Freeway"} for s in "012"]


def test_a_run_is_planned_as_it_will_be_on_record(planned):
    """Game and teacher are found for the plan, so that it knows its finished runs again."""
    (run,) = planned(f"settings: {{env: {BREAKOUT}}}\nseeds: 1")
    task = prepare(run.cfg)
    assert task.teacher_path.parent == TEACHERS
    assert run.cfg.env == task.env_id == BREAKOUT
    on_record = replace(run.cfg, teacher_chkpt=task.teacher_path, env=task.env_id)
    assert identity(on_record) == run.id


def test_truth_values_are_called_as_yaml_writes_them(planned):
    runs = planned("seeds: 1\naxes: {data_init: [true, false]}")
    assert [(run.labels["data_init"], run.cfg.data_init) for run in runs] == [
        ("true", True),
        ("false", False),
    ]


def test_games_are_told_by_their_titles(planned):
    runs = planned(f"seeds: 1\naxes: {{env: [PongNoFrameskip-v4, {BREAKOUT}]}}")
    assert [run.labels["game"] for run in runs] == ["Pong", "Breakout"]
    assert all(run.labels["game"] in str(run.cfg.teacher_chkpt) for run in runs)


def test_a_teacher_says_its_game(planned):
    (teacher,) = TEACHERS.glob("envBreakout*.zip")
    (run,) = planned(f"settings: {{teacher_chkpt: {teacher}}}\nseeds: 1")
    assert (run.labels["game"], run.cfg.env) == ("Breakout", BREAKOUT)


def test_what_an_arm_does_not_listen_to_is_no_difference(planned):
    arms = "axes: {arm: {plain: {}, curious: {use_curiosity: true}}}"
    plain, curious = planned(f"settings: {{c_int: 1}}\nseeds: 1\n{arms}")
    usual, other = planned(f"seeds: 1\n{arms}")
    assert plain.id == usual.id
    assert curious.id != other.id
    assert curious.cfg.c_int(0) == 1


def test_a_teacher_may_be_an_axis_told_by_its_name(planned):
    paths = sorted(TEACHERS.glob("envPong*.zip"))[:2]
    runs = planned(f"seeds: 1\naxes: {{teacher_chkpt: [{', '.join(map(str, paths))}]}}")
    assert [run.labels["teacher_chkpt"] for run in runs] == [path.stem for path in paths]
    assert [run.cfg.teacher_chkpt for run in runs] == paths


def test_checkpoints_may_be_as_frequent_as_one_likes_and_seeds_left_open(planned):
    runs = planned("settings: {checkpoint_steps: 5000}\nseeds:\naxes:\n")
    assert [run.cfg.checkpoint_steps for run in runs] == [5000] * 3


def test_teachers_of_one_name_are_told_from_each_other(planned, tmp_path):
    (teacher,) = TEACHERS.glob("envBreakout*.zip")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.zip").symlink_to(teacher)
    given = "{a: {teacher_chkpt: a/t.zip}, b: {teacher_chkpt: b/t.zip}}"
    with pytest.raises(ValueError, match=r"a/t.zip and b/t.zip have one name, by which runs are"):
        planned(f"settings: {{env: {BREAKOUT}}}\naxes: {{which: {given}}}")


def test_a_teacher_of_other_actions_is_refused_before_any_run(planned):
    (teacher,) = TEACHERS.glob("envBreakout*.zip")
    with pytest.raises(ValueError, match="chooses from 4 actions, but PongNoFrameskip-v4 has 6"):
        planned(f"settings: {{env: PongNoFrameskip-v4, teacher_chkpt: {teacher}}}")


SAME = "would be one run, as they set the same, or differ in what nothing listens to"
REFUSED = {
    "sedes: 3": "a study has settings, seeds, axes, got sedes",
    "seeds: 0": "seeds must be a whole number from 1 to 1000, got '0'",
    "seeds: 1001": "seeds must be a whole number from 1 to 1000, got '1001'",
    "seeds: 1000\naxes: {gamma: [.1, .2, .3, .4, .5, .6, .7, .8, .9, .91, .92]}": (
        "a study has at most 10,000 runs, got 11,000"
    ),
    "settings: 3": "settings must be `name: value` lines, got '3'",
    "settings: {seed: 1}": "seed is no setting of a study's: see `seeds`, and --help",
    "settings: {device: cpu}": "device is no setting of a study's: see `seeds`, and --help",
    "axes: {n_threads: [1, 2]}": "n_threads is no setting of a study's: see `seeds`, and --help",
    "settings: {losss: kl}": "losss is no setting of run_distillation.py's",
    "axes: {x: {a: {losss: kl}}}": "losss is no setting of run_distillation.py's",
    "axes: {arm: [a, b]}": (
        "axis arm is no setting, of which there could be a list: give {NAME: {SETTING: VALUE}, ...}"
    ),
    "axes: {temperature: [1, -3]}": (
        "temperature -3: --temperature must be a number above 0, got '-3'"
    ),
    "axes: {loss: [kl, mse], a: {b: {batch_size: x}}}": (
        "loss kl, a b: --batch_size must be a whole number of at least 1, got 'x'"
    ),
    "axes: {temperature: [1, 1]}": "axis temperature has 1 twice",
    "axes: {student: [[8, 8, 8, 32]]}": (
        "axis student must list single values, got ['8', '8', '8', '32'];"
        " what has commas needs quotes"
    ),
    **{
        f"axes: {{temperature: {nothing}}}": (
            "axis temperature must have values: [VALUE, ...] of the setting of that name, or"
            " {NAME: {SETTING: VALUE}, ...}"
        )
        for nothing in ("1", "[]", "{}", "")
    },
    "axes: {temperature: {low: 1}}": ("axis temperature, low must be `name: value` lines, got '1'"),
    "axes: {temperature: [1, 1.0]}": f"1 and 1.0 {SAME}",
    "axes: {loss: [kl, mse], temperature: [1, 3]}": f"mse, 1 and mse, 3 {SAME}",
    "axes: {student: [net3, 1pct], b: {c: {}}, x: {a: {student: net1}}}": (
        "axes student and x both set student"
    ),
    "axes: {game: [Pong]}": "axes: game is told by env, and no name for another",
    "axes: {seed: [1, 2]}": "axes: seed is told by `seeds`, and no name for another",
    "axes: {arm: {on: {}}}": "axis arm: YAML reads True from on, off, yes or no without quotes",
    "axes: {arm: {'': {}}}": "axis arm: a name must have 1 to 40 letters, got ''",
    f"axes: {{arm: {{{'x' * 41}: {{}}}}}}": (
        f"axis arm: a name must have 1 to 40 letters, got '{'x' * 41}'"
    ),
    "settings: {c_int: 1}": "settings: c_int would change nothing",
    "axes: {arm: {plain: {}, b: {w_icm: 0.5}}}": "axis arm, b: w_icm would change nothing",
    # use_curiosity was forgotten, and another change hides it.
    "axes: {arm: {plain: {}, b: {curiosity: bonus, temperature: 1}}}": (
        "axis arm, b: curiosity would change nothing"
    ),
    "settings: {total_steps: 1000}": (
        "--learning_starts must be below --total_steps, 1,000, got 2,000: nothing would be learned"
    ),
    "axes: {length: {usual: {}, short: {total_steps: 1000}}}": (
        "length short: --learning_starts must be below --total_steps, 1,000, got 2,000: nothing"
        " would be learned"
    ),
    "settings: {teacher_chkpt: no.zip}": (
        "--teacher_chkpt: no teacher at no.zip: make one with `python ppo_teacher.py 1e7`"
    ),
}


def test_what_stands_for_far_more_than_it_is_is_refused_shortly(planned):
    lists = ["&a0 [x, x]"]
    lists += [f"&a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]  # 2 x 9^11 words
    with pytest.raises(ValueError, match=r"settings must be `name: value` lines, got \[") as error:
        planned(f"settings: [{', '.join(lists)}]")
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_study_is_refused(planned, tmp_path, text):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        planned(text)
    assert str(error.value) == f"--grid {tmp_path / 'mine.yaml'}: {REFUSED[text]}"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "none.yaml"
    with pytest.raises(FileNotFoundError) as error:
        plan_custom(path)
    assert str(error.value) == f"--grid: {path} is not a file"


def test_a_file_that_is_no_yaml_is_refused(planned, tmp_path):
    with pytest.raises(ValueError, match="is not valid YAML") as error:
        planned("{")
    assert str(error.value).startswith(f"--grid: {tmp_path}")
