"""Pictures to streams and back.

encode   for every layer of the ladder, the smallest first: predict it from the layer below as decoded,
         analyse what the prediction misses, code the latents tile by tile
decode   entropy-decode the latents of the wanted layer and of all below it, exactly; then, layer by
         layer and block by block, predict, add what the synthesis makes of the latents, round to 8 bits

Streams that are graphics are decoded by :mod:`model.codec.graphics`, whatever the weights.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from model.clock import StageClock
from model.codec import graphics
from model.codec.latents import LatentCoder
from model.codec.parallel import Threads
from model.codec.pixels import Pixels, Source, source_of, squared_error, to_numbers, to_pixels
from model.codec.refine import MOST_ERROR, NO_EFFORT, Effort, Latents, Target, refine
from model.codec.weights import Prior, Weights, load, scale_table
from model.errors import EncodeError, InvalidStream
from model.geometry import Box, Size, halved, strips, whole
from model.installed import path_of_model, path_of_profile
from model.memory import give_back
from model.network.compass import Hyperprior, channels_last, quality_to_level
from model.network.precision import matrix_dtype, set_precision
from model.network.rate import lagrange_multiplier
from model.network.transforms import LATENT
from model.stream.container import MAX_EDGE, CodedLayer, Header, read_header, read_index, write

TILE = 256
"""Edge in pixels of the tiles that new streams are coded in."""
MAX_PIXELS = 2**28
"""Layers of more pixels are neither written nor decoded."""
_STRIP = 2**19  # pixels that are computed at a time: what is computed around them, too, stays a small share
_MOST_CODINGS = 7  # how often a layer is coded at most until its hyper-latents have settled


@dataclass(frozen=True)
class _Part:
    """Decoded pixels (B, h, w, 3) of a ``box`` of a layer."""

    pixels: Pixels
    box: Box


@dataclass(frozen=True)
class _Layer:
    """A layer as coded, and its latents (1, M, h, w) as the decoder will have them."""

    coded: CodedLayer
    latents: Tensor

    @classmethod
    def of(
        cls, coder: LatentCoder, size: Size, quality: int, y: Tensor, z: Tensor, clock: StageClock
    ) -> "_Layer":
        """Code gained latents and centred hyper-latents, both unrounded, of a layer of ``size`` pixels."""
        hyper_latents, tiles, decoded = coder.encode(y[0], z[0], clock)
        coded = CodedLayer(size.width, size.height, quality, hyper_latents, tiles)
        return cls(coded, decoded)


class _Progress:
    """Shares of a search over several layers, each of which counts as its pixels."""

    def __init__(self, sizes: Sequence[Size], told: Callable[[float], None]):
        areas = [size.area for size in sizes]
        self._ends = [end / sum(areas) for end in accumulate(areas, initial=0)]
        self._told = told

    def of(self, layer: int) -> Callable[[float], None]:
        """What is told of one layer's shares."""
        before, after = self._ends[layer : layer + 2]
        return lambda share: self._told(before + share * (after - before))


def size_of(pixels: Pixels) -> Size:
    """Height and width of a picture (height, width, 3)."""
    return Size(*pixels.shape[:2])


def downscale(pixels: Pixels, size: Size) -> Pixels:
    """A smaller version of a picture: antialiased bicubic, 8-bit; the picture itself at its own size."""
    if size_of(pixels) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.BICUBIC))


class Codec:
    """Encoder and decoder of one set of weights on one device. Thread-safe.

    Streams written with other installed weights are decoded too. ``threads`` work on parts of one
    picture (default: one per core); see :mod:`model.codec.parallel`. ``dtype`` is what the heavy parts of the
    network compute in, float32 or bfloat16 (default: what the device is fast at); see
    :mod:`model.network.precision`.
    """

    def __init__(
        self,
        weights: Weights,
        device: str = "cpu",
        threads: int | None = None,
        dtype: torch.dtype | None = None,
    ):
        self.device = torch.device(device)
        self.model_id = weights.model_id
        self.dtype = dtype or matrix_dtype(self.device)
        network = channels_last(copy.deepcopy(weights.network).to(self.device))
        self.network = set_precision(network, self.dtype)
        self.weights = replace(weights, network=self.network)  # the network is held in memory once
        self.priors = {
            part: Prior(prior.synthesis.to(self.device), prior.tables)
            for part, prior in weights.priors.items()
        }
        self.threads = Threads(threads)
        self._thread_limit = threads
        self._block_threads = self.threads if self.device.type == "cpu" else Threads(1)
        self._codecs_of_other_models: dict[bytes, Codec] = {}

    @classmethod
    def load(cls, profile: str, device: str = "cpu", threads: int | None = None) -> "Codec":
        """The codec of a profile's current weights; ``profile`` may be the path of a weight file.

        Raises WeightsError.
        """
        path = Path(profile) if profile.endswith(".safetensors") else path_of_profile(profile)
        return cls(load(path), device, threads)

    @torch.inference_mode()
    def encode(
        self,
        pixels: Pixels,
        sizes: Sequence[Size],
        quality: int,
        clock: StageClock | None = None,
        effort: Effort = NO_EFFORT,
        told: Callable[[float], None] = lambda share: None,
    ) -> bytes:
        """Code a picture (height, width, 3) into one stream.

        ``sizes`` of the layers in pixels grow, and the last is the picture's own; ``quality`` is 1 to 100.
        With ``effort`` latents are searched for (:mod:`model.codec.refine`), and ``told`` is called with the
        share of the search that is over, 0 to 1. Stages timed: ``prediction``, ``analysis``, ``priors``,
        ``entropy``, ``synthesis``, ``check``, with effort ``search``.
        Raises EncodeError for a picture, sizes or a quality that cannot be coded.

        The stream is entropy-decoded before it is returned: its latents equal those that were coded.
        """
        clock = clock or StageClock()
        _check_picture(pixels, sizes, quality)
        progress = _Progress(sizes, told)
        end = time.monotonic() + effort.seconds
        layers: list[CodedLayer] = []
        latents: list[Tensor] = []
        below: Pixels | None = None
        for k, size in enumerate(sizes):
            prediction: Source | None = None
            if below is not None:
                with clock.stage("prediction"):
                    prediction = self._predict_whole(below, size)
            picture = downscale(pixels, size)
            layer, y, z = self._encode_layer(k, picture, quality, prediction, clock)
            refined: _Layer | None = None
            decoded: Pixels | None = None
            if effort.steps:
                own = replace(effort, seconds=end - time.monotonic(), seed=effort.seed + k)
                refined = self._refined(k, picture, quality, y, z, prediction, own, progress.of(k), clock)
            del y  # 200 megabytes, of 50 megapixels
            if refined is not None:
                layer, decoded = self._better(k, layer, refined, picture, prediction, clock)
            if k < len(sizes) - 1:
                below = self._reconstruct_whole(k, layer, prediction, clock) if decoded is None else decoded
            layers.append(layer.coded)
            latents.append(layer.latents)
            del layer, refined
            give_back(size.area)
        stream = write(self.model_id, TILE, layers)
        with clock.stage("check"):
            for k, coded in enumerate(latents):
                if not torch.equal(self.latents(stream, k), coded):
                    raise EncodeError(f"layer {k} does not decode back to the latents that were coded")
        return stream

    @torch.inference_mode()
    def enlarge(self, pixels: Pixels, size: Size) -> Pixels:
        """LIFF's prediction of a picture (h, w, 3) at a larger size, as if it were the next layer."""
        predicted = self._predict_whole(pixels, size)(whole(size))
        return to_pixels(predicted)[0]

    @torch.inference_mode()
    def decode(
        self,
        stream: bytes,
        layer: int | None = None,
        region: Box | None = None,
        start: tuple[int, Pixels] | None = None,
        clock: StageClock | None = None,
    ) -> Pixels:
        """Decode one layer, or a ``region`` of it in its own pixels, from a stream or a prefix.

        Layer 0 is the smallest; the default is the largest in the stream. ``start`` gives a lower layer's
        number and all its pixels as decoded before. Stages timed: ``priors``, ``entropy``, ``prediction``,
        ``synthesis``. Raises a StreamError, or ValueError for a region or a start that does not fit the
        stream.
        """
        batch_start = None if start is None else (start[0], [start[1]])
        return self.decode_batch([stream], layer, region, batch_start, clock)[0]

    @torch.inference_mode()
    def decode_batch(
        self,
        streams: Sequence[bytes],
        layer: int | None = None,
        region: Box | None = None,
        start: tuple[int, Sequence[Pixels]] | None = None,
        clock: StageClock | None = None,
    ) -> list[Pixels]:
        """As :meth:`decode`, of several streams in one pass through the network, which suits a GPU.

        ``start`` has the pixels of every picture. Raises ValueError, too, for streams whose
        :func:`batch_key` differs.
        """
        clock = clock or StageClock()
        headers = [read_header(stream) for stream in streams]
        header = headers[0]
        if header.is_graphic:
            return _decode_graphics(headers, streams, layer or 0, region, start, clock)
        if header.model_id != self.model_id:
            return self._codec_of(header.model_id).decode_batch(streams, layer, region, start, clock)
        layer = len(header.layers) - 1 if layer is None else layer
        if any(batch_key(other, layer) != batch_key(header, layer) for other in headers):
            raise ValueError("streams of different weights, sizes or tiles cannot be decoded in one batch")
        if start is not None and not 0 <= start[0] < layer:
            raise ValueError(f"layer {layer} cannot be decoded from layer {start[0]}")
        first = 0 if start is None else start[0] + 1
        regions = self._regions(header, layer, region, first)
        below: _Part | None = None
        if start is not None:
            pixels, size = np.stack(start[1]), header.sizes[start[0]]
            if pixels.shape != (len(streams), *size, 3):
                raise ValueError(f"{pixels.shape} are not the pixels of layer {start[0]}")
            below = _Part(pixels, whole(size))
        for k, box in regions.items():
            below = _Part(self._decode_layer(headers, streams, k, box, below, clock), box)
            give_back(box.size.area)
        assert below is not None
        # copied from the batch, so that a picture that is kept does not keep the others in memory
        return list(below.pixels) if len(streams) == 1 else [pixels.copy() for pixels in below.pixels]

    def latents(self, stream: bytes, layer: int) -> Tensor:
        """The latents (1, M, h/16, w/16) of one layer, before the inverse gain: the part that is exact.

        Raises a StreamError.
        """
        header = read_header(stream)
        if header.is_graphic:
            raise InvalidStream("a graphic has no latents")
        if header.model_id != self.model_id:
            return self._codec_of(header.model_id).latents(stream, layer)
        self._regions(header, layer, None, 0)
        return self._decode_latents(header, stream, layer, whole(header.sizes[layer]), StageClock())[0]

    def reads(self, stream: bytes, layer: int, region: Box | None = None) -> list[tuple[int, int]]:
        """The (start, end) of the bytes that decoding a layer, or a region of it, reads.

        Of ``stream`` only the header and the layers' indexes are looked at here. Raises a StreamError.
        """
        header = read_header(stream)
        if header.is_graphic:
            return [(0, header.total)]
        if header.model_id != self.model_id:
            return self._codec_of(header.model_id).reads(stream, layer, region)
        spans = [(0, header.length)]
        for k, part in self._regions(header, layer, region, 0).items():
            start = header.layers[k].offset
            spans.append((start, start + header.index_length(k)))
            coder = self.latent_coder(k, header.sizes[k], header.tile)
            box = self._latents_for_pixels(k, part, header.sizes[k])
            substreams = coder.substreams_read(read_index(header, k, stream), box)
            spans += [(substream.offset, substream.offset + substream.length) for substream in substreams]
        return spans

    def latent_coder(self, layer: int, size: Size, tile: int) -> LatentCoder:
        """What codes and decodes the latents of a layer of ``size`` pixels in tiles of ``tile`` pixels."""
        prior = self.priors["enhancement" if layer else "base"]
        return LatentCoder(self.coded_size(size), tile, prior, self.weights.latent_tables, self.threads)

    def coded_size(self, size: Size) -> Size:
        """The size that a layer of ``size`` is coded at: its own.

        A subclass may code layers at a larger size with as many tiles, as an ablation does; the pixels
        beyond the layer repeat its last rows and columns. The format knows no such streams: only that
        subclass can decode them.
        """
        return size

    def _regions(self, header: Header, layer: int, region: Box | None, first: int) -> dict[int, Box]:
        """What is needed of each layer from ``first`` to ``layer``, ascending, for a region of the last."""
        if not 0 <= layer < len(header.layers):
            raise InvalidStream(f"there is no layer {layer}; the stream has {len(header.layers)}")
        size = header.sizes[layer]
        if size.area > MAX_PIXELS:
            raise InvalidStream(f"layer {layer} has {size} pixels; the limit is {MAX_PIXELS}")
        region = whole(size) if region is None else region
        if not region.within(size):
            raise ValueError(f"{region} does not lie in a layer of {size} pixels")
        boxes = {layer: region}
        transforms, liff = self.network.enhancement.transforms, self.network.liff
        for k in range(layer, first, -1):
            small, large = header.sizes[k - 1], header.sizes[k]
            needed = transforms.prediction_for_pixels(boxes[k], self.coded_size(large)).clipped(large)
            boxes[k - 1] = liff.pixels_for_prediction(needed, small, large)
        return {k: boxes[k] for k in range(first, layer + 1)}

    def _codec_of(self, model_id: bytes) -> "Codec":
        """The codec of other installed weights; raises UnknownModel."""
        if model_id not in self._codecs_of_other_models:
            weights = load(path_of_model(model_id))
            self._codecs_of_other_models[model_id] = Codec(
                weights, str(self.device), self._thread_limit, self.dtype
            )
        return self._codecs_of_other_models[model_id]

    def _hyperprior(self, layer: int) -> Hyperprior:
        return self.network.enhancement if layer else self.network.base

    def _gains(self, hyperprior: Hyperprior, quality: int) -> tuple[Tensor, Tensor]:
        """Gain and inverse gain (1, M, 1, 1)."""
        level = quality_to_level(self.weights.config, quality)
        return hyperprior.gains(torch.tensor([level], device=self.device))

    def _latents_for_pixels(self, k: int, region: Box, size: Size) -> Box:
        return self._hyperprior(k).transforms.latents_for_pixels(region, self.coded_size(size))

    def _encode_layer(
        self, k: int, picture: Pixels, quality: int, prediction: Source | None, clock: StageClock
    ) -> tuple["_Layer", Tensor, Tensor]:
        """Layer ``k``, whose pixels are ``picture``; and what its latents were rounded from, (1, M, h, w),
        and its centred hyper-latents, unrounded, (1, N, h/4, w/4).
        """
        hyperprior, coder = self._hyperprior(k), self.latent_coder(k, size_of(picture), TILE)
        with clock.stage("analysis"):
            gain, _ = self._gains(hyperprior, quality)
            y = self._analyse(hyperprior, picture, prediction).mul_(gain)
            give_back(size_of(picture).area)
            z = hyperprior.hyper_analyse(y) - hyperprior.medians()
        layer = _Layer.of(coder, size_of(picture), quality, y, z, clock)
        missing = coder.missing(y, layer.latents)
        for _ in range(_MOST_CODINGS - 1):
            settled = coder.settle(missing, z)
            if settled is None:
                break
            other = _Layer.of(coder, size_of(picture), quality, y, settled, clock)
            still_missing = coder.missing(y, other.latents)
            if still_missing.sum() >= missing.sum():  # textures miss a little everywhere: nothing is wrong
                break
            layer, missing, z = other, still_missing, settled
        return layer, y, z

    def _refined(
        self,
        k: int,
        picture: Pixels,
        quality: int,
        y: Tensor,
        z: Tensor,
        prediction: Source | None,
        effort: Effort,
        told: Callable[[float], None],
        clock: StageClock,
    ) -> "_Layer":
        """Layer ``k`` with latents searched for; ``y`` and ``z`` as :meth:`_encode_layer` gives them."""
        size, coder = size_of(picture), self.latent_coder(k, size_of(picture), TILE)
        target = Target(
            self._hyperprior(k).transforms,
            size,
            source_of(picture, self.device),
            prediction,
            self._gains(self._hyperprior(k), quality)[1],
            self._multiplier(quality),
        )
        with clock.stage("search"):
            index, mean = coder.priors(z[0])
            scales = torch.from_numpy(scale_table()).float().to(self.device)
            latents = Latents(y, mean, index, scales, self.weights.latent_tables.skip)
            found = refine(target, latents, effort, told)
            del index, mean, latents
        return _Layer.of(coder, size, quality, found, z, clock)

    def _better(
        self,
        k: int,
        layer: "_Layer",
        refined: "_Layer",
        picture: Pixels,
        prediction: Source | None,
        clock: StageClock,
    ) -> tuple["_Layer", Pixels | None]:
        """The refined layer where it is smaller, its PSNR lower by 0.05 dB at most, and its rate + lambda
        distortion no more, else the other; and its pixels (h, w, 3) as decoded, where they are known.
        """
        if refined.coded.length >= layer.coded.length:
            return layer, None
        before = squared_error(self._reconstruct_whole(k, layer, prediction, clock), picture)
        pixels = self._reconstruct_whole(k, refined, prediction, clock)
        after = squared_error(pixels, picture)
        saved = 8 * (layer.coded.length - refined.coded.length)  # bits
        cost = self._multiplier(layer.coded.quality) * (after - before) / pixels.shape[2]
        worse = after > MOST_ERROR * before or saved < cost
        return (layer, None) if worse else (refined, pixels)

    def _multiplier(self, quality: int) -> float:
        """Lambda at a quality: bits that a squared error of 1 on all three channels of a pixel is worth."""
        level = torch.tensor(quality_to_level(self.weights.config, quality))
        return float(lagrange_multiplier(self.weights.config, level))

    def _decode_latents(
        self, header: Header, stream: bytes, k: int, region: Box, clock: StageClock
    ) -> tuple[Tensor, Box]:
        """The latents that a region of layer ``k`` depends on, and the box of latents they are."""
        size = header.sizes[k]
        coder = self.latent_coder(k, size, header.tile)
        box = self._latents_for_pixels(k, region, size)
        return coder.decode(stream, read_index(header, k, stream), box, clock)

    def _decode_layer(
        self,
        headers: Sequence[Header],
        streams: Sequence[bytes],
        k: int,
        region: Box,
        below: _Part | None,
        clock: StageClock,
    ) -> Pixels:
        """A region (B, h, w, 3) of layer ``k``, given the part of the layer below that it depends on."""
        sizes, hyperprior = headers[0].sizes, self._hyperprior(k)
        latents = []
        for header, stream in zip(headers, streams, strict=True):
            y, window = self._decode_latents(header, stream, k, region, clock)
            latents.append(y * self._gains(hyperprior, header.layers[k].quality)[1])
        prediction: Source | None = None
        if below is not None:
            values, box_below = to_numbers(below.pixels, self.device), below.box

            def prediction(box: Box) -> Tensor:
                return self.network.liff.predict(values, box_below, box, sizes[k - 1], sizes[k])

        y = latents[0] if len(latents) == 1 else torch.cat(latents)
        return self._reconstruct(k, y, window, region, sizes[k], prediction, clock)

    def _predict_whole(self, below: Pixels, size: Size) -> Source:
        """LIFF's prediction of a whole layer from the layer below (h, w, 3), computed once."""
        x, small = to_numbers(below[None], self.device), size_of(below)
        out = torch.empty((1, 3, *size), device=self.device)

        def fill(box: Box) -> None:
            out[..., *box.slices] = self.network.liff.predict(x, whole(small), box, small, size)

        self._block_threads.map(fill, strips(whole(size), _STRIP, LATENT))
        return lambda box: out[..., *box.slices]

    def _analyse(self, hyperprior: Hyperprior, picture: Pixels, prediction: Source | None) -> Tensor:
        """The latents (1, M, h, w), before the gain, of a picture or of what its prediction misses."""
        own = size_of(picture)
        size = self.coded_size(own)
        original = _continued(source_of(picture, self.device), own)
        predicted = None if prediction is None else _continued(prediction, own)
        box = whole(halved(size, 4))
        shape = (1, self.weights.config.latents, *box.size)
        y = torch.empty(shape, device=self.device).contiguous(memory_format=torch.channels_last)

        def fill(part: Box) -> None:
            window = hyperprior.transforms.pixels_for_latents(part, size)
            x, p = original(window), None
            if predicted is not None:
                p = predicted(window)
                x.sub_(p)
            y[..., *part.slices] = hyperprior.transforms.analyse(x, window, part, size, p)

        self._block_threads.map(fill, strips(box, _STRIP // LATENT**2, 1))
        return y

    def _reconstruct_whole(
        self, k: int, layer: "_Layer", prediction: Source | None, clock: StageClock
    ) -> Pixels:
        """The pixels (h, w, 3) of a whole layer as its decoder will have them."""
        size = Size(layer.coded.height, layer.coded.width)
        y = layer.latents * self._gains(self._hyperprior(k), layer.coded.quality)[1]
        box = whole(Size(*y.shape[-2:]))
        return self._reconstruct(k, y, box, whole(size), size, prediction, clock)[0]

    def _reconstruct(
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

        ``y`` (B, M, h, w) are the latents of ``window``, after the inverse gain.
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
        watches = self._block_threads.map(fill, strips(region, _STRIP, LATENT))
        clock.add_parallel(time.perf_counter() - began, watches)
        return out


def batch_key(header: Header, layer: int) -> tuple[object, ...]:
    """Equal for streams that :meth:`Codec.decode_batch` takes in one batch: kind, weights, tiles, sizes."""
    return header.kind, header.model_id, header.tile, *header.sizes[: layer + 1]


def _decode_graphics(
    headers: Sequence[Header],
    streams: Sequence[bytes],
    layer: int,
    region: Box | None,
    start: tuple[int, Sequence[Pixels]] | None,
    clock: StageClock,
) -> list[Pixels]:
    """As :meth:`Codec.decode_batch`, of graphics alone: they have one layer, which is decoded whole."""
    if layer:
        raise InvalidStream(f"there is no layer {layer}; a graphic has one")
    if any(batch_key(other, 0) != batch_key(headers[0], 0) for other in headers):
        raise ValueError("streams of different kinds or sizes cannot be decoded in one batch")
    if start is not None:
        raise ValueError("layer 0 cannot be decoded from another one")
    (size,) = headers[0].sizes
    box = whole(size) if region is None else region
    if not box.within(size):
        raise ValueError(f"{box} does not lie in a layer of {size} pixels")
    with clock.stage("synthesis"):
        decoded = [graphics.decode(stream, header) for stream, header in zip(streams, headers, strict=True)]
    return [pixels if box == whole(size) else pixels[box.slices].copy() for pixels in decoded]


def _continued(source: Source, size: Size) -> Source:
    """``source``, a picture of ``size``, with its last rows and columns repeated beyond its ends."""

    def continued(box: Box) -> Tensor:
        inner = box.clipped(size)
        if inner == box:
            return source(box)
        return F.pad(source(inner), (0, box.right - inner.right, 0, box.bottom - inner.bottom), "replicate")

    return continued


def _check_picture(pixels: Pixels, sizes: Sequence[Size], quality: int) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise EncodeError(f"a picture is (height, width, 3) uint8, not {pixels.shape} {pixels.dtype}")
    if not sizes or sizes[-1] != size_of(pixels):
        raise EncodeError("the last layer has the picture's own size")
    if max(sizes[-1]) > MAX_EDGE or sizes[-1].area > MAX_PIXELS:
        raise EncodeError(f"{sizes[-1]} pixels are too many")
    for small, large in pairwise(sizes):
        if min(small) < 1 or small.height > large.height or small.width > large.width or small == large:
            raise EncodeError(f"layers must grow: {small} before {large}")
    if not 1 <= quality <= 100:
        raise EncodeError(f"quality is 1 to 100, not {quality}")
