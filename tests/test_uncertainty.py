import math
import random

import numpy as np
import pytest
import torch
from fakes import noise
from torch import Tensor

from distill.uncertainty import (
    Uncertainty,
    bonus_weights,
    distill_weights,
)

LN_2 = math.log(2)
both_weights = pytest.mark.parametrize("weigh", [distill_weights, bonus_weights])


class SetInItsWays:
    """A teacher that gives one answer after the other, whatever it is shown; keeps what it saw."""

    def __init__(self, *answers: list[float]) -> None:
        self.n_actions = len(answers[0])
        self.seen: list[Tensor] = []
        self._answers = answers

    def logits(self, obs: Tensor) -> Tensor:
        answer = self._answers[len(self.seen) % len(self._answers)]
        self.seen.append(obs)
        return torch.tensor(answer).expand(len(obs), -1)


class ReadsPixels:
    """A teacher whose answer hangs on the brightness of three corners of the picture."""

    n_actions = 3

    def logits(self, obs: Tensor) -> Tensor:
        picture = obs.float()
        corners = [picture[..., :42, :42], picture[..., 42:, :42], picture[..., :42, 42:]]
        return torch.stack([corner.mean((1, 2, 3)) / 10 for corner in corners], 1)


def measure(teacher, obs: Tensor, *, seed: int = 0, **settings) -> Tensor:
    """Uncertainty of a teacher whose answer to the pictures as they are is its answer to `obs`."""
    return Uncertainty(teacher, seed=seed, **settings).divergence(obs, teacher.logits(obs))


# Divergence


@pytest.mark.parametrize(
    "answer", [[0.0, 0.0, 0.0], [1.0, -2.0, 0.3], [50.0, 0.0, -50.0], [1e4, 0.0, -1e4]]
)
def test_a_teacher_that_stands_by_its_answer_is_certain_whatever_its_entropy(answer):
    uncertainty = measure(SetInItsWays(answer), noise(16))
    assert torch.equal(uncertainty, torch.zeros(16))


def test_a_teacher_that_flips_its_answer_scores_ln_2():
    uncertainty = measure(SetInItsWays([1e3, -1e3], [-1e3, 1e3]), noise(4))
    torch.testing.assert_close(uncertainty, torch.full((4,), LN_2))


@pytest.mark.parametrize("gap", [10.0, 16.0, 18.0, 30.0, 60.0, 100.0, 120.0])
def test_a_flip_scores_what_it_does_in_double_precision_however_sure_the_teacher(gap):
    """An action that both rule out, one of them harder, changes nothing."""
    p, q = ([gap, 0.0, -gap], [0.0, gap, -2.9 * gap])
    exact = [torch.tensor(x, dtype=torch.float64).softmax(0) for x in (p, q)]
    middle = sum(exact) / 2
    expected = sum(float(torch.special.xlogy(x, x / middle).sum()) for x in exact) / 2
    uncertainty = measure(SetInItsWays(p, q), noise(4))
    torch.testing.assert_close(uncertainty, torch.full((4,), expected), rtol=1e-6, atol=0)


def test_from_one_action_to_a_coin_toss_is_three_quarters_of_ln_four_thirds():
    uncertainty = measure(SetInItsWays([0.0, -1e3], [0.0, 0.0]), noise(4))
    torch.testing.assert_close(uncertainty, torch.full((4,), 0.75 * math.log(4 / 3)))


def test_a_tiny_change_scores_the_leading_term_and_not_noise():
    """Of a fair coin whose log-odds move by e, the series begins with e^2 / 32."""
    uncertainty = measure(SetInItsWays([0.0, 0.0], [1e-3, 0.0]), noise(4))
    torch.testing.assert_close(uncertainty, torch.full((4,), 1e-6 / 32), rtol=1e-3, atol=0)


def test_draws_are_averaged_and_each_asks_the_teacher_once():
    same, flipped = [1e3, -1e3], [-1e3, 1e3]
    teacher = SetInItsWays(same, flipped, same, same, same)
    uncertainty = measure(teacher, noise(6), n_draws=4)
    torch.testing.assert_close(uncertainty, torch.full((6,), LN_2 / 4))
    assert [len(obs) for obs in teacher.seen] == [6] * 5


def test_it_is_measured_per_sample():
    obs = noise(16)
    obs[8:] = 128  # three equal corners answer alike under all that keeps a uniform picture uniform
    uncertainty = measure(ReadsPixels(), obs, augmentations=["rotation", "resample", "blur"])
    assert (uncertainty[:8] > 0).all()
    assert torch.equal(uncertainty[8:], torch.zeros(8))


def test_the_teacher_sees_raw_pictures_in_their_order_each_changed_its_own_way():
    teacher = SetInItsWays([0.0, 1.0])
    levels = torch.arange(60, 240, 10, dtype=torch.uint8)
    obs = levels[:, None, None, None].expand(-1, 4, 84, 84)
    measure(teacher, obs, augmentations=["blur", "rotation", "resample", "sharpness"])
    assert torch.equal(teacher.seen[1], obs)  # all four leave a uniform picture as it is
    equal = noise(1).expand(32, -1, -1, -1)
    measure(teacher, equal)
    assert teacher.seen[3].dtype == torch.uint8
    assert len(teacher.seen[3].flatten(1).unique(dim=0)) == 32


def test_samples_are_shared_out_among_the_augmentations():
    teacher = SetInItsWays([0.0, 1.0])
    measure(
        teacher,
        torch.full((64, 4, 84, 84), 128, dtype=torch.uint8),
        augmentations=["erasing", "blur"],
    )
    is_erased = (teacher.seen[1] == 0).any(3).any(2).any(1)
    assert 16 < is_erased.sum() < 48
    assert (teacher.seen[1][~is_erased] == 128).all()


def test_every_draw_changes_the_pictures_anew():
    teacher = SetInItsWays([0.0, 1.0])
    measure(teacher, noise(4), augmentations=["blur"], n_draws=2)
    assert (teacher.seen[1] != teacher.seen[2]).flatten(1).any(1).all()


def test_no_gradient_reaches_the_teacher():
    weight = torch.ones(3, requires_grad=True)

    class Trainable(ReadsPixels):
        def logits(self, obs: Tensor) -> Tensor:
            return super().logits(obs) * weight

    assert not measure(Trainable(), noise(2)).requires_grad


def test_an_unknown_augmentation_is_refused_by_name():
    with pytest.raises(ValueError, match="sepia"):
        Uncertainty(ReadsPixels(), augmentations=["blur", "sepia"], seed=0)


@pytest.mark.parametrize("settings", [{"n_draws": 0}, {"augmentations": ()}])
def test_settings_that_measure_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Uncertainty(ReadsPixels(), **settings, seed=0)


# Randomness


def test_every_global_random_state_is_left_as_it_was():
    np_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  the global one is the point
    torch_state, python_state = torch.random.get_rng_state(), random.getstate()
    measure(ReadsPixels(), noise(16))
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    after = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    assert after["pos"] == np_state["pos"]
    assert np.array_equal(after["key"], np_state["key"])


def test_only_the_seed_decides_the_stream():
    obs, teacher = noise(16), ReadsPixels()
    torch.manual_seed(1)
    first = measure(teacher, obs, seed=5)
    torch.manual_seed(2)
    assert torch.equal(measure(teacher, obs, seed=5), first)
    assert not torch.equal(measure(teacher, obs, seed=6), first)


def test_a_resumed_run_continues_the_stream(tmp_path):
    obs, teacher = noise(16), ReadsPixels()
    logits = teacher.logits(obs)
    whole = Uncertainty(teacher, seed=5)
    beginning = whole(obs, logits)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    end = whole(obs, logits)
    resumed = Uncertainty(teacher, seed=6)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(resumed(obs, logits), end)
    assert not torch.equal(beginning, end)


def test_each_augmentation_is_measured_by_what_it_usually_brings_about():
    obs, teacher, names = noise(64), ReadsPixels(), ["jitter", "blur"]
    logits = teacher.logits(obs)
    nats = Uncertainty(teacher, augmentations=names, seed=5).divergence(obs, logits)
    is_blur = np.random.default_rng(5).integers(2, size=64).astype(bool)  # as it was drawn
    assert nats[~is_blur].mean() > 5 * nats[is_blur].mean()
    relative = Uncertainty(teacher, augmentations=names, seed=5)
    found = relative(obs, logits)
    for chosen in (is_blur, ~is_blur):
        torch.testing.assert_close(found[chosen], nats[chosen] / nats[chosen].mean())
    # Later ones by the mean of all so far.
    both = Uncertainty(teacher, augmentations=["jitter"], seed=5)
    one, two = both(obs[:32], logits[:32]), both(obs[32:], logits[32:])
    again = Uncertainty(teacher, augmentations=["jitter"], seed=5)
    first = again.divergence(obs[:32], logits[:32])
    second = again.divergence(obs[32:], logits[32:])
    torch.testing.assert_close(one, first / first.mean())
    torch.testing.assert_close(two, second / torch.cat((first, second)).mean())


def test_a_teacher_that_never_moves_has_no_uncertainty_in_its_own_units_either():
    obs, teacher = noise(16), SetInItsWays([1.0, 0.0])
    assert not Uncertainty(teacher, seed=0)(obs, teacher.logits(obs)).any()


# Weights


def test_weights_of_two_samples_by_hand():
    """Here u / mean u is 0 and 2: trust 1 and 1/3, of mean 2/3; a bonus of 1/2 and 3/2."""
    uncertainty = torch.tensor([0.0, 2.0])
    torch.testing.assert_close(distill_weights(uncertainty), torch.tensor([1.5, 0.5]))
    torch.testing.assert_close(bonus_weights(uncertainty), torch.tensor([0.5, 1.5]))


@both_weights
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_weights_have_mean_one_at_any_scale(weigh, scale):
    uncertainty = torch.rand(128, generator=torch.Generator().manual_seed(0)) ** 4
    weights = weigh(uncertainty * scale)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    torch.testing.assert_close(weights, weigh(uncertainty), rtol=1e-5, atol=0)


def test_the_uncertain_are_trusted_less_and_explored_more():
    uncertainty = torch.tensor([0.0, 1e-4, 1e-3, 0.1, LN_2])
    assert (distill_weights(uncertainty).diff() < 0).all()
    assert (bonus_weights(uncertainty).diff() > 0).all()


@both_weights
@pytest.mark.parametrize("level", [0.0, 1e-42, 1e-8, 0.3])
def test_equal_uncertainties_weigh_one_each(weigh, level):
    torch.testing.assert_close(weigh(torch.full((128,), level)), torch.ones(128))


@both_weights
def test_a_single_uncertain_sample_leaves_all_weights_finite_and_positive(weigh):
    weights = weigh(torch.eye(256)[0] * LN_2)
    assert weights.isfinite().all()
    assert (weights > 0).all()
