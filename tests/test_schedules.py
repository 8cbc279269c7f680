"""Schedules and periods: closed forms, and what the texts of flags mean."""

import pytest

from distill.schedules import Every, LinearSchedule


@pytest.mark.parametrize(
    ("text", "at_0", "at_half", "at_1"),
    [
        ("0.5", 0.5, 0.5, 0.5),
        ("1:0", 1.0, 0.5, 0.0),
        ("0:1", 0.0, 0.5, 1.0),
        ("1:0:0.5", 1.0, 0.0, 0.0),
        ("1:0.2:0.8", 1.0, 0.5, 0.2),
        ("2.5e-4:0", 2.5e-4, 1.25e-4, 0.0),
        ("0", 0.0, 0.0, 0.0),
    ],
)
def test_a_schedule_is_a_line_that_ends_at_its_fraction(text, at_0, at_half, at_1):
    schedule = LinearSchedule.parse(text)
    assert [schedule(x) for x in (0, 0.5, 1)] == pytest.approx([at_0, at_half, at_1], abs=1e-12)


def test_a_schedule_stays_at_its_end_beyond_the_run():
    assert LinearSchedule(1.0, 0.25)(1.7) == 0.25


@pytest.mark.parametrize("text", ["0.5", "1:0", "1:0:0.3", "0.12345678901:1e-17:0.123456789"])
def test_a_schedules_text_reads_back_exactly(text):
    schedule = LinearSchedule.parse(text)
    assert LinearSchedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize("text", ["1e300", "1:1e39", "1e-39"])
def test_numbers_that_nothing_can_compute_with_are_refused(text):
    with pytest.raises(ValueError, match=r"from 1e-38 to 1e\+38, or 0"):
        LinearSchedule.parse(text)


def test_a_schedules_text_is_as_short_as_a_user_would_write_it():
    assert str(LinearSchedule(2.5e-4, 0.0)) == "0.00025:0"
    assert str(LinearSchedule(1.0, 1.0)) == "1"
    assert str(LinearSchedule(1.0, 0.0, 0.5)) == "1:0:0.5"


@pytest.mark.parametrize(
    "text", ["", "abc", "1:", ":1", "1:2:3:4", "nan", "1:nan", "inf", "1e400", "-1", "1:-1"]
)
def test_other_texts_are_refused_with_the_form(text):
    with pytest.raises(ValueError, match=r"START\[:END\[:FRACTION\]\]"):
        LinearSchedule.parse(text)


@pytest.mark.parametrize("text", ["1:0:0", "1:0:1.1", "1:0:nan", "1:0:-1"])
def test_a_fraction_outside_the_run_is_refused(text):
    with pytest.raises(ValueError, match=r"START\[:END\[:FRACTION\]\]"):
        LinearSchedule.parse(text)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LinearSchedule(0, 0), True),
        (LinearSchedule(0, 1), False),
        (LinearSchedule(1, 0), False),
    ],
)
def test_a_schedule_is_zero_only_if_it_is_zero_throughout(schedule, expected):
    assert schedule.is_zero is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", [False] * 3), ("1:0:0.5", [True, False, False]), ("0:1", [True] * 3)],
)
def test_a_schedule_lasts_while_it_is_above_0_or_will_be(text, expected):
    schedule = LinearSchedule.parse(text)
    assert [schedule.lasts(progress) for progress in (0.0, 0.5, 1.0)] == expected


@pytest.mark.parametrize("stride", [1, 3, 7, 128, 1000, 2500])
def test_every_is_true_once_for_each_multiple_that_is_reached_or_crossed(stride):
    due = Every(1000)
    steps = range(0, 10_001, stride)
    n_true = sum(due(step) for step in steps)
    assert n_true == len({step // 1000 for step in steps} - {0})


def test_every_is_true_at_the_multiple_itself():
    due = Every(1000)
    assert [due(step) for step in (999, 1000, 1001, 2000)] == [False, True, False, True]


def test_every_of_a_resumed_run_waits_for_the_next_multiple():
    due = Every(1000, step=2500)
    assert [due(step) for step in (2999, 3000)] == [False, True]


@pytest.mark.parametrize("text", ["1.5", "0.1:2", "-0.1", "nan"])
def test_a_schedule_of_probabilities_stays_within_0_and_1(text):
    with pytest.raises(ValueError, match=r"START\[:END\[:FRACTION\]\]"):
        LinearSchedule.parse_probability(text)
    assert LinearSchedule.parse_probability("1:0:0.5") == LinearSchedule(1.0, 0.0, 0.5)
