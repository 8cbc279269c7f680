"""Muon against the iteration as published, and against exact singular vectors."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from distill.muon import BLOCK_ROWS, MOMENTUM, RMS, Muon, MuonWithAdam, orthogonalizers


def as_published(matrix: Tensor) -> Tensor:
    """Iterate on the matrix itself, in double precision (Jordan et al. 2024)."""
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def orthogonalize(matrix: Tensor) -> Tensor:
    return orthogonalizers((matrix @ matrix.T)[None])[0] @ matrix


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 256), (64, 784), (8, 8), (3, 50), (1, 7), (20, 5)], ids=str)
def test_on_the_gram_matrix_it_is_the_published_iteration(shape):
    matrix = drawn(*shape)
    published = as_published(matrix).float()
    torch.testing.assert_close(orthogonalize(matrix), published, rtol=1e-3, atol=1e-4)


def test_singular_values_come_out_alike_and_their_vectors_stay():
    u, _ = torch.linalg.qr(drawn(6, 6))
    v, _ = torch.linalg.qr(drawn(40, 6, seed=1))
    values = torch.tensor([1.0, 0.7, 0.3, 0.1, 0.03, 0.02])
    found = u.T @ orthogonalize(u @ values.diag() @ v.T) @ v
    torch.testing.assert_close(found, found.diag().diag(), rtol=0, atol=1e-3)
    assert ((found.diag() > 0.6) & (found.diag() < 1.25)).all()


def test_the_scale_of_a_gradient_is_nothing_to_it():
    matrix = drawn(16, 100)
    for scale in (1e-6, 1e6):
        torch.testing.assert_close(
            orthogonalize(scale * matrix), orthogonalize(matrix), rtol=1e-3, atol=1e-4
        )
    assert not orthogonalize(torch.zeros(4, 5)).any()


def step_of(optimizer: Muon, weight: nn.Parameter, gradient: Tensor, lr: float) -> Tensor:
    before = weight.detach().clone()
    weight.grad = gradient
    optimizer.param_groups[0]["lr"] = lr
    optimizer.step()
    return weight.detach() - before


def test_steps_go_down_the_momentum_each_layer_as_one_matrix():
    weight = nn.Parameter(drawn(16, 4, 4, 4))
    optimizer, momentum = Muon([weight]), torch.zeros(16, 64)
    for seed, lr in enumerate((0.1, 0.02)):
        gradient = drawn(16, 4, 4, 4, seed=seed)
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient.flatten(1)
        nesterov = MOMENTUM * momentum + (1 - MOMENTUM) * gradient.flatten(1)
        expected = -lr * RMS * math.sqrt(64) * as_published(nesterov).float()
        found = step_of(optimizer, weight, gradient, lr).flatten(1)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        rms = found.square().mean().sqrt().item()
        assert rms == pytest.approx(RMS * lr, rel=0.2)


def test_many_rows_are_taken_in_blocks():
    weight = nn.Parameter(torch.zeros(BLOCK_ROWS + 6, 200))
    gradient = drawn(BLOCK_ROWS + 6, 200)
    found = step_of(Muon([weight]), weight, gradient, 1.0)
    for rows in (slice(0, BLOCK_ROWS), slice(BLOCK_ROWS, None)):
        expected = -RMS * math.sqrt(200) * orthogonalize(gradient[rows])
        torch.testing.assert_close(found[rows], expected, rtol=1e-3, atol=1e-4)


def test_layers_of_as_many_rows_do_not_meet():
    shapes = [(16, 4, 4, 4), (16, 16, 3, 3), (BLOCK_ROWS, 90), (5, 8)]
    together = [nn.Parameter(drawn(*shape)) for shape in shapes]
    alone = copy.deepcopy(together)
    optimizer = Muon(together)
    for seed, weight in enumerate(together):
        weight.grad = 10.0**-seed * drawn(*weight.shape, seed=seed)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    for weight, other in zip(together, alone, strict=True):
        assert weight.grad is not None
        step_of(Muon([other]), other, weight.grad, 0.1)
        torch.testing.assert_close(weight, other, rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_not_contiguous_is_refused_rather_than_left_as_it_is():
    weight = nn.Parameter(drawn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    with pytest.raises(RuntimeError, match="not compatible"):
        step_of(Muon([weight]), weight, drawn(4, 3, 2, 2), lr=0.1)


def test_weights_without_a_gradient_stay():
    weight, other = nn.Parameter(drawn(3, 4)), nn.Parameter(drawn(3, 4))
    before = other.detach().clone()
    assert step_of(Muon([other, weight]), weight, drawn(3, 4), 0.1).any()
    assert torch.equal(other, before)


def test_with_adam_beside_it_one_rate_serves_both_and_moments_survive_being_saved():
    def make():
        layer = nn.Linear(6, 4)
        layer.weight = matrix = nn.Parameter(drawn(4, 6))
        layer.bias = nn.Parameter(torch.zeros(4))
        return layer, MuonWithAdam(layer.parameters(), [matrix], eps=1e-5)

    def step(layer, optimizer, seed):
        layer.weight.grad, layer.bias.grad = drawn(4, 6, seed=seed), drawn(4, seed=seed)
        optimizer.param_groups[0]["lr"] = 0.1
        optimizer.step()

    layer, optimizer = make()
    step(layer, optimizer, 0)
    torch.testing.assert_close(layer.bias.detach(), -0.1 * drawn(4).sign(), rtol=1e-3, atol=0)
    along = -0.1 * RMS * math.sqrt(6) * as_published(drawn(4, 6)).float()
    torch.testing.assert_close(layer.weight - drawn(4, 6), along, rtol=1e-3, atol=1e-4)
    other, resumed = make()
    other.load_state_dict(layer.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for pair in ((layer, optimizer), (other, resumed)):
        step(*pair, 1)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)
