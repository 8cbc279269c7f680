"""Who plays, in which games."""

import numpy as np
import pytest
from checkpoints import FREEWAY
from fakes import TINY

from distill.envs import make_atari
from distill.networks import ActorCritic
from distill.player import find_game, games_for
from distill.teacher import FrozenPolicy


@pytest.mark.atari
def test_games_are_of_the_seed_and_stack_asked_for():
    network = FrozenPolicy(ActorCritic(TINY, 3, n_stack=2))
    ours = games_for(network, FREEWAY, 8, seed=7, training=True, n_threads=1).reset()
    same, other = (
        make_atari(FREEWAY, 8, seed=seed, training=True, n_threads=1, n_stack=2).reset()
        for seed in (7, 0)
    )
    np.testing.assert_array_equal(ours, same)
    assert not np.array_equal(ours, other)


def test_the_game_asked_for_comes_before_any_known_and_the_first_known_before_the_others():
    pong, boxing = "PongNoFrameskip-v4", "ALE/Boxing-v5"
    assert find_game(FREEWAY, {"a.zip": pong}) == FREEWAY
    assert find_game(None, {"a.zip": None, "b.zip": pong, "c.zip": boxing}) == pong


def test_a_game_that_nobody_says_or_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"^--env is missing: a\.zip does not say which game"):
        find_game(None, {"a.zip": None, "b.zip": None})
    with pytest.raises(ValueError, match=r"^--env must be .*, got 'Poong'"):
        find_game(None, {"a.zip": "Poong"})
