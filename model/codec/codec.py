"""Pictures to streams and back.

encode   every layer of the ladder: predict from the layer below as decoded, analyse the
         residual, code its latents tile by tile
decode   the latents of the wanted layer and of those below, entropy-decoded exactly, then
         synthesis upon prediction, block by block, 8-bit after every layer
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.clock import StageClock
from model.codec.latents import LatentCoder
from model.codec.parallel import Threads
from model.codec.weights import Prior, Weights, load, path_of_model, path_of_profile
from model.errors import EncodeError, InvalidStream
from model.geometry import Box, Size, divide, halved, whole
from model.network.compass import Hyperprior, channels_last, quality_to_level
from model.stream.container import MAX_EDGE, CodedLayer, Header, Index, read_header, read_index, write

Pixels = NDArray[np.uint8]
"""sRGB, (height, width, 3), of a batch (B, height, width, 3)."""

TILE = 256
"""Edge in pixels of the tiles that new streams are coded in."""
MAX_PIXELS = 2**28
"""Layers of more pixels are neither written nor decoded."""
_SYNTHESIS_BLOCK = 768  # pixels: what is computed around a block, and cut off, stays a small share
_ANALYSIS_BLOCK = 48  # latents, 768 pixels
_SETTLING = 7  # times that a layer is coded at most, until its hyper-latents have settled
_NOWHERE = Box(0, 0, 0, 0)

Source = Callable[[Box], Tensor]
"""Gives (B, 3, h, w) of a box of pixels, values about 0 to 1."""


def downscale(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A smaller (width, height) version of a picture: antialiased bicubic, 8-bit."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


class Codec:
    """Encoder and decoder of one set of weights on one device. Thread-safe.

    Streams written with other installed weights are decoded too. ``threads`` work on parts of one
    picture (default: one a core); see :mod:`model.codec.parallel`.
    """

    def __init__(self, weights: Weights, device: str = "cpu", threads: int | None = None):
        self.device = torch.device(device)
        self.weights = weights
        self.model_id = weights.model_id
        self.network = channels_last(weights.network.to(self.device))
        self.priors = {
            part: Prior(prior.synthesis.to(self.device), prior.tables)
            for part, prior in weights.priors.items()
        }
        self.threads = Threads(threads)
        self._thread_limit = threads
        self._block_threads = self.threads if self.device.type == "cpu" else Threads(1)
        self._others: dict[bytes, Codec] = {}

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
        sizes: Sequence[tuple[int, int]],
        quality: int,
        clock: StageClock | None = None,
    ) -> bytes:
        """Code a picture into one stream.

        ``sizes`` (width, height) of the layers, growing, the last the picture's own; ``quality`` 1
        to 100. Stages timed: ``prediction``, ``analysis``, ``priors``, ``entropy``, ``synthesis``,
        ``check`` (the layers are entropy-decoded and compared). Raises EncodeError.

        The stream is decoded back before it is returned: its latents equal those that were coded.
        """
        clock = clock or StageClock()
        _check_picture(pixels, sizes, quality)
        coded, latents = [], []
        below: Pixels | None = None
        for k, (width, height) in enumerate(sizes):
            size = (height, width)
            hyperprior, coder = self._hyperprior(k), self._coder(k, size, TILE)
            gain, inverse = self._gains(hyperprior, quality)
            prediction: Source | None = None
            if below is not None:
                with clock.stage("prediction"):
                    prediction = self._predict_whole(below, size)
            with clock.stage("analysis"):
                y = self._analyse(hyperprior, downscale(pixels, (width, height)), prediction) * gain
                z = hyperprior.hyper_analyse(y) - hyperprior.medians()
            for _ in range(_SETTLING):
                hyper_latents, tiles, known = coder.encode(y[0], z[0], clock)
                settled = coder.settle(y, z, known)
                if settled is None:
                    break
                z = settled
            y = known
            coded.append(CodedLayer(width, height, quality, hyper_latents, tiles))
            latents.append(y)
            if k < len(sizes) - 1:
                region = whole(size)
                below = self._reconstruct(
                    hyperprior, y * inverse, whole(coder.latents), region, size, prediction, clock
                )[0]
        stream = write(self.model_id, TILE, coded)
        with clock.stage("check"):
            for k, y in enumerate(latents):
                if not torch.equal(self.latents(stream, k), y):
                    raise EncodeError(f"layer {k} does not decode back to the latents that were coded")
        return stream

    @torch.inference_mode()
    def enlarge(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        """LIFF's prediction of a picture at a larger (width, height), as if it were the next layer."""
        shape = size[1], size[0]
        predicted = self._predict_whole(pixels, shape)(whole(shape))
        rounded = torch.round(predicted[0].clamp(0, 1) * 255).to(torch.uint8)
        return rounded.permute(1, 2, 0).cpu().numpy()

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

        ``layer`` 0 is the smallest; default: the largest in the stream. ``start`` gives a lower
        layer's number and pixels as decoded before. Stages timed: ``priors``, ``entropy``,
        ``prediction``, ``synthesis``. Raises a StreamError, or ValueError for a region or a start that
        does not fit the stream.
        """
        started = None if start is None else (start[0], [start[1]])
        return self.decode_batch([stream], layer, region, started, clock)[0]

    @torch.inference_mode()
    def decode_batch(
        self,
        streams: Sequence[bytes],
        layer: int | None = None,
        region: Box | None = None,
        start: tuple[int, Sequence[Pixels]] | None = None,
        clock: StageClock | None = None,
    ) -> list[Pixels]:
        """The same of several streams at once, whose layers have the same sizes; for a GPU.

        ``start`` has the pixels of every picture. Raises ValueError, too, for streams that are not
        :func:`alike`.
        """
        clock = clock or StageClock()
        headers = [read_header(stream) for stream in streams]
        header = headers[0]
        if header.model_id != self.model_id:
            return self._other(header.model_id).decode_batch(streams, layer, region, start, clock)
        layer = len(header.layers) - 1 if layer is None else layer
        if any(alike(other, layer) != alike(header, layer) for other in headers):
            raise ValueError("the streams' layers are not alike")
        first, below = (0, None) if start is None else (start[0] + 1, np.stack(start[1]))
        if not 0 <= first <= layer:
            raise ValueError(f"layer {layer} cannot be decoded from layer {first - 1}")
        regions = self._regions(header, layer, region, first)
        if below is not None and below.shape != (len(streams), *_size(header, first - 1), 3):
            raise ValueError(f"{below.shape} are not the pixels of layer {first - 1}")
        held = whole(_size(header, first - 1)) if first else _NOWHERE
        for k in range(first, layer + 1):
            below = self._decode_layer(headers, streams, k, regions[k], below, held, clock)
            held = regions[k]
        assert below is not None
        # apart, lest one that is kept keep the others
        return list(below) if len(below) == 1 else [pixels.copy() for pixels in below]

    def latents(self, stream: bytes, layer: int) -> Tensor:
        """The latents (1, M, h, w) of one layer, before the inverse gain: the part that is exact."""
        header = read_header(stream)
        if header.model_id != self.model_id:
            return self._other(header.model_id).latents(stream, layer)
        self._regions(header, layer, None, 0)
        return self._decode_latents(header, stream, layer, whole(_size(header, layer)), StageClock())[0]

    def reads(self, stream: bytes, layer: int, region: Box | None = None) -> list[tuple[int, int]]:
        """The (start, end) of the bytes that decoding a layer, or a region of it, reads.

        ``stream`` may lack, or hold anything in place of, all other bytes but for the layers'
        indexes. Raises a StreamError.
        """
        header = read_header(stream)
        if header.model_id != self.model_id:
            return self._other(header.model_id).reads(stream, layer, region)
        spans = [(0, header.length)]
        for k, part in enumerate(self._regions(header, layer, region, 0)):
            start = header.layers[k].offset
            spans.append((start, start + header.index_length(k)))
            coder, index, box = self._place(header, stream, k, part)
            spans += [(s.offset, s.offset + s.length) for s in coder.read(index, box)]
        return spans

    def _regions(self, header: Header, layer: int, region: Box | None, first: int) -> list[Box]:
        if not 0 <= layer < len(header.layers):
            raise InvalidStream(f"there is no layer {layer}; the stream has {len(header.layers)}")
        size = _size(header, layer)
        if size[0] * size[1] > MAX_PIXELS:
            raise InvalidStream(f"layer {layer} has {size[1]}x{size[0]} pixels; the limit is {MAX_PIXELS}")
        region = whole(size) if region is None else region
        if not region.within(size):
            raise ValueError(f"{region} does not lie in a layer of {size[1]}x{size[0]} pixels")
        boxes = [region]
        for k in range(layer, first, -1):
            small, large = _size(header, k - 1), _size(header, k)
            needed = self.network.enhancement.transforms.prediction_for_pixels(boxes[-1], large)
            boxes.append(self.network.liff.pixels_for_prediction(needed, small, large))
        return [_NOWHERE] * first + boxes[::-1]

    def _other(self, model_id: bytes) -> "Codec":
        if model_id not in self._others:
            weights = load(path_of_model(model_id))
            self._others[model_id] = Codec(weights, str(self.device), self._thread_limit)
        return self._others[model_id]

    def _hyperprior(self, layer: int) -> Hyperprior:
        return self.network.enhancement if layer else self.network.base

    def _coder(self, layer: int, size: Size, tile: int) -> LatentCoder:
        prior = self.priors["enhancement" if layer else "base"]
        return LatentCoder(size, tile, prior, self.weights.latent_tables, self.threads)

    def _gains(self, hyperprior: Hyperprior, quality: int) -> tuple[Tensor, Tensor]:
        level = quality_to_level(self.weights.config, quality)
        return hyperprior.gains(torch.tensor([level], device=self.device))

    def _decode_latents(
        self, header: Header, stream: bytes, k: int, region: Box, clock: StageClock
    ) -> tuple[Tensor, Box]:
        """The latents that a region of layer ``k`` depends on, and the box of latents they are."""
        coder, index, box = self._place(header, stream, k, region)
        return coder.decode(stream, index, box, clock)

    def _place(self, header: Header, stream: bytes, k: int, region: Box) -> tuple[LatentCoder, Index, Box]:
        """Where a region of layer ``k`` lies: in whose charge, by which index, in which latents."""
        size = _size(header, k)
        coder = self._coder(k, size, header.tile)
        box = self._hyperprior(k).transforms.latents_for_pixels(region, size)
        return coder, read_index(header, k, stream), box

    def _decode_layer(
        self,
        headers: Sequence[Header],
        streams: Sequence[bytes],
        k: int,
        region: Box,
        below: Pixels | None,
        held: Box,
        clock: StageClock,
    ) -> Pixels:
        """A region (B, h, w, 3) of layer ``k``, given the part ``held`` of the layer below as decoded."""
        size, hyperprior = _size(headers[0], k), self._hyperprior(k)
        latents = []
        for header, stream in zip(headers, streams, strict=True):
            y, window = self._decode_latents(header, stream, k, region, clock)
            latents.append(y * self._gains(hyperprior, header.layers[k].quality)[1])
        prediction: Source | None = None
        if below is not None:
            pixels, small = self._to_device(below), _size(headers[0], k - 1)

            def prediction(block: Box) -> Tensor:
                return self.network.liff.predict(pixels, held, block, small, size)

        y = latents[0] if len(latents) == 1 else torch.cat(latents)
        return self._reconstruct(hyperprior, y, window, region, size, prediction, clock)

    def _to_device(self, pixels: Pixels) -> Tensor:
        """uint8 (B, h, w, 3) -> float32 (B, 3, h, w), values 0 to 1, channels last."""
        tensor = torch.from_numpy(np.array(pixels, order="C")).to(self.device)
        return tensor.permute(0, 3, 1, 2).float() / 255

    def _predict_whole(self, below: Pixels, size: Size) -> Source:
        """LIFF's prediction of a whole layer, computed once."""
        x, small = self._to_device(below[None]), (below.shape[0], below.shape[1])
        out = torch.empty((1, 3, *size), device=self.device)

        def fill(box: Box) -> None:
            out[..., *_slices(box)] = self.network.liff.predict(x, whole(small), box, small, size)

        self._block_threads.map(fill, divide(whole(size), _SYNTHESIS_BLOCK))
        return lambda box: out[..., *_slices(box)]

    def _analyse(self, hyperprior: Hyperprior, picture: Pixels, prediction: Source | None) -> Tensor:
        """Latents (1, M, h, w), before the gain, of a picture or of its residual."""
        size = (picture.shape[0], picture.shape[1])
        box = whole(halved(size, 4))
        shape = (1, self.weights.config.latents, *box.size)
        y = torch.empty(shape, device=self.device).contiguous(memory_format=torch.channels_last)

        def fill(part: Box) -> None:
            window = hyperprior.transforms.pixels_for_latents(part, size)
            x = self._to_device(picture[None, *_slices(window)])
            p = prediction(window) if prediction else None
            x = x if p is None else x - p
            y[..., *_slices(part)] = hyperprior.transforms.analyse(x, window, part, size, p)

        self._block_threads.map(fill, divide(box, _ANALYSIS_BLOCK))
        return y

    def _reconstruct(
        self,
        hyperprior: Hyperprior,
        y: Tensor,
        window: Box,
        region: Box,
        size: Size,
        prediction: Source | None,
        clock: StageClock,
    ) -> Pixels:
        """The 8-bit pixels (B, h, w, 3) of a region from the latents (B, M, ...) of ``window``."""
        out = np.empty((len(y), *region.size, 3), np.uint8)

        def fill(box: Box) -> StageClock:
            watch = StageClock()
            seen, p = hyperprior.transforms.prediction_for_pixels(box, size), None
            if prediction is not None:
                with watch.stage("prediction"):
                    p = prediction(seen)
            with watch.stage("synthesis"):
                x = hyperprior.transforms.synthesise(y, window, box, size, p)
                if p is not None:
                    x = x + p[..., *box.inside(seen)]
                rounded = torch.round(x.clamp(0, 1) * 255).to(torch.uint8)
                out[:, *box.inside(region)] = rounded.permute(0, 2, 3, 1).cpu().numpy()
            return watch

        began = time.perf_counter()
        watches = self._block_threads.map(fill, divide(region, _SYNTHESIS_BLOCK))
        clock.add_parallel(time.perf_counter() - began, watches)
        return out


def alike(header: Header, layer: int) -> tuple[object, ...]:
    """Equal for streams that can be decoded together up to a layer: weights, sizes, tiles."""
    sizes = [(entry.width, entry.height) for entry in header.layers[: layer + 1]]
    return header.model_id, header.tile, *sizes


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.bottom), slice(box.left, box.right)


def _size(header: Header, layer: int) -> Size:
    return header.layers[layer].height, header.layers[layer].width


def _check_picture(pixels: Pixels, sizes: Sequence[tuple[int, int]], quality: int) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise EncodeError(f"a picture is (height, width, 3) uint8, not {pixels.shape} {pixels.dtype}")
    if not sizes or tuple(sizes[-1]) != (pixels.shape[1], pixels.shape[0]):
        raise EncodeError("the last layer has the picture's own size")
    if max(sizes[-1]) > MAX_EDGE or sizes[-1][0] * sizes[-1][1] > MAX_PIXELS:
        raise EncodeError(f"{sizes[-1][0]}x{sizes[-1][1]} pixels are too many")
    for small, large in pairwise(sizes):
        if min(small) < 1 or small[0] > large[0] or small[1] > large[1] or tuple(small) == tuple(large):
            raise EncodeError(f"layers must grow: {small} before {large}")
    if not 1 <= quality <= 100:
        raise EncodeError(f"quality is 1 to 100, not {quality}")
