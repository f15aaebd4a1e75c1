"""Pictures to streams and back.

encode   every layer of the ladder: predict from the layer below as decoded, analyse the
         residual, code its latents tile by tile
decode   the latents of the wanted layer and of those below, entropy-decoded exactly, then
         synthesis upon prediction, block by block, 8-bit after every layer
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.clock import StageClock
from model.container import (
    MAX_EDGE,
    CodedLayer,
    Header,
    Tile,
    check_tile,
    read_header,
    read_tile_index,
    write,
)
from model.entropy import MAX_SYMBOL, MIN_SYMBOL, Decoder, Part, encode
from model.errors import EncodeError, InvalidStream
from model.geometry import Box, Size, coarse, divide, fine, halved, whole
from model.integer import FRACTION
from model.network import Hyperprior, channels_last, quality_to_level
from model.transforms import (
    analyse,
    latents_for_pixels,
    pixels_for_latents,
    pixels_for_prediction,
    predict,
    synthesise,
)
from model.weights import Prior, Weights, load, path_of_model, path_of_profile

Pixels = NDArray[np.uint8]
"""sRGB, (height, width, 3)."""

TILE = 256
"""Edge in pixels of the tiles that new streams are coded in."""
MAX_PIXELS = 2**28
"""Layers of more pixels are neither written nor decoded."""
_SYNTHESIS_BLOCK = 256  # pixels: large enough for threads, small enough for the caches
_ANALYSIS_BLOCK = 32  # latents, 512 pixels
_DOWN = 16, 64  # pixels a latent and a hyper-latent

Source = Callable[[Box], Tensor]
"""Gives (1, 3, h, w) of a box of pixels, values about 0 to 1."""


def downscale(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A smaller (width, height) version of a picture: antialiased bicubic, 8-bit."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class _Layer:
    """One layer's network and numbers, the same for encoder and decoder; sizes (height, width)."""

    hyperprior: Hyperprior
    prior: Prior
    size: Size
    gain: Tensor
    inverse_gain: Tensor
    tile: int

    @property
    def latents(self) -> Size:
        return halved(self.size, 4)

    @property
    def hyper_latents(self) -> Size:
        return halved(self.size, 6)

    @property
    def grid(self) -> Size:
        """Rows and columns of tiles."""
        return -(-self.size[0] // self.tile), -(-self.size[1] // self.tile)

    def latents_of(self, tiles: Box) -> Box:
        """The latents in a box of tiles."""
        return fine(tiles, self.tile // _DOWN[0], self.latents)

    def hyper_latents_of(self, tiles: Box) -> Box:
        """The hyper-latents in a box of tiles."""
        return fine(tiles, self.tile // _DOWN[1], self.hyper_latents)


class Codec:
    """Encoder and decoder of one set of weights on one device. Thread-safe.

    Streams written with other installed weights are decoded too. ``threads`` decode tiles
    (default: as many as torch uses).
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
        self._threads = ThreadPoolExecutor(threads or torch.get_num_threads(), "tiles")
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
        to 100. Raises EncodeError.
        """
        clock = clock or StageClock()
        _check_picture(pixels, sizes, quality)
        coded = []
        below: Pixels | None = None
        for k, (width, height) in enumerate(sizes):
            layer = self._layer(k, (height, width), quality, TILE)
            picture = downscale(pixels, (width, height))
            prediction = None
            if below is not None:
                with clock.stage("prediction"):
                    prediction = self._predict_whole(below, layer.size)
            tiles, latents = self._encode_layer(layer, picture, prediction, clock)
            coded.append(CodedLayer(width, height, quality, tiles))
            if k < len(sizes) - 1:
                source = None if prediction is None else _source_of(prediction)
                window = whole(layer.latents)
                with clock.stage("synthesis"):
                    below = self._reconstruct(layer, latents, window, whole(layer.size), source)
        return write(self.model_id, TILE, coded)

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
        layer's number and pixels as decoded before. Raises a StreamError.
        """
        clock = clock or StageClock()
        header = read_header(stream)
        if header.model_id != self.model_id:
            return self._other(header.model_id).decode(stream, layer, region, start, clock)
        layer = len(header.layers) - 1 if layer is None else layer
        first, below = (0, None) if start is None else (start[0] + 1, start[1])
        regions = self._regions(header, layer, region, first)
        held = whole(_size(header, first - 1)) if first else Box(0, 0, 0, 0)
        for k in range(first, layer + 1):
            below = self._decode_layer(header, stream, k, regions[k], below, held, clock)
            held = regions[k]
        if below is None or first > layer:
            raise ValueError(f"nothing to decode: layer {layer}, starting after layer {first - 1}")
        return below

    def regions(self, header: Header, layer: int, region: Box | None = None) -> list[Box]:
        """What of each layer, 0 to ``layer``, the decoding of a region depends on, in pixels."""
        return self._regions(header, layer, region, 0)

    def _regions(self, header: Header, layer: int, region: Box | None, first: int) -> list[Box]:
        if not 0 <= layer < len(header.layers):
            raise InvalidStream(f"there is no layer {layer}; the stream has {len(header.layers)}")
        size = _size(header, layer)
        if size[0] * size[1] > MAX_PIXELS:
            raise InvalidStream(
                f"layer {layer} has {size[1]}x{size[0]} pixels, more than {MAX_PIXELS} in all"
            )
        region = whole(size) if region is None else region
        if not region.within(size):
            raise ValueError(f"{region} does not lie in a layer of {size[1]}x{size[0]} pixels")
        boxes = [region]
        for k in range(layer, first, -1):
            small, large = _size(header, k - 1), _size(header, k)
            boxes.append(pixels_for_prediction(self.network.liff, boxes[-1], small, large))
        return [Box(0, 0, 0, 0)] * first + boxes[::-1]

    def _other(self, model_id: bytes) -> "Codec":
        if model_id not in self._others:
            self._others[model_id] = Codec(load(path_of_model(model_id)), str(self.device))
        return self._others[model_id]

    def _layer(self, k: int, size: Size, quality: int, tile: int) -> _Layer:
        part = "enhancement" if k else "base"
        hyperprior: Hyperprior = getattr(self.network, part)
        level = quality_to_level(self.weights.config, quality)
        gain, inverse = hyperprior.gains(torch.tensor([level], device=self.device))
        return _Layer(hyperprior, self.priors[part], size, gain, inverse, tile)

    # ------------------------------------------------------------------ latents and their tiles

    def _encode_layer(
        self, layer: _Layer, picture: Pixels, prediction: Tensor | None, clock: StageClock
    ) -> tuple[list[bytes], Tensor]:
        """A layer's tiles, and its latents (1, M, h, w) as the decoder will have them."""
        shape = layer.latents
        with clock.stage("analysis"):
            y = torch.cat([self._analyse_row(layer, picture, prediction, row) for row in _rows(shape)], 2)
            y = y * layer.gain
            z = torch.round(layer.hyperprior.hyper_analyse(y) - layer.hyperprior.medians())[0]
            z = z.clamp(MIN_SYMBOL, MAX_SYMBOL).to(torch.int32)
        with clock.stage("entropy"):
            index, mean = layer.prior.synthesis(z, whole(layer.hyper_latents), whole(shape), layer.size)
            symbols = torch.round(y[0] - mean * 2.0**-FRACTION).clamp(MIN_SYMBOL, MAX_SYMBOL).to(torch.int32)
            symbols = torch.where(index < self.weights.latent_tables.skip, 0, symbols)
            arrays = [t.cpu().numpy() for t in (z, symbols, index)]
            tiles = list(
                self._threads.map(
                    lambda tile: self._encode_tile(layer, tile, *arrays), divide(whole(layer.grid), 1)
                )
            )
        return tiles, _latents(symbols, mean)

    def _analyse_row(self, layer: _Layer, picture: Pixels, prediction: Tensor | None, rows: Box) -> Tensor:
        """Latents of a full-width strip, from blocks of bounded size."""
        parts = []
        for box in divide(rows, _ANALYSIS_BLOCK):
            window = pixels_for_latents(box, layer.size)
            x = self._to_device(picture[window.top : window.bottom, window.left : window.right])
            if prediction is not None:
                x = x - prediction[..., window.top : window.bottom, window.left : window.right]
            parts.append(analyse(layer.hyperprior, x, window, box, layer.size))
        return torch.cat(parts, 3)

    def _encode_tile(
        self, layer: _Layer, tile: Box, z: np.ndarray, y: np.ndarray, index: np.ndarray
    ) -> bytes:
        z_part = z[:, *layer.hyper_latents_of(tile).inside(whole(layer.hyper_latents))]
        inside = layer.latents_of(tile).inside(whole(layer.latents))
        return encode(
            [
                Part(z_part.ravel(), _channel_indexes(z_part.shape), layer.prior.tables),
                Part(y[:, *inside].ravel(), index[:, *inside].ravel(), self.weights.latent_tables),
            ]
        )

    def _decode_latents(
        self, layer: _Layer, stream: bytes, tiles: Sequence[Tile], box: Box
    ) -> tuple[Tensor, Box]:
        """Latents (1, M, h, w) of the tiles that hold ``box``, and the box of latents they make up."""
        wanted = coarse(box, layer.tile // _DOWN[0])
        window = layer.latents_of(wanted)
        hyper_box = layer.prior.synthesis.inputs(window, layer.size)
        opened = coarse(hyper_box, layer.tile // _DOWN[1])
        hyper_window = layer.hyper_latents_of(opened)
        z = np.empty((len(layer.prior.tables), *hyper_window.size), np.int32)

        def open_tile(cell: Box) -> Decoder:
            tile = tiles[cell.top * layer.grid[1] + cell.left]
            where = f"tile in row {cell.top}, column {cell.left}"
            decoder = Decoder(check_tile(tile, stream[tile.offset : tile.offset + tile.length], where))
            part = z[:, *layer.hyper_latents_of(cell).inside(hyper_window)]
            part[...] = decoder.decode(_channel_indexes(part.shape), layer.prior.tables).reshape(part.shape)
            return decoder

        cells = list(divide(opened, 1))
        decoders = dict(zip(cells, self._threads.map(open_tile, cells), strict=True))
        index, mean = layer.prior.synthesis(
            torch.from_numpy(z).to(self.device), hyper_window, window, layer.size
        )
        indexes = index.cpu().numpy()
        symbols = np.empty(indexes.shape, np.int32)

        def finish_tile(cell: Box) -> None:
            inside = layer.latents_of(cell).inside(window)
            part = indexes[:, *inside]
            decoded = decoders[cell].decode(part.ravel(), self.weights.latent_tables)
            decoders[cell].finish()
            symbols[:, *inside] = decoded.reshape(part.shape)

        list(self._threads.map(finish_tile, divide(wanted, 1)))
        return _latents(torch.from_numpy(symbols).to(self.device), mean), window

    def _decode_layer(
        self,
        header: Header,
        stream: bytes,
        k: int,
        region: Box,
        below: Pixels | None,
        held: Box,
        clock: StageClock,
    ) -> Pixels:
        """A region of layer ``k``, given the part ``held`` of the layer below as decoded."""
        entry = header.layers[k]
        layer = self._layer(k, (entry.height, entry.width), entry.quality, header.tile)
        with clock.stage("entropy"):
            index = stream[entry.offset : entry.offset + header.index_length(k)]
            tiles = read_tile_index(header, k, index)
            box = latents_for_pixels(region, layer.size)
            latents, window = self._decode_latents(layer, stream, tiles, box)
        source = None
        if below is not None:
            pixels, small = self._to_device(below), _size(header, k - 1)

            def source(block: Box) -> Tensor:
                with clock.stage("prediction"):
                    return predict(self.network.liff, pixels, held, block, small, layer.size)

        began = clock.seconds.get("prediction", 0.0)
        with clock.stage("synthesis"):
            result = self._reconstruct(layer, latents, window, region, source)
        clock.seconds["synthesis"] -= clock.seconds.get("prediction", 0.0) - began
        return result

    # ------------------------------------------------------------------ pixels

    def _to_device(self, pixels: Pixels) -> Tensor:
        """uint8 (h, w, 3) -> float32 (1, 3, h, w), values 0 to 1, channels last."""
        tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)
        return tensor.permute(2, 0, 1)[None].float() / 255

    def _predict_whole(self, below: Pixels, size: Size) -> Tensor:
        """LIFF's prediction (1, 3, *size) of a whole layer."""
        x, small = self._to_device(below), (below.shape[0], below.shape[1])
        out = torch.empty((1, 3, *size), device=self.device)
        for box in divide(whole(size), _SYNTHESIS_BLOCK):
            rows, columns = box.inside(whole(size))
            out[:, :, rows, columns] = predict(self.network.liff, x, whole(small), box, small, size)
        return out

    def _reconstruct(
        self, layer: _Layer, latents: Tensor, window: Box, region: Box, prediction: Source | None
    ) -> Pixels:
        """The 8-bit pixels of a region from the latents of ``window``."""
        y = latents * layer.inverse_gain
        out = np.empty((*region.size, 3), np.uint8)
        for box in divide(region, _SYNTHESIS_BLOCK):
            x = synthesise(layer.hyperprior, y, window, box, layer.size)
            if prediction is not None:
                x = x + prediction(box)
            rows, columns = box.inside(region)
            rounded = torch.round(x[0].clamp(0, 1) * 255).to(torch.uint8)
            out[rows, columns] = rounded.permute(1, 2, 0).cpu().numpy()
        return out


def _latents(symbols: Tensor, mean: Tensor) -> Tensor:
    """Symbols and fixed-point means (M, h, w) -> latents (1, M, h, w), exact in float32."""
    y = symbols.float() + mean.float() * 2.0**-FRACTION
    return y[None].contiguous(memory_format=torch.channels_last)


def _channel_indexes(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """The table of each hyper-latent: its channel."""
    return np.repeat(np.arange(shape[0], dtype=np.uint16), shape[1] * shape[2])


def _rows(size: Size) -> Iterator[Box]:
    """Full-width strips of an analysis block's height."""
    for top in range(0, size[0], _ANALYSIS_BLOCK):
        yield Box(top, 0, min(top + _ANALYSIS_BLOCK, size[0]), size[1])


def _source_of(prediction: Tensor) -> Source:
    return lambda box: prediction[..., box.top : box.bottom, box.left : box.right]


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
