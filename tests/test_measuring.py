"""Measuring in turn: its order, and its arithmetic on parts of known speed."""

from types import SimpleNamespace

import pytest

from distill import measuring
from distill.progress import Progress

PAIRS = ("loop", "emulator"), ("ppo", "sb3")


def known_part(name, rates, tape):
    """Make a part that claims a warm-up rate of -1, then these rates, and notes each call."""
    answers = iter([-1.0, *rates])

    def measure(seconds):
        tape.append((name, seconds))
        return next(answers)

    return measuring.Part("steps/s", measure)


def measure_known(rates, seconds=3.0):
    """Measure parts of known rates; returns what was measured and the tape of calls."""
    tape = []
    parts = {name: known_part(name, numbers, tape) for name, numbers in rates.items()}
    repeats = len(next(iter(rates.values())))
    return measuring.measure_in_turn(parts, repeats, seconds, progress=Progress(1)), tape


def test_parts_take_turns_after_all_are_warm():
    _, tape = measure_known({"a": [1, 1], "b": [1, 1], "c": [1, 1]})
    assert "".join(name for name, _ in tape) == "abc" + "abc" + "abc"


def test_measurements_take_the_time_asked_for_and_warm_up_no_longer():
    _, tape = measure_known({"a": [1]}, seconds=3.0)
    assert [seconds for _, seconds in tape] == [measuring.WARM_UP_SECONDS, 3.0]
    _, tape = measure_known({"a": [1]}, seconds=0.01)
    assert [seconds for _, seconds in tape] == [0.01, 0.01]


def test_rates_are_kept_by_round_without_the_warm_up():
    rates, _ = measure_known({"a": [5, 3, 4], "b": [50, 30, 40]})
    assert rates == {"a": [5, 3, 4], "b": [50, 30, 40]}


def test_summary_is_median_and_range():
    summary = measuring.summarize([5, 1, 9, 2, 3])
    assert (summary["median"], summary["min"], summary["max"]) == (3, 1, 9)
    assert summary["rounds"] == [5, 1, 9, 2, 3]


def test_ratio_is_taken_within_each_round():
    # A machine that is ten times slower in the second round: the ratio does not notice, whereas
    # that of the medians would.
    rates = {"emulator": [100, 10, 1000], "loop": [50, 5, 100], "ppo": [3, 4, 5], "sb3": [1, 2, 1]}
    ratios = measuring.ratios_of(rates, PAIRS)
    assert ratios == {"loop / emulator": [0.5, 0.5, 0.1], "ppo / sb3": [3, 2, 5]}
    assert measuring.summarize(ratios["loop / emulator"])["median"] == 0.5


def test_ratio_needs_both_of_its_parts():
    assert measuring.ratios_of({"loop": [1], "ppo": [1], "sb3": [2]}, PAIRS) == {"ppo / sb3": [0.5]}
    assert measuring.ratios_of({"emulator": [1]}, PAIRS) == {}


def test_rate_is_work_done_by_time_taken(monkeypatch):
    clock = iter([10.0, 12.0, 14.0])
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert measuring.repeated(lambda: 6)(3.0) == pytest.approx(12 / 4, rel=1e-12)


def test_work_is_done_once_however_short_the_time():
    calls = []
    measuring.repeated(lambda: calls.append(1) or 1)(1e-9)
    assert len(calls) == 1


def test_table_has_a_line_for_each_part_and_ratio():
    part, ratio = measuring.summarize([1000, 3000, 2000]), measuring.summarize([0.5, 0.25, 0.75])
    text = measuring.table(
        {"parts": {"loop": {"unit": "steps/s", **part}}, "ratios": {"loop / emulator": ratio}}
    )
    _, loop, loop_per_emulator = text.splitlines()
    assert " ".join(loop.split()) == "loop steps/s 2,000 1,000 to 3,000"
    assert " ".join(loop_per_emulator.split()) == "loop / emulator 0.50 0.25 to 0.75"


def test_numbers_stand_below_each_other_however_long_the_names():
    part, ratio = measuring.summarize([1000, 3000, 2000]), measuring.summarize([0.5, 0.25, 0.75])
    names = {"loop": {"unit": "steps/s", **part}}
    for ratio_name in ("a / b", "loop_uncertain / loop_curious"):
        lines = measuring.table({"parts": names, "ratios": {ratio_name: ratio}}).splitlines()
        medians = zip(lines, ("median", "2,000", "0.50"), strict=True)
        assert len({line.index(median) + len(median) for line, median in medians}) == 1
