"""Pictures to streams and back.

encode   for every layer of the ladder, the smallest first: predict it from the layer below as decoded,
         analyse what the prediction misses, code the latents tile by tile
decode   entropy-decode the latents of the wanted layer and of all below it, exactly; then, layer by
         layer and block by block, predict, add what the synthesis makes of the latents, round to 8 bits

Streams that are graphics are decoded by :mod:`model.codec.graphics`, whatever the weights.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.clock import StageClock
from model.codec import graphics
from model.codec.layers import Layers, Original
from model.codec.parallel import Threads
from model.codec.pixels import Pixels, Source, size_of, squared_error, to_pixels
from model.codec.refine import MOST_ERROR, NO_EFFORT, Effort, Search
from model.codec.weights import Weights, load
from model.errors import EncodeError, InvalidStream
from model.geometry import Box, Size, whole
from model.installed import path_of_model, weight_file
from model.memory import give_back
from model.network.precision import matrix_dtype
from model.stream.container import MAX_EDGE, CodedLayer, Header, read_header, read_index, write

MAX_PIXELS = 2**28
"""Layers of more pixels are neither written nor decoded."""


@dataclass(frozen=True)
class _Part:
    """Decoded pixels (B, h, w, 3) of a ``box`` of a layer."""

    pixels: Pixels
    box: Box


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

    kind_of_layers = Layers

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
        self.layers = self.kind_of_layers(weights, self.device, self.dtype, Threads(threads))
        self._thread_limit = threads
        self._codecs_of_other_models: dict[bytes, Codec] = {}

    @property
    def weights(self) -> Weights:
        """The weights, whose network is on the codec's device."""
        return self.layers.weights

    @classmethod
    def load(cls, profile: str, device: str = "cpu", threads: int | None = None) -> "Codec":
        """The codec of a profile's current weights; ``profile`` may be the path of a weight file.

        Raises WeightsError.
        """
        return cls(load(weight_file(profile)), device, threads)

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
        share of the search that is over, 0 to 1. The stream is then at most as long as without, and no layer
        of it worse by more than 0.05 dB of PSNR. Stages timed: ``prediction``, ``analysis``, ``priors``,
        ``entropy``, ``synthesis``, ``check``, with effort ``search``.
        Raises EncodeError for a picture, sizes or a quality that cannot be coded.

        The stream is entropy-decoded before it is returned: its latents equal those that were coded.
        """
        clock = clock or StageClock()
        _check_picture(pixels, sizes, quality)
        end = time.monotonic() + effort.seconds
        stream = self._encode(pixels, sizes, quality, clock)
        if not effort.steps:
            return stream
        progress = _Progress(sizes, told)
        limits = [MOST_ERROR * error for error in self.errors(stream, pixels)]
        searches = [
            Search(effort.steps, effort.seed + k, end, limit, progress.of(k))
            for k, limit in enumerate(limits)
        ]
        refined = self._encode(pixels, sizes, quality, clock, searches)
        if len(refined) >= len(stream):
            return stream
        errors = self.errors(refined, pixels)
        as_good = all(error <= limit for error, limit in zip(errors, limits, strict=True))
        return refined if as_good else stream

    def _encode(
        self,
        pixels: Pixels,
        sizes: Sequence[Size],
        quality: int,
        clock: StageClock,
        searches: Sequence[Search] | None = None,
    ) -> bytes:
        """The stream of a picture, with the latents of each layer searched for or rounded."""
        coded: list[CodedLayer] = []
        latents: list[Tensor] = []
        below: Pixels | None = None
        for k, size in enumerate(sizes):
            prediction: Source | None = None
            if below is not None:
                with clock.stage("prediction"):
                    prediction = self.layers.predict(below, size)
            original = Original(k, downscale(pixels, size), quality, prediction)
            layer, decoded = self.layers.code(original, clock, searches[k] if searches else None)
            if k < len(sizes) - 1:
                below = self.layers.decoded(original, layer, clock) if decoded is None else decoded
            coded.append(layer.coded)
            latents.append(layer.latents)
            del layer, original, prediction  # which the next layer's prediction has no use for
            give_back(size.area)
        stream = write(self.model_id, self.layers.tile, coded)
        with clock.stage("check"):
            for k, written in enumerate(latents):
                if not torch.equal(self.latents(stream, k), written):
                    raise EncodeError(f"layer {k} does not decode back to the latents that were coded")
        return stream

    def errors(self, stream: bytes, pixels: Pixels) -> list[float]:
        """The squared error of each layer of a picture (height, width, 3): the sum over its pixels and
        colours, in units of 8 bits. Raises a StreamError.
        """
        start: tuple[int, Pixels] | None = None
        errors = []
        for k, size in enumerate(read_header(stream).sizes):
            start = k, self.decode(stream, k, start=start)
            errors.append(squared_error(start[1], downscale(pixels, size)))
        return errors

    @torch.inference_mode()
    def enlarge(self, pixels: Pixels, size: Size) -> Pixels:
        """LIFF's prediction of a picture (h, w, 3) at a larger size, as if it were the next layer."""
        predicted = self.layers.predict(pixels, size)(whole(size))
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
            coder = self.layers.latent_coder(k, header.sizes[k], header.tile)
            box = self.layers.latents_for_pixels(k, part, header.sizes[k])
            substreams = coder.substreams_read(read_index(header, k, stream), box)
            spans += [(substream.offset, substream.offset + substream.length) for substream in substreams]
        return spans

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
        for k in range(layer, first, -1):
            boxes[k - 1] = self.layers.pixels_below(boxes[k], header.sizes[k - 1], header.sizes[k])
        return {k: boxes[k] for k in range(first, layer + 1)}

    def _codec_of(self, model_id: bytes) -> "Codec":
        """The codec of other installed weights; raises UnknownModel."""
        if model_id not in self._codecs_of_other_models:
            weights = load(path_of_model(model_id))
            self._codecs_of_other_models[model_id] = Codec(
                weights, str(self.device), self._thread_limit, self.dtype
            )
        return self._codecs_of_other_models[model_id]

    def _decode_latents(
        self, header: Header, stream: bytes, k: int, region: Box, clock: StageClock
    ) -> tuple[Tensor, Box]:
        """The latents that a region of layer ``k`` depends on, and the box of latents they are."""
        size = header.sizes[k]
        coder = self.layers.latent_coder(k, size, header.tile)
        box = self.layers.latents_for_pixels(k, region, size)
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
        sizes = headers[0].sizes
        latents = []
        for header, stream in zip(headers, streams, strict=True):
            y, window = self._decode_latents(header, stream, k, region, clock)
            latents.append(y * self.layers.inverse_gain(k, header.layers[k].quality))
        prediction = None
        if below is not None:
            prediction = self.layers.predictor(below.pixels, below.box, sizes[k - 1], sizes[k])
        y = latents[0] if len(latents) == 1 else torch.cat(latents)
        return self.layers.reconstruct(k, y, window, region, sizes[k], prediction, clock)


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
