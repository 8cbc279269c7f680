"""The evaluator on scripted games whose scores and lengths are known."""

import json
import math
from itertools import cycle, islice

import numpy as np
import pytest
import torch

from distill.evaluation import (
    PROTOCOL,
    Floors,
    Score,
    cached_floors,
    constant_policy,
    evaluate,
    floors_of,
    greedy,
    json_text,
    measure_floors,
    play,
    random_policy,
    sampled,
    t_quantile,
    verdict,
)
from distill.types import Game, Step

CPU = torch.device("cpu")
FREEWAY = "FreewayNoFrameskip-v0"


class ScriptedEnvs:
    """Games of scripted lengths; an action scores its worth at every step.

    Observations hold the number of steps since the reset in every pixel.
    """

    def __init__(self, lengths, worths=(0.0, 1.0), lost_lives=()):
        self.n_envs, self.n_actions = len(lengths), len(worths)
        self.worths, self.lost_lives, self.script = np.array(worths), lost_lives, lengths
        self.actions = []

    def reset(self):
        self.lengths = [cycle(script) for script in self.script]
        self.left = np.array([next(script) for script in self.lengths])
        self.score, self.age = np.zeros(self.n_envs), np.zeros(self.n_envs, np.int64)
        self.n_steps = 0
        return self.look()

    def look(self):
        return np.full((self.n_envs, 1, 84, 84), self.n_steps, np.uint8)

    def step(self, actions):
        assert actions.shape == (self.n_envs,)
        assert actions.dtype == np.int64
        self.actions.append(actions)
        self.n_steps += 1
        reward = self.worths[actions]
        self.score, self.age, self.left = self.score + reward, self.age + 1, self.left - 1
        over = self.left == 0
        games = [Game(int(i), float(self.score[i]), int(self.age[i])) for i in np.flatnonzero(over)]
        for i in np.flatnonzero(over):
            self.left[i] = next(self.lengths[i])
        self.score, self.age = np.where(over, 0, self.score), np.where(over, 0, self.age)
        done = over | (self.n_steps in self.lost_lives)
        reward = reward.astype(np.float32)
        return Step(self.look(), actions, reward, done, over, np.zeros_like(over), None, games)


class FixedNetwork:
    """Answers every observation with the same logits."""

    def __init__(self, probabilities):
        self.answer = torch.tensor(probabilities).log()

    def logits(self, obs):
        assert obs.dtype == torch.uint8
        return self.answer.expand(len(obs), -1)


def score_of(*scores, length=10):
    return Score.of([Game(0, score, length) for score in scores])


def floors_at(random, constant, best_action=1):
    return Floors(score_of(*random), score_of(*constant), best_action, seed=0)


def test_short_games_are_not_counted_more_often_than_long_ones():
    envs = ScriptedEnvs([[2], [20]])
    games = play(envs, constant_policy(1), 20)
    assert np.mean([game.score for game in games]) == 11  # whichever end first would give 3.6
    assert [sum(game.env == i for game in games) for i in range(2)] == [10, 10]


@pytest.mark.parametrize("n_games", [1, 2, 3, 4, 7, 10])
def test_play_returns_exactly_the_games_asked_for_with_quotas_that_differ_by_one(n_games):
    games = play(ScriptedEnvs([[3, 1], [2], [5, 1, 1]]), constant_policy(0), n_games)
    counts = [sum(game.env == i for game in games) for i in range(3)]
    assert sum(counts) == n_games
    assert max(counts) - min(counts) <= 1


def test_first_games_of_each_environment_are_the_ones_that_count():
    games = play(ScriptedEnvs([[4, 1], [3, 6]]), constant_policy(1), 4)
    assert [game.length_steps for game in games if game.env == 0] == [4, 1]
    assert [game.length_steps for game in games if game.env == 1] == [3, 6]


def test_policy_sees_the_newest_observation():
    seen = []

    def policy(obs):
        seen.append(int(obs[0, 0, 0, 0]))
        return np.zeros(len(obs), np.int64)

    play(ScriptedEnvs([[2]]), policy, 2)
    assert seen == [0, 1, 2, 3]


def test_lost_life_is_not_a_game():
    envs = ScriptedEnvs([[10], [10]], lost_lives=(2, 5, 7))
    games = play(envs, constant_policy(1), 2)
    assert [(game.score, game.length_steps) for game in games] == [(10, 10), (10, 10)]


def test_two_evaluations_on_the_same_environments_start_alike():
    envs = ScriptedEnvs([[3, 50]])
    assert play(envs, constant_policy(1), 1) == play(envs, constant_policy(1), 1)


def test_progress_counts_games():
    class Bar:
        counted = 0

        def update(self, n, note=""):
            self.counted += n

    bar = Bar()
    play(ScriptedEnvs([[1], [7]]), constant_policy(0), 9, progress=bar)  # pyright: ignore[reportArgumentType] (a fake)
    assert bar.counted == 9


def test_mean_sd_and_interval_match_hand_calculation():
    score = score_of(2, 4, 4, 4, 5, 5, 7, 9)  # sum of squared deviations from the mean of 5: 32
    assert score.mean == 5
    assert score.sd == pytest.approx(math.sqrt(32 / 7))
    half = 2.3646 * math.sqrt(32 / 7) / math.sqrt(8)  # t(7), from a printed table
    assert score.ci95 == pytest.approx((5 - half, 5 + half), abs=1e-4)
    assert (score.n_games, score.n_unique) == (8, 5)


@pytest.mark.parametrize(
    ("df", "printed"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (29, 2.045), (99, 1.984)],
)
def test_t_quantile_matches_printed_tables(df, printed):
    assert t_quantile(df) == pytest.approx(printed, abs=0.004)


def test_interval_covers_the_true_mean_in_95_percent_of_small_samples():
    rng = np.random.default_rng(0)
    intervals = np.array([score_of(*rng.normal(size=5)).ci95 for _ in range(4000)])
    covered = np.mean((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0))
    assert covered == pytest.approx(0.95, abs=0.01)


def test_single_game_has_no_spread():
    score = score_of(3)
    assert (score.mean, score.sd, score.ci95, score.n_unique) == (3, None, None, 1)


def test_score_survives_json():
    score = score_of(1, 2.5, 2.5, length=17)
    assert Score.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_greedy_takes_the_most_probable_action():
    actions = greedy(FixedNetwork([0.3, 0.6, 0.1]), CPU)(np.zeros((5, 1, 84, 84), np.uint8))
    assert actions.tolist() == [1] * 5


def test_sampled_actions_have_the_softmax_frequencies():
    probabilities = np.array([0.05, 0.6, 0.35])
    policy = sampled(FixedNetwork(probabilities), CPU, np.random.default_rng(0))
    n = 30_000
    counts = np.bincount(policy(np.zeros((n, 1, 1, 1), np.uint8)), minlength=3)
    chi_square = np.sum((counts - n * probabilities) ** 2 / (n * probabilities))
    assert chi_square < 9.21  # the 0.99 quantile at two degrees of freedom


def test_random_policy_takes_every_action_equally_often():
    actions = random_policy(4, np.random.default_rng(0))(np.zeros((40_000, 1, 1, 1), np.uint8))
    assert np.bincount(actions) / 40_000 == pytest.approx([0.25] * 4, abs=0.01)


def evaluate_scripted(mode, seed):
    network, envs = FixedNetwork([0.3, 0.7]), ScriptedEnvs([[30], [50, 40]])
    return evaluate(network, envs, 6, mode=mode, seed=seed, device=CPU)


def test_greedy_and_sampled_scores_are_those_of_their_policies():
    assert evaluate_scripted("greedy", 0).scores == (30, 50, 30, 30, 40, 50)
    sampled_mean = evaluate_scripted("sampled", 0).mean
    assert sampled_mean == pytest.approx(0.7 * 230 / 6, rel=0.1)


def test_sampled_play_repeats_for_a_seed_and_differs_for_another():
    assert evaluate_scripted("sampled", 1) == evaluate_scripted("sampled", 1)
    assert evaluate_scripted("sampled", 1).scores != evaluate_scripted("sampled", 2).scores


def test_sampling_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    untouched = torch.rand(1)
    torch.manual_seed(0)
    evaluate_scripted("sampled", 1)
    assert torch.rand(1) == untouched


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
