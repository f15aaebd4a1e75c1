"""What symbols the latents of photographs really have: how often each, for each table.

A latent's table says how wide its distribution is. Trained latents are more peaked, and have longer tails,
than the Gaussian that they were trained with; tables fitted to their counts need about 1 % fewer bits.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from model.clock import StageClock
from model.codec.codec import Codec
from model.codec.layers import TILE
from model.codec.pixels import Pixels
from model.geometry import Size, coarse, whole
from model.stream.container import read_header, read_index
from model.training.data import Pictures
from model.training.stages import uniform

CROPS = 300
_SIDE = 384  # pixels: 6 x 6 hyper-latents
_LARGEST = 512  # symbols beyond are left to the Gaussian's tails

Counts = NDArray[np.int64]
"""(tables, 2 * 512 + 1): how often each symbol from -512 to 512 was coded with each table."""


def count_symbols(codec: Codec, pictures: Pictures, crops: int = CROPS, seed: int = 0) -> Counts:
    """Code random crops, each in three layers at a random quality, and count the symbols of all layers."""
    generator = torch.Generator().manual_seed(seed)
    counts = np.zeros((len(codec.weights.latent_tables), 2 * _LARGEST + 1), np.int64)
    for _ in tqdm(range(crops), desc="counting symbols", unit="crop"):
        crop = pictures.crops(1, _SIDE, uniform(0.5, 1.0, generator), generator)
        middle = uniform(0.36, 0.7, generator)
        sizes = [_square(middle * uniform(0.36, 0.7, generator)), _square(middle), _square(1.0)]
        quality = int(torch.randint(1, 101, (), generator=generator))
        _count(codec, _pixels(crop), sizes, quality, counts)
    return counts


def _count(codec: Codec, pixels: Pixels, sizes: list[Size], quality: int, counts: Counts) -> None:
    """Add the symbols of one picture."""
    stream = codec.encode(pixels, sizes, quality)
    header = read_header(stream)
    for k, size in enumerate(sizes):
        coder, index = codec.layers.latent_coder(k, size, TILE), read_index(header, k, stream)
        hyper_latents = coder.decode_hyper_latents(stream, index)
        tiles = coarse(whole(size), TILE)
        symbols, tables, _ = coder.decode_symbols(stream, index, hyper_latents, tiles, StageClock())
        inside = np.abs(symbols) <= _LARGEST
        np.add.at(counts, (tables[inside], symbols[inside].astype(np.int64) + _LARGEST), 1)


def _pixels(crop: Tensor) -> Pixels:
    """(1, 3, h, w), values 0 to 1 -> uint8 (h, w, 3)."""
    pixels: Pixels = (crop[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
    return np.ascontiguousarray(pixels)


def _square(factor: float) -> Size:
    edge = round(_SIDE * factor)
    return Size(edge, edge)
