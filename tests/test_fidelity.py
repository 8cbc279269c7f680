"""A student beside its teacher: known distributions, and games that are played as without it."""

import numpy as np
import pytest
import torch
from fakes import CPU, FakeEnvs, FixedTeacher

from distill.evaluation import constant_policy, play
from distill.fidelity import STEPS_APART, ComparedGames, compare


def test_kl_and_agreement_of_known_distributions():
    teacher = torch.tensor([[0.5, 0.5], [0.25, 0.75]]).log()
    student = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log()
    found = compare(teacher, student)
    kl = (0.25 * np.log(1 / 3) + 0.75 * np.log(3)) / 2
    assert found.kl == pytest.approx(kl, rel=1e-5)
    assert (found.agreement, found.n_states) == (0.5, 2)


def test_games_are_played_as_without_and_an_eighth_of_their_states_compared():
    teacher, student = FixedTeacher((0.0, 1.0, 0.0)), FixedTeacher((0.0, 0.0, 0.0))
    compared = ComparedGames(FakeEnvs(4), student, teacher, CPU)
    games = play(compared, constant_policy(2), 10)
    plain = FakeEnvs(4)
    assert games == play(plain, constant_policy(2), 10)
    assert games == play(compared, constant_policy(2), 10)  # whose states alone count
    n_steps = len(plain.rewards)
    found = compared.fidelity
    assert found.n_states == 4 * -(-n_steps // STEPS_APART)
    expected = compare(torch.tensor([[0.0, 1.0, 0.0]]), torch.zeros(1, 3))
    assert (found.kl, found.agreement) == pytest.approx((expected.kl, expected.agreement))
