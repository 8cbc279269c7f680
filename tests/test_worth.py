"""What a score is said to be worth beside its floors."""

from itertools import cycle, islice

import pytest
from scripted import score_of

from distill.evaluation import Score
from distill.floors import Floors
from distill.worth import worth

FREEWAY = "FreewayNoFrameskip-v0"


def floors_at(random, constant):
    return Floors(score_of(*random), score_of(*constant), best_action=1, n_envs=1, seed=0)


def spread(mean, n=100):
    """Scores with this mean and a standard deviation of about 1."""
    return list(islice(cycle([mean - 1, mean + 1]), n))


FREEWAY_FLOORS = floors_at([0.0, 0.0, 0.0], spread(21.5))


def test_worth_of_a_good_player_gives_distance_and_share():
    text = worth(score_of(*spread(29.5)), FREEWAY_FLOORS, FREEWAY)
    assert text == (
        "above the constant-action floor (21.5) by 8.0 (8.0 sd); 98 % of a 30-point Freeway"
    )


def test_distance_is_told_in_the_spread_of_both():
    wide = floors_at([0.0, 0.0, 0.0], [18.5, 24.5] * 50)  # sd 3 beside 1: pooled sqrt 5
    text = worth(score_of(*spread(29.5)), wide, FREEWAY)
    assert text.startswith("above the constant-action floor (21.5) by 8.0 (3.6 sd)")


def test_worth_says_plainly_that_a_score_is_the_constant_up_plateau():
    text = worth(score_of(*spread(21.6)), FREEWAY_FLOORS, FREEWAY)
    assert text.startswith("not distinguishable from the constant-action floor (21.5)")
    assert "above the random floor (0.0) by 21.6" in text


def test_worth_of_a_player_that_stands_still_is_below_one_floor_and_at_the_other():
    text = worth(score_of(0, 0, 0), FREEWAY_FLOORS, FREEWAY)
    assert text.startswith("below the constant-action floor (21.5) by 21.5")
    assert "not distinguishable from the random floor (0.0)" in text


def test_worth_compares_with_random_play_where_that_is_the_higher_floor():
    floors = floors_at(spread(-20.3), [-21.0] * 100)
    text = worth(score_of(*spread(18.4)), floors, "ALE/Pong-v5")
    assert text.startswith("above the random floor (-20.3) by 38.7")
    assert text.endswith("+18.4 of Pong's 21 points")


def test_worth_of_one_game_refuses_to_judge():
    assert worth(score_of(29), FREEWAY_FLOORS, FREEWAY).startswith("one game is too few")


def test_worth_without_any_spread_gives_no_distance_in_sd():
    text = worth(score_of(5, 5), floors_at([1, 1], [2, 2]), "QbertNoFrameskip-v4")
    assert text == "above the constant-action floor (2.0) by 3.0"


@pytest.mark.parametrize(
    ("returns", "n_unique"),
    [([11, 399, 412] * 40, 3), ([4000, 4025, 4350] * 10, 3), ([-18, 5] * 50, 2)],
)
def test_worth_says_that_nearly_the_same_games_were_played_again(returns, n_unique):
    text = worth(score_of(*returns), FREEWAY_FLOORS, "QbertNoFrameskip-v4")
    assert f"{n_unique} distinct returns in {len(returns)} games: nearly the same game" in text
    assert text.endswith("the interval is too narrow")


def test_worth_says_that_all_games_ended_alike():
    text = worth(score_of(*[21] * 10), floors_at([-20, -21], [-21, -21]), "PongNoFrameskip-v4")
    assert text.endswith(
        "1 distinct return in 10 games: nearly the same game again, the interval is too narrow"
    )


@pytest.mark.parametrize(
    "returns",
    [
        [11, 399, 412] * 9 + [500, 501, 502],  # 6 of 30
        [21] * 9,
        [19, 20, 21, 21, 22, 22, 22, 23, 24, 26] * 10,  # 7 of 100 as measured: always up, Freeway
        [50, 100, 150, 250] * 20,  # few, but Asterix counts in fifties
    ],
)
def test_different_games_with_few_returns_are_not_called_the_same(returns):
    assert "distinct" not in worth(score_of(*returns), FREEWAY_FLOORS, FREEWAY)


def from_openings(n_openings, returns, lengths):
    """100 games that the opening decides."""
    return Score(*(tuple(islice(cycle(x[:n_openings]), 100)) for x in (returns, lengths)))


def test_worth_says_that_openings_decided_all_games_though_two_returns_lie_side_by_side():
    returns, lengths = [20] + [21] * 49, [1600 + 20 * opening for opening in range(50)]
    text = worth(from_openings(26, returns, lengths), FREEWAY_FLOORS, "PongNoFrameskip-v4")
    assert text.endswith(
        "26 pairs of return and length in 100 games: nearly the same game again, the interval is"
        " too narrow"
    )
    text = worth(from_openings(50, returns, lengths), FREEWAY_FLOORS, "PongNoFrameskip-v4")
    assert "same game" not in text


def test_lengths_that_a_clock_sets_are_not_taken_for_repeated_games():
    returns, lengths = [21, 22, 23] * 8, [2041 + opening % 8 for opening in range(24)]
    assert "same game" not in worth(from_openings(24, returns, lengths), FREEWAY_FLOORS, FREEWAY)
