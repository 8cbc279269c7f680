"""The evaluator on scripted games whose scores and lengths are known."""

import json
import math

import numpy as np
import pytest
import torch
from scripted import ScriptedEnvs, score_of

from distill.evaluation import (
    Score,
    constant_policy,
    evaluate,
    greedy,
    play,
    random_policy,
    sampled,
)

CPU = torch.device("cpu")


class FixedNetwork:
    """Answers every observation with the same logits."""

    def __init__(self, probabilities):
        self.answer = torch.tensor(probabilities).log()

    def logits(self, obs):
        assert obs.dtype == torch.uint8
        return self.answer.expand(len(obs), -1)


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


def test_games_come_in_rounds_whoever_ends_first():
    games = play(ScriptedEnvs([[20], [2], [7, 1]]), constant_policy(1), 7)
    assert [game.env for game in games] == [0, 1, 2, 0, 1, 2, 0]
    assert [game.length_steps for game in games] == [20, 2, 7, 20, 2, 1, 20]


@pytest.mark.parametrize("n_games", [3, 4, 5, 7, 8])
def test_the_first_games_of_many_are_those_of_an_evaluation_over_so_few(n_games):
    def score(n):
        envs = ScriptedEnvs([[20, 3], [2], [7, 1, 30]])
        return evaluate(FixedNetwork([0.3, 0.7]), envs, n, mode="sampled", seed=0, device=CPU)

    assert score(8).first(n_games) == score(n_games)


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


def test_progress_goes_on_within_a_game_that_lasts():
    notes = []

    class Bar:
        def update(self, n, note=""):
            notes.append((n, note))

    play(ScriptedEnvs([[250]]), constant_policy(1), 1, progress=Bar())  # pyright: ignore[reportArgumentType] (a fake)
    within = [(0, "after 100 steps each"), (0, "after 200 steps each")]
    assert notes == [*within, (1, "score 250.0")]


def test_mean_sd_and_interval_match_hand_calculation():
    score = score_of(2, 4, 4, 4, 5, 5, 7, 9)  # sum of squared deviations from the mean of 5: 32
    assert score.mean == 5
    assert score.sd == pytest.approx(math.sqrt(32 / 7))
    half = 2.3646 * math.sqrt(32 / 7) / math.sqrt(8)  # t(7), from a printed table
    assert score.ci95 == pytest.approx((5 - half, 5 + half), abs=1e-4)
    assert (score.n_games, score.n_unique) == (8, 5)


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
    assert evaluate_scripted("greedy", 0).scores == (30, 50, 30, 40, 30, 50)
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
