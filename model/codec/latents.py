"""A layer's latents: from integers to substreams of bytes and back, exactly."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.clock import StageClock
from model.codec.parallel import Threads
from model.codec.weights import Prior, scale_table
from model.geometry import Box, Size, coarse, divide, fine, halved, whole
from model.network.priors import FRACTION
from model.network.transforms import LATENT
from model.stream.container import Index, Substream
from model.stream.entropy import MAX_SYMBOL, MIN_SYMBOL, Tables, decode, decode_all, encode

_MOST_MISSING = 50.0
"""Squared quantiser steps that may be missing in the latents of a hyper-latent: two for each of a dozen."""
_BITS = 0.1
"""What a wasted bit weighs among faults: 500 of them are too many in the latents of a hyper-latent."""
_WIDE = int(np.searchsorted(scale_table(), 2.0))
"""The first table whose latents are 2 steps wide."""
_TINY = 1e-6
BLOCK = 32
"""Edge in latents of what is worked on at a time: small enough to give every thread some blocks."""


@dataclass(frozen=True)
class RoundedLatents:
    """A layer's latents as integers that can be coded.

    Coded are ``hyper_latents`` int16 (N, h/4, w/4), and ``symbols`` int16 (M, h, w) with the tables that
    ``index`` uint8 (M, h, w) names; those of tables below ``first_coded`` are 0 and are left out. ``values``
    (1, M, h, w) are the latents as the decoder will have them; ``wasted`` (1, 1, h/4, w/4) is what their
    priors waste, by hyper-latent, in faults.
    """

    hyper_latents: Tensor
    symbols: Tensor
    index: Tensor
    first_coded: int
    values: Tensor
    wasted: Tensor

    def coded(self, box: Box) -> Tensor:
        """Which latents (M, *box.size) of a box are coded."""
        return self.index[:, *box.slices] >= self.first_coded

    def copy(self) -> "RoundedLatents":
        """The same, whose symbols can be moved without these."""
        return replace(self, symbols=self.symbols.clone(), values=self.values.clone())

    def move(self, moves: Tensor, box: Box) -> None:
        """Add ``moves`` (M, *box.size) to the symbols of a box, and to the values: their means have 8 bits
        behind the point, so that sums are exact.
        """
        self.symbols[:, *box.slices] += moves
        self.values[..., *box.slices] += moves


@dataclass(frozen=True)
class CodedLatents:
    """The bytes of a layer's ``hyper_latents``, and of each of its ``tiles``, row by row."""

    hyper_latents: bytes
    tiles: list[bytes]


@dataclass(frozen=True)
class LatentCoder:
    """Codes the latents of one layer of ``size`` pixels in tiles of ``tile`` pixels' edge.

    Boxes of tiles count rows and columns of tiles; boxes of latents count latents, of which each covers
    16 x 16 pixels. A hyper-latent covers 64 x 64 pixels.
    """

    size: Size
    tile: int
    prior: Prior
    tables: Tables
    threads: Threads

    @property
    def latents(self) -> Size:
        """Rows and columns of latents."""
        return halved(self.size, 4)

    @property
    def hyper_latents(self) -> Size:
        """Rows and columns of hyper-latents."""
        return halved(self.size, 6)

    @property
    def grid(self) -> Size:
        """Rows and columns of tiles."""
        return coarse(whole(self.size), self.tile).size

    def latents_of(self, tiles: Box) -> Box:
        """The latents in a box of tiles."""
        return fine(tiles, self.tile // LATENT, self.latents)

    def tiles_of(self, latents: Box) -> Box:
        """The tiles that hold a box of latents."""
        return coarse(latents, self.tile // LATENT)

    def blocks(self, tiles: Box) -> Iterator[Box]:
        """The boxes of tiles that are coded or decoded at a time, row by row."""
        return divide(tiles, max(1, BLOCK * LATENT // self.tile))

    def round(self, y: Tensor, z: Tensor, clock: StageClock) -> RoundedLatents:
        """Round gained latents (M, h, w) and centred hyper-latents (N, h/4, w/4). Stage timed: ``priors``."""
        z = _quantise(z)
        values = torch.empty_like(y, dtype=torch.float32)[None].contiguous(memory_format=torch.channels_last)
        symbols, index = torch.empty_like(y, dtype=torch.int16), torch.empty_like(y, dtype=torch.uint8)
        wasted = y.new_empty((1, 1, *self.hyper_latents), dtype=torch.float32)

        def round_block(tiles: Box, watch: StageClock) -> None:
            window = self.latents_of(tiles)
            inside = window.slices
            with watch.stage("priors"):
                tables, mean = self._priors(z, window)
                rounded = _quantise(y[:, *inside] - mean * 2.0**-FRACTION)
                rounded = torch.where(tables < self.tables.skip, 0, rounded)
                values[..., *inside] = dequantise(rounded, mean)
                wasted[..., *coarse(window, 4).slices] = self._wasted(rounded, tables)
                symbols[:, *inside], index[:, *inside] = rounded, tables

        self._work(round_block, whole(self.grid), clock)
        return RoundedLatents(z, symbols, index, self.tables.skip, values, wasted)

    def write(self, rounded: RoundedLatents, clock: StageClock) -> CodedLatents:
        """Code rounded latents. Stage timed: ``entropy``."""
        coded: dict[Box, bytes] = {}

        def encode_block(tiles: Box, watch: StageClock) -> None:
            window = self.latents_of(tiles)
            values, indexes = (
                part[:, *window.slices].cpu().numpy() for part in (rounded.symbols, rounded.index)
            )
            with watch.stage("entropy"):
                for tile in divide(tiles, 1):
                    inside = self.latents_of(tile).inside(window)
                    part = values[:, *inside].ravel(), indexes[:, *inside].ravel()
                    coded[tile] = encode(*part, self.tables)

        self._work(encode_block, whole(self.grid), clock)
        z = rounded.hyper_latents.cpu().numpy()
        with clock.stage("entropy"):
            hyper = encode(z.ravel(), _channels(z.shape).ravel(), self.prior.tables)
        return CodedLatents(hyper, [coded[tile] for tile in divide(whole(self.grid), 1)])

    def missing(self, y: Tensor, decoded: Tensor) -> Tensor:
        """What is lost of latents that are not coded: squared steps (1, 1, h/4, w/4), by hyper-latent.

        ``y`` and ``decoded`` are latents (1, M, h, w), unrounded and as the decoder will have them.
        """
        missing = y.new_empty((1, 1, *self.hyper_latents))
        for box in divide(whole(self.latents), BLOCK):  # the errors of all at once would take as much as y
            error = (y[..., *box.slices] - decoded[..., *box.slices]).square_()
            lost = error.mul_(error > 1).sum(1, keepdim=True)
            blocks = F.avg_pool2d(lost, 4, ceil_mode=True, divisor_override=1)
            missing[..., *coarse(box, 4).slices] = blocks
        return missing

    def _wasted(self, symbols: Tensor, index: Tensor) -> Tensor:
        """Bits, times ``_BITS``, that wide tables waste on small symbols (1, h/4, w/4), by hyper-latent.

        Both (M, h, w). A latent whose table is 2^n times as wide as it needs wastes about n bits; tables of
        four times the width are usual.
        """
        wide = index >= _WIDE
        scale = torch.from_numpy(scale_table()).float().to(index.device)[index.long()]
        parts = (wide, symbols.abs() * wide, scale * wide)
        count, size, width = (
            F.avg_pool2d(part.sum(0, dtype=torch.float32)[None], 4, ceil_mode=True, divisor_override=1)
            for part in parts
        )
        return _BITS * count * (torch.log2(width / (size + 1) + _TINY) - 2).clamp_(min=0)

    def settle(self, faults: Tensor, z: Tensor) -> Tensor | None:
        """Hyper-latents (1, N, h/4, w/4) nearer to 0 where ``faults`` are too many, or None.

        ``faults`` are those of :meth:`missing`, and :attr:`RoundedLatents.wasted`. Where hyper-latents are
        unlike everything that training saw, as on flat areas, priors can be far off: latents that are not
        coded are replaced by their means, and a block gets another colour, or all others are coded as if they
        were large.
        """
        wrong = F.max_pool2d((faults > _MOST_MISSING).float(), 3, stride=1, padding=1) > 0
        return torch.where(wrong, torch.trunc(z.round() / 2), z) if wrong.any() else None

    def decode(self, stream: bytes, index: Index, box: Box, clock: StageClock) -> tuple[Tensor, Box]:
        """Latents (1, M, h, w) of the tiles that hold ``box``, and the box of latents that these cover.

        ``stream`` holds at least the hyper-latents and those tiles. Stages timed: ``priors``,
        ``entropy``. Raises a StreamError.
        """
        wanted = self.tiles_of(box)
        window = self.latents_of(wanted)
        with clock.stage("entropy"):
            z = self.decode_hyper_latents(stream, index)
        shape = (1, self.prior.synthesis.shape[1], *window.size)
        out = torch.empty(shape, device=z.device).contiguous(memory_format=torch.channels_last)

        def decode_block(tiles: Box, watch: StageClock) -> None:
            symbols, _, mean = self.decode_symbols(stream, index, z, tiles, watch)
            latents = dequantise(torch.from_numpy(symbols).to(z.device), mean)
            out[..., *self.latents_of(tiles).inside(window)] = latents

        self._work(decode_block, wanted, clock)
        return out, window

    def decode_hyper_latents(self, stream: bytes, index: Index) -> Tensor:
        """The symbols of the layer's hyper-latents, int16 (N, h/64, w/64). Raises a StreamError."""
        data = index.hyper_latents.cut(stream, "hyper-latents")
        shape = (len(self.prior.tables), *self.hyper_latents)
        symbols = decode(data, _channels(shape), self.prior.tables)
        return torch.from_numpy(symbols).to(self.prior.synthesis.medians.device)

    def decode_symbols(
        self, stream: bytes, index: Index, z: Tensor, tiles: Box, clock: StageClock
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8], Tensor]:
        """Symbols, table indexes and means, each (M, h, w), of the latents in a box of ``tiles``.

        ``z`` are the layer's hyper-latents. Means are integers in units of 2^-8. Stages timed: ``priors``,
        ``entropy``. Raises a StreamError.
        """
        block = self.latents_of(tiles)
        with clock.stage("priors"):
            table_indexes, mean = self._priors(z, block)
            indexes = table_indexes.cpu().numpy()
        symbols = np.empty(indexes.shape, np.int16)
        with clock.stage("entropy"):
            cells = list(divide(tiles, 1))
            places = [self.latents_of(cell).inside(block) for cell in cells]
            strings = [self._bytes_of(cell, stream, index) for cell in cells]
            parts = decode_all(strings, [indexes[:, *place] for place in places], self.tables)
            for place, part in zip(places, parts, strict=True):
                symbols[:, *place] = part
        return symbols, indexes, mean

    def substreams_read(self, index: Index, box: Box) -> list[Substream]:
        """The substreams that :meth:`decode` reads for a ``box`` of latents."""
        return [
            index.hyper_latents,
            *(self._substream(index, tile) for tile in divide(self.tiles_of(box), 1)),
        ]

    def _substream(self, index: Index, tile: Box) -> Substream:
        """The substream of one tile."""
        return index.tiles[tile.top * self.grid.width + tile.left]

    def _bytes_of(self, tile: Box, stream: bytes, index: Index) -> bytes:
        """The bytes of one tile."""
        return self._substream(index, tile).cut(stream, f"tile in row {tile.top}, column {tile.left}")

    def _priors(self, z: Tensor, box: Box) -> tuple[Tensor, Tensor]:
        """Table indexes uint8 and means int32, each (M, h, w), of the latents in ``box``."""
        return self.prior.synthesis(z, whole(self.hyper_latents), box, self.size)

    def _work(self, work: Callable[[Box, StageClock], None], tiles: Box, clock: StageClock) -> None:
        """Do ``work`` on every block of the ``tiles``, side by side."""

        def timed(block: Box) -> StageClock:
            watch = StageClock()
            work(block, watch)
            return watch

        began = time.perf_counter()
        watches = self.threads.map(timed, self.blocks(tiles))
        clock.add_parallel(time.perf_counter() - began, watches)


def _quantise(x: Tensor) -> Tensor:
    return torch.round(x).clamp(MIN_SYMBOL, MAX_SYMBOL).to(torch.int16)


def dequantise(symbols: Tensor, mean: Tensor) -> Tensor:
    """Symbols and fixed-point means (M, h, w) -> latents (1, M, h, w), sums rounded to float32."""
    return (symbols.float() + mean.float() * 2.0**-FRACTION)[None]


def _channels(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The table of each hyper-latent (N, h, w), which is its channel."""
    return np.broadcast_to(np.arange(shape[0], dtype=np.uint8)[:, None, None], shape)
