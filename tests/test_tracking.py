"""The two places that every scalar goes to."""

import csv
import errno
import itertools
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.run_folder import create_run
from distill.tags import TAGS
from distill.teacher_config import TeacherConfig
from distill.tracking import Tracker

KL, FPS = "distill/kl", "time/fps"


def csv_rows(run_dir: Path) -> list[tuple[int, str, float]]:
    """Return (step, tag, value) of every row of metrics.csv."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "wall_seconds", "tag", "value"]
    return [(int(step), tag, float(value)) for step, _, tag, value in rows]


def events(run_dir: Path) -> list[tuple[int, str, float]]:
    """Return (step, tag, value) of every scalar that TensorBoard shows."""
    accumulator = EventAccumulator(str(run_dir), size_guidance={"scalars": 0}).Reload()
    tags = accumulator.Tags()["scalars"]
    return [(e.step, tag, e.value) for tag in tags for e in accumulator.Scalars(tag)]


# --- scalars ---


def test_csv_and_tensorboard_agree(tmp_path):
    with Tracker(tmp_path) as tracker:
        for step in range(100, 1000, 100):
            tracker.log({KL: 1 / step, FPS: step}, step)
    rows = csv_rows(tmp_path)
    assert len(rows) == 18
    assert rows[0] == (100, KL, 0.01)
    for row, event in zip(sorted(rows), sorted(events(tmp_path)), strict=True):
        assert row[:2] == event[:2]
        assert row[2] == pytest.approx(event[2], rel=1e-6)


def test_tensors_are_written_as_numbers(tmp_path):
    with Tracker(tmp_path) as tracker:
        tracker.log({KL: torch.tensor(0.25), FPS: torch.tensor(3)}, 1)
    assert csv_rows(tmp_path) == [(1, KL, 0.25), (1, FPS, 3.0)]


def test_a_tag_that_is_not_documented_is_refused(tmp_path):
    with Tracker(tmp_path) as tracker, pytest.raises(KeyError, match="distill/secret"):
        tracker.log({"distill/secret": 1.0}, 1)
    assert csv_rows(tmp_path) == []


def test_every_tag_is_documented_in_words():
    assert all(len(text) > 5 and "/" in tag for tag, text in TAGS.items())


def test_what_was_logged_is_on_disk_before_the_tracker_closes(tmp_path):
    # So a kill loses nothing that was logged before the last checkpoint.
    with Tracker(tmp_path) as tracker:
        for step in (1, 2, 3):
            tracker.log({KL: 0.5}, step)
            assert csv_rows(tmp_path)[-1] == (step, KL, 0.5)
            assert events(tmp_path)[-1] == (step, KL, 0.5)


# --- resumed runs ---


@pytest.fixture
def clock(monkeypatch) -> None:
    """Let a minute pass whenever it is looked at: TensorBoard orders files by their second."""
    minutes = itertools.count(time.time(), 60)
    monkeypatch.setattr(time, "time", lambda: next(minutes))


@pytest.fixture
def resumed(tmp_path, clock) -> Path:
    """A run that was killed at step 50 and continued from its checkpoint of step 30."""
    with Tracker(tmp_path) as tracker:
        for step in (10, 20, 30, 40, 50):
            tracker.log({KL: 1.0, FPS: 1.0}, step)
    with Tracker(tmp_path, resume_step=30) as tracker:
        for step in (40, 60):
            tracker.log({KL: 2.0, FPS: 2.0}, step)
    return tmp_path


@pytest.mark.parametrize("read", [csv_rows, events])
def test_a_resumed_run_has_no_stretch_twice_and_none_missing(resumed, read):
    expected = [(10, 1.0), (20, 1.0), (30, 1.0), (40, 2.0), (60, 2.0)]
    for wanted in (KL, FPS):
        assert [(step, value) for step, tag, value in read(resumed) if tag == wanted] == expected


@pytest.mark.parametrize("read", [csv_rows, events])
def test_what_was_logged_at_the_checkpoints_step_is_not_logged_again(tmp_path, clock, read):
    # The final score is logged at the last checkpoint's step, and taken again if the run dies then.
    score = "eval/mean_reward"
    with Tracker(tmp_path) as tracker:
        tracker.log({KL: 1.0}, 10)
        tracker.log({score: 5.0}, 10)
    with Tracker(tmp_path, resume_step=10) as tracker:
        tracker.log({score: 5.0, "eval/floor": 2.0}, 10)
        tracker.log({score: 6.0}, 20)
    expected = [(10, "eval/floor", 2.0), (10, score, 5.0), (10, KL, 1.0), (20, score, 6.0)]
    assert sorted(read(tmp_path), key=lambda row: (row[0], row[1] == KL, row[1])) == expected


def test_a_run_can_be_resumed_twice(resumed):
    with Tracker(resumed, resume_step=20) as tracker:
        tracker.log({KL: 3.0}, 25)
    steps = [10, 20, 25]
    assert [step for step, tag, _ in csv_rows(resumed) if tag == KL] == steps
    assert [step for step, tag, _ in events(resumed) if tag == KL] == steps


@pytest.mark.parametrize("cut", ["20,1.5,dist", "14,1.5,distill/kl,3", "14,1.5,distill/kl,1.2e"])
def test_a_row_cut_short_by_a_kill_is_dropped(tmp_path, cut):
    with Tracker(tmp_path) as tracker:
        tracker.log({KL: 1.0}, 10)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write(cut)
    with Tracker(tmp_path, resume_step=15) as tracker:
        tracker.log({KL: 2.0}, 20)
    assert csv_rows(tmp_path) == [(10, KL, 1.0), (20, KL, 2.0)]


@pytest.mark.parametrize("cut", ["", "step,wall"])
def test_a_run_killed_before_its_first_row_was_whole_can_be_resumed(tmp_path, cut):
    (tmp_path / "metrics.csv").write_text(cut)
    with Tracker(tmp_path, resume_step=0) as tracker:
        tracker.log({KL: 1.0}, 10)
    assert csv_rows(tmp_path) == [(10, KL, 1.0)]


def test_damaged_metrics_are_named_with_their_line(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,wall_seconds,tag,value\nten,1.00,time/fps,1\n")
    with pytest.raises(ValueError, match=r"metrics\.csv is damaged at line 2: .*ten.*remove"):
        Tracker(tmp_path, resume_step=5)


def test_wall_seconds_go_on_where_the_last_kept_row_ended(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "step,wall_seconds,tag,value\n10,100.00,time/fps,1\n20,200.00,time/fps,1\n"
    )
    with Tracker(tmp_path, resume_step=10) as tracker:
        assert 100 <= tracker.wall_seconds < 110
    with Tracker(tmp_path, resume_step=0) as tracker:
        assert 0 <= tracker.wall_seconds < 10


def test_resuming_before_anything_was_logged_starts_the_files(tmp_path):
    with Tracker(tmp_path, resume_step=5) as tracker:
        tracker.log({KL: 1.0}, 10)
    assert csv_rows(tmp_path) == [(10, KL, 1.0)]


def test_a_run_records_no_environment_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("API_TOKEN", "do-not-tell")
    create_run(tmp_path / "run", TeacherConfig(total_steps=1000))
    with Tracker(tmp_path / "run") as tracker:
        tracker.log({KL: 1.0}, 1)
    for path in (tmp_path / "run").iterdir():
        assert b"do-not-tell" not in path.read_bytes()


def test_a_file_that_only_looks_like_an_event_file_stops_nothing(tmp_path):
    (tmp_path / "events.out.tfevents.copy").write_text("")
    with Tracker(tmp_path) as tracker:
        tracker.log({"loss/distill": 1.0}, 1)
    assert (tmp_path / "metrics.csv").is_file()


def test_event_files_of_one_run_are_never_of_one_second(tmp_path):
    for step in (None, 1, 2):
        with Tracker(tmp_path, resume_step=step):
            pass
    seconds = [path.name.split(".")[3] for path in tmp_path.glob("events.*")]
    assert len(seconds) == len(set(seconds)) == 3


def test_curves_that_cannot_be_written_end_in_one_error(tmp_path, monkeypatch):
    """Closing fails for the same reason; its error would take the place of the one that tells."""

    def full(*args, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    tracker = Tracker(tmp_path)
    monkeypatch.setattr(tracker.writer, "flush", full)
    monkeypatch.setattr(tracker.writer, "close", full)
    with pytest.raises(OSError, match=f"cannot write curves to {tmp_path}: No space"), tracker:
        tracker.log({"loss/distill": 1.0}, 1)


def test_a_run_has_one_tracker_at_a_time(tmp_path):
    with Tracker(tmp_path) as first:
        first.log({"distill/kl": 1.0}, 1)
        amid_a_write = tmp_path / ".checkpoint_new.15104.pt"
        amid_a_write.touch()
        with pytest.raises(ValueError, match="is being written by another process"):
            Tracker(tmp_path, resume_step=0)
        assert amid_a_write.exists()
        first.log({"distill/kl": 2.0}, 2)
    assert [value for *_, value in csv_rows(tmp_path)] == [1.0, 2.0]
    with Tracker(tmp_path, resume_step=2):
        assert not amid_a_write.exists()  # as that process had been killed
