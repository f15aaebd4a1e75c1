"""LIFF, the local implicit filter function: predicts a layer from the one below (section 3.2).

    x_{k-1} (3, h, w), patches of step x step     (3 step^2, h/step, w/step)
    -> residual dense network                     features (C, h/step, w/step)
    -> for each output pixel: the 3 x 3 features around the nearest position, the offset to its centre
       and the scale token -> MLP -> a filter for these features -> colour
    + bicubic enlargement of x_{k-1}              p_k (3, H, W)

A box of the prediction is computed from the part of the smaller picture that it depends on; a whole
prediction is the box of everything.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.geometry import Box, Size, coarse, fine, grow, nearest_pixels, whole
from model.network.config import Config
from model.network.enlargement import CHUNK, UNITS, add_colours, enlarge
from model.network.transforms import full_precision

_CHANNELS = 16
_CACHED = 2**18  # values that a CPU's level-2 cache holds beside the weights
_BICUBIC = -0.75  # the kernel's parameter, as in torch.nn.functional.interpolate


class ResidualDenseBlock(nn.Module):
    """Densely connected convolutions, fused by 1 x 1, plus the input (RDN, Zhang et al. 2018)."""

    def __init__(self, config: Config):
        super().__init__()
        C, G = config.features, config.growth
        self.convs = nn.ModuleList([nn.Conv2d(C + i * G, G, 3, padding=1) for i in range(config.convs)])
        self.fusion = nn.Conv2d(C + config.convs * G, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        dense = x
        for conv in self.convs:
            dense = torch.cat([dense, F.relu(conv(dense))], dim=1)
        return self.fusion(dense).add_(x)


class FeatureExtractor(nn.Module):
    """Residual dense network: patches (B, 3 step^2, h, w) -> features (B, C, h, w)."""

    def __init__(self, config: Config):
        super().__init__()
        C = config.features
        self.shallow = nn.Conv2d(3 * config.feature_step**2, C, 3, padding=1)
        self.second = nn.Conv2d(C, C, 3, padding=1)
        self.blocks = nn.ModuleList([ResidualDenseBlock(config) for _ in range(config.blocks)])
        self.fusion = nn.Conv2d(config.blocks * C, C, 1)
        self.last = nn.Conv2d(C, C, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.shallow(x)
        x = self.second(shallow)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return self.last(self.fusion(torch.cat(outputs, dim=1))).add_(shallow)


def nearest(
    span: tuple[int, int], small: int, large: int, step: int = 1, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Along one axis, for the output pixels from ``span[0]`` to before ``span[1]``.

    Returns the index of the position (``step`` small pixels wide) that holds the output pixel's centre, and
    the offset to its centre: the paper's local grid r (section 3.2) times the number of positions, -1 to 1
    across one. Exact integer arithmetic up to the last division.
    """
    i = torch.arange(*span, device=device)
    index = (2 * i + 1) * small // (2 * large * step)
    offset = ((2 * i + 1) * small - (2 * index + 1) * large * step).double() / (large * step)
    return index, offset.float()


class LIFF(nn.Module):
    """The predictor (eq. 3, 4).

    Features are constant over the output pixels of one position, so the MLP's first layer, and its last
    contracted with the features, are two convolutions at their size (:meth:`low_resolution`); only the
    layers between run per output pixel.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.C, self.H, self.skip = config.features, config.hidden, config.bicubic_skip
        self.step = config.feature_step
        self.margin = config.blocks * config.convs + 4
        """How many positions around the nearest one a prediction depends on."""
        self.features = FeatureExtractor(config)
        self.first = nn.Linear(9 * self.C + 4, self.H)
        self.hidden = nn.ModuleList([nn.Linear(self.H, self.H) for _ in range(config.hidden_layers - 1)])
        self.last = nn.Linear(self.H, 9 * self.C * 3)
        if self.skip:  # begin as the plain bicubic enlargement
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    @property
    def dtype(self) -> torch.dtype:
        """What the features are computed in."""
        return self.features.last.weight.dtype

    def pixels_for_prediction(self, box: Box, small: Size, large: Size) -> Box:
        """The pixels of the smaller picture that the prediction of a ``box`` depends on."""
        positions = coarse(whole(small), self.step).size
        near = coarse(nearest_pixels(box, small, large), self.step)
        return fine(grow(near, self.margin, positions), self.step, small)

    def predict(self, below: Tensor, window: Box, box: Box, small: Size, large: Size) -> Tensor:
        """Prediction (B, 3, *box.size) of a box of the larger layer.

        ``below`` (B, 3, h, w), values 0 to 1, is ``window`` of the smaller layer, which holds
        ``pixels_for_prediction(box, small, large)``; ``small`` and ``large`` are the layers' sizes.
        """
        needed = self.pixels_for_prediction(box, small, large)
        x = below[..., *needed.inside(window)]
        fits = self.H % UNITS == 0 and len(self.hidden) > 0
        if fits and x.device.type == "cpu" and not torch.is_grad_enabled():
            return self.in_one_pass(x, needed, box, small, large)
        colour = self.colours(x, needed, box, small, large)
        return colour + bicubic(x, needed, box, small, large) if self.skip else colour

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Prediction (B, 3, *size) from the whole smaller picture (B, 3, h, w), values 0 to 1."""
        small = Size(*x.shape[-2:])
        return self.predict(x, whole(small), whole(size), small, size)

    def patches(self, x: Tensor) -> Tensor:
        """The picture (B, 3, h, w) as positions (B, 3 step^2, ceil h/step, ceil w/step)."""
        bottom, right = (-edge % self.step for edge in x.shape[-2:])
        x = F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x
        return F.pixel_unshuffle(x, self.step)

    def low_resolution(self, x: Tensor) -> Tensor:
        """All that does not depend on the output pixel, from the picture (B, 3, h, w).

        Returns (B, ceil h/step, ceil w/step, K), K at least 4 H + 3: the features' share of the first layer
        (H), the filter layer contracted with the features (3 H) and its bias (3); and zeros up to a number of
        channels that processors are fast with.
        """
        C, H = self.C, self.H
        first = self.first.weight[:, : 9 * C].reshape(H, C, 3, 3)
        last = self.last.weight.view(C, 3, 3, 3, H).permute(3, 4, 0, 1, 2).reshape(3 * H, C, 3, 3)
        bias = self.last.bias.view(C, 3, 3, 3).permute(3, 0, 1, 2)
        features = self.features(self.patches(x.to(self.dtype))).to(first.dtype)
        filters = F.pad(torch.cat([first, last, bias]), (0, 0, 0, 0, 0, 0, 0, -(4 * H + 3) % _CHANNELS))
        filters = filters.contiguous(memory_format=torch.channels_last)
        return F.conv2d(features, filters, padding=1).permute(0, 2, 3, 1).contiguous()

    def positions(self, box: Box, small: Size, large: Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The first layer's share of r, s and its bias, which separates into rows and columns.

        For a ``box`` of the prediction: indexes of the nearest positions' rows (h,) and columns (w,), row
        terms (h, 1, H) and column terms (w, H).
        """
        device = self.first.weight.device
        rows, r_rows = nearest(box.rows, small.height, large.height, self.step, device)
        columns, r_columns = nearest(box.columns, small.width, large.width, self.step, device)
        w_rows, w_columns, s_rows, s_columns = self.first.weight[:, 9 * self.C :].unbind(1)
        token = s_rows * (2 * small.height / large.height) + s_columns * (2 * small.width / large.width)
        row_terms = r_rows[:, None, None] * w_rows + (token + self.first.bias)
        return rows, columns, row_terms, r_columns[:, None] * w_columns

    def colours(self, x: Tensor, window: Box, box: Box, small: Size, large: Size) -> Tensor:
        """Filtered features (B, 3, *box.size), from the part ``window`` of the smaller picture.

        On a CPU some output rows are computed at a time, so that their activations stay in the caches.
        """
        rows, columns, row_terms, column_terms = self.positions(box, small, large)
        low = self.low_resolution(x)
        B, width, channels = len(low), low.shape[2], low.shape[3]
        low = low.view(B, -1, channels)
        strip = len(rows) if x.is_cuda or x.requires_grad else max(1, _CACHED // (channels * len(columns)))
        top, left = window.top // self.step, window.left // self.step
        strips = []
        for some, terms in zip(rows.split(strip), row_terms.split(strip), strict=True):
            index = ((some[:, None] - top) * width + (columns - left)).flatten()
            near = low.index_select(1, index).to(terms.dtype)  # (B, pixels, K)
            h = F.relu(near[..., : self.H] + (terms + column_terms).flatten(0, 1))  # (B, pixels, H)
            for layer in self.hidden:
                h = F.relu(layer(h))
            filters = near[..., self.H : 4 * self.H].reshape(-1, 3, self.H)
            bias = near[..., 4 * self.H : 4 * self.H + 3]
            colour = _products(filters, h.reshape(-1, self.H)).view(B, -1, 3) + bias
            strips.append(colour.mT.reshape(B, 3, len(some), len(columns)))
        return torch.cat(strips, 2)

    def in_one_pass(self, x: Tensor, window: Box, box: Box, small: Size, large: Size) -> Tensor:
        """:meth:`colours` and :func:`bicubic` by compiled loops on a CPU, without gradients."""
        rows, columns, row_terms, column_terms = self.positions(box, small, large)
        places = (rows - window.top // self.step).numpy(), (columns - window.left // self.step).numpy()
        terms = row_terms[:, 0].numpy(), F.pad(column_terms.T, (0, CHUNK)).numpy()
        hidden = self.hidden.state_dict()
        weights = torch.stack([w.T for name, w in hidden.items() if name.endswith("weight")]).numpy()
        biases = torch.stack([b for name, b in hidden.items() if name.endswith("bias")]).numpy()
        rows_taps = _bicubic_taps(box.rows, small.height, large.height, window.top, x.device)
        columns_taps = _bicubic_taps(box.columns, small.width, large.width, window.left, x.device)
        taps = [numbers.numpy() for numbers in (*rows_taps, *columns_taps)]
        shape = (len(x), 3, *box.size)
        out = torch.empty(shape) if self.skip else torch.zeros(shape)
        lows = self.low_resolution(x).float()  # in training autocast makes it bfloat16
        for picture, low, predicted in zip(x.contiguous(), lows, out, strict=True):
            if self.skip:
                enlarge(picture.numpy(), *taps, predicted.numpy())
            add_colours(low.numpy(), *places, *terms, weights, biases, predicted.numpy())
        return out


def _products(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Millions of small matrices (n, 3, H) times their own vectors (n, H) -> (n, 3)."""
    if matrices.is_cuda:  # its batched products are made for large matrices
        return (matrices * vectors[:, None]).sum(2)
    return torch.bmm(matrices, vectors[..., None])[..., 0]


def bicubic(x: Tensor, window: Box, box: Box, small: Size, large: Size) -> Tensor:
    """Bicubic enlargement (B, 3, *box.size) of a box, from the ``window`` of the smaller picture."""
    rows = _bicubic_matrix(window.rows, box.rows, small.height, large.height, x)
    columns = _bicubic_matrix(window.columns, box.columns, small.width, large.width, x)
    with full_precision(x):
        return rows @ x.contiguous() @ columns.T


def bicubic_whole(x: Tensor, size: Size) -> Tensor:
    """Bicubic enlargement of whole pictures (B, 3, h, w) to ``size``."""
    small = Size(*x.shape[-2:])
    return bicubic(x, whole(small), whole(size), small, size)


def _bicubic_matrix(
    window: tuple[int, int], box: tuple[int, int], small: int, large: int, like: Tensor
) -> Tensor:
    """Weights (box, window) of the small picture's rows, or columns, in the large one's.

    Made on the device of ``like``, so that nothing has to be copied there and waited for.
    """
    pixels = torch.arange(window[1] - window[0], device=like.device)
    matrix = torch.zeros((box[1] - box[0], len(pixels)), device=like.device)
    for index, weight in zip(*_bicubic_taps(box, small, large, window[0], like.device), strict=True):
        matrix += (pixels == index[:, None]) * weight[:, None]
    return matrix.to(like.dtype)


def _bicubic_taps(
    box: tuple[int, int], small: int, large: int, start: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The four small pixels of each large one of ``box``, along one axis, counted from ``start``.

    Returns their indexes (int64) and weights (float32), each (4, box).
    """
    position = (torch.arange(*box, device=device).double() + 0.5) * small / large - 0.5
    taps = position.floor().long() + torch.arange(-1, 3, device=device)[:, None]  # (4, box)
    weights = _bicubic_weight((position - taps).abs())
    return taps.clamp(0, small - 1) - start, weights.float()


def _bicubic_weight(distance: Tensor) -> Tensor:
    a, d = _BICUBIC, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return torch.where(d <= 1, near, far)
