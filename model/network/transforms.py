"""Analysis and synthesis: pixels to latents and back, in one of two forms, on a box of the picture.

Each transform is given the part of its input (``window``) that a box of its output depends on, and gives
the numbers that the whole picture would give there, up to the rounding of float32 sums. So memory stays
bounded for any picture, and a region can be decoded alone; a whole picture is the box of everything.

    convolutions  the paper's: four 5 x 5 convolutions of stride 2, with GDN between them (Fig. 3)
    patches       linear principal components of 16 x 16 pixels plus residual networks

Sizes and boxes are a layer's, in its pixels; one latent covers 16 x 16 of them.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.geometry import Box, Size, coarse, fine, grow, halved, inputs_of_down, inputs_of_up, whole
from model.network.config import Config

LATENT = 16
"""Edge of the pixels that one latent covers."""
PATCH = 8
"""Edge of the pixels that one position of the larger residual networks covers."""
GREY = 0.45
"""What the patches subtract from pictures: about the mean of photographs."""


class Transforms(nn.Module, ABC):
    """The analysis and the synthesis of one hyperprior.

    An enhancement layer's transforms map residuals, and may see the prediction that these refer to as a
    condition. The base layer's map pictures and have no prediction.
    """

    @abstractmethod
    def pixels_for_latents(self, box: Box, size: Size) -> Box:
        """The pixels that the analysis of a box of latents depends on."""

    @abstractmethod
    def latents_for_pixels(self, box: Box, size: Size) -> Box:
        """The latents that the synthesis of a box of pixels depends on."""

    @abstractmethod
    def prediction_for_pixels(self, box: Box, size: Size) -> Box:
        """The pixels of the prediction that the synthesis of a box depends on; the box is among them."""

    @abstractmethod
    def analyse(
        self, x: Tensor, window: Box, box: Box, size: Size, prediction: Tensor | None = None
    ) -> Tensor:
        """Pixels or residual (B, 3, h, w) of ``window`` -> latents (B, M, *box.size), before the gain.

        ``window`` holds ``pixels_for_latents(box, size)``, and ``prediction`` (B, 3, h, w) is
        the prediction there.
        """

    @abstractmethod
    def synthesise(
        self, y: Tensor, window: Box, box: Box, size: Size, prediction: Tensor | None = None
    ) -> Tensor:
        """Latents (B, M, h, w) of ``window``, after the inverse gain -> pixels or residual (B, 3, *box.size).

        ``window`` holds ``latents_for_pixels(box, size)``, and ``prediction`` (B, 3, h, w) is the prediction
        of ``prediction_for_pixels(box, size)``.
        """


def transforms(config: Config, enhancement: bool) -> Transforms:
    """New transforms in the configuration's form, for the base layer or for the enhancement layers."""
    if config.form == "patches":
        return Patches(config, enhancement)
    return Convolutions(config)


class Convolutions(Transforms):
    """The paper's form: every step halves, or doubles, the size.

        x (3, h, w) -> conv, GDN -> (N, h/2, w/2) -> conv, GDN -> (N, h/4, w/4)
                    -> conv, GDN -> (N, h/8, w/8) -> conv -> y (M, h/16, w/16)

    and back with transposed convolutions and inverse GDN. It does not see the prediction.
    """

    def __init__(self, config: Config):
        super().__init__()
        N, M = config.channels, config.latents
        self.analysis = nn.ModuleList([down(3, N), down(N, N), down(N, N), down(N, M)])
        self.analysis_norms = nn.ModuleList([GDN(N) for _ in range(3)])
        self.synthesis = nn.ModuleList([up(M, N), up(N, N), up(N, N), up(N, 3)])
        self.synthesis_norms = nn.ModuleList([GDN(N, inverse=True) for _ in range(3)])

    def latents_for_pixels(self, box: Box, size: Size) -> Box:
        """The latents that the synthesis of a box of pixels depends on."""
        return self._inputs_of_synthesis(box, size)[-1]

    def pixels_for_latents(self, box: Box, size: Size) -> Box:
        """The pixels that the analysis of a box of latents depends on."""
        return self._inputs_of_analysis(box, size)[-1]

    def prediction_for_pixels(self, box: Box, size: Size) -> Box:
        """The box itself: the prediction is added, no more."""
        return box

    def analyse(
        self, x: Tensor, window: Box, box: Box, size: Size, prediction: Tensor | None = None
    ) -> Tensor:
        """Pixels or residual of ``window`` -> latents of ``box``."""
        boxes = self._inputs_of_analysis(box, size)
        y = x[..., *boxes[4].inside(window)]
        for i, conv in enumerate(self.analysis):
            inputs, outputs = boxes[4 - i], boxes[3 - i]
            y = conv(pad_even(y))
            top, left = inputs.top // 2, inputs.left // 2
            y = y[..., *outputs.inside(Box(top, left, outputs.bottom, outputs.right))]
            if i < 3:
                y = self.analysis_norms[i](y)
        return y

    def synthesise(
        self, y: Tensor, window: Box, box: Box, size: Size, prediction: Tensor | None = None
    ) -> Tensor:
        """Latents of ``window`` -> pixels or residual of ``box``."""
        boxes = self._inputs_of_synthesis(box, size)
        y = y[..., *boxes[4].inside(window)]
        for i, conv in enumerate(self.synthesis):
            assert isinstance(conv, nn.ConvTranspose2d)
            inputs, outputs = boxes[4 - i], boxes[3 - i]
            y = conv(y) if i < 3 else last_up(conv, y)
            y = y[..., *outputs.inside(inputs.times(2))]
            if i < 3:
                y = self.synthesis_norms[i](y)
        return y

    @staticmethod
    def _inputs_of_synthesis(box: Box, size: Size) -> list[Box]:
        """The box of pixels, and what each convolution needs for it, up to the latents."""
        boxes = [box]
        for level in range(1, 5):
            boxes.append(inputs_of_up(boxes[-1], halved(size, level)))
        return boxes

    @staticmethod
    def _inputs_of_analysis(box: Box, size: Size) -> list[Box]:
        """The box of latents, and what each convolution needs for it, up to the pixels."""
        boxes = [box]
        for level in range(3, -1, -1):
            boxes.append(inputs_of_down(boxes[-1], halved(size, level)))
        return boxes


class Patches(Transforms):
    """Linear principal components plus residual networks, everything at 1/8 and 1/16 of the width.

        y = A x + f(x, p)        x (3, h, w) in patches of 8 x 8   (192, h/8, w/8)
                                 -> a_in -> blocks                 (C, h/8, w/8)
                                 -> a_down -> deep blocks -> a_out (M, h/16, w/16)
        x = S y + g(y, p)        y (M, h/16, w/16) -> s_in -> deep blocks
                                 -> s_up -> blocks                 (C, h/8, w/8)
                                 -> s_out, patches of 8 x 8        (3, h, w)

    A (M, 768) and S (768, M) begin as the principal components of photographs, f and g as 0: training
    begins as a working transform codec. The prediction p of an enhancement layer joins both networks
    behind one 1 x 1 convolution, so that g can mend what LIFF predicts even where nothing is coded.

    A picture is padded to whole latents by repeating its last rows and columns. Every 3 x 3 convolution
    pads with zeros where the picture ends; where a box ends inside the picture, a margin as wide as the
    convolutions' reach is computed and cut off.
    """

    def __init__(self, config: Config, enhancement: bool):
        super().__init__()
        M, C, D = config.latents, config.analysis_channels, config.synthesis_width(enhancement)
        self.grey = 0.0 if enhancement else GREY
        pixels, patch = 3 * LATENT**2, 3 * PATCH**2
        self.linear_analysis = nn.Parameter(torch.zeros(M, pixels))
        self.linear_synthesis = nn.Parameter(torch.zeros(pixels, M))
        self.a_in = nn.Conv2d(patch, C, 1)
        self.a_blocks = nn.Sequential(*[Block(C, C) for _ in range(config.analysis_blocks)])
        self.a_down = nn.Conv2d(4 * C, M, 1)
        self.a_deep = nn.Sequential(*[Block(M, C) for _ in range(config.analysis_deep_blocks)])
        self.a_out = nn.Conv2d(M, M, 1)
        self.s_in = nn.Conv2d(M, M, 1)
        self.s_deep = nn.Sequential(*[Block(M, D) for _ in range(config.synthesis_deep_blocks)])
        self.s_up = nn.Conv2d(M, 4 * D, 1)
        self.s_blocks = nn.Sequential(*[Block(D, D) for _ in range(config.synthesis_blocks)])
        self.s_out = nn.Conv2d(D, patch, 1)
        begun_as_zero = [self.a_out, self.s_out]
        if enhancement:
            self.a_condition, self.s_condition = nn.Conv2d(patch, C, 1), nn.Conv2d(patch, D, 1)
            begun_as_zero += [self.a_condition, self.s_condition]
        for conv in begun_as_zero:
            nn.init.zeros_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    @property
    def analysis_margins(self) -> tuple[int, int]:
        """How many latents the deep blocks, and all blocks, of the analysis see on each side."""
        deep = len(self.a_deep)
        return deep, deep + _latents_of_blocks(self.a_blocks)

    @property
    def synthesis_margins(self) -> tuple[int, int]:
        """How many latents the blocks at 1/8, and all blocks, of the synthesis see on each side."""
        shallow = _latents_of_blocks(self.s_blocks)
        return shallow, shallow + len(self.s_deep)

    def latents_for_pixels(self, box: Box, size: Size) -> Box:
        """The latents that the synthesis of a box of pixels depends on."""
        return grow(coarse(box, LATENT), self.synthesis_margins[1], halved(size, 4))

    def pixels_for_latents(self, box: Box, size: Size) -> Box:
        """The pixels that the analysis of a box of latents depends on."""
        return fine(grow(box, self.analysis_margins[1], halved(size, 4)), LATENT, size)

    def prediction_for_pixels(self, box: Box, size: Size) -> Box:
        """The pixels of the prediction that the synthesis of a box depends on."""
        return fine(grow(coarse(box, LATENT), self.synthesis_margins[0], halved(size, 4)), LATENT, size)

    def analyse(
        self, x: Tensor, window: Box, box: Box, size: Size, prediction: Tensor | None = None
    ) -> Tensor:
        """Pixels or residual of ``window`` -> latents of ``box``."""
        outer = grow(box, self.analysis_margins[1], halved(size, 4))
        middle = grow(box, self.analysis_margins[0], halved(size, 4))
        cut = fine(outer, LATENT, size).inside(window)
        patches = to_patches(pad_to_latents(x[..., *cut]))  # (B, 192, 2 h, 2 w) of outer
        patches = patches.sub_(self.grey) if self.grey else patches
        h = self.a_in(narrowed(patches, self.a_in))
        if prediction is not None:
            seen = pad_to_latents(prediction[..., *cut] - GREY)
            h = h.add_(self.a_condition(to_patches(narrowed(seen, self.a_condition))))
        h = self.a_blocks(h)[..., *middle.times(2).inside(outer.times(2))]  # (B, C, 2 h, 2 w) of middle
        h = self.a_deep(self.a_down(F.pixel_unshuffle(narrowed(h, self.a_down), 2)))  # (B, M, h, w) of middle
        own = F.pixel_unshuffle(patches[..., *box.times(2).inside(outer.times(2))], 2)
        linear = exact_product(own, of_patches(self.linear_analysis))
        return linear + self.a_out(narrowed(h[..., *box.inside(middle)], self.a_out))

    def synthesise(
        self, y: Tensor, window: Box, box: Box, size: Size, prediction: Tensor | None = None
    ) -> Tensor:
        """Latents of ``window`` -> pixels or residual of ``box``."""
        cells = coarse(box, LATENT)
        outer = grow(cells, self.synthesis_margins[1], halved(size, 4))
        middle = grow(cells, self.synthesis_margins[0], halved(size, 4))
        h = self.s_in(narrowed(y[..., *outer.inside(window)], self.s_in))
        h = self.s_deep(h)  # (B, M, h, w) of outer
        h = self.s_up(narrowed(h[..., *middle.inside(outer)], self.s_up))
        h = F.pixel_shuffle(h, 2)  # (B, D, 2 h, 2 w) of middle
        if prediction is not None:
            seen = pad_to_latents(prediction - GREY)
            h = h.add_(self.s_condition(to_patches(narrowed(seen, self.s_condition))))
        h = self.s_blocks(h)[..., *cells.times(2).inside(middle.times(2))]
        assert self.s_out.bias is not None
        bias = (self.s_out.bias.float() + self.grey).repeat_interleave(4)  # for all patches of a latent
        own, matrix = y[..., *cells.inside(window)], of_patches(self.linear_synthesis.T).T
        patches = F.pixel_shuffle(exact_product(own, matrix, bias), 2)  # (B, 192, 2 h, 2 w) of cells
        patches = plus_product(patches, h, self.s_out.weight[..., 0, 0])
        return F.pixel_shuffle(patches, PATCH)[..., *box.inside(cells.times(LATENT))]


class Block(nn.Module):
    """x + conv 1 x 1 (ReLU (conv 3 x 3 (x))), ``hidden`` channels between; begins as the identity."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.spatial = nn.Conv2d(channels, hidden, 3, padding=1)
        self.back = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.back.weight)
        assert self.back.bias is not None
        nn.init.zeros_(self.back.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) of the same shape; the sum is float32 where the convolutions are bfloat16."""
        part = self.back(F.relu(self.spatial(narrowed(x, self.spatial)), inplace=True))
        return (part.float() if self.back.weight.dtype == torch.bfloat16 else part).add_(x)


def narrowed(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """``x`` in what ``conv`` computes in, float32 or bfloat16; under autocast ``x`` itself."""
    return x if x.dtype == torch.bfloat16 else x.to(conv.weight.dtype)


def to_patches(x: Tensor) -> Tensor:
    """Pixels (B, 3, 8 h, 8 w) -> patches (B, 192, h, w), channels last: a pixel unshuffle in one copy."""
    B, C, height, width = x.shape
    h, w = height // PATCH, width // PATCH
    cells = x.reshape(B, C, h, PATCH, w, PATCH).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(B, h, w, C * PATCH**2).permute(0, 3, 1, 2)


def of_patches(matrix: Tensor) -> Tensor:
    """Columns (n, 768) for the pixels of a latent, in rows of 16, as columns for its four patches.

    The new order is that of ``pixel_unshuffle(to_patches(x), 2)``.
    """
    parts = matrix.view(len(matrix), 3, LATENT // PATCH, PATCH, LATENT // PATCH, PATCH)  # (n, 3, 2, 8, 2, 8)
    return parts.permute(0, 1, 3, 5, 2, 4).reshape(matrix.shape)


def exact_product(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """``matrix`` (C', C) times each position of ``x`` (B, C, h, w), in float32 under autocast too.

    bfloat16 cannot tell large latents apart.
    """
    with full_precision(x):
        return F.linear(x.float().permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)


def plus_product(sum_: Tensor, x: Tensor, matrix: Tensor) -> Tensor:
    """``sum_`` (B, C', h, w) plus ``matrix`` (C', C) times each position of ``x`` (B, C, h, w), in float32.

    A convolution of 1 x 1 and a sum in one pass over memory; where ``sum_`` has its channels last, it is
    overwritten.
    """
    with full_precision(x):
        rows = sum_.permute(0, 2, 3, 1).reshape(-1, sum_.shape[1])
        rows = rows.addmm_(x.float().permute(0, 2, 3, 1).reshape(-1, x.shape[1]), matrix.float().T)
        return rows.view(*sum_.shape[:1], *sum_.shape[2:], -1).permute(0, 3, 1, 2)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Where computations on ``x`` are float32, even under autocast."""
    device = x.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def pad_to_latents(x: Tensor) -> Tensor:
    """Repeat the last rows and columns of (B, C, h, w) up to whole latents."""
    bottom, right = (-edge % LATENT for edge in x.shape[-2:])
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def _latents_of_blocks(blocks: nn.Sequential) -> int:
    """How many latents blocks at 1/8 of the width see on each side."""
    return -(-len(blocks) * PATCH // LATENT)


def analyse_whole(part: Transforms, x: Tensor, prediction: Tensor | None = None) -> Tensor:
    """Pictures or residuals (B, 3, h, w) -> latents (B, M, ceil h/16, ceil w/16), before the gain."""
    size = Size(*x.shape[-2:])
    return part.analyse(x, whole(size), whole(halved(size, 4)), size, prediction)


def synthesise_whole(part: Transforms, y: Tensor, size: Size, prediction: Tensor | None = None) -> Tensor:
    """Latents (B, M, h, w) -> pictures or residuals (B, 3, *size)."""
    return part.synthesise(y, whole(halved(size, 4)), whole(size), size, prediction)


class GDN(nn.Module):
    """Generalised divisive normalisation x / sqrt(beta + gamma x^2), or its inverse (Balle 2016).

    Parameters as CompressAI stores them: square roots, offset by 2^-18, so that files are the same.
    """

    OFFSET = 2.0**-18
    SMALLEST_BETA = 1e-6

    def __init__(self, channels: int, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(0.1**0.5 * torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) of the same shape; one matrix product if the channels come last."""
        pedestal = self.OFFSET**2
        beta = self.beta.clamp(min=(self.SMALLEST_BETA + pedestal) ** 0.5).square() - pedestal
        gamma = self.gamma.clamp(min=self.OFFSET).square() - pedestal
        pixels = x.permute(0, 2, 3, 1).contiguous()
        scale = torch.addmm(beta, pixels.square().flatten(0, 2), gamma.T).sqrt_().view_as(pixels)
        pixels = pixels * scale if self.inverse else pixels / scale
        return pixels.permute(0, 3, 1, 2)


def pad_even(x: Tensor) -> Tensor:
    """Repeat the last row or column of an odd-sized (B, C, h, w) picture (section 3.1)."""
    bottom, right = x.shape[-2] % 2, x.shape[-1] % 2
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def down(c_in: int, c_out: int) -> nn.Conv2d:
    """5 x 5 convolution that halves the size."""
    return nn.Conv2d(c_in, c_out, 5, stride=2, padding=2)


def up(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    """5 x 5 transposed convolution that doubles the size."""
    return nn.ConvTranspose2d(c_in, c_out, 5, stride=2, padding=2, output_padding=1)


def last_up(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """The 5 x 5 transposed convolution as a 3 x 3 convolution and a pixel shuffle.

    The sums are equal; with three output channels it takes half the time.
    """
    weight = conv.weight  # (N, 3, 5, 5)
    phases = F.pad(weight, (0, 1, 0, 1)).view(-1, 3, 3, 2, 3, 2)  # N 3 (3 2) (3 2)
    kernel = phases.flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(12, -1, 3, 3)
    bias = conv.bias
    assert bias is not None
    return F.pixel_shuffle(F.conv2d(x, kernel, bias.repeat_interleave(4), padding=1), 2)
