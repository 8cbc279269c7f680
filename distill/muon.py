"""Muon: steps along the orthogonalized gradient of a matrix, instead of along its signs as Adam.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". A gradient of a few
states has a few large singular values; made all alike, the step also turns what few states ask for.
How this differs:

1. the Newton-Schulz iteration runs on the gradient's Gram matrix, which is small, and is applied to
   the gradient once: the same polynomial of the same matrix in a third of the arithmetic;
2. matrices of many rows are taken in blocks of 64 rows, each on its own, so that the
   arithmetic stays below that of the gradient itself; blocks of as many rows are iterated at once;
3. a step's entries have a root mean square of 0.4 to 0.6 of the learning rate whatever the shape,
   less for a gradient of few directions (Liu et al. 2025, "Muon is scalable for LLM training", take
   0.2), so that one rate serves Adam beside it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

MOMENTUM = 0.9
RMS = 0.6  # of a step's entries, in learning rates
BLOCK_ROWS = 64
# Of Jordan et al.'s quintic, which pushes all singular values into about 0.7 to 1.2.
LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
N_ITERATIONS = 5


def orthogonalizers(grams: Tensor) -> Tensor:
    """Find what makes the singular values of matrices nearly alike, all of about 1; 0 stays 0.

    X <- a X + b (X X') X + c (X X')^2 X, from X = matrix / its Frobenius norm, five times.

    Args:
        grams: (K, R, R), the product of each matrix (R, C) and its transpose.

    Returns:
        (K, R, R), by which the matrices are to be multiplied from the left.
    """
    squares = grams.diagonal(dim1=1, dim2=2).sum(1).clamp(min=1e-24)[:, None, None]
    grams = grams / squares
    factors = last = _quintics(grams)
    for _ in range(N_ITERATIONS - 1):  # bmm: `@` adds a fifth to a fourth of the time
        grams = torch.bmm(torch.bmm(last, grams), last)
        last = _quintics(grams)
        factors = torch.bmm(last, factors)
    return factors / squares.sqrt()


def _quintics(grams: Tensor) -> Tensor:
    """Return a I + b G + c G^2 of each."""
    polynomials = torch.baddbmm(grams, grams, grams, beta=CUBIC, alpha=QUINTIC)
    polynomials.diagonal(dim1=1, dim2=2).add_(LINEAR)
    return polynomials


class Muon(torch.optim.Optimizer):
    """Steps down the orthogonalized momentum (Nesterov's) of weights of two dimensions or more.

    Args:
        weights: (R, ...), contiguous; all but the first dimension count as columns. Of any other
            layout, `step` raises a RuntimeError.
    """

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        super().__init__(weights, {"lr": 0.0})

    @torch.no_grad()  # weights are moved in place
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] (no closure)
        """Take one step; weights without a gradient stay as they are."""
        for group in self.param_groups:
            blocks: dict[int, list[tuple[Tensor, Tensor]]] = {}  # by their rows
            for weight in group["params"]:
                if weight.grad is not None:
                    rows = weight.view(len(weight), -1).split(BLOCK_ROWS)  # not of a copy
                    for pair in zip(rows, self._direction(weight).split(BLOCK_ROWS), strict=True):
                        blocks.setdefault(len(pair[0]), []).append(pair)
            for alike in blocks.values():
                _step(alike, group["lr"])

    def _direction(self, weight: nn.Parameter) -> Tensor:
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
        momentum = state["exp_avg"].lerp_(weight.grad, 1 - MOMENTUM)
        return weight.grad.lerp(momentum, MOMENTUM).flatten(1)


def _step(blocks: Sequence[tuple[Tensor, Tensor]], lr: float) -> None:
    """Move rows of weights against their directions; blocks of as many rows share the iteration."""
    factors = orthogonalizers(torch.stack([direction @ direction.T for _, direction in blocks]))
    for (rows, direction), factor in zip(blocks, factors, strict=True):
        size = math.sqrt(max(rows.shape))
        rows.addmm_(RMS * size * factor, direction, alpha=-lr)


class MuonWithAdam(torch.optim.Optimizer):
    """Muon for some weights and Adam for all other parameters, at one learning rate.

    Args:
        parameters: all of them.
        matrices: those that Muon steps along; without any it is Adam.
        eps: Adam's.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        matrices: Sequence[nn.Parameter],
        *,
        eps: float = 1e-8,
    ) -> None:
        parameters, theirs = list(parameters), set(map(id, matrices))
        others = [p for p in parameters if id(p) not in theirs]
        self.parts: list[torch.optim.Optimizer] = [torch.optim.Adam(others, eps=eps, fused=True)]
        if matrices:
            self.parts.append(Muon(matrices))
        super().__init__(parameters, {"lr": 0.0})

    @override
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] (no closure)
        """Take one step of each; parameters without a gradient stay as they are."""
        for part in self.parts:
            part.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            part.step()

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the moments of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        for part, saved in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(saved)
