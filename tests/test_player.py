"""Who plays, in which games."""

import numpy as np
import pytest
from checkpoints import FREEWAY
from fakes import TINY

from distill.envs import make_atari
from distill.networks import ActorCritic
from distill.player import games_for
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
