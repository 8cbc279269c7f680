"""Floors on scripted games, their caches, and what a score is said to be worth."""

import json
from itertools import cycle, islice

import pytest
from scripted import ScriptedEnvs, score_of

from distill.evaluation import PROTOCOL
from distill.floors import (
    Floors,
    cached_floors,
    floors_of,
    json_text,
    measure_floors,
    verdict,
)

FREEWAY = "FreewayNoFrameskip-v0"


def floors_at(random, constant, best_action=1):
    return Floors(score_of(*random), score_of(*constant), best_action, seed=0)


def test_floors_find_the_best_constant_action():
    envs = ScriptedEnvs([[10], [20]], worths=(0.0, -1.0, 2.0, 1.0))
    floors = measure_floors(envs, 8, seed=0)
    assert floors.best_action == 2
    assert floors.constant.mean == 30
    assert floors.random.mean == pytest.approx(15 * 0.5, abs=5)
    assert (floors.random.n_games, floors.constant.n_games, floors.highest) == (8, 8, 30)


def test_floors_are_measured_once_and_then_read_from_the_cache(tmp_path):
    envs, cache = ScriptedEnvs([[5]]), tmp_path / "runs" / "floors.json"
    first, _ = floors_of(FREEWAY, envs, 4, seed=0, caches=(tmp_path / "none.json", cache))
    envs.actions.clear()
    second, warnings = floors_of(FREEWAY, envs, 4, seed=0, caches=(tmp_path / "none.json", cache))
    assert envs.actions == []
    assert (second, warnings) == (first, [])


def test_shipped_floors_are_used_and_never_written(tmp_path):
    shipped, own = tmp_path / "shipped.json", tmp_path / "own.json"
    floors = floors_at([0.0] * 100, [21.0, 22.0] * 50)
    shipped.write_text(json_text({FREEWAY: floors.to_json()}))
    before = shipped.read_bytes()
    found, _ = floors_of(FREEWAY, ScriptedEnvs([[5]]), 1000, seed=0, caches=(shipped, own))
    floors_of("PongNoFrameskip-v4", ScriptedEnvs([[5]]), 3, seed=0, caches=(shipped, own))
    assert found == floors
    assert shipped.read_bytes() == before
    assert list(json.loads(own.read_text())) == ["PongNoFrameskip-v4"]


@pytest.mark.parametrize(
    ("n_cached", "n_asked", "used"),
    [(5, 5, True), (5, 6, False), (99, 100, False), (100, 1000, True)],
)
def test_cached_floors_need_as_many_games_as_asked_or_a_hundred(tmp_path, n_cached, n_asked, used):
    cache = tmp_path / "floors.json"
    cache.write_text(json_text({FREEWAY: floors_at([0.0] * n_cached, [1.0] * n_cached).to_json()}))
    assert (cached_floors(cache, FREEWAY, n_asked) is not None) == used


def test_floors_of_another_protocol_are_not_used(tmp_path):
    cache = tmp_path / "floors.json"
    entry = floors_at([0.0] * 100, [1.0] * 100).to_json() | {"protocol": "clipped rewards"}
    cache.write_text(json_text({FREEWAY: entry}))
    assert cached_floors(cache, FREEWAY, 100) is None


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe",
        b'{"FreewayNoFrameskip-v0": 3}',
        b'{"FreewayNoFrameskip-v0": {"random": {"scores": [NaN]}}}',
    ],
)
def test_damaged_cache_is_measured_again_with_a_warning(tmp_path, damaged):
    cache = tmp_path / "floors.json"
    cache.write_bytes(damaged)
    floors, warnings = floors_of(FREEWAY, ScriptedEnvs([[5]]), 2, seed=0, caches=(cache,))
    assert len(warnings) == 1
    assert "floors.json is damaged" in warnings[0]
    assert cached_floors(cache, FREEWAY, 2) == floors


def test_measuring_one_game_keeps_the_other_games_floors(tmp_path):
    cache = tmp_path / "floors.json"
    floors_of(FREEWAY, ScriptedEnvs([[5]]), 2, seed=0, caches=(cache,))
    floors_of("PongNoFrameskip-v4", ScriptedEnvs([[7]]), 2, seed=0, caches=(cache,))
    assert cached_floors(cache, FREEWAY, 2) != cached_floors(cache, "PongNoFrameskip-v4", 2)
    assert json.loads(cache.read_text())[FREEWAY]["protocol"] == PROTOCOL


def test_floors_are_returned_even_if_they_cannot_be_cached(tmp_path):
    (tmp_path / "file").write_text("")
    caches = (tmp_path / "file" / "floors.json",)
    floors, warnings = floors_of(FREEWAY, ScriptedEnvs([[5]]), 2, seed=0, caches=caches)
    assert floors.constant.mean == 5
    assert "not cached" in warnings[-1]


def test_json_text_keeps_lists_of_numbers_on_one_line():
    record = {"scores": [1.5, -2.0], "name": "[1,  2]", "nested": {"flags": [True], "ci95": [1, 2]}}
    text = json_text(record)
    assert json.loads(text) == record
    assert '"scores": [1.5, -2.0]' in text


def spread(mean, n=100):
    """Scores with this mean and a standard deviation of about 1."""
    return list(islice(cycle([mean - 1, mean + 1]), n))


FREEWAY_FLOORS = floors_at([0.0, 0.0, 0.0], spread(21.5))


def test_verdict_of_a_good_player_gives_distance_and_share():
    text = verdict(score_of(*spread(29.5)), FREEWAY_FLOORS, FREEWAY)
    assert text == (
        "above the constant-action floor (21.5) by 8.0 (8.0 sd); 98 % of a 30-point Freeway"
    )


def test_verdict_says_plainly_that_a_score_is_the_constant_up_plateau():
    text = verdict(score_of(*spread(21.6)), FREEWAY_FLOORS, FREEWAY)
    assert text.startswith("not distinguishable from the constant-action floor (21.5)")
    assert "above the random floor (0.0) by 21.6" in text


def test_verdict_of_a_player_that_stands_still_is_below_one_floor_and_at_the_other():
    text = verdict(score_of(0, 0, 0), FREEWAY_FLOORS, FREEWAY)
    assert text.startswith("below the constant-action floor (21.5) by 21.5")
    assert "not distinguishable from the random floor (0.0)" in text


def test_verdict_compares_with_random_play_where_that_is_the_higher_floor():
    floors = floors_at(spread(-20.3), [-21.0] * 100)
    text = verdict(score_of(*spread(18.4)), floors, "ALE/Pong-v5")
    assert text.startswith("above the random floor (-20.3) by 38.7")
    assert text.endswith("+18.4 of Pong's 21 points")


def test_verdict_of_one_game_refuses_to_judge():
    assert verdict(score_of(29), FREEWAY_FLOORS, FREEWAY).startswith("one game is too few")


def test_verdict_without_any_spread_gives_no_distance_in_sd():
    text = verdict(score_of(5, 5), floors_at([1, 1], [2, 2]), "QbertNoFrameskip-v4")
    assert text == "above the constant-action floor (2.0) by 3.0"


@pytest.mark.parametrize(
    ("returns", "n_unique"),
    [([11, 399, 412] * 40, 3), ([4000, 4025, 4350] * 10, 3), ([-18, 5] * 50, 2)],
)
def test_verdict_says_that_nearly_the_same_games_were_played_again(returns, n_unique):
    text = verdict(score_of(*returns), FREEWAY_FLOORS, "QbertNoFrameskip-v4")
    assert f"{n_unique} distinct returns in {len(returns)} games: nearly the same game" in text
    assert text.endswith("the interval is too narrow")


def test_verdict_says_that_all_games_ended_alike():
    text = verdict(score_of(*[21] * 10), floors_at([-20, -21], [-21, -21]), "PongNoFrameskip-v4")
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
    assert "distinct" not in verdict(score_of(*returns), FREEWAY_FLOORS, FREEWAY)
