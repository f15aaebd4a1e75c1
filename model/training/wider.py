"""Weights of a narrower network for a wider one: it begins by computing what the narrower one did.

Each convolution keeps its old weights. Its further outputs begin at random, and whatever old outputs would
make of further inputs begins as zero, so that nothing changes, and all of it can be learned.

              old inputs   further inputs
old outputs     as before        0
further          random        random
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.network.compass import Compass, Hyperprior


@torch.no_grad()
def widened(network: Compass, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of convolutions that ``network`` has wider than they are in ``weights``, by name.

    Of hyperpriors alone, and of widths inside of them: latents and hyper-latents keep their number, because
    entropy models and gains cannot be widened without changing what is computed. None for other networks.
    """
    found: dict[str, Tensor] = {}
    for part in ("base", "enhancement"):
        hyperprior: Hyperprior = getattr(network, part)
        if not _same_latents(hyperprior, part, weights):
            continue
        for name, module in hyperprior.named_modules(prefix=part):
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                found |= _of_one(name, module, weights)
    return found


def _same_latents(hyperprior: Hyperprior, part: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether both have as many latents and hyper-latents."""
    gains, quantiles = weights.get(f"{part}.log_gain"), weights.get(f"{part}.bottleneck.quantiles")
    if gains is None or quantiles is None:
        return False
    return gains.shape == hyperprior.log_gain.shape and len(quantiles) == hyperprior.medians().shape[1]


def _of_one(
    name: str, module: nn.Conv2d | nn.ConvTranspose2d, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Weight and bias of one convolution, if it is wider."""
    old, old_bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
    if old is None or old_bias is None or old.shape == module.weight.shape:
        return {}
    if old.shape[2:] != module.weight.shape[2:]:
        return {}
    inputs, outputs = (0, 1) if isinstance(module, nn.ConvTranspose2d) else (1, 0)
    if old.shape[inputs] > module.weight.shape[inputs] or old.shape[outputs] > module.weight.shape[outputs]:
        return {}
    weight = module.weight.detach().clone()
    kept = weight.narrow(outputs, 0, old.shape[outputs])
    kept.zero_()
    kept.narrow(inputs, 0, old.shape[inputs]).copy_(old)
    assert module.bias is not None
    bias = module.bias.detach().clone()
    bias[: len(old_bias)] = old_bias
    return {f"{name}.weight": weight, f"{name}.bias": bias}
