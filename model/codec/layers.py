"""One layer of a picture: predicted from the layer below, coded, searched for, and turned into pixels.

Pixels are worked on piece by piece, several at once, so that memory stays bounded: what the network computes
for a box of a layer is what it would compute there for the whole layer.
"""

import copy
import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.clock import StageClock
from model.codec.distortion import Target
from model.codec.latents import LatentCoder, RoundedLatents
from model.codec.parallel import Threads
from model.codec.pixels import Pixels, Source, size_of, source_of, squared_error, to_numbers, to_pixels
from model.codec.refine import Search, refine
from model.codec.rounding import moves
from model.codec.weights import Prior, Weights
from model.geometry import Box, Size, halved, pieces, whole
from model.memory import give_back
from model.network.compass import Hyperprior, channels_last, quality_to_level
from model.network.precision import set_precision
from model.network.rate import lagrange_multiplier
from model.network.transforms import LATENT
from model.stream.container import CodedLayer

TILE = 256
"""Edge in pixels of the tiles that new streams are coded in."""
_PIECE = 3 * 2**18  # pixels computed at a time: what is computed around them, too, stays a small share
_LARGEST_WEIGHED = 2**22  # pixels: it takes as long as all else, and uploads of photographs are waited for
_MOST_ROUNDINGS = 7  # how often a layer is rounded at most until its hyper-latents have settled


@dataclass(frozen=True)
class Original:
    """What is coded as layer ``number`` of a picture: its own ``pixels`` (h, w, 3), 8-bit.

    ``prediction`` gives LIFF's prediction of them; the base layer, number 0, has none.
    """

    number: int
    pixels: Pixels
    quality: int
    prediction: Source | None

    @property
    def size(self) -> Size:
        """Height and width of the layer."""
        return size_of(self.pixels)


@dataclass(frozen=True)
class Layer:
    """A layer as coded, and its latents (1, M, h/16, w/16) as the decoder will have them."""

    coded: CodedLayer
    latents: Tensor


class Layers:
    """Codes and decodes the layers of pictures, one at a time, with one network on one device. Thread-safe.

    ``dtype`` is what the heavy parts of the network compute in, float32 or bfloat16; ``threads`` work on
    parts of one layer.
    """

    tile = TILE

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype, threads: Threads):
        network = channels_last(copy.deepcopy(weights.network).to(device))
        self.network = set_precision(network, dtype)
        self.weights = replace(weights, network=self.network)  # the network is held in memory once
        self.priors = {
            part: Prior(prior.synthesis.to(device), prior.tables) for part, prior in weights.priors.items()
        }
        self._device = device
        self._threads = threads
        self._piece_threads = threads if device.type == "cpu" else Threads(1)

    def coded_size(self, size: Size) -> Size:
        """The size that a layer of ``size`` is coded at: its own.

        A subclass may code layers at a larger size with as many tiles, as an ablation does; the pixels
        beyond the layer repeat its last rows and columns. The format knows no such streams: only that
        subclass can decode them.
        """
        return size

    def latent_coder(self, k: int, size: Size, tile: int) -> LatentCoder:
        """What codes the latents of layer ``k`` of ``size`` pixels, in tiles of ``tile`` pixels, and decodes
        them.
        """
        prior = self.priors["enhancement" if k else "base"]
        return LatentCoder(self.coded_size(size), tile, prior, self.weights.latent_tables, self._threads)

    def pixels_below(self, box: Box, small: Size, large: Size) -> Box:
        """The pixels of the layer below, of size ``small``, that a box of an enhancement layer depends on."""
        transforms, liff = self.network.enhancement.transforms, self.network.liff
        predicted = transforms.prediction_for_pixels(box, self.coded_size(large)).clipped(large)
        return liff.pixels_for_prediction(predicted, small, large)

    def latents_for_pixels(self, k: int, box: Box, size: Size) -> Box:
        """The latents that a box of layer ``k`` depends on, besides the layer below."""
        return self._hyperprior(k).transforms.latents_for_pixels(box, self.coded_size(size))

    def inverse_gain(self, k: int, quality: int) -> Tensor:
        """What the latents of layer ``k`` are multiplied by before the synthesis (1, M, 1, 1)."""
        return self._gains(k, quality)[1]

    def predictor(self, below: Pixels, window: Box, small: Size, large: Size) -> Source:
        """LIFF's prediction of a layer of size ``large``, computed wherever it is asked for.

        ``below`` (B, h, w, 3) is ``window`` of the layer below, which has the size ``small``.
        """
        values = to_numbers(below, self._device)
        return lambda box: self.network.liff.predict(values, window, box, small, large)

    def predict(self, below: Pixels, size: Size) -> Source:
        """LIFF's prediction of a whole layer from the layer below (h, w, 3), computed once."""
        predicted = self.predictor(below[None], whole(size_of(below)), size_of(below), size)
        out = torch.empty((1, 3, *size), device=self._device)

        def fill(box: Box) -> None:
            out[..., *box.slices] = predicted(box)

        self._piece_threads.map(fill, pieces(whole(size), _PIECE, LATENT))
        return lambda box: out[..., *box.slices]

    def code(
        self, original: Original, clock: StageClock, search: Search | None = None
    ) -> tuple[Layer, Pixels | None]:
        """Code a layer; returns it, and its pixels (h, w, 3) as decoded, where these are known.

        Up to 4 megapixels latents are rounded as :mod:`model.codec.rounding` weighs it, beyond to the
        nearest. What a ``search`` finds instead is taken where its error is allowed, and it needs fewer bytes
        and no more rate + lambda distortion.
        Stages timed: ``analysis``, ``priors``, ``rounding``, ``entropy``; with a search ``search``, too, and
        those of :meth:`decoded`.
        """
        latents, rounded = self._rounded(original, clock)
        if original.size.area <= _LARGEST_WEIGHED:
            with clock.stage("rounding"):
                self._weigh(original, latents, rounded)
        layer = self._written(original, rounded, clock)
        if search is None:
            return layer, None
        pixels = self.decoded(original, layer, clock)
        error = squared_error(pixels, original.pixels)
        with clock.stage("search"):
            found = refine(self._target(original), latents, rounded, self._lengths, search, error)
        del latents, rounded  # 350 megabytes, of 50 megapixels
        refined = self._written(original, found, clock)
        saved = 8 * (layer.coded.length - refined.coded.length)  # bits
        if saved <= 0:
            return layer, pixels
        pixels_of_refined = self.decoded(original, refined, clock)
        error_of_refined = squared_error(pixels_of_refined, original.pixels)
        cost = self._multiplier(original.quality) * (error_of_refined - error) / pixels.shape[2]
        if error_of_refined > search.most_error or cost > saved:
            return layer, pixels
        return refined, pixels_of_refined

    def _rounded(self, original: Original, clock: StageClock) -> tuple[Tensor, RoundedLatents]:
        """The gained latents (1, M, h/16, w/16) of a layer, and the same rounded to the nearest integers."""
        k, size = original.number, original.size
        coder = self.latent_coder(k, size, self.tile)
        with clock.stage("analysis"):
            gain, _ = self._gains(k, original.quality)
            y = self._analyse(original).mul_(gain)
            give_back(size.area)
            hyperprior = self._hyperprior(k)
            z = hyperprior.hyper_analyse(y) - hyperprior.medians()
        rounded = coder.round(y[0], z[0], clock)
        faults = coder.missing(y, rounded.values) + rounded.wasted
        for _ in range(_MOST_ROUNDINGS - 1):
            settled = coder.settle(faults, z)
            if settled is None:
                break
            other = coder.round(y[0], settled[0], clock)
            faults_left = coder.missing(y, other.values) + other.wasted
            if faults_left.sum() >= faults.sum():  # textures have a few everywhere: nothing is wrong
                break
            rounded, faults, z = other, faults_left, settled
        return y, rounded

    def _weigh(self, original: Original, latents: Tensor, rounded: RoundedLatents) -> None:
        """Round latents near the middle of two integers to the better of them."""
        target, lengths = self._target(original), self._lengths
        boxes = pieces(whole(halved(target.size, 4)), _PIECE // LATENT**2, 1)
        found = self._piece_threads.map(lambda box: moves(target, latents, rounded, lengths, box), boxes)
        # not before all are weighed: each is beside the others' latents as they were
        for box, moved in zip(boxes, found, strict=True):
            rounded.move(moved, box)
        give_back(target.size.area)

    def _written(self, original: Original, rounded: RoundedLatents, clock: StageClock) -> Layer:
        """The layer of rounded latents, coded."""
        size = original.size
        written = self.latent_coder(original.number, size, self.tile).write(rounded, clock)
        coded = CodedLayer(size.width, size.height, original.quality, written.hyper_latents, written.tiles)
        return Layer(coded, rounded.values)

    def _target(self, original: Original) -> Target:
        """What the latents of a layer are chosen for."""
        k, size = original.number, original.size
        source, prediction = _continued(source_of(original.pixels, self._device), size), original.prediction
        return Target(
            self._hyperprior(k).transforms,
            self.coded_size(size),
            source,
            None if prediction is None else _continued(prediction, size),
            self.inverse_gain(k, original.quality),
            self._multiplier(original.quality),
        )

    @cached_property
    def _lengths(self) -> Tensor:
        """The bits that symbols take with each table of the latents, on the network's device."""
        return torch.from_numpy(self.weights.latent_tables.code_lengths()).to(self._device)

    def decoded(self, original: Original, layer: Layer, clock: StageClock) -> Pixels:
        """The pixels (h, w, 3) of a coded layer as its decoder will have them.

        Stages timed: ``prediction``, ``synthesis``.
        """
        k, size = original.number, original.size
        y = layer.latents * self.inverse_gain(k, original.quality)
        box = whole(Size(*y.shape[-2:]))
        return self.reconstruct(k, y, box, whole(size), size, original.prediction, clock)[0]

    def reconstruct(
        self,
        k: int,
        y: Tensor,
        window: Box,
        region: Box,
        size: Size,
        prediction: Source | None,
        clock: StageClock,
    ) -> Pixels:
        """The 8-bit pixels (B, h, w, 3) of a region of layer ``k``.

        ``y`` (B, M, h, w) are the latents of ``window``, after the inverse gain. Stages timed:
        ``prediction``, ``synthesis``.
        """
        transforms, coded = self._hyperprior(k).transforms, self.coded_size(size)
        predicted = None if prediction is None else _continued(prediction, size)
        out = np.empty((len(y), *region.size, 3), np.uint8)

        def fill(box: Box) -> StageClock:
            watch = StageClock()
            seen, p = transforms.prediction_for_pixels(box, coded), None
            if predicted is not None:
                with watch.stage("prediction"):
                    p = predicted(seen)
            with watch.stage("synthesis"):
                x = transforms.synthesise(y, window, box, coded, p)
                own = None if p is None else p[..., *box.inside(seen)]
                out[:, *box.inside(region)] = to_pixels(x, own)
            return watch

        began = time.perf_counter()
        watches = self._piece_threads.map(fill, pieces(region, _PIECE, LATENT))
        clock.add_parallel(time.perf_counter() - began, watches)
        return out

    def _analyse(self, original: Original) -> Tensor:
        """The latents (1, M, h, w), before the gain, of a picture or of what its prediction misses."""
        target = self._target(original)
        transforms, size = target.transforms, target.size
        box = whole(halved(size, 4))
        shape = (1, self.weights.config.latents, *box.size)
        y = torch.empty(shape, device=self._device).contiguous(memory_format=torch.channels_last)

        def fill(part: Box) -> None:
            window = transforms.pixels_for_latents(part, size)
            x, p = target.original(window), None
            if target.prediction is not None:
                p = target.prediction(window)
                x.sub_(p)
            y[..., *part.slices] = transforms.analyse(x, window, part, size, p)

        self._piece_threads.map(fill, pieces(box, _PIECE // LATENT**2, 1))
        return y

    def _hyperprior(self, k: int) -> Hyperprior:
        return self.network.enhancement if k else self.network.base

    def _gains(self, k: int, quality: int) -> tuple[Tensor, Tensor]:
        """Gain and inverse gain (1, M, 1, 1)."""
        level = quality_to_level(self.weights.config, quality)
        return self._hyperprior(k).gains(torch.tensor([level], device=self._device))

    def _multiplier(self, quality: int) -> float:
        """Lambda at a quality: bits that a squared error of 1 on all three channels of a pixel is worth."""
        level = torch.tensor(quality_to_level(self.weights.config, quality))
        return float(lagrange_multiplier(self.weights.config, level))


def _continued(source: Source, size: Size) -> Source:
    """``source``, a picture of ``size``, with its last rows and columns repeated beyond its ends."""

    def continued(box: Box) -> Tensor:
        inner = box.clipped(size)
        if inner == box:
            return source(box)
        return F.pad(source(inner), (0, box.right - inner.right, 0, box.bottom - inner.bottom), "replicate")

    return continued
