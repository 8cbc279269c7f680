"""Progress without a terminal, and where nobody reads it."""

import io
import os
import re
import signal

import pytest

from distill import progress as module
from distill.interruption import Interruption
from distill.progress import Progress


def test_nothing_is_printed_before_a_line_is_due(capsys):
    progress = Progress(100)
    progress.update(10)
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_line_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    progress = Progress(20_000, done=4_000, title="train")
    progress.update(1_000, "score 3.5")
    out, err = capsys.readouterr()
    assert out == ""  # standard output is for results
    line = r"train: 5,000 of 20,000 steps, [\d,]+/s, [\d,]+ min left score 3\.5\n"
    assert re.fullmatch(line, err), err


def test_work_may_be_told_in_all(monkeypatch, capsys):
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    progress = Progress(20_000, done=4_000)
    progress.reach(5_000)
    progress.reach(7_000)
    said = [line.split(" steps")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["5,000 of 20,000", "7,000 of 20,000"]


def test_the_rate_counts_only_what_was_done_since_the_start(monkeypatch, capsys):
    now = iter([100.0, 110.0, 110.0, 110.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(module, "LINE_SECONDS", 5.0)
    Progress(20_000, done=4_000).update(4_000)  # 400/s, 12,000 to go
    assert "8,000 of 20,000 steps, 400/s, 0 min left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("n_done", "line"),
    [
        (2, "2 of 50 games, 0.2/s, 4 min left"),
        (99, "99 of 50 games, 9.9/s, 0 min left"),
        (150, "150 of 50 games, 15/s, 0 min left"),  # parallel games end past the total
    ],
)
def test_slow_work_has_a_rate_and_done_work_no_time_left(monkeypatch, capsys, n_done, line):
    now = iter([100.0, 110.0, 110.0, 110.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(module, "LINE_SECONDS", 5.0)
    Progress(50, unit="game").update(n_done)
    assert capsys.readouterr().err == f"{line}\n"


def test_a_run_without_any_progress_divides_by_nothing(monkeypatch, capsys):
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    Progress(10).update(0)
    assert "0 of 10 steps, 0/s, inf min left" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_stays_whole_where_the_last_rollout_goes_past_the_total(monkeypatch):
    monkeypatch.setattr(module.sys, "stderr", shown := Terminal())
    progress = Progress(100)
    progress.update(80)
    progress.update(32)
    progress.close()
    assert "100%" in shown.getvalue().split("\r")[-1]
    assert "112/112" in shown.getvalue().split("\r")[-1]


def test_a_remark_is_a_line_on_standard_error(capsys):
    Progress(10).say("first score 3")
    assert capsys.readouterr() == ("", "first score 3\n")


class Gone(io.StringIO):
    """Standard error when `tee`, which read it, was stopped by the same Ctrl-C."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_work_goes_on_where_nobody_reads_what_is_said_of_it(monkeypatch):
    monkeypatch.setattr("sys.stderr", Gone())
    Progress(10).say("first score 3")
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
