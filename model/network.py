"""The whole COMPASS network: two mean-scale hyperpriors and the predictor between layers.

    base layer         x_0 = base(I_0)
    enhancement layer  x_k = p_k + enhancement(I_k - p_k),   p_k = liff(x_{k-1})     (eq. 1, 2)

Every enhancement layer shares the same ``enhancement`` and ``liff``. Modules hold weights only:
every padded or cropped size follows from the size of the layer, so that one network serves any
number of threads and a stream can be decoded by a process that did not write it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config
from model.geometry import Box, Size, halved, whole

LEAK = 2.0**-7
"""Slope of the hyper-transforms' leaky rectifier: a shift, for integer evaluation."""
LATENT = 16
"""Edge of the pixels that one latent covers."""
SCALE_LOW, SCALE_HIGH, SCALE_COUNT = 0.11, 64.0, 64
"""The table of Gaussian scales: geometric, in units of the (gained) latent's quantiser step."""


def quality_to_level(config: Config, quality: int) -> float:
    """The gain level of quality 1 to 100, linear; raises ValueError outside."""
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is 1 to 100, not {quality}")
    return (config.levels - 1) * (quality - 1) / 99


def pad_even(x: Tensor) -> Tensor:
    """Repeat the last row or column of an odd-sized (B, C, h, w) picture (section 3.1)."""
    bottom, right = x.shape[-2] % 2, x.shape[-1] % 2
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def crop(x: Tensor, size: Size) -> Tensor:
    """The top left ``size`` of (B, C, h, w): undoes :func:`pad_even` after up-sampling."""
    return x[..., : size[0], : size[1]]


def down(c_in: int, c_out: int) -> nn.Conv2d:
    """5 x 5 convolution that halves the size."""
    return nn.Conv2d(c_in, c_out, 5, stride=2, padding=2)


def up(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    """5 x 5 transposed convolution that doubles the size."""
    return nn.ConvTranspose2d(c_in, c_out, 5, stride=2, padding=2, output_padding=1)


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


class Hyperprior(nn.Module):
    """Mean-scale hyperprior (Minnen et al. 2018) with one gain vector a quality level.

    The latent is multiplied by the gain before the hyper-transforms and the quantiser see it, so
    the priors are in units of the quantiser's step and need not know the quality.

    The last D latents, the details, are not the paper's: a linear transform of 16 x 16 pixels, for what
    few channels cannot carry. The decoder knows the picture without them, so that only their difference
    to the details of that picture is coded:

        x = synthesis(y) + V d,   d = W (picture - synthesis(y))
    """

    def __init__(self, config: Config):
        super().__init__()
        N, M, J, D = config.channels, config.latents, config.hyper_channels, config.details
        self.main = M - D
        """How many latents are not details."""
        self.analysis = nn.ModuleList([down(3, N), down(N, N), down(N, N), down(N, M - D)])
        self.analysis_norms = nn.ModuleList([GDN(N) for _ in range(3)])
        self.synthesis = nn.ModuleList([up(M - D, N), up(N, N), up(N, N), up(N, 3)])
        self.synthesis_norms = nn.ModuleList([GDN(N, inverse=True) for _ in range(3)])
        self.hyper_analysis = nn.ModuleList([nn.Conv2d(M, N, 3, padding=1), down(N, N), down(N, N)])
        self.hyper_synthesis = nn.ModuleList(
            [up(N, J), up(J, J * 3 // 2), nn.Conv2d(J * 3 // 2, M * 2, 3, padding=1)]
        )
        if D:
            self.detail_analysis = nn.Parameter(torch.zeros(D, 3 * LATENT**2))
            self.detail_synthesis = nn.Parameter(torch.zeros(3 * LATENT**2, D))
        self.log_gain = nn.Parameter(torch.zeros(config.levels, M))
        self.log_inverse_gain = nn.Parameter(torch.zeros(config.levels, M))
        self.center: Tensor
        self.register_buffer("center", torch.zeros(1, N, 1, 1), persistent=False)

    def gains(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and inverse gain (B, M, 1, 1) at fractional levels (B,), geometrically interpolated."""
        low = level.floor().clamp(max=len(self.log_gain) - 2).long()
        part = (level - low)[:, None]
        mixed = (torch.lerp(g[low], g[low + 1], part) for g in (self.log_gain, self.log_inverse_gain))
        gain, inverse = (torch.exp(g)[:, :, None, None] for g in mixed)
        return gain, inverse

    def medians(self) -> Tensor:
        """Centres (1, N, 1, 1) of the hyper-latent's distributions."""
        return self.center

    def analyse(self, x: Tensor) -> Tensor:
        """Picture or residual (B, 3, h, w) -> latent (B, M, ceil h/16, ceil w/16).

        The details are those of ``x`` itself; see :meth:`details_left`.
        """
        y = x
        for i, conv in enumerate(self.analysis):
            y = conv(pad_even(y))
            if i < 3:
                y = self.analysis_norms[i](y)
        return torch.cat([y, self.details(x)], 1) if self.has_details else y

    def details_left(self, y: Tensor, gain: Tensor, main: Tensor) -> Tensor:
        """The gained latent ``y``, its details less those of the picture ``main`` that the others give."""
        left = y[:, self.main :] - self.details(main) * gain[:, self.main :]
        return torch.cat([y[:, : self.main], left], 1)

    def synthesise(self, y: Tensor, size: Size) -> Tensor:
        """Latent -> picture or residual (B, 3, *size)."""
        main = self.synthesise_main(y, size)
        return main + self.synthesise_details(y, size) if self.has_details else main

    def synthesise_main(self, y: Tensor, size: Size) -> Tensor:
        """Latent -> picture or residual (B, 3, *size) without details."""
        y = y[:, : self.main]
        for i, conv in enumerate(self.synthesis):
            y = crop(conv(y), halved(size, 3 - i))
            if i < 3:
                y = self.synthesis_norms[i](y)
        return y

    @property
    def has_details(self) -> bool:
        """Whether some latents are details."""
        return self.main < self.log_gain.shape[1]

    def details(self, x: Tensor) -> Tensor:
        """Picture or residual (B, 3, h, w) -> its details (B, D, ceil h/16, ceil w/16), before the gain."""
        bottom, right = (-edge % LATENT for edge in x.shape[-2:])
        x = F.pad(x, (0, right, 0, bottom), mode="replicate")
        return F.conv2d(F.pixel_unshuffle(x, LATENT), self.detail_analysis[:, :, None, None])

    def synthesise_details(self, y: Tensor, size: Size) -> Tensor:
        """What the details of a latent add to the picture (B, 3, *size)."""
        blocks = F.conv2d(y[:, self.main :], self.detail_synthesis[:, :, None, None])
        return crop(F.pixel_shuffle(blocks, LATENT), size)

    def hyper_analyse(self, y: Tensor) -> Tensor:
        """Gained latent (B, M, h, w) -> hyper-latent (B, N, ceil h/4, ceil w/4)."""
        for i, conv in enumerate(self.hyper_analysis):
            y = conv(pad_even(y) if i else y)
            if i < 2:
                y = F.leaky_relu(y, LEAK)
        return y

    def hyper_synthesise(self, z: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """Hyper-latent -> (log of the scales, means) of the gained latent, each (B, M, *size)."""
        for i, conv in enumerate(self.hyper_synthesis):
            z = conv(z)
            if i < 2:
                z = F.leaky_relu(crop(z, halved(size, 1 - i)), LEAK)
        log_scale, mean = z.chunk(2, dim=1)
        return log_scale, mean


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
        return x + pointwise(self.fusion, dense)


class FeatureExtractor(nn.Module):
    """Residual dense network: picture (B, 3, h, w) -> features (B, C, h, w)."""

    def __init__(self, config: Config):
        super().__init__()
        C = config.features
        self.shallow = nn.Conv2d(3, C, 3, padding=1)
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
        return shallow + self.last(pointwise(self.fusion, torch.cat(outputs, dim=1)))


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1 x 1 convolution as the matrix product that it is: faster on a CPU."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight[:, :, 0, 0], conv.bias).permute(0, 3, 1, 2)


def nearest(
    span: tuple[int, int], small: int, large: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Along one axis, for the output pixels from ``span[0]`` to before ``span[1]``.

    Returns the index of the nearest small pixel and the offset to its centre: the paper's local
    grid r (section 3.2) times the small size, -1 to 1 across the small pixel. Exact integer
    arithmetic up to the last division.
    """
    i = torch.arange(*span, device=device)
    index = (2 * i + 1) * small // (2 * large)
    offset = ((2 * i + 1) * small - (2 * index + 1) * large).double() / large
    return index, offset.float()


class LIFF(nn.Module):
    """Local implicit filter function: predicts a layer from the one below (section 3.2).

    For each output pixel an MLP makes a filter from the 3 x 3 features around the nearest input
    pixel, the offset r to its centre and the scale token s; the filter applied to those features
    gives the colour (eq. 3, 4). Features are constant over the output pixels of one input pixel,
    so the MLP's first layer, and its last contracted with the features, are two convolutions at
    the input's size (:meth:`low_resolution`); only the layers between run per output pixel.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.C, self.H, self.skip = config.features, config.hidden, config.bicubic_skip
        self.margin = config.blocks * config.convs + 4
        """How many input pixels around the nearest one a prediction depends on."""
        self.features = FeatureExtractor(config)
        self.first = nn.Linear(9 * self.C + 4, self.H)
        self.hidden = nn.ModuleList([nn.Linear(self.H, self.H) for _ in range(config.hidden_layers - 1)])
        self.last = nn.Linear(self.H, 9 * self.C * 3)
        if self.skip:  # begin as the plain bicubic enlargement
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def low_resolution(self, x: Tensor) -> Tensor:
        """All that does not depend on the output pixel, from the picture (B, 3, h, w).

        Returns (B, h, w, 4 H + 3): the features' share of the first layer (H), and the filter layer
        contracted with the features (3 H) and its bias (3).
        """
        C, H = self.C, self.H
        first = self.first.weight[:, : 9 * C].reshape(H, C, 3, 3)
        last = self.last.weight.view(C, 3, 3, 3, H).permute(3, 4, 0, 1, 2).reshape(3 * H, C, 3, 3)
        bias = self.last.bias.view(C, 3, 3, 3).permute(3, 0, 1, 2)
        low = F.conv2d(self.features(x), torch.cat([first, last, bias]), padding=1)
        return low.permute(0, 2, 3, 1).contiguous()

    def positions(self, box: Box, small: Size, large: Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The first layer's share of r, s and its bias, which separates into rows and columns.

        For a ``box`` of the prediction: indexes of the nearest rows (h,) and columns (w,), row
        terms (h, 1, H) and column terms (w, H).
        """
        device = self.first.weight.device
        rows, r_rows = nearest(box.rows, small[0], large[0], device)
        columns, r_columns = nearest(box.columns, small[1], large[1], device)
        w_rows, w_columns, s_rows, s_columns = self.first.weight[:, 9 * self.C :].unbind(1)
        token = s_rows * (2 * small[0] / large[0]) + s_columns * (2 * small[1] / large[1])
        row_terms = r_rows[:, None, None] * w_rows + (token + self.first.bias)
        return rows, columns, row_terms, r_columns[:, None] * w_columns

    def colours(
        self, x: Tensor, window: Box, box: Box, small: Size, large: Size, strip: int | None = None
    ) -> Tensor:
        """Filtered features (B, 3, *box.size), from the part ``window`` of the smaller picture.

        ``small`` and ``large`` are the sizes of the whole pictures. ``strip``: output rows computed
        at a time, so that their activations stay in the caches.
        """
        rows, columns, row_terms, column_terms = self.positions(box, small, large)
        low = self.low_resolution(x)
        B, width, channels = len(low), low.shape[2], low.shape[3]
        low = low.view(B, -1, channels)
        strips = []
        for some, terms in zip(
            rows.split(strip or len(rows)), row_terms.split(strip or len(rows)), strict=True
        ):
            index = ((some[:, None] - window.top) * width + (columns - window.left)).flatten()
            near = low.index_select(1, index)  # (B, pixels, 4 H + 3)
            h = F.relu(near[..., : self.H] + (terms + column_terms).flatten(0, 1))  # (B, pixels, H)
            for layer in self.hidden:
                h = F.relu(layer(h))
            filters = near[..., self.H : 4 * self.H].reshape(-1, 3, self.H)
            colour = torch.bmm(filters, h.reshape(-1, self.H, 1)).view(B, -1, 3) + near[..., 4 * self.H :]
            strips.append(colour.mT.reshape(B, 3, len(some), len(columns)))
        return torch.cat(strips, 2)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Prediction (B, 3, *size) from the smaller picture (B, 3, h, w), values 0 to 1."""
        small = (x.shape[-2], x.shape[-1])
        colour = self.colours(x, whole(small), whole(size), small, size)
        return colour + bicubic(x, size) if self.skip else colour


def bicubic(x: Tensor, size: Size) -> Tensor:
    """Bicubic enlargement of (B, 3, h, w) to ``size``."""
    return F.interpolate(x, size=size, mode="bicubic", align_corners=False)


class Compass(nn.Module):
    """Base layer, enhancement layer and predictor.

    ``hyperprior``: the class of the two hyperpriors; :mod:`model.training.network` has the one
    that can be trained.
    """

    def __init__(self, config: Config, hyperprior: type[Hyperprior] = Hyperprior):
        super().__init__()
        self.config = config
        self.base = hyperprior(config)
        self.enhancement = hyperprior(config)
        self.liff = LIFF(config)

    def predict(self, x: Tensor, size: Size) -> Tensor:
        """LIFF's prediction (B, 3, *size) from the reconstructed layer below (B, 3, h, w)."""
        prediction: Tensor = self.liff(x, size)
        return prediction


def channels_last(network: Compass) -> Compass:
    """Lay out the convolutions' weights as the libraries are fastest with."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return network
