"""The optimization step against torch's own Adam, and what it must leave alone."""

import copy

import pytest
import torch
from torch import Tensor, nn

from distill.config import DistillConfig
from distill.icm import ICM
from distill.learner import Learner
from distill.muon import Muon
from distill.networks import ActorCritic
from distill.objective import compute_losses
from distill.types import WIDTHS, Batch, PolicyBatch

WEIGHTS = {"a": 0.7, "b": 2.5}


def make_modules() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(4, 3), nn.Linear(3, 2)]


def make_terms(modules: list[nn.Linear], seed: int = 0) -> dict[str, Tensor]:
    """Compute two losses: `a` of both modules, `b` of the first alone."""
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    hidden = modules[0](x).tanh()
    return {"a": modules[1](hidden).square().sum(1).mean(), "b": (hidden - 0.5).abs().mean()}


def parameters_of(modules: list[nn.Linear]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters()]


def reference_step(
    modules: list[nn.Linear], optimizer: torch.optim.Adam, seed: int, max_norm: float
) -> list[float]:
    """Step by the weighted sum's gradient, clipped by hand; returns each module's norm."""
    terms = make_terms(modules, seed)
    loss = 0.7 * terms["a"] + 2.5 * terms["b"]
    norms = []
    for module in modules:
        parameters = list(module.parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        norms.append(sum(g.square().sum().item() for g in gradients) ** 0.5)
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g * min(1.0, max_norm / norms[-1])
    optimizer.step()
    return norms


@pytest.mark.parametrize(("max_norm", "clips"), [(0.05, True), (1e6, False)])
def test_steps_are_those_of_adam_on_the_clipped_gradient_of_the_weighted_sum(max_norm, clips):
    ours, theirs = make_modules(), make_modules()
    learner = Learner(ours, max_grad_norm=max_norm)
    plain = torch.optim.Adam(parameters_of(theirs), foreach=False, fused=False)
    for i, lr in enumerate([0.1, 0.03, 0.0, 0.01]):  # at 0 the moments still move
        learner.step(make_terms(ours, i), WEIGHTS, lr)
        plain.param_groups[0]["lr"] = lr
        norms = reference_step(theirs, plain, i, max_norm)
        assert [norm > max_norm for norm in norms] == [clips, clips]
        for p, q in zip(parameters_of(ours), parameters_of(theirs), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_a_module_of_its_own_does_not_change_how_another_is_clipped():
    alone, beside = make_modules(), make_modules()
    far = nn.Linear(3, 1)
    steep = 1e4 * far(torch.ones(2, 3)).square().mean()
    Learner(alone, max_grad_norm=0.1).step(make_terms(alone), WEIGHTS, 0.01)
    both = Learner([*beside, far], max_grad_norm=0.1)
    both.step({**make_terms(beside), "far": steep}, {**WEIGHTS, "far": 1.0}, 0.01)
    for p, q in zip(parameters_of(alone), parameters_of(beside), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)


def test_muon_moves_the_matrices_it_is_given_and_adam_the_rest_as_before():
    ours, adams, muons = make_modules(), make_modules(), make_modules()
    learner = Learner(ours, max_grad_norm=1e6, matrices=parameters_of(ours)[:1])
    plain, muon = Learner(adams, max_grad_norm=1e6), Muon(parameters_of(muons)[:1])
    learner.step(make_terms(ours), WEIGHTS, 0.01)
    plain.step(make_terms(adams), WEIGHTS, 0.01)
    muons[0].weight.grad = adams[0].weight.grad
    muon.param_groups[0]["lr"] = 0.01
    muon.step()
    assert torch.equal(ours[0].weight, muons[0].weight)
    assert not torch.equal(ours[0].weight, adams[0].weight)
    rest = zip(parameters_of(ours)[1:], parameters_of(adams)[1:], strict=True)
    assert all(torch.equal(p, q) for p, q in rest)


def test_a_step_lowers_the_loss():
    modules = make_modules()
    learner = Learner(modules, max_grad_norm=1.0)
    before = sum(WEIGHTS[k] * v.item() for k, v in make_terms(modules).items())
    for _ in range(5):
        learner.step(make_terms(modules), WEIGHTS, 0.01)
    assert sum(WEIGHTS[k] * v.item() for k, v in make_terms(modules).items()) < before


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c"), ("a", "B"), ()], ids=str)
def test_weights_and_terms_must_have_the_same_names(names):
    modules = make_modules()
    before = copy.deepcopy(parameters_of(modules))
    with pytest.raises(AssertionError):
        Learner(modules, max_grad_norm=1.0).step(
            make_terms(modules), dict.fromkeys(names, 1.0), 0.1
        )
    assert all(map(torch.equal, parameters_of(modules), before))


def test_what_no_term_trains_stays_bit_identical_even_after_it_was_trained():
    modules = make_modules()
    learner = Learner(modules, max_grad_norm=1.0)
    learner.step(make_terms(modules), WEIGHTS, 0.1)
    before = copy.deepcopy(list(modules[1].parameters()))
    for seed in range(3):
        learner.step({"b": make_terms(modules, seed)["b"]}, {"b": 1.0}, 0.1)
    assert all(map(torch.equal, modules[1].parameters(), before))


def test_gradients_do_not_add_up_over_steps():
    """Two steps at a rate of 0 leave no gradient behind for the third."""
    ours, fresh = make_modules(), make_modules()
    learner = Learner(ours, max_grad_norm=1e6)
    for _ in range(2):
        learner.step(make_terms(ours), WEIGHTS, 0.0)
    (make_terms(fresh)["a"] * 0.7 + make_terms(fresh)["b"] * 2.5).backward()
    for p, q in zip(parameters_of(ours), parameters_of(fresh), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-7)


# Gradient norms


def test_gradient_norms_are_those_of_the_unweighted_terms():
    module = nn.Linear(2, 1)
    term = 3 * module.weight[0, 0] + 4 * module.bias[0]  # a gradient of (3, 0, 4)
    norms = Learner([module], max_grad_norm=0.1).gradient_norms({"a": term, "b": 2 * term})
    assert {k: v.item() for k, v in norms.items()} == pytest.approx({"a": 5.0, "b": 10.0})


def test_measuring_gradient_norms_leaves_gradients_and_the_next_step_as_they_are():
    measured, plain = make_modules(), make_modules()
    learner, other = (Learner(modules, max_grad_norm=1.0) for modules in (measured, plain))
    for seed in range(2):
        terms = make_terms(measured, seed)
        before = copy.deepcopy([p.grad for p in learner.parameters])
        learner.gradient_norms(terms)
        torch.testing.assert_close([p.grad for p in learner.parameters], before, rtol=0, atol=0)
        assert (before[0] is None) == (seed == 0)
        learner.step(terms, WEIGHTS, 0.1)  # the graph is still there
        other.step(make_terms(plain, seed), WEIGHTS, 0.1)
    assert all(map(torch.equal, parameters_of(measured), parameters_of(plain)))


def test_the_gradient_norm_of_a_term_that_trains_nothing_here_is_0():
    elsewhere = torch.ones(1, requires_grad=True)
    norms = Learner(make_modules(), max_grad_norm=1.0).gradient_norms({"a": 2 * elsewhere.sum()})
    assert norms["a"] == 0


# Real networks


def make_networks() -> tuple[ActorCritic, ICM]:
    torch.manual_seed(3)  # with which no unit is dead
    student = ActorCritic(WIDTHS["0.3pct"], 3, with_value=True)
    return student, ICM(student.encoder.features_dim, 3, n_hidden=16)


def make_batches() -> tuple[Batch, PolicyBatch]:
    rng = torch.Generator().manual_seed(0)
    obs = torch.randint(0, 256, (3, 6, 21, 21, 64), generator=rng, dtype=torch.uint8)
    action, zeros = torch.arange(6) % 3, torch.zeros(6)
    teacher_logits = torch.randn(6, 3, generator=rng)
    return (
        Batch(action.numpy(), obs[0], obs[1], action, teacher_logits, zeros, zeros + 1),
        PolicyBatch(obs[2], action, zeros - 1.1, torch.randn(6, generator=rng), zeros + 1),
    )


def train(
    student: ActorCritic, icm: ICM | None, learner: Learner, weights: dict[str, float]
) -> None:
    cfg = DistillConfig(use_curiosity=True, clip_range=10.0)
    for _ in range(3):
        batch, policy_batch = make_batches()
        out = compute_losses(
            student,
            icm,
            batch,
            policy_batch,
            cfg=cfg,
            names=frozenset(weights),
            icm_gradient=cfg.encoder_gradient(0.0),
        )
        learner.step(out.terms, weights, 1e-3)


def test_all_parameters_of_student_and_icm_are_trained_when_all_terms_count():
    student, icm = make_networks()
    learner = Learner([student, icm], max_grad_norm=10.0)
    before = {k: v.clone() for m in (student, icm) for k, v in m.state_dict().items()}
    train(student, icm, learner, dict.fromkeys(("distill", "icm", "policy", "value"), 1.0))
    after = {k: v for m in (student, icm) for k, v in m.state_dict().items()}
    assert len(after) == len(student.state_dict()) + len(icm.state_dict())
    assert [name for name in after if torch.equal(after[name], before[name])] == []


def test_an_icm_and_a_value_head_that_no_term_trains_leave_the_student_bit_identical():
    (student, icm), (plain, _) = make_networks(), make_networks()
    plain.value_net = None
    assert student.value_net is not None
    heads = [*icm.parameters(), *student.value_net.parameters()]
    before = copy.deepcopy(heads)
    train(student, icm, Learner([student, icm], max_grad_norm=0.1), {"distill": 1.0})
    train(plain, None, Learner([plain], max_grad_norm=0.1), {"distill": 1.0})
    for name, weight in plain.state_dict().items():
        assert torch.equal(student.state_dict()[name], weight)
    assert all(map(torch.equal, heads, before))
