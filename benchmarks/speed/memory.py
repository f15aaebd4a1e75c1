"""Memory of the store for a million pictures, with and without the cold tier.

    make bench-memory [OPTIONS="--pictures 10000 --widths 320,640,1280,2560 --cold-width 1280"]

Writes pictures through the store's own ``put`` into an embedded Valkey, asks the server what memory it uses,
lets the background move the large layers to a cold tier in a folder, and asks again. Streams are noise of the
sizes that real ones have: a layer takes the bits per pixel of its place (BITS, or ``--bits``), spread from
picture to picture. All of it must fit into this machine's memory, and three times on its disk. Prints the
table of docs/operations.md, and one line of JSON.
"""

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import redis.asyncio as redis
from tqdm import tqdm

from benchmarks.measure.report import table
from model.stream.container import MAX_SUBSTREAM_BYTES, CodedLayer, read_header, write
from model.stream.ladder import Ladder
from service.client.arguments import widths as widths_of
from service.metrics import Metrics
from service.planning.identity import picture_id
from service.settings import Settings
from service.storage.cooling import Cooling
from service.storage.records import Facts, Record
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey

MILLION = 10**6
TILE = 256
BITS = (1.63, 1.13, 1.01)
"""Bits per pixel that the first layer takes, each between, and the last: of quality 80, without the layers
below (`make bench-layers`, model 4d7fe86b76cb8724).
"""
SPREAD = 0.5
"""Standard deviation of the logarithm of a picture's bits per pixel."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser(prog="make bench-memory", description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument(
        "--widths", type=widths_of, default=(320, 640, 1280, 2560), help="of the layers, in pixels"
    )
    parser.add_argument(
        "--bits",
        type=float,
        nargs=3,
        default=BITS,
        metavar=("FIRST", "MIDDLE", "LAST"),
        help="bits per pixel of a layer alone, on average, by its place",
    )
    parser.add_argument("--cold-width", type=int, default=1280)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="compass-memory-"))
    try:
        figures = asyncio.run(measure(folder, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(report(figures))
    print(json.dumps({"benchmark": "memory", **vars(options), **figures}))


async def measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Means per picture, in bytes: streams, the store's memory before and after the move, the tier."""
    valkey = EmbeddedValkey(folder / "store")
    await valkey.start()
    settings = Settings(cold=f"file://{folder}/cold", cold_width=options.cold_width, store_timeout=60)
    store, raw = Store(valkey.url, settings, Metrics()), redis.Redis.from_url(valkey.url)
    metrics = Metrics()
    try:
        empty = await _used(raw)
        stored = 0
        for number in tqdm(range(options.pictures), unit=" pictures", leave=False, disable=None):
            record, stream = made_up(number, options.widths, options.bits)
            await store.put(record, stream, ())
            stored += len(stream)
        began = time.monotonic()
        records = [record async for record in store.catalogue.all_records()]
        looking = time.monotonic() - began
        warm = await _used(raw) - empty
        began = time.monotonic()
        moved = await Cooling(store, metrics, 0).move()
        moving = time.monotonic() - began
        cold = await _used(raw) - empty
        assert moved.pictures == len(records) == options.pictures
    finally:
        await raw.aclose()
        await store.close()
        await valkey.stop()
    count = options.pictures
    return {
        "stored": stored / count,
        "warm": warm / count,
        "cold": cold / count,
        "tier": moved.bytes / count,
        "moves_per_second": count / moving,
        "headers_per_second": count / looking,
    }


def report(figures: dict[str, float]) -> str:
    """The table of docs/operations.md."""
    rows = [
        ["bytes of streams", f"{figures['stored']:.0f}", _giga(figures["stored"])],
        ["memory, all layers in the store", f"{figures['warm']:.0f}", _giga(figures["warm"])],
        ["memory, large layers in the cold tier", f"{figures['cold']:.0f}", _giga(figures["cold"])],
        ["bytes in the cold tier", f"{figures['tier']:.0f}", _giga(figures["tier"])],
    ]
    return table(["", "a picture", "a million"], rows)


def bits_of_layers(bits: Sequence[float], count: int) -> list[float]:
    """Of so many layers, from the bits of the first, of those between and of the last."""
    first, middle, last = bits
    return [first, *[middle] * (count - 2), last][:count]


async def _used(raw: "redis.Redis") -> int:
    """Bytes that the server has allocated for its data, without its buffers, which come and go."""
    facts = await raw.info("memory")
    buffers = ("mem_clients_normal", "mem_aof_buffer")
    return int(facts["used_memory"]) - sum(int(facts[name]) for name in buffers)


def made_up(number: int, widths: tuple[int, ...], bits: Sequence[float]) -> tuple[Record, bytes]:
    """A picture of noise and its stream, the same for the same number."""
    chance = random.Random(number)
    times = chance.lognormvariate(-(SPREAD**2) / 2, SPREAD)
    layers = []
    for width, own in zip(widths, bits_of_layers(bits, len(widths)), strict=True):
        height = width * 3 // 4
        tiles = -(-width // TILE) * -(-height // TILE)
        size = min(MAX_SUBSTREAM_BYTES, max(1, round(times * own * width * height / 8 / tiles)))
        layers.append(CodedLayer(width, height, 80, chance.randbytes(64), [chance.randbytes(size)] * tiles))
    stream = write(b"no model", TILE, layers)
    name = picture_id(number.to_bytes(32), 80, Ladder(widths), None)
    facts = Facts(1000.0 + number, 4 * len(stream), "JPEG", 80, thumbhash="A" * 32, average="#123456")
    return Record(name, read_header(stream), facts), stream


def _giga(size: float) -> str:
    return f"{size * MILLION / 1e9:.1f} GB"


if __name__ == "__main__":
    main()
