"""Prioritized sampling, and that dividing by the probability of being kept undoes it."""

import numpy as np
import pytest

from distill.prioritization import action_gap, gumbel_top_k


def rng(seed=0):
    return np.random.default_rng(seed)


def test_an_action_gap_is_between_the_two_most_probable_actions():
    logits = np.log([[0.7, 0.1, 0.2], [0.3, 0.3, 0.4], [0.25, 0.5, 0.25]]).astype(np.float32)
    shifted = logits + np.array([[0.0], [500.0], [-500.0]], np.float32)  # of no matter to a softmax
    np.testing.assert_allclose(action_gap(shifted), [0.5, 0.1, 0.25], atol=2e-5)


def test_a_teacher_with_no_preference_has_no_gap_and_one_with_no_doubt_a_gap_of_one():
    logits = np.array([[3.0, 3.0, 3.0], [0.0, 900.0, 0.0]], np.float32)
    np.testing.assert_array_equal(action_gap(logits), [0, 1])


def test_one_item_is_kept_in_proportion_to_its_priority():
    random, priorities, n = rng(), np.array([1.0, 2.0, 3.0, 4.0], np.float32), 4000
    kept = np.array([gumbel_top_k(random, priorities, 1)[0][0] for _ in range(n)])
    share, expected = np.bincount(kept) / n, priorities / priorities.sum()
    np.testing.assert_array_less(abs(share - expected), 4 * np.sqrt(expected * (1 - expected) / n))


def test_later_items_are_kept_in_proportion_to_the_priorities_of_what_is_left():
    """Of priorities 1, 2, 3 two are kept: without the first if 2 comes then 3 or 3 then 2."""
    random, n = rng(), 4000
    priorities = np.array([1.0, 2.0, 3.0], np.float32)
    found = [set(gumbel_top_k(random, priorities, 2)[0]) for _ in range(n)]
    expected = 2 / 6 * 3 / 4 + 3 / 6 * 2 / 3
    share = np.mean([pair == {1, 2} for pair in found])
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))


@pytest.mark.parametrize("n", [1, 3, 7])
def test_dividing_by_the_probability_of_being_kept_makes_sums_unbiased(n):
    """Of 8 items with priorities over four orders; within four standard errors of 8,000 draws."""
    random = rng(n)
    priorities = np.geomspace(1e-3, 10, 8, dtype=np.float32)
    value = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, -6.0])
    draws = [gumbel_top_k(random, priorities, n) for _ in range(8000)]
    sums = np.array([(value[kept] / q).sum() for kept, q in draws])
    unweighted = np.array([value[kept].mean() * 8 for kept, _ in draws])
    assert abs(sums.mean() - value.sum()) < 4 * sums.std() / np.sqrt(len(sums))
    assert abs(unweighted.mean() - value.sum()) > 4 * unweighted.std() / np.sqrt(len(sums))


def test_equal_priorities_are_kept_with_equal_probability():
    kept, q = gumbel_top_k(rng(), np.full(64, 0.3, np.float32), 16)
    assert len(set(kept)) == 16
    assert (q == q[0]).all()
    assert 0 < q[0] < 1


def test_every_fourth_of_those_kept_is_no_likelier_than_the_others():
    """RND learns from these alone; priorities over ten orders of magnitude, in no order."""
    random, priorities = rng(), rng(1).lognormal(sigma=3, size=(4000, 128)).astype(np.float32)
    kept = np.log([row[gumbel_top_k(random, row, 32)[0]] for row in priorities])
    part, rest = kept[:, ::4].mean(1), kept.mean(1)
    difference = part - rest
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(priorities))


@pytest.mark.filterwarnings("error")
def test_priorities_that_rounding_made_negative_count_as_none():
    priorities = np.full(64, -1e-7, np.float32)
    priorities[5] = 0.1
    for seed in range(20):
        kept, q = gumbel_top_k(rng(seed), priorities, 16)
        assert 5 in kept
        assert np.isfinite(q).all()
        assert (q > 0).all()
