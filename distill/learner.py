"""One optimization step: weights the losses, backward, clip, step."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.muon import MuonWithAdam


class Learner:
    """Muon for `matrices`, Adam for all other parameters that any term trains.

    Args:
        modules: the student, and the ICM or RND's predictor if there is one; all of their
            parameters are optimized.
        max_grad_norm: each module's gradient is clipped to this norm. On its own, so that an ICM
            that is cut off from the encoder leaves the student's steps as they are.
        matrices: those of the parameters that Muon steps along.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        *,
        max_grad_norm: float,
        matrices: Sequence[nn.Parameter] = (),
    ) -> None:
        self._groups = [list(module.parameters()) for module in modules]
        self.parameters = [p for group in self._groups for p in group]
        self.optimizer = MuonWithAdam(self.parameters, matrices)
        self._max_grad_norm = max_grad_norm

    def step(self, terms: Mapping[str, Tensor], weights: Mapping[str, float], lr: float) -> None:
        """Take one step down the gradient of the weighted sum.

        Args:
            terms: scalar losses by name.
            weights: a factor for each of the same names.
            lr: step size of Adam and Muon.
        """
        assert terms.keys() == weights.keys(), (terms.keys(), weights.keys())
        factors = [term.new_tensor(weights[name]) for name, term in terms.items()]
        self.optimizer.zero_grad()
        torch.autograd.backward(list(terms.values()), factors)
        for group in self._groups:
            nn.utils.clip_grad_norm_(group, self._max_grad_norm)
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()

    def gradient_norms(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Measure each unweighted term's own gradient norm; the graph stays for the step."""
        return {name: self._norm(term) for name, term in terms.items()}

    def _norm(self, term: Tensor) -> Tensor:
        gradients = torch.autograd.grad(term, self.parameters, retain_graph=True, allow_unused=True)
        return nn.utils.get_total_norm([g for g in gradients if g is not None])
