"""A layer's latents: from integers to tiles of bytes and back, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.container import Tile, check_tile
from model.entropy import MAX_SYMBOL, MIN_SYMBOL, Decoder, Part, Tables, encode
from model.geometry import Box, Size, coarse, divide, fine, halved, whole
from model.integer import FRACTION
from model.parallel import Threads
from model.weights import Prior

LATENT, HYPER_LATENT = 16, 64
"""Edge of the pixels that one latent, one hyper-latent covers."""


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

    def hyper_latents_of(self, tiles: Box) -> Box:
        """The hyper-latents in a box of tiles."""
        return fine(tiles, self.tile // HYPER_LATENT, self.hyper_latents)

    def encode(self, y: Tensor, z: Tensor) -> tuple[list[bytes], Tensor]:
        """Code gained latents (M, h, w) and centred hyper-latents (N, h, w), both unrounded.

        Returns the tiles' bytes, row by row, and the latents (1, M, h, w) as the decoder will
        have them.
        """
        z = torch.round(z).clamp(MIN_SYMBOL, MAX_SYMBOL).to(torch.int32)
        index, mean = self.prior.synthesis(z, whole(self.hyper_latents), whole(self.latents), self.size)
        y = torch.round(y - mean * 2.0**-FRACTION).clamp(MIN_SYMBOL, MAX_SYMBOL).to(torch.int32)
        y = torch.where(index < self.tables.skip, 0, y)
        hyper_symbols, symbols, indexes = (t.cpu().numpy() for t in (z, y, index))

        def encode_tile(cell: Box) -> bytes:
            hyper = hyper_symbols[:, *self.hyper_latents_of(cell).inside(whole(self.hyper_latents))]
            inside = self.latents_of(cell).inside(whole(self.latents))
            return encode(
                [
                    Part(hyper.ravel(), _channels(hyper), self.prior.tables),
                    Part(symbols[:, *inside].ravel(), indexes[:, *inside].ravel(), self.tables),
                ]
            )

        tiles = self.threads.map(encode_tile, divide(whole(self.grid), 1))
        return tiles, dequantise(y, mean)

    def decode(self, stream: bytes, tiles: Sequence[Tile], box: Box) -> tuple[Tensor, Box]:
        """Latents (1, M, h, w) of the tiles that hold ``box``, and the latents they cover.

        ``stream`` holds at least those tiles and the hyper-latents' around them. Raises a
        StreamError.
        """
        wanted = coarse(box, self.tile // LATENT)
        window = self.latents_of(wanted)
        opened = coarse(self.prior.synthesis.inputs(window, self.size), self.tile // HYPER_LATENT)
        hyper_window = self.hyper_latents_of(opened)
        z = np.empty((len(self.prior.tables), *hyper_window.size), np.int32)

        def open_tile(cell: Box) -> Decoder:
            tile = tiles[cell.top * self.grid[1] + cell.left]
            where = f"tile in row {cell.top}, column {cell.left}"
            decoder = Decoder(check_tile(tile, stream[tile.offset : tile.offset + tile.length], where))
            part = z[:, *self.hyper_latents_of(cell).inside(hyper_window)]
            part[...] = decoder.decode(_channels(part), self.prior.tables).reshape(part.shape)
            return decoder

        cells = list(divide(opened, 1))
        decoders = dict(zip(cells, self.threads.map(open_tile, cells), strict=True))
        device = self.prior.synthesis.medians.device
        index, mean = self.prior.synthesis(torch.from_numpy(z).to(device), hyper_window, window, self.size)
        indexes = index.cpu().numpy()
        symbols = np.empty(indexes.shape, np.int32)

        def finish_tile(cell: Box) -> None:
            inside = self.latents_of(cell).inside(window)
            part = indexes[:, *inside]
            decoded = decoders[cell].decode(part.ravel(), self.tables)
            decoders[cell].finish()
            symbols[:, *inside] = decoded.reshape(part.shape)

        self.threads.map(finish_tile, divide(wanted, 1))
        return dequantise(torch.from_numpy(symbols).to(device), mean), window


def dequantise(symbols: Tensor, mean: Tensor) -> Tensor:
    """Symbols and fixed-point means (M, h, w) -> latents (1, M, h, w), exact in float32."""
    y = symbols.float() + mean.float() * 2.0**-FRACTION
    return y[None].contiguous(memory_format=torch.channels_last)


def _channels(symbols: NDArray) -> NDArray[np.uint16]:
    """The table of each hyper-latent (N, h, w), flattened: its channel."""
    return np.repeat(np.arange(len(symbols), dtype=np.uint16), symbols[0].size)
