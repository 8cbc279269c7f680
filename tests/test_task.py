"""The task of a distillation: which teacher is meant."""

from pathlib import Path

from distill import task
from distill.config import DistillConfig

NAME = "envPongNoFrameskip-v4_20260102-030405_n_iters10.zip"


def test_a_teacher_that_is_elsewhere_by_now_is_looked_for_by_name(tmp_path, monkeypatch):
    """So that settings made in another folder, or on another machine, say what they said there."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.setattr(task, "TEACHERS", here)
    cfg = DistillConfig(teacher_chkpt=there / NAME)
    assert task.find_teacher(cfg) == there / NAME  # neither is there: what was asked for is named
    (here / NAME).touch()
    assert task.find_teacher(cfg) == here / NAME
    assert task.find_teacher(DistillConfig(teacher_chkpt=Path(NAME))) == here / NAME
    (there / NAME).touch()
    assert task.find_teacher(cfg) == there / NAME


def test_without_a_teacher_it_is_the_games_best(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "TEACHERS", tmp_path)
    for score, steps in ((3, 10), (7, 20), (5, 30)):
        path = tmp_path / f"envPongNoFrameskip-v4_20260102-030405_n_iters{steps}.zip"
        path.touch()
        path.with_suffix(".json").write_text(
            f'{{"evaluation": {{"n_games": 100, "sampled": {{"mean": {score}}}}}}}'
        )
    found = task.find_teacher(DistillConfig(env="PongNoFrameskip-v4"))
    assert found.name.endswith("_n_iters20.zip")
