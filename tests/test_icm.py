"""The ICM's losses in closed form, which gradient goes where, its reward, and collapse."""

import math

import pytest
import torch
from torch import Tensor, nn

from distill.bonus import Transitions
from distill.icm import COLLAPSED_ROWS, COLLAPSED_SHARE, ETA, ICM, CollapseWatch, ICMOutput

WIRINGS = ("inverse", "both", "none")
N_FEATURES, N_ACTIONS = 3, 2


def make_icm() -> ICM:
    """Build an ICM whose forward model has left the zeros that it starts from."""
    torch.manual_seed(0)
    icm = ICM(N_FEATURES, N_ACTIONS, n_hidden=16)
    for parameter in icm.forward_model[2].parameters():
        nn.init.normal_(parameter, std=0.3)
    return icm


def transitions(n: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Draw features (n, 3) before and after, and actions (n,)."""
    rng = torch.Generator().manual_seed(1)
    phi, next_phi = torch.randn(2, n, N_FEATURES, generator=rng)
    return phi, next_phi, torch.randint(N_ACTIONS, (n,), generator=rng)


def set_linear(layer: nn.Module, weight: list[list[float]], bias: list[float]) -> None:
    assert isinstance(layer, nn.Linear)
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)


def hand_set_icm() -> ICM:
    """Build an ICM of one feature and two actions that one can compute in one's head.

    Forward: phi + 2 if action 1 else phi - 1. Inverse: logits (0, ln 3 (phi' - phi)). Both for
    positive numbers, which the hidden ReLU leaves alone.
    """
    icm = ICM(1, 2, n_hidden=2)
    set_linear(icm.forward_model[0], [[0.0, 0.0, 3.0], [0.0, 0.0, 0.0]], [0.0, 0.0])
    set_linear(icm.forward_model[2], [[1.0, 0.0]], [-1.0])
    set_linear(icm.inverse_model[0], [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    ln_3 = math.log(3)
    set_linear(icm.inverse_model[2], [[0.0, 0.0], [-ln_3, ln_3]], [0.0, 0.0])
    return icm


def losses_by_hand() -> ICMOutput:
    phi, next_phi = torch.tensor([[1.0], [5.0]]), torch.tensor([[2.0], [5.0]])
    return hand_set_icm()(phi, next_phi, torch.tensor([1, 0]), "both")


# Losses


def test_the_forward_loss_is_half_the_squared_error():
    # Predicted 1 + 2 = 3 where 2 came, and 5 - 1 = 4 where 5 came.
    torch.testing.assert_close(
        losses_by_hand().forward_loss, torch.tensor([0.5, 0.5]), rtol=1e-6, atol=0
    )


def test_the_inverse_loss_is_the_cross_entropy_of_the_executed_action():
    # Odds 3 to 1 for action 1, which it was; then even odds.
    expected = torch.tensor([math.log(4 / 3), math.log(2)])
    torch.testing.assert_close(losses_by_hand().inverse_loss, expected, rtol=1e-6, atol=0)
    assert losses_by_hand().inverse_correct[0]


def test_a_wrong_best_guess_is_counted_as_wrong():
    guess = hand_set_icm()(*torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([0]), "both")
    assert not guess.inverse_correct[0]
    assert guess.inverse_loss.item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_identity_error_is_what_predicting_no_change_would_cost():
    torch.testing.assert_close(losses_by_hand().identity_error, torch.tensor([0.5, 0.0]))


def test_the_forward_loss_is_summed_over_features_not_averaged():
    """Each feature that changes by 2 unforeseen costs 2: twice the width, twice the loss."""
    for n_features in (4, 8):
        phi = torch.full((3, n_features), 2.0)
        action = torch.tensor([0, 1, 1])
        loss = ICM(n_features, 2)(phi, torch.zeros_like(phi), action, "both").forward_loss
        torch.testing.assert_close(loss, torch.full((3,), 2.0 * n_features))


def test_a_fresh_forward_model_predicts_that_nothing_changes():
    icm = ICM(N_FEATURES, N_ACTIONS)
    out = icm(*transitions(), "none")
    assert torch.equal(out.forward_loss, out.identity_error)
    assert out.forward_loss.all()


@pytest.mark.parametrize("wiring", WIRINGS)
def test_the_wiring_changes_gradients_and_no_values(wiring):
    icm = make_icm()
    for ours, theirs in zip(icm(*transitions(), wiring), icm(*transitions(), "both"), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("field", ["inverse_loss", "forward_loss"])
def test_a_batch_twice_has_the_same_losses_and_gradients(field):
    icm = make_icm()
    means = [
        getattr(icm(phi, next_phi, action, "both"), field).mean()
        for phi, next_phi, action in (
            transitions(),
            [t.repeat_interleave(2, 0) for t in transitions()],
        )
    ]
    torch.testing.assert_close(means[1], means[0], rtol=1e-6, atol=0)
    once, twice = (
        torch.autograd.grad(mean, list(icm.parameters()), materialize_grads=True) for mean in means
    )
    for ours, theirs in zip(twice, once, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


# Gradients


def reached(field: str, wiring: str) -> set[str]:
    """Name what the gradient of one of the losses reaches, by what is not all zeros."""
    icm = make_icm()
    phi, next_phi, action = transitions()
    phi.requires_grad_()
    next_phi.requires_grad_()
    loss = getattr(icm(phi, next_phi, action, wiring), field).sum()
    models = {"inverse_model": icm.inverse_model, "forward_model": icm.forward_model}
    targets = [("phi", phi), ("next_phi", next_phi)]
    targets += [(name, p) for name, model in models.items() for p in model.parameters()]
    found = torch.autograd.grad(loss, [t for _, t in targets], allow_unused=True)
    names = {name for (name, _), g in zip(targets, found, strict=True) if g is not None and g.any()}
    # A head learns with all of its parameters or it does not learn.
    assert all(
        (g is not None and bool(g.any())) == (name in names)
        for (name, _), g in zip(targets, found, strict=True)
    )
    return names


@pytest.mark.parametrize(
    ("wiring", "field", "expected"),
    [
        ("inverse", "inverse_loss", {"phi", "next_phi", "inverse_model"}),
        ("inverse", "forward_loss", {"forward_model"}),
        ("both", "inverse_loss", {"phi", "next_phi", "inverse_model"}),
        ("both", "forward_loss", {"phi", "next_phi", "forward_model"}),
        ("none", "inverse_loss", {"inverse_model"}),
        ("none", "forward_loss", {"forward_model"}),
    ],
)
def test_each_loss_trains_its_model_always_and_the_features_as_wired(wiring, field, expected):
    assert reached(field, wiring) == expected


def test_the_gradient_of_the_forward_loss_by_the_next_features_is_minus_the_error():
    icm = make_icm()
    phi, next_phi, action = transitions()
    one_hot = torch.eye(N_ACTIONS)[action]
    error = phi + icm.forward_model(torch.cat((phi, one_hot), 1)).detach() - next_phi
    next_phi.requires_grad_()
    loss = icm(phi, next_phi, action, "both").forward_loss.sum()
    gradient = torch.autograd.grad(loss, next_phi)[0]
    torch.testing.assert_close(gradient, -error, rtol=1e-5, atol=1e-6)


# The reward


def reward_of(icm: ICM, phi: Tensor, next_phi: Tensor, action: Tensor) -> Tensor:
    no_frame = torch.zeros(len(phi), 0)  # what it looks like is not asked
    return icm.intrinsic_reward(Transitions(phi, next_phi, action, no_frame))


def test_the_reward_is_eta_times_the_forward_loss():
    icm = make_icm()
    expected = 0.01 * icm(*transitions(), "none").forward_loss.detach()
    assert ETA == 0.01
    torch.testing.assert_close(reward_of(icm, *transitions()), expected, rtol=1e-6, atol=0)


def test_the_reward_has_no_graph():
    phi, next_phi, action = transitions()
    reward = reward_of(make_icm(), phi.requires_grad_(), next_phi, action)
    assert not reward.requires_grad


def test_what_the_forward_model_has_learned_is_rewarded_less():
    """The sign that turns curiosity into its opposite if it is wrong."""
    icm = make_icm()
    phi, next_phi, action = transitions()
    before = reward_of(icm, phi, next_phi, action)
    optimizer = torch.optim.Adam(icm.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        icm(phi[:1], next_phi[:1], action[:1], "none").forward_loss.sum().backward()
        optimizer.step()
    assert reward_of(icm, phi, next_phi, action)[0] < 0.5 * before[0]


# Collapse


LOW = 0.9 * COLLAPSED_SHARE


def told(watch: CollapseWatch, *values: float) -> list[bool]:
    return [watch(value) for value in values]


def test_a_collapse_from_the_largest_variation_seen_is_told_when_it_lasts_and_once():
    watch = CollapseWatch()
    assert not any(told(watch, 0.01, 3.0, 2.0))
    assert told(watch, *[3 * LOW] * 7) == [False] * 4 + [True] + [False] * 2
    assert not any(told(watch, 3.0, *[0.0] * 9))


def test_a_short_dip_or_a_large_loss_of_variation_is_no_collapse():
    assert COLLAPSED_ROWS == 5
    assert not any(told(CollapseWatch(), *([1.0] + [LOW] * 4) * 3, *[2 * COLLAPSED_SHARE] * 9))


def test_features_that_never_vary_have_collapsed():
    assert any(told(CollapseWatch(), *[0.0] * COLLAPSED_ROWS))


@pytest.mark.parametrize("n_seen", range(8))
def test_a_watch_goes_on_from_its_saved_state(n_seen):
    values = 2.0, 1.0, *[LOW] * 6, 1.0, *[0.0] * 6
    watch, resumed = CollapseWatch(), CollapseWatch()
    told(watch, *values[:n_seen])
    resumed.load_state_dict(watch.state_dict())
    assert told(resumed, *values[n_seen:]) == told(watch, *values[n_seen:])
