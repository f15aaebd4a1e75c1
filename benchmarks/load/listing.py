"""How long a page of the listing takes, however many pictures are listed: `make bench-listing`.

Entries are made up, without pictures, and inserted into an empty server of its own; then pages are read as
the service reads them: the newest, the oldest, and some in between. With ``--old`` they first lie in one
sorted set, as earlier versions wrote them, and moving them is measured, too.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from base64 import b32encode
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from redis.asyncio import Redis
from tqdm import tqdm

from benchmarks.load.traffic import percentile
from benchmarks.measure.report import finish, table
from service.metrics import Metrics
from service.settings import Settings
from service.storage.errands import Errands
from service.storage.listing import OLD, Listing, shard
from service.storage.promises import Promise
from service.storage.servers import servers
from service.storage.valkey import EmbeddedValkey

FIRST = 1_700_000_000_000
"""When the first picture was stored, in milliseconds; one follows each 10 of them."""
STEP = 10
_BATCH = 50_000
_SECONDS = 120.0


@dataclass(frozen=True)
class Pages:
    """Seconds that pages of so many entries took."""

    where: str
    limit: int
    seconds: Sequence[float]

    @property
    def row(self) -> tuple[object, ...]:
        """Its row of the table, in milliseconds."""
        times = [1000 * value for value in self.seconds]
        return self.where, self.limit, median(times), percentile(times, 0.99), max(times)


@dataclass(frozen=True)
class Run:
    """So many entries, the bytes of memory that they take, seconds to insert and to move them, and pages."""

    entries: int
    bytes: int
    filled: float
    moved: float | None
    pages: Sequence[Pages]


async def insert(client: Redis, start: int, count: int, old: bool) -> None:
    """Insert entries ``start`` to ``start + count``, of made-up pictures."""
    digests = os.urandom(20 * count)
    batches: dict[str, list[object]] = defaultdict(list)
    for number in range(count):
        picture = b32encode(digests[20 * number : 20 * number + 20]).decode().lower()
        entry = f"{FIRST + STEP * (start + number):014d}:{picture}"
        batches[OLD if old else shard(picture)] += (0, entry)
    pipe = client.pipeline(transaction=False)
    for key, members in batches.items():
        pipe.execute_command("ZADD", key, *members)
    await pipe.execute()


async def page_seconds(listing: Listing, cursor: str | None, limit: int) -> float:
    """Seconds that a page takes. Raises AssertionError if it is none: too few entries, or not in order."""
    began = time.perf_counter()
    entries = await listing.entries(cursor, limit)
    seconds = time.perf_counter() - began
    assert len(entries) == limit
    assert entries == sorted(set(entries), reverse=True)
    return seconds


async def measured(listing: Listing, count: int, limit: int, pages: int) -> list[Pages]:
    """Pages from the newest entries, from anywhere, and from the oldest."""
    anywhere = [FIRST + random.randrange(limit + 1, count) * STEP for _ in range(pages)]
    places: dict[str, list[str | None]] = {
        "newest": [None] * pages,
        "anywhere": [f"{when:014d}:" for when in anywhere],
        "oldest": [f"{FIRST + (limit + 1) * STEP:014d}:"] * pages,
    }
    return [
        Pages(where, limit, [await page_seconds(listing, cursor, limit) for cursor in cursors])
        for where, cursors in places.items()
    ]


async def run(count: int, pages: int, limits: Sequence[int], old: bool) -> Run:
    """Insert so many entries and read pages; returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedValkey(Path(folder))
        await server.start()
        client = Redis(unix_socket_path=str(server.socket))
        metrics = Metrics()
        found = servers(server.url, Settings())
        listing = Listing(Errands(found, Promise(0, False, metrics), _SECONDS, metrics))
        try:
            await client.config_set("appendonly", "no")  # nothing of this is kept
            empty = (await client.info("memory"))["used_memory"]
            began = time.perf_counter()
            for start in tqdm(range(0, count, _BATCH), unit_scale=_BATCH, unit=" entries", disable=None):
                await insert(client, start, min(_BATCH, count - start), old)
            filled = time.perf_counter() - began
            used = (await client.info("memory"))["used_memory"] - empty
            moved = None
            if old:
                began = time.perf_counter()
                assert await listing.move() == count
                moved = time.perf_counter() - began
            rows = [row for limit in limits for row in await measured(listing, count, limit, pages)]
        finally:
            await found.close()
            await client.aclose()
            await server.stop()
    return Run(count, used, filled, moved, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser(prog="make bench-listing", description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--pages", type=int, default=200, help="pages of each kind")
    parser.add_argument("--limits", type=int, nargs="+", default=[100, 500], help="entries of a page")
    parser.add_argument("--old", action="store_true", help="first in one sorted set, then moved")
    parser.add_argument("--out", type=Path, default=Path("out/listing"), help="folder for the table")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    runs = [asyncio.run(run(count, options.pages, options.limits, options.old)) for count in options.entries]
    costs = [
        (f"{one.entries:,}", one.bytes / one.entries, one.bytes / 2**20, one.filled, one.moved)
        for one in runs
    ]
    lines = [(f"{one.entries:,}", *page.row) for one in runs for page in one.pages]
    head = ("entries", "page", "pictures", "median, ms", "99 of 100, ms", "slowest, ms")
    size = ("entries", "bytes each", "MiB", "seconds to insert", "seconds to move")
    figures = [{**asdict(one), "pages": [page.row for page in one.pages]} for one in runs]
    finish(options.out, "listing", [table(size, costs), table(head, lines)], {"listing": figures})


if __name__ == "__main__":
    main()
