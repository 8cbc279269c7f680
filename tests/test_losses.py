"""Losses, values and gradients, against closed forms; GAE against sums done by hand."""

import math

import pytest
import torch
from torch import Tensor

from distill.losses import (
    DIVERGENCES,
    divergence,
    entropy,
    gae,
    log_prob,
    ppo_clip,
)

LN_2 = math.log(2)
PROBABILISTIC = ("kl", "reverse_kl", "js")
every_divergence = pytest.mark.parametrize("name", DIVERGENCES)
conventions = pytest.mark.parametrize("hinton", [False, True], ids=["rusu", "hinton"])
temperatures = pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])


def random_logits(n: int = 5, n_actions: int = 4, *, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, n_actions, generator=rng, dtype=torch.float64)


def gradient_of_mean(name: str, teacher: Tensor, student: Tensor, **settings) -> Tensor:
    """Differentiate the loss of a batch, as training does, by the student's logits."""
    student = student.clone().requires_grad_()
    loss = divergence(name, teacher, student, **settings).mean()
    return torch.autograd.grad(loss, student)[0]


# Divergences: values. With p = (1/2, 1/2) and q = (1/4, 3/4) the sums can be done by hand.

P, Q = (1 / 2, 1 / 2), (1 / 4, 3 / 4)
BY_HAND = {
    "kl": 0.5 * math.log(4 / 3),  # 1/2 ln 2 + 1/2 ln 2/3
    "reverse_kl": 0.75 * math.log(3) - LN_2,  # 1/4 ln 1/2 + 3/4 ln 3/2
    "js": 0.5 * (0.5 * math.log(16 / 15) + 0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5)),
    "nll": 2 * LN_2,  # ties go to the first action, of which q is 1/4
    "mse": 0.5 * math.log(3) ** 2,  # q's logits less their mean are -+ ln(3) / 2
}


@every_divergence
def test_a_divergence_of_two_known_policies_is_the_one_done_by_hand(name):
    teacher, student = (torch.tensor([p], dtype=torch.float64).log() for p in (P, Q))
    assert divergence(name, teacher, student).item() == pytest.approx(BY_HAND[name], rel=1e-7)


def test_the_forward_direction_charges_for_what_the_student_leaves_out():
    """Mass-covering: to leave out one of the teacher's two actions costs; reversed, hardly."""
    teacher = torch.tensor([[0.0, 0.0]])
    student = torch.tensor([[0.0, -20.0]])
    assert divergence("kl", teacher, student).item() == pytest.approx(10 - LN_2, rel=1e-5)
    assert divergence("reverse_kl", teacher, student).item() == pytest.approx(LN_2, rel=1e-5)


def test_the_reverse_direction_charges_for_what_the_teacher_rules_out():
    teacher = torch.tensor([[0.0, -20.0]])
    student = torch.tensor([[0.0, 0.0]])
    assert divergence("kl", teacher, student).item() == pytest.approx(LN_2, rel=1e-5)
    assert divergence("reverse_kl", teacher, student).item() == pytest.approx(10 - LN_2, rel=1e-5)


@pytest.mark.parametrize("name", [*PROBABILISTIC, "mse"])
def test_agreement_costs_nothing_whatever_the_constant_in_the_logits(name):
    logits = random_logits()
    torch.testing.assert_close(
        divergence(name, logits, logits + 7), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("name", [*PROBABILISTIC, "mse"])
def test_disagreement_costs_something(name):
    assert (divergence(name, random_logits(), random_logits(seed=1)) > 1e-3).all()


@temperatures
@pytest.mark.parametrize("name", PROBABILISTIC)
def test_rusus_temperature_divides_the_teachers_logits_alone(name, tau):
    teacher, student = random_logits(), random_logits(seed=1)
    torch.testing.assert_close(
        divergence(name, teacher, student, temperature=tau),
        divergence(name, teacher / tau, student),
        rtol=1e-12,
        atol=0,
    )


@temperatures
@pytest.mark.parametrize("name", PROBABILISTIC)
def test_hintons_temperature_divides_both_and_multiplies_by_its_square(name, tau):
    teacher, student = random_logits(), random_logits(seed=1)
    torch.testing.assert_close(
        divergence(name, teacher, student, temperature=tau, match_temperature=True),
        tau**2 * divergence(name, teacher / tau, student / tau),
        rtol=1e-12,
        atol=0,
    )


@conventions
@pytest.mark.parametrize("name", ["nll", "mse"])
def test_temperature_has_no_part_in_nll_and_mse(name, hinton):
    teacher, student = random_logits(), random_logits(seed=1)
    tempered = divergence(name, teacher, student, temperature=3.0, match_temperature=hinton)
    assert torch.equal(tempered, divergence(name, teacher, student))


def test_rusus_own_temperature_makes_the_teachers_best_action_the_target():
    teacher, student = random_logits().float(), random_logits(seed=1).float()
    sharp = divergence("kl", teacher, student, temperature=1e-4)
    torch.testing.assert_close(sharp, divergence("nll", teacher, student), rtol=1e-5, atol=1e-6)


@conventions
@pytest.mark.parametrize("tau", [0.01, 1.0, 100.0])
@every_divergence
def test_large_logits_give_finite_values_and_gradients(name, tau, hinton):
    teacher = torch.tensor([[300.0, 0.0, -300.0]])
    settings = {"temperature": tau, "match_temperature": hinton}
    for student in (teacher, -teacher, torch.zeros_like(teacher)):
        assert divergence(name, teacher, student, **settings).isfinite().all()
        assert gradient_of_mean(name, teacher, student, **settings).isfinite().all()


# Divergences: gradients of the mean over a batch


@conventions
@temperatures
def test_the_gradient_of_kl_is_the_difference_of_the_policies(tau, hinton):
    """Rusu: softmax(s) - softmax(t / tau); Hinton: tau (softmax(s / tau) - softmax(t / tau))."""
    teacher, student = random_logits(), random_logits(seed=1)
    own, factor = (tau, tau) if hinton else (1.0, 1.0)
    expected = factor * ((student / own).softmax(1) - (teacher / tau).softmax(1)) / len(student)
    actual = gradient_of_mean("kl", teacher, student, temperature=tau, match_temperature=hinton)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@conventions
@temperatures
def test_the_gradient_of_reverse_kl_is_its_closed_form(tau, hinton):
    """d KL(q || p) / ds_a = q_a (ln q_a / p_a - KL(q || p))."""
    teacher, student = random_logits(), random_logits(seed=1)
    own, factor = (tau, tau) if hinton else (1.0, 1.0)
    q, p = (student / own).softmax(1), (teacher / tau).softmax(1)
    ratio = (q / p).log()
    expected = factor * q * (ratio - (q * ratio).sum(1, keepdim=True)) / len(student)
    settings = {"temperature": tau, "match_temperature": hinton}
    actual = gradient_of_mean("reverse_kl", teacher, student, **settings)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@conventions
@temperatures
def test_the_gradient_of_jensen_shannon_is_its_closed_form(tau, hinton):
    """d JS(p, q) / ds_a = q_a / 2 (ln q_a / m_a - KL(q || m)), with m = (p + q) / 2."""
    teacher, student = random_logits(), random_logits(seed=1)
    own, factor = (tau, tau) if hinton else (1.0, 1.0)
    q, p = (student / own).softmax(1), (teacher / tau).softmax(1)
    ratio = (2 * q / (p + q)).log()
    expected = factor * q / 2 * (ratio - (q * ratio).sum(1, keepdim=True)) / len(student)
    settings = {"temperature": tau, "match_temperature": hinton}
    actual = gradient_of_mean("js", teacher, student, **settings)
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-10)


def test_the_gradient_of_nll_is_the_policy_less_the_teachers_best_action():
    teacher, student = random_logits(), random_logits(seed=1)
    best = torch.eye(4, dtype=torch.float64)[teacher.argmax(1)]
    actual = gradient_of_mean("nll", teacher, student)
    torch.testing.assert_close(actual, (student.softmax(1) - best) / 5, rtol=1e-9, atol=1e-12)


def test_the_gradient_of_mse_is_twice_the_difference_less_its_mean():
    teacher, student = random_logits(), random_logits(seed=1)
    difference = student - teacher
    expected = 2 * (difference - difference.mean(1, keepdim=True)) / 5
    actual = gradient_of_mean("mse", teacher, student)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


# Reductions


@every_divergence
def test_a_batch_twice_has_the_same_loss_and_the_same_gradient(name):
    teacher, student = random_logits(), random_logits(seed=1)
    once = gradient_of_mean(name, teacher, student)
    twice = gradient_of_mean(name, teacher.repeat(2, 1), student.repeat(2, 1))
    # Every sample now stands there twice, with half the gradient each.
    torch.testing.assert_close(twice[:5] + twice[5:], once, rtol=1e-12, atol=1e-15)
    loss = divergence(name, teacher, student).mean()
    doubled = divergence(name, teacher.repeat(2, 1), student.repeat(2, 1)).mean()
    torch.testing.assert_close(doubled, loss, rtol=1e-12, atol=0)


@every_divergence
def test_a_sample_costs_the_same_alone_as_in_a_batch(name):
    teacher, student = random_logits(), random_logits(seed=1)
    alone = [divergence(name, teacher[i : i + 1], student[i : i + 1]) for i in range(5)]
    together = divergence(name, teacher, student)
    assert together.shape == (5,)
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", PROBABILISTIC)
def test_actions_that_nobody_takes_cost_nothing(name):
    teacher, student = random_logits(), random_logits(seed=1)
    never = torch.full((5, 14), -1e4, dtype=torch.float64)
    with_more = divergence(name, torch.cat((teacher, never), 1), torch.cat((student, never), 1))
    torch.testing.assert_close(
        with_more, divergence(name, teacher, student), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", PROBABILISTIC)
def test_a_divergence_is_summed_over_actions_not_averaged(name):
    """Splitting each action into two equal halves is no reason to disagree less."""
    teacher, student = random_logits(), random_logits(seed=1)
    split = divergence(name, teacher.repeat(1, 2), student.repeat(1, 2))
    torch.testing.assert_close(split, divergence(name, teacher, student), rtol=1e-12, atol=1e-12)


def test_mse_is_summed_over_actions():
    teacher, student = random_logits(), random_logits(seed=1)
    split = divergence("mse", teacher.repeat(1, 2), student.repeat(1, 2))
    torch.testing.assert_close(split, 2 * divergence("mse", teacher, student), rtol=1e-12, atol=0)


def test_jensen_shannon_lies_between_0_and_ln_2_and_is_symmetric():
    p, q = 10 * random_logits(200).float(), 10 * random_logits(200, seed=1).float()
    measured = divergence("js", p, q)
    assert measured.min() > -1e-6
    assert measured.max() <= LN_2 + 1e-6
    torch.testing.assert_close(divergence("js", q, p), measured, rtol=1e-6, atol=1e-6)


def test_jensen_shannon_of_policies_with_nothing_in_common_is_ln_2():
    p, q = torch.tensor([[100.0, 0.0]]), torch.tensor([[0.0, 100.0]])
    assert divergence("js", p, q).item() == pytest.approx(LN_2, rel=1e-6)


# Entropy and log-probability


def test_entropy_of_a_uniform_policy_is_ln_a_and_of_a_certain_one_0():
    logits = torch.tensor([[2.0, 2.0, 2.0], [500.0, 0.0, 0.0]])
    torch.testing.assert_close(
        entropy(logits), torch.tensor([math.log(3), 0.0]), rtol=1e-6, atol=1e-7
    )


def test_entropy_of_a_known_policy_is_the_one_done_by_hand():
    logits = torch.tensor([Q], dtype=torch.float64).log()
    assert entropy(logits).item() == pytest.approx(2 * LN_2 - 0.75 * math.log(3), rel=1e-12)


def test_the_gradient_of_entropy_is_its_closed_form():
    """dH / ds_a = -p_a (ln p_a + H)."""
    logits = random_logits().requires_grad_()
    h = entropy(logits)
    p = logits.detach().softmax(1)
    expected = -p * (p.log() + h.detach()[:, None])
    actual = torch.autograd.grad(h.sum(), logits)[0]
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_log_prob_is_that_of_each_samples_own_action_and_so_is_its_gradient():
    logits = torch.tensor([P, Q, Q], dtype=torch.float64).log().requires_grad_()
    action = torch.tensor([0, 0, 1])
    measured = log_prob(logits, action)
    expected = torch.tensor([-LN_2, -2 * LN_2, math.log(3) - 2 * LN_2], dtype=torch.float64)
    torch.testing.assert_close(measured.detach(), expected, rtol=1e-12, atol=0)
    gradient = torch.autograd.grad(measured.sum(), logits)[0]  # one-hot less p
    by_hand = torch.tensor([[0.5, -0.5], [0.75, -0.75], [-0.25, 0.25]], dtype=torch.float64)
    torch.testing.assert_close(gradient, by_hand, rtol=1e-12, atol=1e-12)


# PPO


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.1, 2.0, -2.2, -2.2),  # within the clip: ratio times advantage
        (0.9, -2.0, 1.8, 1.8),
        (1.5, 2.0, -2.4, 0.0),  # already much likelier: no more to gain
        (0.5, -2.0, 1.6, 0.0),  # already much unlikelier
        (1.5, -2.0, 3.0, 3.0),  # moved the wrong way: the whole loss, the whole gradient
        (0.5, 2.0, -1.0, -1.0),
    ],
)
def test_ppo_clip_stops_the_gradient_beyond_the_clip_on_the_gaining_side_only(
    ratio, advantage, loss, gradient
):
    old = torch.tensor([-1.3], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    measured = ppo_clip(new, old, torch.tensor([advantage], dtype=torch.float64), 0.2)
    assert measured.shape == (1,)
    assert measured.item() == pytest.approx(loss, rel=1e-12)
    assert torch.autograd.grad(measured.sum(), new)[0].item() == pytest.approx(gradient, rel=1e-12)


def test_a_step_down_ppo_clip_makes_a_rewarded_action_likelier():
    logits = torch.zeros(2, 3, requires_grad=True)
    action = torch.tensor([1, 1])
    new = log_prob(logits, action)
    ppo_clip(new, new.detach(), torch.tensor([1.0, -1.0]), 0.1).mean().backward()
    assert logits.grad is not None
    stepped = log_prob(logits.detach() - logits.grad, action)
    assert stepped[0] > new[0]
    assert stepped[1] < new[1]


# GAE


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None]


def test_gae_is_the_one_done_by_hand():
    """gamma = lambda = 1/2; the second game's second step ends an episode."""
    reward = torch.tensor([[1.0, 1.0], [0.0, 2.0], [2.0, 0.0]])
    value = torch.tensor([[2.0, 2.0], [4.0, 4.0], [2.0, 2.0]])
    done = torch.tensor([[False, False], [False, True], [False, False]])
    last_value = torch.tensor([4.0, 8.0])
    # first game: deltas 1 + 2 - 2 = 1, 0 + 1 - 4 = -3, 2 + 2 - 2 = 2; carried by 1/4
    # second:     deltas 1 + 2 - 2 = 1, 2 + 0 - 4 = -2, 0 + 4 - 2 = 2; nothing carried over the end
    expected = torch.tensor([[1 - 2.5 / 4, 1 - 2 / 4], [-3 + 2 / 4, -2.0], [2.0, 2.0]])
    measured = gae(reward, value, done, last_value, gamma=0.5, lam=0.5)
    torch.testing.assert_close(measured, expected, rtol=1e-6, atol=1e-7)


def test_gae_with_lambda_1_is_the_discounted_return_less_the_value():
    reward, value = column(1, 2, 3), column(0.3, -0.2, 0.7)
    done = torch.zeros(3, 1, dtype=torch.bool)
    measured = gae(reward, value, done, column(10)[0], gamma=0.9, lam=1.0)
    returns = column(1 + 0.9 * 2 + 0.81 * 3 + 0.729 * 10, 2 + 0.9 * 3 + 0.81 * 10, 3 + 0.9 * 10)
    torch.testing.assert_close(measured, returns - value, rtol=1e-6, atol=1e-6)


def test_gae_with_lambda_0_is_the_one_step_error():
    reward, value = column(1, 2, 3), column(5, 6, 7)
    done = torch.tensor([[False], [True], [False]])
    measured = gae(reward, value, done, column(8)[0], gamma=0.5, lam=0.0)
    torch.testing.assert_close(measured, column(1 + 3 - 5, 2 - 6, 3 + 4 - 7), rtol=0, atol=0)


def test_nothing_after_an_episodes_end_counts_before_it():
    rng = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 6, 2, generator=rng)
    done = torch.zeros(6, 2, dtype=torch.bool)
    done[2, 0] = True
    measured = gae(reward, value, done, torch.zeros(2), gamma=0.99, lam=0.95)
    reward[3:], value[3:] = 1e6, -1e6
    changed = gae(reward, value, done, torch.full((2,), 1e6), gamma=0.99, lam=0.95)
    assert torch.equal(measured[:3, 0], changed[:3, 0])
    assert (measured[:3, 1] != changed[:3, 1]).all()
