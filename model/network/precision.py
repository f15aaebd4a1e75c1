"""What the network computes in: float32, or bfloat16 where the processor multiplies much faster in it.

The convolutions of the patches' residual networks and the features of LIFF may be bfloat16. Everything that
large numbers pass through stays float32: the linear parts, the gains, the sums of the residual networks'
blocks, the last convolution of the synthesis, whose outputs are pixels, the filters of LIFF, the sum of
prediction and residual. A weight file holds the weights of those convolutions as bfloat16, so that both
compute with the same numbers. The priors are integers. So a layer's pixels differ by at most 1 of 255 from
those of float32, given the same layer below, and latents do not differ at all (``docs/architecture.md``,
"Precision").
"""

from collections.abc import Iterator

import torch
from torch import nn

from model.network.compass import Compass
from model.network.transforms import Patches


def matrix_dtype(device: torch.device) -> torch.dtype:
    """What matrix products are computed in: bfloat16 where the device is fast at it, else float32."""
    fast = device.type == "cuda" or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if fast else torch.float32


def narrow_parts(network: Compass) -> Iterator[nn.Module]:
    """The parts that may compute in bfloat16; none in the paper's form of the transforms."""
    for transforms in (network.base.transforms, network.enhancement.transforms):
        if not isinstance(transforms, Patches):
            return
        for module in transforms.modules():
            if isinstance(module, nn.Conv2d) and module is not transforms.s_out:
                yield module
    yield network.liff.features


def set_precision(network: Compass, dtype: torch.dtype) -> Compass:
    """Let the parts of :func:`narrow_parts` compute in ``dtype``; in place."""
    for part in narrow_parts(network):
        part.to(dtype)
    return network
