"""Statistics of few seeds: numbers known from elsewhere."""

import math

import numpy as np
import pytest

from distill.statistics import (
    bootstrap,
    iqm,
    probability_of_improvement,
    t_interval,
    t_quantile,
)

TEN = (0.9, 0.1, 0.5, 0.7, 0.3, 2.0, -1.0, 0.6, 0.4, 0.8)


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


@pytest.mark.parametrize(
    ("means", "sds", "n", "expected"),
    [
        ((0.957, 0.9945), (0.009, 0.0027), 3, 0.69),  # plain students at a quarter of the budget
        ((0.957, 0.9945), (0.009, 0.0027), 5, 0.78),
        ((0.0, 0.0), (1.0, 1.0), 3, 0.84),
        ((0.0, 0.0), (1.0, 1.0), 5, 0.92),
    ],
)
def test_the_bootstrap_of_few_runs_holds_the_truth_as_rarely_as_the_readme_says(
    means, sds, n, expected
):
    def runs(n: int, seed: int) -> dict[str, np.ndarray]:
        return {
            str(i): rng(seed + i).normal(mean, sd, n)
            for i, (mean, sd) in enumerate(zip(means, sds, strict=True))
        }

    truth = iqm(np.concatenate(list(runs(100_000, 0).values())))
    found = [bootstrap(runs(n, 10 * i), rng(), n_draws=500) for i in range(1, 1001)]
    hits = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert hits == pytest.approx(expected, abs=0.03)  # its own standard error is .012 to .015


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
    arm, baseline = {"a": [1.0] * 2, "b": [0.0] * 3}, {"b": [1.0] * 3, "a": [0.0] * 2}
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


# Student's intervals


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (8, 2.306004), (30, 2.042272),
     (1.5, 6.016663), (2.9, 3.245438), (1e5, 1.959988)],
)  # fmt: skip
def test_quantiles_are_those_of_the_tables(df, quantile):
    assert t_quantile(df) == pytest.approx(quantile, abs=2e-4)


def test_interval_is_students_over_seeds():
    # mean 0.95, sd 0.05, t(2) = 4.3027: half width 4.3027 * 0.05 / sqrt(3)
    assert t_interval([0.9, 1.0, 0.95]) == pytest.approx((0.825793, 1.074207), rel=1e-4)
    assert t_interval([0.9]) is None


# What is refused


def test_one_run_a_game_says_nothing_about_others():
    rng, one = np.random.default_rng(0), {"a": np.array([0.2]), "b": np.array([0.6])}
    assert bootstrap(one, rng) == pytest.approx((0.4, -np.inf, np.inf))
    found = probability_of_improvement(one, {k: x + 1 for k, x in one.items()}, rng)
    assert found == (0.0, -np.inf, np.inf)


def test_a_single_run_says_nothing_about_others_of_its_kind_whatever_it_stands_beside():
    rng, single, three = np.random.default_rng(0), {"a": [0.2]}, {"a": [0.7, 0.8, 0.9]}
    assert bootstrap({**single, "b": [0.7, 0.8, 0.9]}, rng) == pytest.approx(
        (0.75, -np.inf, np.inf)
    )
    assert probability_of_improvement(single, three, rng) == (0.0, -np.inf, np.inf)
    assert probability_of_improvement(three, single, rng) == (1.0, -np.inf, np.inf)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused_by_game(bad):
    with pytest.raises(ValueError, match="Pong must have one finite score or more, got"):
        bootstrap({"Freeway": [1.0], "Pong": [1.0, bad]}, rng())


def test_no_score_is_refused():
    with pytest.raises(ValueError, match=r"Pong must have .* got \[\]"):
        bootstrap({"Pong": []}, rng())
    with pytest.raises(ValueError, match="one game or more, got none"):
        bootstrap({}, rng())
