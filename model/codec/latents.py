"""A layer's latents: from integers to substreams of bytes and back, exactly."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.clock import StageClock
from model.codec.parallel import Threads
from model.codec.weights import Prior
from model.geometry import Box, Size, coarse, divide, fine, halved, whole
from model.network.priors import FRACTION
from model.network.transforms import LATENT
from model.stream.container import Index, Substream
from model.stream.entropy import MAX_SYMBOL, MIN_SYMBOL, Tables, decode, decode_all, encode

_MISSING = 50.0
"""Squared quantiser steps that may be missing in the latents of a hyper-latent: two for each of a dozen."""
_BLOCK = 32  # latents whose priors are computed at a time: enough blocks for every thread


@dataclass(frozen=True)
class LatentCoder:
    """The tiles of one layer of ``size`` (height, width), ``tile`` pixels wide and high."""

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
        return -(-self.size[0] // self.tile), -(-self.size[1] // self.tile)

    def latents_of(self, tiles: Box) -> Box:
        """The latents in a box of tiles."""
        return fine(tiles, self.tile // LATENT, self.latents)

    def encode(self, y: Tensor, z: Tensor, clock: StageClock) -> tuple[bytes, list[bytes], Tensor]:
        """Code gained latents (M, h, w) and centred hyper-latents (N, h, w), both unrounded.

        Returns the bytes of the hyper-latents, those of each tile, row by row, and the latents
        (1, M, h, w) as the decoder will have them. Stages timed: ``priors``, ``entropy``.
        """
        z = _quantise(z)
        tiles: dict[Box, bytes] = {}
        out = self._code(y, z, clock, tiles)
        hyper_symbols = z.cpu().numpy()
        with clock.stage("entropy"):
            hyper = encode(hyper_symbols.ravel(), _channels(hyper_symbols.shape).ravel(), self.prior.tables)
        return hyper, [tiles[cell] for cell in divide(whole(self.grid), 1)], out

    def settle(self, y: Tensor, z: Tensor, known: Tensor) -> Tensor | None:
        """Hyper-latents (1, N, h, w) nearer to 0 where too much of ``y`` is missing in ``known``, or None.

        Latents that are not coded are their means. Where hyper-latents are unlike all that training saw, as
        on flat areas, these can be far off, with nothing to bring them back: a block has another colour.
        ``y``, ``known``: latents (1, M, h, w), unrounded and as the decoder will have them.
        """
        error = (y - known).square_()
        missing = error.mul_(error > 1).sum(1, keepdim=True)
        by_hyper_latent = F.avg_pool2d(missing, 4, ceil_mode=True, divisor_override=1)
        wrong = F.max_pool2d((by_hyper_latent > _MISSING).float(), 3, stride=1, padding=1) > 0
        return torch.where(wrong, torch.trunc(z.round() / 2), z) if wrong.any() else None

    def _code(self, y: Tensor, z: Tensor, clock: StageClock, tiles: dict[Box, bytes]) -> Tensor:
        """The latents (1, M, h, w) as the decoder will have them; fills in their bytes."""
        out = torch.empty_like(y, dtype=torch.float32)[None].contiguous(memory_format=torch.channels_last)

        def code_block(cells: Box, watch: StageClock) -> None:
            window = self.latents_of(cells)
            with watch.stage("priors"):
                index, mean = self._priors(z, window)
            symbols = _quantise(y[:, *window.inside(whole(self.latents))] - mean * 2.0**-FRACTION)
            symbols = torch.where(index < self.tables.skip, 0, symbols)
            out[..., *window.inside(whole(self.latents))] = dequantise(symbols, mean)
            values, indexes = symbols.cpu().numpy(), index.cpu().numpy()
            with watch.stage("entropy"):
                for cell in divide(cells, 1):
                    inside = self.latents_of(cell).inside(window)
                    part = values[:, *inside].ravel(), indexes[:, *inside].ravel()
                    tiles[cell] = encode(*part, self.tables)

        self._work(code_block, whole(self.grid), clock)
        return out

    def decode(self, stream: bytes, index: Index, box: Box, clock: StageClock) -> tuple[Tensor, Box]:
        """Latents (1, M, h, w) of the tiles that hold ``box``, and the latents they cover.

        ``stream`` holds at least the hyper-latents and those tiles. Stages timed: ``priors``,
        ``entropy``. Raises a StreamError.
        """
        wanted = coarse(box, self.tile // LATENT)
        window = self.latents_of(wanted)
        with clock.stage("entropy"):
            z = self._decode_hyper_latents(index.hyper_latents.cut(stream, "hyper-latents"))
        shape = (1, self.prior.synthesis.shape[1], *window.size)
        out = torch.empty(shape, device=z.device).contiguous(memory_format=torch.channels_last)

        def decode_block(tiles: Box, watch: StageClock) -> None:
            block = self.latents_of(tiles)
            with watch.stage("priors"):
                tables, mean = self._priors(z, block)
                indexes = tables.cpu().numpy()
            symbols = np.empty(indexes.shape, np.int16)
            with watch.stage("entropy"):
                cells = list(divide(tiles, 1))
                places = [self.latents_of(cell).inside(block) for cell in cells]
                strings = [self._cut(stream, index, cell) for cell in cells]
                parts = decode_all(strings, [indexes[:, *place] for place in places], self.tables)
                for place, part in zip(places, parts, strict=True):
                    symbols[:, *place] = part
            out[..., *block.inside(window)] = dequantise(torch.from_numpy(symbols).to(z.device), mean)

        self._work(decode_block, wanted, clock)
        return out, window

    def read(self, index: Index, box: Box) -> list[Substream]:
        """The substreams that :meth:`decode` reads for ``box``."""
        wanted = coarse(box, self.tile // LATENT)
        return [index.hyper_latents, *(self._substream(index, cell) for cell in divide(wanted, 1))]

    def _substream(self, index: Index, cell: Box) -> Substream:
        """That of one tile."""
        return index.tiles[cell.top * self.grid[1] + cell.left]

    def _cut(self, stream: bytes, index: Index, cell: Box) -> bytes:
        """The bytes of one tile."""
        name = f"tile in row {cell.top}, column {cell.left}"
        return self._substream(index, cell).cut(stream, name)

    def _decode_hyper_latents(self, data: bytes) -> Tensor:
        """The hyper-latents' symbols int16 (N, h, w)."""
        shape = (len(self.prior.tables), *self.hyper_latents)
        symbols = decode(data, _channels(shape), self.prior.tables)
        return torch.from_numpy(symbols).to(self.prior.synthesis.medians.device)

    def _priors(self, z: Tensor, box: Box) -> tuple[Tensor, Tensor]:
        """Table indexes uint8 and means int32 of the latents in ``box``."""
        return self.prior.synthesis(z, whole(self.hyper_latents), box, self.size)

    def _work(self, work: Callable[[Box, StageClock], None], tiles: Box, clock: StageClock) -> None:
        """``work`` on every block of the ``tiles``, side by side."""

        def timed(block: Box) -> StageClock:
            watch = StageClock()
            work(block, watch)
            return watch

        began = time.perf_counter()
        watches = self.threads.map(timed, divide(tiles, max(1, _BLOCK * LATENT // self.tile)))
        clock.add_parallel(time.perf_counter() - began, watches)


def _quantise(x: Tensor) -> Tensor:
    return torch.round(x).clamp(MIN_SYMBOL, MAX_SYMBOL).to(torch.int16)


def dequantise(symbols: Tensor, mean: Tensor) -> Tensor:
    """Symbols and fixed-point means (M, h, w) -> latents (1, M, h, w), sums rounded to float32."""
    return (symbols.float() + mean.float() * 2.0**-FRACTION)[None]


def _channels(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The table of each hyper-latent (N, h, w): its channel."""
    return np.broadcast_to(np.arange(shape[0], dtype=np.uint8)[:, None, None], shape)
