"""Muon for convolution weights, Adam for everything else, in one optimiser.

Muon (Jordan et al. 2024) orthogonalises the momentum of each weight matrix by Newton-Schulz
iterations; a convolution's weight is taken as a matrix of its first axis against the rest. The
update is scaled so that its root mean square matches Adam's (Liu et al. 2502.16982), so both
share one learning rate.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from model.training.speed import matrix_dtype

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ADAM_RMS = 0.2


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    x = matrix.to(matrix_dtype(matrix.device))
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


class MuonAdam(torch.optim.Optimizer):
    """Muon on parameters of four or two dimensions and at least 16 rows, Adam on the others.

    ``adam_scale`` multiplies the learning rate of the Adam part.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 2e-3, momentum: float = 0.95, adam_scale: float = 0.5
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "adam_scale": adam_scale})

    @staticmethod
    def is_matrix(parameter: Tensor) -> bool:
        """Whether Muon takes this parameter."""
        return parameter.ndim in (2, 4) and min(parameter.shape[0], parameter[0].numel()) >= 16

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients; parameters without a gradient are left alone."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    update = self._muon if self.is_matrix(p) else self._adam
                    update(p, p.grad, self.state[p], group)

    @staticmethod
    def _muon(p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        momentum = state.setdefault("momentum", torch.zeros_like(p))
        momentum.lerp_(grad, 1 - group["momentum"])
        nesterov = grad.lerp(momentum, group["momentum"]).reshape(len(p), -1)
        scale = _ADAM_RMS * max(nesterov.shape) ** 0.5
        p.add_(orthogonalise(nesterov).view_as(p), alpha=-group["lr"] * scale)

    @staticmethod
    def _adam(p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=torch.zeros(()), mean=torch.zeros_like(p), square=torch.zeros_like(p))
        state["step"] += 1
        t = float(state["step"])
        state["mean"].lerp_(grad, 0.1)
        state["square"].lerp_(grad * grad, 0.01)
        scale = (1 - 0.99**t) ** 0.5 / (1 - 0.9**t)
        denominator = state["square"].sqrt().add_(1e-8)
        p.addcdiv_(state["mean"], denominator, value=-group["lr"] * group["adam_scale"] * scale)
