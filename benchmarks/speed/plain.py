"""The same network run the plain way: what ``make bench-codec`` is compared with.

As a CompressAI model does it: the floating-point hyper-synthesis and ``build_indexes``, every symbol
coded by compressai.ans, whole layers at once, and LIFF as the paper writes it, with unfolded features
and a filter for every output pixel. Only the last is done in strips: whole, it would need gigabytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from compressai.ans import RansDecoder, RansEncoder
from compressai.entropy_models import GaussianConditional
from torch import Tensor

from model.clock import StageClock
from model.codec.codec import downscale
from model.codec.pixels import Pixels
from model.codec.weights import Weights, scale_table
from model.geometry import Size, halved
from model.network.compass import Hyperprior, quality_to_level
from model.network.liff import LIFF, bicubic_whole, nearest
from model.network.transforms import analyse_whole, synthesise_whole
from model.stream.entropy import PRECISION, Tables
from model.training.network import to_8_bit

_STRIP = 2**14  # output pixels of LIFF at a time


@dataclass(frozen=True)
class PlainLayer:
    """A coded layer: its size in pixels and the strings of its hyper-latents and latents."""

    size: Size
    hyper: bytes
    latents: bytes


class PlainCodec:
    """Encodes and decodes with the weights of a :class:`model.codec.codec.Codec`, slowly."""

    def __init__(self, weights: Weights):
        self.weights = weights
        self.network = weights.network
        self.conditional = GaussianConditional(scale_table().tolist())
        self.latent_model = _ans_model(weights.latent_tables)
        self.hyper_models = {part: _ans_model(prior.tables) for part, prior in weights.priors.items()}

    @torch.inference_mode()
    def encode(
        self, pixels: Pixels, sizes: Sequence[Size], quality: int, clock: StageClock
    ) -> list[PlainLayer]:
        """The layers of a picture; arguments as for :meth:`model.codec.codec.Codec.encode`."""
        layers: list[PlainLayer] = []
        below: Tensor | None = None
        for k, size in enumerate(sizes):
            hyperprior, gain, inverse = self._layer(k, quality)
            picture = torch.from_numpy(downscale(pixels, size).copy())
            x = picture.permute(2, 0, 1)[None].float() / 255
            with clock.stage("prediction"):
                prediction = None if below is None else self._predict(below, size)
            with clock.stage("analysis"):
                x = x if prediction is None else x - prediction
                y = analyse_whole(hyperprior.transforms, x, prediction) * gain
                z = torch.round(hyperprior.hyper_analyse(y) - hyperprior.medians())
            with clock.stage("priors"):
                index, mean = self._priors(hyperprior, z, size)
            symbols = torch.round(y - mean)
            with clock.stage("entropy"):
                strings = [
                    RansEncoder().encode_with_indexes(_integers(values), indexes, *model)
                    for values, indexes, model in (
                        (z, self._channels(z), self._hyper_model(k)),
                        (symbols, _integers(index), self.latent_model),
                    )
                ]
            with clock.stage("synthesis"):
                if k < len(sizes) - 1:
                    below = _synthesise(hyperprior, (symbols + mean) * inverse, size, prediction)
            layers.append(PlainLayer(size, *strings))
        return layers

    @torch.inference_mode()
    def decode(self, layers: Sequence[PlainLayer], quality: int, clock: StageClock) -> Pixels:
        """The last layer's pixels."""
        below: Tensor | None = None
        for k, layer in enumerate(layers):
            size = layer.size
            hyperprior, _, inverse = self._layer(k, quality)
            with clock.stage("entropy"):
                z = torch.zeros((1, self.weights.config.channels, *halved(size, 6)))
                z = self._decode(layer.hyper, self._channels(z), self._hyper_model(k), z)
            with clock.stage("priors"):
                index, mean = self._priors(hyperprior, z, size)
            with clock.stage("entropy"):
                symbols = self._decode(layer.latents, _integers(index), self.latent_model, mean)
            with clock.stage("prediction"):
                prediction = None if below is None else self._predict(below, size)
            with clock.stage("synthesis"):
                below = _synthesise(hyperprior, (symbols + mean) * inverse, size, prediction)
        assert below is not None
        answer: Pixels = torch.round(below[0] * 255).byte().permute(1, 2, 0).numpy()
        return answer

    def _layer(self, k: int, quality: int) -> tuple[Hyperprior, Tensor, Tensor]:
        hyperprior = self.network.enhancement if k else self.network.base
        level = quality_to_level(self.weights.config, quality)
        return (hyperprior, *hyperprior.gains(torch.tensor([level])))

    def _hyper_model(self, k: int) -> "AnsModel":
        return self.hyper_models["enhancement" if k else "base"]

    def _priors(self, hyperprior: Hyperprior, z: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        log_scale, mean = hyperprior.hyper_synthesise(z + hyperprior.medians(), halved(size, 4))
        return self.conditional.build_indexes(log_scale.exp()), mean

    def _channels(self, z: Tensor) -> list[int]:
        return torch.arange(z.shape[1])[None, :, None, None].expand(z.shape).flatten().tolist()

    def _decode(self, data: bytes, indexes: list[int], model: "AnsModel", like: Tensor) -> Tensor:
        symbols = RansDecoder().decode_with_indexes(data, indexes, *model)
        return torch.tensor(symbols, dtype=torch.float32).view(like.shape)

    def _predict(self, below: Tensor, size: Size) -> Tensor:
        prediction = literal_liff(self.network.liff, below, size)
        return prediction + bicubic_whole(below, size) if self.network.liff.skip else prediction


def _synthesise(hyperprior: Hyperprior, y: Tensor, size: Size, prediction: Tensor | None) -> Tensor:
    """A layer (1, 3, *size) from its latents after the inverse gain, rounded to 8 bits."""
    x = synthesise_whole(hyperprior.transforms, y, size, prediction)
    return to_8_bit(x if prediction is None else x + prediction)


AnsModel = tuple[list[list[int]], list[int], list[int]]
"""Cumulative frequencies, their numbers and the smallest symbols, as compressai.ans wants them."""


def literal_liff(liff: LIFF, x: Tensor, size: Size) -> Tensor:
    """Equations 3 and 4 of the paper for a picture (1, 3, h, w): (1, 3, *size), without bicubic skip."""
    small = Size(*x.shape[2:])
    features = liff.features(liff.patches(x))
    width = features.shape[3]
    unfolded = F.unfold(features, 3, padding=1)[0].T  # (h w, 9 C)
    rows, r_rows = nearest((0, size.height), small.height, size.height, liff.step)
    columns, r_columns = nearest((0, size.width), small.width, size.width, liff.step)
    token = torch.tensor([2 * small.height / size.height, 2 * small.width / size.width])
    strips = []
    count = max(1, _STRIP // size.width)
    for some, r_some in zip(rows.split(count), r_rows.split(count), strict=True):
        feature = unfolded[(some[:, None] * width + columns).flatten()]
        r = torch.stack(torch.meshgrid(r_some, r_columns, indexing="ij"), -1).flatten(0, 1)
        h = F.relu(liff.first(torch.cat([feature, r, token.expand_as(r)], 1)))
        for layer in liff.hidden:
            h = F.relu(layer(h))
        filters = liff.last(h).view(len(h), -1, 3)
        strips.append(torch.bmm(feature[:, None], filters)[:, 0].view(len(some), size.width, 3))
    return torch.cat(strips).permute(2, 0, 1)[None]


def _ans_model(tables: Tables) -> AnsModel:
    ends = np.cumsum(tables.lengths, dtype=int)
    cdfs = [
        [0, *(np.cumsum(tables.frequencies[end - length : end]) << (16 - PRECISION)).tolist()]
        for end, length in zip(ends, tables.lengths, strict=True)
    ]
    return cdfs, [len(cdf) for cdf in cdfs], tables.offsets.tolist()


def _integers(values: Tensor) -> list[int]:
    integers: list[int] = values.int().flatten().tolist()
    return integers
