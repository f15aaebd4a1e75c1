"""Symbols a second of the entropy coder, beside compressai.ans and constriction.

    python -m benchmarks.entropy

The symbols are drawn, not taken from pictures: as in a residual layer most of them belong to tables
that are skipped, the other scales are spread evenly on a logarithmic axis up to 8. Each coder decodes
the same symbols, all of them counted. compressai.ans knows no skipping: it is measured as its models
use it, coding every symbol, and once more with only those symbols that we code. Turning its arguments
into lists is not counted. constriction, if installed, is asked table by table, or symbol by symbol.
Every figure is the best of several interleaved rounds, on one thread and on two.
"""

import argparse
import importlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from compressai.ans import RansDecoder, RansEncoder
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.report import table
from model.entropy import PRECISION, decode, encode, gaussian_tables

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
SKIPPED = int(np.searchsorted(SCALES, 0.13))
TABLES = gaussian_tables(SCALES, skip=SKIPPED)
LARGEST_SCALE = 8.0
TILE_SYMBOLS = 192 * 32 * 32
"""Latents of a tile of 512 x 512 pixels."""

Symbols = NDArray[np.int32]


@dataclass(frozen=True)
class Tile:
    """Drawn symbols and the index of each one's table."""

    symbols: Symbols
    indexes: NDArray[np.uint8]


@dataclass(frozen=True)
class Contestant:
    """A coder with its arguments ready: one decoding function a tile, and the bytes of all tiles."""

    name: str
    decoders: Sequence[Callable[[], Symbols]]
    size: int


def draw_tile(skipped: float, random: np.random.Generator) -> Tile:
    """A tile of which the share ``skipped`` (0-1) belongs to skipped tables; no escapes."""
    low, high = np.log(SCALES[SKIPPED]), np.log(LARGEST_SCALE)
    indexes = np.searchsorted(SCALES, np.exp(random.uniform(low, high, TILE_SYMBOLS))).astype(np.uint8)
    indexes[random.random(TILE_SYMBOLS) < skipped] = 0
    reach = (TABLES.lengths // 2 - 1).astype(np.int32)[indexes]
    symbols = np.round(random.normal(size=TILE_SYMBOLS) * SCALES[indexes]).astype(np.int32)
    symbols[indexes < SKIPPED] = 0
    return Tile(np.clip(symbols, -reach, reach), indexes)


def ours(tiles: Sequence[Tile]) -> Contestant:
    """This project's coder."""
    coded = [encode(tile.symbols, tile.indexes, TABLES) for tile in tiles]
    decoders = [partial(decode, data, tile.indexes, TABLES) for data, tile in zip(coded, tiles, strict=True)]
    return Contestant("ours", decoders, sum(map(len, coded)))


def compressai_ans(name: str, tiles: Sequence[Tile], leave_out: int) -> Contestant:
    """compressai.ans on the symbols of all but the first ``leave_out`` tables."""
    ends = np.cumsum(TABLES.lengths, dtype=int)
    cdfs = [
        [0, *(np.cumsum(TABLES.frequencies[end - length : end]) << (16 - PRECISION)).tolist()]
        for end, length in zip(ends, TABLES.lengths, strict=True)
    ]
    model = (cdfs, [len(cdf) for cdf in cdfs], TABLES.offsets.tolist())
    decoders, size = [], 0
    for tile in tiles:
        coded = tile.indexes >= leave_out
        indexes = tile.indexes[coded].tolist()
        data = RansEncoder().encode_with_indexes(tile.symbols[coded].tolist(), indexes, *model)
        size += len(data)

        def decode(
            data: bytes = data, indexes: list[int] = indexes, coded: NDArray[np.bool_] = coded
        ) -> Symbols:
            symbols = np.zeros(len(coded), np.int32)
            symbols[coded] = RansDecoder().decode_with_indexes(data, indexes, *model)
            return symbols

        decoders.append(decode)
    return Contestant(name, decoders, size)


def constriction_by_table(tiles: Sequence[Tile]) -> Contestant:
    """constriction's stack coder with one call for each table that occurs and is not skipped."""
    stream = importlib.import_module("constriction").stream
    ends = np.cumsum(TABLES.lengths, dtype=int)
    models = [
        stream.model.Categorical(TABLES.frequencies[end - length : end] / 2.0**PRECISION, perfect=False)
        for end, length in zip(ends, TABLES.lengths, strict=True)
    ]

    def runs(tile: Tile) -> Iterator[tuple[int, NDArray[np.intp]]]:
        order = np.argsort(tile.indexes, kind="stable")
        bounds = np.cumsum(np.bincount(tile.indexes, minlength=len(TABLES)))
        for t in range(SKIPPED, len(TABLES)):
            if bounds[t] > bounds[t - 1]:
                yield t, order[bounds[t - 1] : bounds[t]]

    decoders, size = [], 0
    for tile in tiles:
        coder = stream.stack.AnsCoder()
        for t, places in reversed(list(runs(tile))):
            coder.encode_reverse(tile.symbols[places] - np.int32(TABLES.offsets[t]), models[t])
        words = coder.get_compressed()
        size += words.nbytes

        def decode(words: NDArray[np.uint32] = words, tile: Tile = tile) -> Symbols:
            opened = stream.stack.AnsCoder(words)
            symbols = np.zeros(len(tile.indexes), np.int32)
            for t, places in runs(tile):
                symbols[places] = opened.decode(models[t], len(places)) + np.int32(TABLES.offsets[t])
            return symbols

        decoders.append(decode)
    return Contestant("constriction, table by table", decoders, size)


def constriction_by_symbol(tiles: Sequence[Tile]) -> Contestant:
    """constriction's stack coder with a Gaussian for each symbol that is not skipped."""
    stream = importlib.import_module("constriction").stream
    family = stream.model.QuantizedGaussian(-1000, 1000)
    decoders, size = [], 0
    for tile in tiles:
        coded = tile.indexes >= SKIPPED
        scales = SCALES[tile.indexes[coded]]
        means = np.zeros_like(scales)
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(tile.symbols[coded], family, means, scales)
        words = coder.get_compressed()
        size += words.nbytes

        def decode(
            words: NDArray[np.uint32] = words,
            coded: NDArray[np.bool_] = coded,
            parameters: tuple[NDArray[np.float64], NDArray[np.float64]] = (means, scales),
        ) -> Symbols:
            symbols = np.zeros(len(coded), np.int32)
            symbols[coded] = stream.stack.AnsCoder(words).decode(family, *parameters)
            return symbols

        decoders.append(decode)
    return Contestant("constriction, symbol by symbol", decoders, size)


def measure(skipped: float, count: int, rounds: int, progress: tqdm) -> dict[str, dict[str, float]]:
    """Millions of symbols a second on one and two threads, and bytes, of every contestant."""
    random = np.random.default_rng(round(100 * skipped))
    tiles = [draw_tile(skipped, random) for _ in range(count)]
    contestants = [
        ours(tiles),
        compressai_ans("compressai.ans, all symbols", tiles, 0),
        compressai_ans("compressai.ans, ours only", tiles, SKIPPED),
    ]
    if importlib.util.find_spec("constriction"):
        contestants += [constriction_by_table(tiles), constriction_by_symbol(tiles)]
    for contestant in contestants:
        for decoder, tile in zip(contestant.decoders, tiles, strict=True):
            if not np.array_equal(decoder(), tile.symbols):
                raise RuntimeError(f"{contestant.name} decodes other symbols than it coded")
    one = {contestant.name: np.inf for contestant in contestants}
    two = dict(one)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds):
            for contestant in contestants:
                name, decoders = contestant.name, contestant.decoders
                one[name] = min(one[name], seconds(call_all, map, decoders))
                two[name] = min(two[name], seconds(call_all, pool.map, decoders))
            progress.update()
    symbols = count * TILE_SYMBOLS / 1e6
    return {
        contestant.name: {
            "one_thread": round(symbols / one[contestant.name], 1),
            "two_threads": round(symbols / two[contestant.name], 1),
            "bytes": contestant.size,
        }
        for contestant in contestants
    }


def call_all(mapper: Callable[..., Iterator[int]], decoders: Sequence[Callable[[], Symbols]]) -> None:
    """Decode every tile by ``map`` or by a pool's; drop the symbols at once, as a codec does."""
    for _ in mapper(lambda decode: len(decode()), decoders):
        pass


def measure_encoder(skipped: float, rounds: int) -> float:
    """Millions of symbols a second that our encoder takes on one thread."""
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
    one, two = row["one_thread"], row["two_threads"]
    return [coder, one, two, two / one, ours_one_thread / one, row["bytes"]]


def main() -> None:
    """Measure, print a table for each share of skipped symbols, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skipped", type=float, nargs="+", default=[0.6, 0.75, 0.85], help="shares, 0-1")
    parser.add_argument("--tiles", type=int, default=16, help=f"tiles of {TILE_SYMBOLS} symbols")
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    options = parser.parse_args()
    rounds = 3 if options.quick else 15
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the run")
    figures = {}
    with tqdm(total=rounds * len(options.skipped), unit="round", leave=False) as progress:
        for skipped in options.skipped:
            figures[f"{skipped:g}"] = measure(skipped, options.tiles, rounds, progress)
    for name, rows in figures.items():
        print(f"\n{float(name):.0%} of the symbols skipped; decoding, million symbols a second\n")
        head = ["coder", "one thread", "two threads", "gain", "ours is faster by", "bytes"]
        fastest = rows["ours"]["one_thread"]
        print(table(head, [line(coder, row, fastest) for coder, row in rows.items()]))
    encoding = {f"{skipped:g}": measure_encoder(skipped, 2 * rounds) for skipped in options.skipped}
    print("\nOur encoder:", ", ".join(f"{rate:.0f} M/s at {name}" for name, rate in encoding.items()))
    print(json.dumps({"benchmark": "entropy", "decoding": figures, "encoding": encoding}))


if __name__ == "__main__":
    main()
