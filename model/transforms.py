"""The network's transforms evaluated on a box of the picture.

Each function takes the part of its input that the geometry asks for and gives the same numbers as
the whole picture would (up to the rounding of float32 sums): memory stays bounded for any picture,
and a region can be decoded alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.geometry import (
    Box,
    Size,
    coarse,
    fine,
    halved,
    inputs_of_down,
    inputs_of_enlargement,
    inputs_of_up,
)
from model.network import LATENT, LIFF, Hyperprior, pad_even

_CACHED = 2**18  # values that a CPU's level-2 cache holds beside the weights
_BICUBIC = -0.75  # the kernel's parameter, as in torch.nn.functional.interpolate


def latents_for_pixels(box: Box, size: Size) -> Box:
    """The latents that the synthesis of a box of pixels depends on; ``size`` of the layer."""
    for level in range(1, 5):
        box = inputs_of_up(box, halved(size, level))
    return box


def pixels_for_latents(box: Box, size: Size) -> Box:
    """The pixels that the analysis of a box of latents depends on; ``size`` of the layer."""
    for level in range(3, -1, -1):
        box = inputs_of_down(box, halved(size, level))
    return box


def pixels_for_prediction(liff: LIFF, box: Box, small: Size, large: Size) -> Box:
    """The pixels of the layer below that LIFF's prediction of a box depends on."""
    return inputs_of_enlargement(box, small, large, liff.margin)


def synthesise(hyperprior: Hyperprior, y: Tensor, window: Box, box: Box, size: Size) -> Tensor:
    """Latents (1, M, h, w) of ``window`` -> pixels (1, 3, *box.size).

    ``window`` holds ``latents_for_pixels(box, size)``; ``y`` has been multiplied by the inverse
    gain.
    """
    x = synthesise_main(hyperprior, y, window, box, size)
    if hyperprior.has_details:
        cells = coarse(box, LATENT)
        covered = fine(cells, LATENT, size)
        details = hyperprior.synthesise_details(y[..., *cells.inside(window)], covered.size)
        x = x + details[..., *box.inside(covered)]
    return x


def synthesise_main(hyperprior: Hyperprior, y: Tensor, window: Box, box: Box, size: Size) -> Tensor:
    """The same without details."""
    boxes = [box]
    for level in range(1, 5):
        boxes.append(inputs_of_up(boxes[-1], halved(size, level)))
    y = y[:, : hyperprior.main, *boxes[4].inside(window)]
    for i, conv in enumerate(hyperprior.synthesis):
        assert isinstance(conv, nn.ConvTranspose2d)
        inputs, outputs = boxes[4 - i], boxes[3 - i]
        y = conv(y) if i < 3 else last_up(conv, y)
        y = y[..., *outputs.inside(Box(*(2 * edge for edge in inputs)))]
        if i < 3:
            y = hyperprior.synthesis_norms[i](y)
    return y


def last_up(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """The 5 x 5 transposed convolution as a 3 x 3 convolution and a pixel shuffle.

    The same sums; with three output channels it takes half the time.
    """
    weight = conv.weight  # (N, 3, 5, 5)
    phases = F.pad(weight, (0, 1, 0, 1)).view(-1, 3, 3, 2, 3, 2)  # N 3 (3 2) (3 2)
    kernel = phases.flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(12, -1, 3, 3)
    bias = conv.bias
    assert bias is not None
    return F.pixel_shuffle(F.conv2d(x, kernel, bias.repeat_interleave(4), padding=1), 2)


def analyse(hyperprior: Hyperprior, x: Tensor, window: Box, box: Box, size: Size) -> Tensor:
    """Pixels (1, 3, h, w) of ``window`` -> latents (1, M, *box.size), before the gain.

    ``window`` holds ``pixels_for_latents(box, size)``.
    """
    boxes = [box]
    for level in range(3, -1, -1):
        boxes.append(inputs_of_down(boxes[-1], halved(size, level)))
    y = x[..., *boxes[4].inside(window)]
    for i, conv in enumerate(hyperprior.analysis):
        inputs, outputs = boxes[4 - i], boxes[3 - i]
        y = conv(pad_even(y))
        top, left = inputs.top // 2, inputs.left // 2
        y = y[..., *outputs.inside(Box(top, left, outputs.bottom, outputs.right))]
        if i < 3:
            y = hyperprior.analysis_norms[i](y)
    if hyperprior.has_details:
        covered = fine(box, LATENT, size)
        y = torch.cat([y, hyperprior.details(x[..., *covered.inside(window)])], 1)
    return y


def predict(liff: LIFF, below: Tensor, window: Box, box: Box, small: Size, large: Size) -> Tensor:
    """LIFF's prediction (1, 3, *box.size) of a box of the larger layer.

    ``below`` (1, 3, h, w), values 0 to 1, is ``window`` of the smaller layer, which holds
    ``pixels_for_prediction(liff, box, small, large)``; ``small`` and ``large`` are the layers' sizes.
    """
    needed = pixels_for_prediction(liff, box, small, large)
    x = below[..., *needed.inside(window)]
    strip = None if x.is_cuda else max(1, _CACHED // ((4 * liff.H + 3) * box.size[1]))
    colour = liff.colours(x, needed, box, small, large, strip)
    return colour + bicubic(x, needed, box, small, large) if liff.skip else colour


def bicubic(x: Tensor, window: Box, box: Box, small: Size, large: Size) -> Tensor:
    """Bicubic enlargement of a box, from the ``window`` of the smaller picture."""
    rows = _bicubic_matrix(window.rows, box.rows, small[0], large[0], x)
    columns = _bicubic_matrix(window.columns, box.columns, small[1], large[1], x)
    return rows @ x.contiguous() @ columns.T


def _bicubic_matrix(
    held: tuple[int, int], wanted: tuple[int, int], small: int, large: int, like: Tensor
) -> Tensor:
    """Weights (wanted, held) of the small picture's rows, or columns, in the large one's."""
    position = (torch.arange(*wanted, dtype=torch.float64) + 0.5) * small / large - 0.5
    first = position.floor().long()
    matrix = torch.zeros((wanted[1] - wanted[0], held[1] - held[0]), dtype=torch.float64)
    for tap in range(-1, 3):
        index = (first + tap).clamp(0, small - 1) - held[0]
        weight = _bicubic_weight((position - (first + tap)).abs())
        matrix.scatter_add_(1, index[:, None], weight[:, None])
    return matrix.to(like)


def _bicubic_weight(distance: Tensor) -> Tensor:
    a, d = _BICUBIC, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return torch.where(d <= 1, near, far)
