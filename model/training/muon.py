"""Muon: an optimiser for the weights of convolutions and linear layers.

Muon (Jordan et al. 2024) orthogonalises the momentum of each weight matrix by Newton-Schulz
iterations; a convolution's weight is taken as a matrix of its first axis against the rest. The
update is scaled so that its root mean square matches Adam's (Liu et al. 2502.16982), so that
both can share one learning rate.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from model.network.precision import matrix_dtype

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ADAM_RMS = 0.2


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal (n, rows, columns), roughly: singular values between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    x = matrices.to(matrix_dtype(matrices.device))
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum, for parameters that :meth:`takes` accepts."""

    def __init__(self, params: Iterable[Tensor], lr: float | Tensor = 2e-3, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @staticmethod
    def takes(parameter: Tensor) -> bool:
        """Whether a parameter is a matrix worth orthogonalising: at least 16 rows and columns."""
        return parameter.ndim in (2, 4) and min(parameter.shape[0], parameter[0].numel()) >= 16

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients; parameters without a gradient are left alone.

        Those of one shape are updated together: on a GPU the number of operations costs more than their size.
        """
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for parameters in alike.values():
                self._update(parameters, group["lr"], group["momentum"])

    def _update(self, parameters: list[Tensor], rate: float | Tensor, decay: float) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            self.state[p].setdefault("momentum", torch.zeros_like(p))
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - decay)
        nesterov = torch._foreach_lerp(gradients, momenta, decay)
        matrices = torch.stack([n.reshape(len(n), -1) for n in nesterov])
        scale = _ADAM_RMS * max(matrices.shape[1:]) ** 0.5
        updates = orthogonalise(matrices) * (-rate * scale)
        torch._foreach_add_(parameters, [u.view_as(p) for u, p in zip(updates, parameters, strict=True)])
