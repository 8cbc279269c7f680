"""Comparisons of arms: numbers known from elsewhere, and what the intervals promise."""

import math

import numpy as np
import pytest

from distill.statistics import bootstrap
from distill.study.comparison import MARGIN, compare, describe, paired_differences

OPEN = (0.03, -0.01, 0.06, 0.04)  # mean 0.03, sd 0.0294


def rng(seed=0):
    return np.random.default_rng(seed)


# Paired differences


def test_runs_are_paired_by_game_and_seed():
    arm = {"a": {2: 0.5, 0: 0.25, 7: 1.0}, "b": {0: 1.0}, "c": {0: 1.0}, "e": {1: 1.0}}
    baseline = {"a": {0: 0.75, 2: 0.25, 3: 9.0}, "b": {0: 0.5}, "d": {0: 1.0}, "e": {0: 1.0}}
    found = paired_differences(arm, baseline)
    assert {game: list(x) for game, x in found.items()} == {"a": [-0.5, 0.25], "b": [0.5]}


def test_the_interval_of_one_game_is_the_paired_t_tests():
    found = compare({"a": OPEN})
    assert found[:3] == pytest.approx((0.03, -0.0168443, 0.0768443), abs=1e-6)
    assert found.n_pairs == 4


def test_the_interval_of_two_games_is_welchs():
    """As for the difference of means of the first game's and minus the second's, halved."""
    found = compare({"a": [0.05, 0.11, 0.02], "b": [-0.01, 0.03, 0.08, 0.02, 0.06]})
    assert found[:3] == pytest.approx((0.048, 0.0024180, 0.0935820), abs=1e-6)
    assert found.verdict == "helps"


def test_a_difference_between_games_is_no_noise():
    found = compare({"a": [0.1, 0.1, 0.1], "b": [0.9, 0.9, 0.9]})
    assert found[:3] == pytest.approx((0.5, 0.5, 0.5), rel=1e-12)


# Verdicts


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.10, 0.12, 0.11], "helps"),
        ([-0.10, -0.12, -0.11], "hurts"),
        ([0.010, 0.011, 0.009], "no effect within 2 %"),  # for certain above 0, and too small
        ([0.022, 0.021, 0.020], "helps"),  # for certain above 0, and perhaps not too small
        ([0.0, 0.0], "no effect within 2 %"),
        ([0.5, 0.5], "helps"),
        (OPEN, "inconclusive"),
        ([0.3, -0.3, 0.1], "inconclusive"),
    ],
)
def test_the_verdict_is_read_off_the_interval(differences, verdict):
    found = compare({"a": differences})
    assert found.verdict == verdict
    assert (found.n_needed is None) == (verdict != "inconclusive")


def test_swapping_the_arms_mirrors_the_comparison():
    one, other = compare({"a": OPEN}), compare({"a": [-x for x in OPEN]})
    assert other[:3] == pytest.approx((-one.mean, -one.high, -one.low), rel=1e-12)
    assert other[3:] == one[3:]


@pytest.mark.parametrize("games", [{"a": [0.4]}, {"a": [0.4, 0.5, 0.4], "b": [0.1]}])
def test_a_single_seed_concludes_nothing_and_tells_not_how_many_would(games):
    found = compare(games)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert describe(found) == "inconclusive (n unknown)"


@pytest.mark.parametrize(
    ("differences", "n"),
    [
        (OPEN, 7),  # 2.447 x 0.02944 / sqrt 7 = 0.0272 < 0.03; with 6 seeds 0.0309
        ([0.05, -0.05], 51),  # 2.009 x 0.07071 / sqrt 51 = 0.0199 < 0.02; with 50 seeds 0.0201
    ],
)
def test_an_open_verdict_says_how_many_seeds_would_close_it(differences, n):
    line = f"inconclusive (n would have to be about {n})"
    assert describe(compare({"a": differences})) == line


def test_a_closed_verdict_is_its_own_line():
    assert describe(compare({"a": [0.0, 0.0]})) == "no effect within 2 %"
    assert describe(compare({"a": [0.5, 0.5]})) == "helps"


def test_many_seeds_are_written_with_commas():
    line = describe(compare({"a": [0.5, -0.5, 0.5, -0.5]}))
    assert line == "inconclusive (n would have to be about 3,204)"


@pytest.mark.parametrize(
    "games",
    [
        {"a": OPEN},
        {"a": (0.01, 0.08, -0.05)},
        {"a": (0.05, -0.04), "b": (0.03, 0.01, -0.06, 0.02)},
        {"a": (-0.3, 0.1, -0.1), "b": (-0.02, -0.021, -0.022)},
    ],
)
def test_so_many_seeds_of_the_same_mean_and_spread_would_decide_and_fewer_not(games):
    n = compare(games).n_needed
    assert n is not None

    def studied(n_seeds):
        noise = rng().normal(size=n_seeds)
        noise = (noise - noise.mean()) / noise.std(ddof=1)
        return compare({g: np.mean(x) + np.std(x, ddof=1) * noise for g, x in games.items()})

    assert studied(n).verdict != "inconclusive"
    assert studied(n - 1).verdict == "inconclusive"


# What is refused


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_difference_that_is_no_number_is_refused_by_game(bad):
    with pytest.raises(ValueError, match="Pong must have one finite score or more, got"):
        compare({"Freeway": [1.0], "Pong": [1.0, bad]})


def test_no_pair_is_refused():
    with pytest.raises(ValueError, match=r"Pong must have .* got \[\]"):
        compare({"Pong": []})
    with pytest.raises(ValueError, match="one game or more, got none"):
        compare({})


# What the intervals promise


def test_at_three_seeds_students_t_keeps_its_promise_and_the_bootstrap_does_not():
    """Of 600 studies; 95 % of them give or take three standard errors."""
    draws, random = rng(1).normal(0.3, size=(600, 3)), rng(2)
    found = [compare({"a": x}) for x in draws]
    by_t = np.mean([c.low < 0.3 < c.high for c in found])
    intervals = [bootstrap({"a": x}, random, lambda x: x.mean(-1), n_draws=300) for x in draws]
    by_bootstrap = np.mean([i.low < 0.3 < i.high for i in intervals])
    assert by_t == pytest.approx(0.95, abs=0.027)
    assert by_bootstrap < 0.8


def test_two_games_of_unequal_spread_keep_the_promise_too():
    draws = rng(3).normal(size=(600, 2, 4)) * [[1.0], [0.2]]
    found = [compare({"a": x, "b": y}) for x, y in draws]
    assert np.mean([c.low < 0 < c.high for c in found]) == pytest.approx(0.95, abs=0.027)


def test_an_effect_as_large_as_the_margin_is_rarely_taken_for_none():
    draws = rng(4).normal(MARGIN, 0.01, size=(1000, 5))
    verdicts = [compare({"a": x}).verdict for x in draws]
    assert verdicts.count("no effect within 2 %") <= 40  # 25 expected, of sd 5
    assert verdicts.count("hurts") == 0
