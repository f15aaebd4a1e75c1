"""Symbols per second of the entropy coder, beside compressai.ans and constriction.

    make bench-entropy [DATA=folder]

The symbols are those of the residual layers of the folder's pictures, tile by tile, with the tables of the
weights. Others are drawn: as in a residual layer most of them belong to tables that are skipped, the other
scales are spread evenly on a logarithmic axis up to 8. Each coder decodes the same symbols, all of them
counted; ours takes the tiles of a block a call, as in the codec, the others one tile. compressai.ans knows no
skipping: it is measured as its models use it, coding every symbol, and once more with only those symbols
that we code. Turning arrays into its lists, and its lists into arrays, is not counted. constriction, if
installed, is asked table by table, or symbol by symbol. Every figure is the best of several interleaved
rounds, on one thread and on two.
"""

import argparse
import importlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from compressai.ans import RansDecoder, RansEncoder
from numba import njit
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.measure.pictures import Picture, read_pictures
from benchmarks.measure.report import table
from benchmarks.speed.codec import QUALITY, WIDTHS
from model.clock import StageClock
from model.codec.codec import Codec
from model.codec.latents import BLOCK
from model.codec.layers import TILE
from model.geometry import divide, whole
from model.network.transforms import LATENT
from model.stream.container import read_header, read_index
from model.stream.entropy import PRECISION, Tables, decode_all, encode
from model.stream.ladder import Ladder
from model.training.tables import gaussian_tables

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
SKIPPED = int(np.searchsorted(SCALES, 0.13))
TABLES = gaussian_tables(SCALES, skip=SKIPPED)
LARGEST_SCALE = 8.0
TILES_OF_A_BLOCK = BLOCK * LATENT // TILE
"""Edge, in tiles, of what the codec decodes in one call."""
TILE_SYMBOLS = 192 * (TILE // LATENT) ** 2
"""Latents of a tile."""

Symbols = NDArray[np.int16]


@dataclass(frozen=True)
class Tile:
    """Drawn symbols and the index of each one's table."""

    symbols: Symbols
    indexes: NDArray[np.uint8]


@dataclass(frozen=True)
class Material:
    """What is coded: tiles, block by block, and the tables that all coders use."""

    blocks: Sequence[Sequence[Tile]]
    tables: Tables

    @property
    def tiles(self) -> list[Tile]:
        """Those of all blocks."""
        return [tile for block in self.blocks for tile in block]

    @property
    def symbols(self) -> int:
        """Of all tiles, skipped ones too."""
        return sum(len(tile.symbols) for tile in self.tiles)

    @property
    def skipped(self) -> float:
        """The share of symbols that are not coded, 0 to 1."""
        return sum(int((tile.indexes < self.tables.skip).sum()) for tile in self.tiles) / self.symbols


@dataclass(frozen=True)
class Contestant:
    """A coder with its arguments ready: functions that each decode some tiles, and the bytes of all tiles.

    What it decodes are the symbols of all tables but the first ``leave_out``.
    """

    name: str
    decoders: Sequence[Callable[[], Any]]
    size: int
    leave_out: int = 0


def draw_tile(skipped: float, random: np.random.Generator) -> Tile:
    """A tile of which the share ``skipped`` (0-1) belongs to skipped tables; no escapes."""
    low, high = np.log(SCALES[SKIPPED]), np.log(LARGEST_SCALE)
    indexes = np.searchsorted(SCALES, np.exp(random.uniform(low, high, TILE_SYMBOLS))).astype(np.uint8)
    indexes[random.random(TILE_SYMBOLS) < skipped] = 0
    reach = (TABLES.lengths // 2 - 1).astype(np.int16)[indexes]
    symbols = np.round(random.normal(size=TILE_SYMBOLS) * SCALES[indexes]).astype(np.int16)
    symbols[indexes < SKIPPED] = 0
    return Tile(np.clip(symbols, -reach, reach), indexes)


def residual_blocks(codec: Codec, pictures: Sequence[Picture]) -> list[list[Tile]]:
    """The symbols of all layers but the first, as the service codes the pictures."""
    blocks = []
    for picture in tqdm(pictures, "coding", unit="picture", leave=False):
        stream = codec.encode(picture.pixels, Ladder(WIDTHS).sizes(picture.size), QUALITY)
        header = read_header(stream)
        for k in range(1, len(header.layers)):
            coder, index = (
                codec.layers.latent_coder(k, header.sizes[k], header.tile),
                read_index(header, k, stream),
            )
            hyper_latents = coder.decode_hyper_latents(stream, index)
            for block in coder.blocks(whole(coder.grid)):
                symbols, indexes, _ = coder.decode_symbols(stream, index, hyper_latents, block, StageClock())
                window = coder.latents_of(block)
                places = [coder.latents_of(tile).inside(window) for tile in divide(block, 1)]
                blocks.append(
                    [Tile(symbols[:, *place].ravel(), indexes[:, *place].ravel()) for place in places]
                )
    return blocks


def ours(material: Material) -> Contestant:
    """This project's coder."""
    decoders, size = [], 0
    for block in material.blocks:
        coded = [encode(tile.symbols, tile.indexes, material.tables) for tile in block]
        decoders.append(partial(decode_all, coded, [tile.indexes for tile in block], material.tables))
        size += sum(map(len, coded))
    return Contestant("ours", decoders, size)


def compressai_ans(name: str, material: Material, leave_out: int) -> Contestant:
    """compressai.ans on the symbols of all but the first ``leave_out`` tables."""
    tables = material.tables
    ends = np.cumsum(tables.lengths, dtype=int)
    cdfs = [
        [0, *(np.cumsum(tables.frequencies[end - length : end]) << (16 - PRECISION)).tolist()]
        for end, length in zip(ends, tables.lengths, strict=True)
    ]
    model = (cdfs, [len(cdf) for cdf in cdfs], tables.offsets.tolist())
    decoders, size = [], 0
    for tile in material.tiles:
        coded = tile.indexes >= leave_out
        indexes = tile.indexes[coded].tolist()
        data = RansEncoder().encode_with_indexes(tile.symbols[coded].tolist(), indexes, *model)
        size += len(data)

        def decode(data: bytes = data, indexes: list[int] = indexes) -> list[list[int]]:
            return [RansDecoder().decode_with_indexes(data, indexes, *model)]

        decoders.append(decode)
    return Contestant(name, decoders, size, leave_out)


def constriction_by_table(material: Material) -> Contestant:
    """constriction's stack coder with one call for each table that occurs and is not skipped."""
    stream = importlib.import_module("constriction").stream
    tables = material.tables
    ends = np.cumsum(tables.lengths, dtype=int)
    models = [
        stream.model.Categorical(tables.frequencies[end - length : end] / 2.0**PRECISION, perfect=False)
        for end, length in zip(ends, tables.lengths, strict=True)
    ]

    def runs(tile: Tile) -> Iterator[tuple[int, NDArray[np.intp]]]:
        order = np.argsort(tile.indexes, kind="stable")
        bounds = np.cumsum(np.bincount(tile.indexes, minlength=len(tables)))
        for t in range(tables.skip, len(tables)):
            if bounds[t] > bounds[t - 1]:
                yield t, order[bounds[t - 1] : bounds[t]]

    decoders, size = [], 0
    for tile in material.tiles:
        coder = stream.stack.AnsCoder()
        for t, places in reversed(list(runs(tile))):
            entries = tile.symbols[places].astype(np.int32) - np.int32(tables.offsets[t])
            coder.encode_reverse(entries, models[t])
        words = coder.get_compressed()
        size += words.nbytes

        def decode(words: NDArray[np.uint32] = words, tile: Tile = tile) -> list[Symbols]:
            opened = stream.stack.AnsCoder(words)
            symbols = np.zeros(len(tile.indexes), np.int16)
            for t, places in runs(tile):
                symbols[places] = opened.decode(models[t], len(places)) + np.int32(tables.offsets[t])
            return [symbols]

        decoders.append(decode)
    return Contestant("constriction, table by table", decoders, size)


def constriction_by_symbol(material: Material) -> Contestant:
    """constriction's stack coder with a Gaussian for each symbol that is not skipped."""
    stream = importlib.import_module("constriction").stream
    family = stream.model.QuantizedGaussian(-1000, 1000)
    decoders, size = [], 0
    for tile in material.tiles:
        coded = tile.indexes >= material.tables.skip
        scales = SCALES[tile.indexes[coded]]
        means = np.zeros_like(scales)
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(tile.symbols[coded].astype(np.int32), family, means, scales)
        words = coder.get_compressed()
        size += words.nbytes

        def decode(
            words: NDArray[np.uint32] = words,
            coded: NDArray[np.bool_] = coded,
            parameters: tuple[NDArray[np.float64], NDArray[np.float64]] = (means, scales),
        ) -> list[Symbols]:
            symbols = np.zeros(len(coded), np.int16)
            symbols[coded] = stream.stack.AnsCoder(words).decode(family, *parameters)
            return [symbols]

        decoders.append(decode)
    return Contestant("constriction, symbol by symbol", decoders, size)


@njit(nogil=True)
def arithmetic(steps: int) -> int:
    """Registers only: what a second thread adds to it is all that the machine can give to a decoder."""
    x = 1
    for i in range(steps):
        x = (x * 1103515245 + i) & 0x7FFFFFFF
    return x


def draw(skipped: float, count: int) -> Material:
    """So many tiles of which the share ``skipped`` (0-1) belongs to skipped tables."""
    random = np.random.default_rng(round(100 * skipped))
    tiles = [draw_tile(skipped, random) for _ in range(count)]
    return Material(
        [tiles[k : k + TILES_OF_A_BLOCK**2] for k in range(0, count, TILES_OF_A_BLOCK**2)], TABLES
    )


def measure(material: Material, rounds: int, progress: tqdm) -> dict[str, dict[str, float]]:
    """Millions of symbols per second on one and two threads, and bytes, of every contestant."""
    contestants = [
        ours(material),
        compressai_ans("compressai.ans, all symbols", material, 0),
        compressai_ans("compressai.ans, ours only", material, material.tables.skip),
    ]
    if importlib.util.find_spec("constriction") and material.tables is TABLES:  # it knows no escapes
        contestants += [constriction_by_table(material), constriction_by_symbol(material)]
    for contestant in contestants:
        decoded = chain.from_iterable(decoder() for decoder in contestant.decoders)
        for symbols, tile in zip(decoded, material.tiles, strict=True):
            if not np.array_equal(symbols, tile.symbols[tile.indexes >= contestant.leave_out]):
                raise RuntimeError(f"{contestant.name} decodes other symbols than it coded")
    one = {contestant.name: np.inf for contestant in contestants}
    two = dict(one)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds):
            for contestant in contestants:
                name, decoders = contestant.name, contestant.decoders
                one[name] = min(one[name], seconds(call_all, decoders))
                two[name] = min(two[name], seconds(share, pool, decoders))
            progress.update()
    millions = material.symbols / 1e6
    return {
        contestant.name: {
            "one_thread": round(millions / one[contestant.name], 1),
            "two_threads": round(millions / two[contestant.name], 1),
            "gain": round(one[contestant.name] / two[contestant.name], 2),
            "bytes": contestant.size,
        }
        for contestant in contestants
    }


def arithmetic_gain(rounds: int) -> float:
    """How many times the work of one thread two threads of bare arithmetic do."""
    calls = [partial(arithmetic, 1_000_000)] * 40
    with ThreadPoolExecutor(2) as pool:
        times = [(seconds(call_all, calls), seconds(share, pool, calls)) for _ in range(rounds)]
    one, two = map(min, zip(*times, strict=True))
    return round(one / two, 2)


def call_all(calls: Iterable[Callable[[], object]]) -> None:
    """Decode every tile; drop the symbols at once, as a codec does."""
    for call in calls:
        call()


def share(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], object]]) -> None:
    """Do all calls on two threads, each of which takes the next call when it is free."""
    waiting = iter(calls)
    list(pool.map(call_all, (waiting, waiting)))


def measure_encoder(skipped: float, rounds: int) -> float:
    """Millions of symbols per second that our encoder takes on one thread."""
    tile = draw_tile(skipped, np.random.default_rng(1))
    arrays = tile.symbols, tile.indexes, TABLES
    return round(TILE_SYMBOLS / 1e6 / min(seconds(encode, *arrays) for _ in range(rounds)), 1)


def seconds(function: Callable[..., object], *arguments: object) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def line(coder: str, row: dict[str, float], ours_one_thread: float) -> list[object]:
    """A coder's line of the table."""
    one = row["one_thread"]
    return [coder, one, row["two_threads"], row["gain"], ours_one_thread / one, row["bytes"]]


def main() -> None:
    """Measure, print a table for each share of skipped symbols, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of PNG pictures")
    parser.add_argument("--profile", default="lite", help="profile of the codec")
    parser.add_argument("--pictures", type=int, default=24, help="of the folder, spread evenly")
    parser.add_argument("--skipped", type=float, nargs="+", default=[0.6, 0.75, 0.85], help="shares, 0-1")
    parser.add_argument("--tiles", type=int, default=64, help=f"tiles of {TILE_SYMBOLS} symbols")
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    options = parser.parse_args()
    rounds = 3 if options.quick else 15
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the run")
    materials = {f"drawn, {skipped:g}": draw(skipped, options.tiles) for skipped in options.skipped}
    if options.data:
        codec = Codec.load(options.profile)
        blocks = residual_blocks(codec, read_pictures(options.data, options.pictures))
        materials = {options.data.name: Material(blocks, codec.weights.latent_tables), **materials}
    figures = {}
    with tqdm(total=rounds * len(materials), unit="round", leave=False) as progress:
        for name, material in materials.items():
            figures[name] = measure(material, rounds, progress)
    for name, rows in figures.items():
        skipped = materials[name].skipped
        print(f"\n{name}: {skipped:.0%} of the symbols skipped; decoding, million symbols per second\n")
        head = ["coder", "one thread", "two threads", "gain", "ours is faster by", "bytes"]
        fastest = rows["ours"]["one_thread"]
        print(table(head, [line(coder, row, fastest) for coder, row in rows.items()]))
    bare = arithmetic_gain(rounds)
    print(f"\nTwo threads of bare arithmetic do {bare} times the work of one.")
    encoding = {f"{skipped:g}": measure_encoder(skipped, 2 * rounds) for skipped in options.skipped}
    print("\nOur encoder:", ", ".join(f"{rate:.0f} M/s at {name}" for name, rate in encoding.items()))
    print(
        json.dumps(
            {"benchmark": "entropy", "decoding": figures, "arithmetic_gain": bare, "encoding": encoding}
        )
    )


if __name__ == "__main__":
    main()
