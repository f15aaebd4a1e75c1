"""Muon: an optimiser for the weights of convolutions and linear layers.

Muon (Jordan et al. 2024) orthogonalises the momentum of each weight matrix by Newton-Schulz
iterations; a convolution's weight is taken as a matrix of its first axis against the rest. The
update is scaled so that its root mean square matches Adam's (Liu et al. 2502.16982), so that
both can share one learning rate.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from model.network.precision import matrix_dtype

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


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum, for parameters that :meth:`takes` accepts."""

    def __init__(self, params: Iterable[Tensor], lr: float = 2e-3, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @staticmethod
    def takes(parameter: Tensor) -> bool:
        """Whether a parameter is a matrix worth orthogonalising: at least 16 rows and columns."""
        return parameter.ndim in (2, 4) and min(parameter.shape[0], parameter[0].numel()) >= 16

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients; parameters without a gradient are left alone."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, self.state[p], group)

    @staticmethod
    def _update(p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        momentum = state.setdefault("momentum", torch.zeros_like(p))
        momentum.lerp_(grad, 1 - group["momentum"])
        nesterov = grad.lerp(momentum, group["momentum"]).reshape(len(p), -1)
        scale = _ADAM_RMS * max(nesterov.shape) ** 0.5
        p.add_(orthogonalise(nesterov).view_as(p), alpha=-group["lr"] * scale)
