"""Curiosity acts: a curious student goes where its teacher never was, and a plain one does not."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pytest
from corridor import (
    N_CORRIDOR,
    N_GAME_STEPS,
    N_HOME,
    RIGHT,
    CorridorEnvs,
    HomeTeacher,
    Shuffled,
    spread_features,
)
from fakes import CPU, constant, make_run, settings, train

from distill.acting import logits_of, sample_actions
from distill.advantages import AdvantageEstimator
from distill.schedules import LinearSchedule
from distill.types import Widths

SEEDS = range(10)
BONUS = {"use_curiosity": True, "curiosity": "bonus"}
# The teacher acts at first and nothing is new; then it leaves, and the bonus grows as it does.
# Layers are not fitted to the first states, which are those of home and say nothing of a corridor.
SETTINGS = {
    "student": Widths(8, 8, 8, 32),
    "data_init": False,
    "total_steps": 4096,
    "n_envs": 32,
    "n_steps": 8,
    "ring_size": 4096,
    "learning_starts": 128,
    "steps_per_update": 64,
    "batch_size": 16,
    "learning_rate": constant(2e-3),
    "teacher_mix": LinearSchedule(1.0, 0.0, 0.3),
    "c_int": LinearSchedule(0.0, 1.0, 0.3),
    "w_distill": constant(0.1),  # at the KL's temperature of 3, which counts for more than at 1
    "gamma": 0.9,
    "clip_range": 0.3,
    "epsilon": constant(0.0),
    "log_steps": 2048,
}


class Trip(NamedTuple):
    """What a student saw of the corridor in the second half of its training."""

    n_places: int  # different ones
    share: float  # of all steps


def trip(envs):
    places = np.stack(envs.places[len(envs.places) // 2 :])
    inside = places >= N_HOME
    return Trip(len(np.unique(places[inside])), float(inside.mean()))


def travel(seed, *, shuffled=False, **what):
    run = make_run(settings(**SETTINGS, seed=seed, **what), n_actions=3, n_stack=1)
    spread_features(run.student)
    if shuffled:
        source = Shuffled(run.icm, seed)
        run.advantage_estimator = AdvantageEstimator(run.cfg, run.student, source, CPU)
    envs = CorridorEnvs(run.cfg.n_envs)
    train(run, envs=envs, teacher=HomeTeacher())
    return trip(envs)


def p_value(more, less):
    """Exact one-sided permutation test (Fisher 1935): might `more` be larger by chance?

    Returns:
        The share of all ways to split the values in two that set the first part so far above.
    """
    values = np.array([*more, *less])
    splits = np.array(list(combinations(range(len(values)), len(more))))
    return float((values[splits].sum(1) >= sum(more)).mean())


@pytest.fixture(scope="module")
def plain():
    return [travel(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def curious():
    return [travel(seed, **BONUS) for seed in SEEDS]


def n_places(trips):
    return [found.n_places for found in trips]


# The game and the test


def test_each_place_of_the_corridor_looks_different_and_can_be_reached_in_one_game():
    envs = CorridorEnvs(1)
    start = envs.reset()
    seen = [envs.step(np.full(1, RIGHT)).obs.tobytes() for _ in range(N_GAME_STEPS - 1)]
    assert trip(envs).n_places <= N_CORRIDOR
    assert len({start.tobytes(), *seen}) == N_HOME + N_CORRIDOR


def test_the_teacher_never_enters_the_corridor():
    envs, rng = CorridorEnvs(32), np.random.default_rng(0)
    obs = envs.reset()
    for _ in range(20 * N_GAME_STEPS):
        obs = envs.step(sample_actions(logits_of(HomeTeacher(), obs, CPU), rng)).obs
    assert trip(envs) == (0, 0.0)


@pytest.mark.parametrize(
    ("more", "less", "p"),
    [
        ([3, 4], [1, 2], 1 / 6),
        ([2, 4], [1, 3], 2 / 6),
        ([1, 1], [1, 1], 1.0),
        ([1, 2], [3, 4], 1.0),
        (range(10, 20), range(10), 1 / 184_756),
    ],
)
def test_the_permutation_test_is_exact(more, less, p):
    assert p_value(more, less) == pytest.approx(p, rel=1e-12)


# The claims


@pytest.mark.slow
def test_a_curious_student_visits_the_corridor_and_a_plain_one_does_not(plain, curious):
    assert max(found.share for found in plain) < 0.01
    assert p_value(n_places(curious), n_places(plain)) < 1e-3


@pytest.mark.slow
def test_what_leads_it_there_is_what_the_bonus_tells_and_not_that_there_is_one(curious):
    shuffled = [travel(seed, shuffled=True, **BONUS) for seed in SEEDS[:6]]
    assert p_value(n_places(curious), n_places(shuffled)) < 0.01
