"""Statistics of few seeds: numbers known from elsewhere, and what the intervals promise."""

import math

import numpy as np
import pytest

from distill.statistics import (
    MARGIN,
    bootstrap,
    compare,
    describe,
    iqm,
    paired_differences,
    probability_of_improvement,
    t_interval,
    t_quantile,
)

TEN = (0.9, 0.1, 0.5, 0.7, 0.3, 2.0, -1.0, 0.6, 0.4, 0.8)
OPEN = (0.03, -0.01, 0.06, 0.04)  # mean 0.03, sd 0.0294


def rng(seed=0):
    return np.random.default_rng(seed)


def mean(scores):
    return scores.mean(-1)


# Aggregates and their bootstrap


@pytest.mark.parametrize(("n", "expected"), [(10, 0.55), (7, 0.5), (4, 0.6), (3, 0.5), (1, 0.9)])
def test_the_iqm_is_what_scipys_trim_mean_gives(n, expected):
    assert iqm(np.array(TEN[:n])) == pytest.approx(expected, rel=1e-12)


def test_the_iqm_pools_the_runs_of_all_games():
    games = {"a": [0.0, 1.0], "b": [2.0, 9.0]}
    assert bootstrap(games, rng()).value == 1.5
    rows = np.array([[0.0, 1.0, 2.0, 9.0], [4.0, 4.0, 4.0, -50.0]])
    np.testing.assert_array_equal(iqm(rows), [1.5, 4.0])


def test_the_bootstrap_draws_seeds_within_their_game_alone():
    found = bootstrap({"a": [0.0] * 3, "b": [1.0] * 5}, rng(), mean)
    assert found == (0.625, 0.625, 0.625)


def test_the_bootstrap_of_many_runs_is_the_normal_interval():
    columns = {game: rng(i).normal(size=400) for i, game in enumerate("ab")}
    found = bootstrap(columns, rng(), mean, n_draws=2000)
    sd = np.concatenate(list(columns.values())).std()
    half = 1.96 * sd / math.sqrt(800)
    assert found.high - found.value == pytest.approx(half, rel=0.06)
    assert found.value - found.low == pytest.approx(half, rel=0.06)


def test_the_bootstrap_of_two_runs_spans_both():
    """Its mean is either of them in every fourth draw each."""
    assert bootstrap({"a": [0.2, 0.8]}, rng(), mean) == pytest.approx((0.5, 0.2, 0.8), rel=1e-12)


def test_an_interval_depends_on_its_generator_alone():
    games = {"a": TEN, "b": TEN[:4]}
    assert bootstrap(games, rng(1)) == bootstrap(games, rng(1))
    assert bootstrap(games, rng(1)) != bootstrap(games, rng(2))


# Probability of improvement


def test_the_probability_of_improvement_counts_ties_a_half():
    """Mann-Whitney's U of 9 over 12 pairs."""
    arm, baseline = {"a": [0.9, 0.5, 0.5, 0.7]}, {"a": [0.5, 0.6, 0.1]}
    assert probability_of_improvement(arm, baseline, rng()).value == pytest.approx(0.75, rel=1e-12)
    assert probability_of_improvement(baseline, arm, rng()).value == pytest.approx(0.25, rel=1e-12)
    assert probability_of_improvement(arm, arm, rng()).value == pytest.approx(0.5, rel=1e-12)


def test_the_probability_of_improvement_is_the_mean_of_games_not_of_pairs():
    arm, baseline = {"a": [1.0], "b": [0.0] * 3}, {"b": [1.0] * 3, "a": [0.0]}
    assert probability_of_improvement(arm, baseline, rng()) == (0.5, 0.5, 0.5)


def test_an_arm_that_always_wins_leaves_no_doubt():
    arm, baseline = {"a": [3.0, 4.0, 5.0]}, {"a": [0.0, 1.0, 2.0]}
    assert probability_of_improvement(arm, baseline, rng()) == (1.0, 1.0, 1.0)


def test_the_probability_of_improvement_of_many_runs_is_the_normal_distributions():
    """Of normals a unit apart: Phi(1 / sqrt 2) = 0.7602, with sd 0.033 at 100 runs each."""
    arm, baseline = {"a": rng(1).normal(1, size=100)}, {"a": rng(2).normal(size=100)}
    found = probability_of_improvement(arm, baseline, rng(), n_draws=500)
    assert found.value == pytest.approx(0.7602, abs=0.08)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.033, rel=0.2)


def test_arms_that_played_different_games_are_refused():
    with pytest.raises(ValueError, match=r"games differ: \['a'\] and \['b'\]"):
        probability_of_improvement({"a": [1.0]}, {"b": [1.0]}, rng())


# Paired differences


def test_runs_are_paired_by_game_and_seed():
    arm = {"a": {2: 0.5, 0: 0.25, 7: 1.0}, "b": {0: 1.0}, "c": {0: 1.0}, "e": {1: 1.0}}
    baseline = {"a": {0: 0.75, 2: 0.25, 3: 9.0}, "b": {0: 0.5}, "d": {0: 1.0}, "e": {0: 1.0}}
    found = paired_differences(arm, baseline)
    assert {game: list(x) for game, x in found.items()} == {"a": [-0.5, 0.25], "b": [0.5]}


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (8, 2.306004), (30, 2.042272),
     (1.5, 6.016663), (2.9, 3.245438), (1e5, 1.959988)],
)  # fmt: skip
def test_quantiles_are_those_of_the_tables(df, quantile):
    assert t_quantile(df) == pytest.approx(quantile, abs=2e-4)


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
def test_a_score_that_is_no_number_is_refused_by_game(bad):
    for find in (compare, lambda games: bootstrap(games, rng())):
        with pytest.raises(ValueError, match="Pong must have one finite score or more, got"):
            find({"Freeway": [1.0], "Pong": [1.0, bad]})


def test_no_score_is_refused():
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
    intervals = [bootstrap({"a": x}, random, mean, n_draws=300) for x in draws]
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


def test_interval_is_students_over_seeds():
    # mean 0.95, sd 0.05, t(2) = 4.3027: half width 4.3027 * 0.05 / sqrt(3)
    assert t_interval([0.9, 1.0, 0.95]) == pytest.approx((0.825793, 1.074207), rel=1e-4)
    assert t_interval([0.9]) is None


def test_one_run_a_game_says_nothing_about_others():
    rng, one = np.random.default_rng(0), {"a": np.array([0.2]), "b": np.array([0.6])}
    assert bootstrap(one, rng) == pytest.approx((0.4, -np.inf, np.inf))
    found = probability_of_improvement(one, {k: x + 1 for k, x in one.items()}, rng)
    assert found == (0.0, -np.inf, np.inf)
