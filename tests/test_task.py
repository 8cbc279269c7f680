"""The task of a distillation: which teacher is meant."""

from pathlib import Path

import pytest

from distill import task
from distill.config import DistillConfig
from distill.schedules import LinearSchedule

NAME = "envPongNoFrameskip-v4_20260102-030405_n_iters10.zip"


def test_a_teacher_that_is_elsewhere_by_now_is_looked_for_by_name(tmp_path, monkeypatch, capsys):
    """So that settings made in another folder, or on another machine, say what they said there."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.setattr(task, "TEACHERS", here)
    cfg = DistillConfig(teacher_chkpt=there / NAME)
    assert task.find_teacher(cfg) == there / NAME  # neither is there: what was asked for is named
    (here / NAME).touch()
    assert capsys.readouterr().err == ""
    assert task.find_teacher(cfg) == here / NAME
    said = f"--teacher_chkpt {there / NAME} is not there: {here / NAME} is taken for it\n"
    assert capsys.readouterr().err == said
    assert task.find_teacher(DistillConfig(teacher_chkpt=Path(NAME))) == here / NAME
    (there / NAME).touch()
    assert task.find_teacher(cfg) == there / NAME


def test_without_a_teacher_it_is_the_games_best(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(task, "TEACHERS", tmp_path)
    for score, steps in ((3, 10), (7, 20), (5, 30)):
        path = tmp_path / f"envPongNoFrameskip-v4_20260102-030405_n_iters{steps}.zip"
        path.touch()
        path.with_suffix(".json").write_text(
            f'{{"evaluation": {{"n_games": 100, "sampled": {{"mean": {score}}}}}}}'
        )
    found = task.find_teacher(DistillConfig(env="PongNoFrameskip-v4"))
    assert found.name.endswith("_n_iters20.zip")


def test_a_teacher_of_another_game_is_named_as_one():
    path = Path("teachers") / NAME
    cfg = DistillConfig(teacher_chkpt=path)
    about = task.Task(cfg, path, "PongNoFrameskip-v4", *[None] * 3)  # pyright: ignore[reportArgumentType] (not asked)
    said = task.headline(about, Path("runs/a"))
    assert said == f"distilling {path} into net3 on PongNoFrameskip-v4, in runs/a"
    said = task.headline(about._replace(env_id="ALE/Boxing-v5"), Path("runs/a"))
    trained = "trained on PongNoFrameskip-v4"
    assert said == f"distilling {path}, {trained}, into net3 on ALE/Boxing-v5, in runs/a"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "plain"),
        ({"loss": "mse"}, "plain-mse"),
        ({"use_curiosity": True}, "curious-both"),
        ({"use_curiosity": True, "curiosity": "aux", "loss": "js"}, "curious-aux-js"),
        ({"use_curiosity": True, "curiosity": "bonus", "curiosity_source": "rnd"}, "curious-rnd"),
        ({"use_uncertainty": True}, "plain-uncertain"),
        ({"use_uncertainty": True, "use_curiosity": True}, "curious-both-uncertain"),
        ({"w_distill": LinearSchedule(0, 0), "c_ext": LinearSchedule(1, 1)}, "untaught"),
        ({"c_ext": LinearSchedule(1, 1)}, "rewarded"),
        ({"c_ext": LinearSchedule(1, 1), "use_curiosity": True}, "curious-both-rewarded"),
    ],
)
def test_a_run_is_named_after_what_it_learns_from(settings, kind):
    assert task.kind_of_run(DistillConfig(**settings)) == kind


@pytest.mark.parametrize(("n_steps", "n_stack", "rows"), [(4, 8, 11), (1, 8, 9), (16, 4, 19)])
def test_a_ring_must_hold_the_stacks_of_a_rollout_of_what_its_teacher_sees(n_steps, n_stack, rows):
    cfg = DistillConfig(n_envs=2, n_steps=n_steps, ring_size=2 * max(rows, 2 * n_steps, 5))
    task.check_ring(cfg, n_stack)
    with pytest.raises(ValueError, match=rf"--ring_size must be at least .* {n_stack + 99} frames"):
        task.check_ring(cfg, n_stack + 99)
    if n_stack > 4:  # what the settings allow at four frames is too small
        small = DistillConfig(n_envs=2, n_steps=n_steps, ring_size=2 * max(2 * n_steps, 5))
        with pytest.raises(ValueError, match=f"must be at least {2 * rows} with .* got"):
            task.check_ring(small, n_stack)
