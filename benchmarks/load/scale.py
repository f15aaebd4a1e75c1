"""What a site of a size needs, and what gives way first: ``make bench-scale``.

Requests come at random to pictures whose popularity is Zipf's. A CDN in front, and the memories of front
ends, answer what they have: how often follows from the popularity (Che's approximation of a cache that
forgets what was used longest ago). What is left goes through a simulation by discrete events, of which each
part takes as long as was measured: front ends, servers of Redis, workers. Each part gets as many servers as
keep it busy for at most BUSY of the time.
"""

import argparse
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import simpy

from benchmarks.measure.report import finish, table

Moves = Generator[simpy.Event, object, None]
"""A process of the simulation."""
BUSY = 0.7
"""So much of its time a server may work; more, and queues grow."""
SLICE = 64
"""So many workers are simulated at most, with their share of the requests: fewer servers queue more."""
BINS = 4000
PICTURES = (10**6, 10**8, 10**10)
ANSWERS = (10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True)
class Measured:
    """Seconds of each part, bytes, and prices; the defaults were measured, on the pages named, but for the
    prices and shapes of traffic, which are assumptions that options change.
    """

    front_memory: float = 0.000192
    """A front end's CPU for an answer from memory (docs/architecture.md, `make bench-http`)."""
    front_render: float = 0.000428
    """... and for one that has to be made: that of a description, which passes the same layers."""
    store: float = 0.00005
    """Redis for the prefix of a stream (`--store` measures it here)."""
    small: float = 0.06
    """A worker for the smallest layer as AVIF (`make bench-capacity` on 2026-11-25, see docs/scale.md)."""
    large: float = 0.36
    """... and for the largest, of Kodak's size."""
    code: float = 0.51
    """... and for an upload."""
    engine: float = 0.0075
    """What a cluster adds to an answer (docs/scale.md, `make bench-engines`), waiting, not work."""
    larges: float = 0.3
    """Share of renderings that need the largest layer."""
    picture_bytes: int = 62_210
    warm_bytes: int = 14_447 + 1024
    """Of these, what stays in Redis with a cold tier, and what lies beside it."""
    answer_bytes: int = 25_000
    variants: int = 4
    """Different answers that are asked for of a picture."""
    zipf: float = 0.9
    uploads: float = 0.001
    """Uploads for each answer."""
    cdn_bytes: float = 5e10
    front_bytes: float = 128 * 2**20
    redis_bytes: float = 64e9
    """Pictures in one server of Redis."""
    core_price: float = 20.0
    """A core, a month; memory by the gigabyte, objects by the gigabyte."""
    memory_price: float = 3.0
    object_price: float = 0.023

    @property
    def render(self) -> float:
        """A worker's mean for a rendering."""
        return self.larges * self.large + (1 - self.larges) * self.small

    def kept(self, cold: bool) -> int:
        """Bytes of a picture in Redis, with a cold tier and without."""
        return self.warm_bytes if cold else self.picture_bytes + 1024


class Popularity:
    """How often each of so many objects is asked for, in bins of about equal ranks."""

    def __init__(self, objects: int, exponent: float) -> None:
        edges = np.unique(np.floor(np.geomspace(1, objects + 1, BINS)))
        low, high = edges[:-1], edges[1:]
        self.counts = high - low
        # the sum of k^-s over a bin, by its integral from half before to half after
        power = 1 - exponent
        weights = ((high - 0.5) ** power - (low - 0.5) ** power) / power
        self.shares = weights / weights.sum()

    def left(self, capacity: float, shares: np.ndarray) -> np.ndarray:
        """The shares that a cache of so many objects passes on, of those that come to it."""
        each = shares / self.counts
        if capacity >= self.counts.sum():
            return np.zeros_like(shares)
        low, high = 0.0, 1.0
        while float((self.counts * -np.expm1(-each * high)).sum()) < capacity:
            high *= 2
            if high > 1e300:
                return np.zeros_like(shares)
        for _ in range(200):
            middle = (low + high) / 2
            held = float((self.counts * -np.expm1(-each * middle)).sum())
            low, high = (middle, high) if held < capacity else (low, middle)
        return shares * np.exp(-each * high)


@dataclass(frozen=True)
class Site:
    """How many servers of each part there are."""

    fronts: int
    stores: int
    workers: int


@dataclass(frozen=True)
class Load:
    """Requests a second at each part: what a CDN leaves, what front ends have in memory, and what is made."""

    asked: float
    from_cdn: float
    from_memory: float
    made: float
    uploaded: float

    def busy(self, of: Measured) -> dict[str, float]:
        """How many servers of each part are at work on average."""
        return {
            "front end": self.from_memory * of.front_memory + (self.made + self.uploaded) * of.front_render,
            "store": (self.made + self.uploaded) * of.store,
            "worker": self.made * of.render + self.uploaded * of.code,
        }


def load_of(pictures: int, asked: float, fronts: int, of: Measured) -> Load:
    """What comes to each part."""
    popularity = Popularity(pictures * of.variants, of.zipf)
    after_cdn = popularity.left(of.cdn_bytes / of.answer_bytes, popularity.shares)
    after_memory = popularity.left(fronts * of.front_bytes / of.answer_bytes, after_cdn)
    left, made = float(after_cdn.sum()), float(after_memory.sum())
    return Load(asked, asked * (1 - left), asked * (left - made), asked * made, asked * of.uploads)


def sized(pictures: int, asked: float, of: Measured, cold: bool) -> tuple[Site, Load]:
    """The smallest site that is at most BUSY, and what comes to it."""
    fronts = 1
    while True:
        load = load_of(pictures, asked, fronts, of)
        busy = load.busy(of)
        needed = max(1, math.ceil(busy["front end"] / BUSY))
        if needed <= fronts:
            break
        fronts = needed
    kept = pictures * of.kept(cold)
    stores = max(1, math.ceil(busy["store"] / BUSY), math.ceil(kept / of.redis_bytes))
    return Site(fronts, stores, max(1, math.ceil(busy["worker"] / BUSY))), load


def simulated(site: Site, load: Load, of: Measured, requests: int, seed: int = 0) -> list[float]:
    """Seconds that each of so many answers took which had to be made, waiting included, sorted; none if a CDN
    has them all. Uploads come among them, and count for nothing but the work.
    """
    if load.made * requests < 1e-6:
        return []
    part = min(1.0, SLICE / site.workers)
    random = np.random.default_rng(seed)
    environment = simpy.Environment()
    fronts, stores, workers = (
        simpy.Resource(environment, max(1, round(part * count)))
        for count in (site.fronts, site.stores, site.workers)
    )
    took: list[float] = []

    def work(resource: simpy.Resource, seconds: float) -> Moves:
        with resource.request() as turn:
            yield turn
            yield environment.timeout(seconds)

    def rendering(large: bool) -> Moves:
        began = environment.now
        yield from work(fronts, of.front_render)
        yield environment.timeout(of.engine)
        yield from work(stores, of.store)
        yield from work(workers, of.large if large else of.small)
        took.append(environment.now - began)

    def upload() -> Moves:
        yield from work(fronts, of.front_render)
        yield from work(workers, of.code)
        yield from work(stores, of.store)

    def from_memory() -> Moves:
        yield from work(fronts, of.front_memory)

    def arrivals() -> Moves:
        begins: tuple[Callable[[], Moves], ...] = (
            lambda: rendering(random.random() < of.larges),
            upload,
            from_memory,
        )
        rates = np.array([load.made, load.uploaded, load.from_memory]) * part
        while len(took) < requests:
            yield environment.timeout(random.exponential(1 / rates.sum()))
            begin = begins[random.choice(3, p=rates / rates.sum())]
            environment.process(begin())

    environment.run(environment.process(arrivals()))
    return sorted(took)


@dataclass(frozen=True)
class Plan:
    """What a size of site needs; memory and objects in gigabytes, seconds of the answers that are made, and
    what it costs a month without the CDN.
    """

    pictures: int
    answers: float
    cdn: float
    memory: float
    made: float
    fronts: int
    stores: int
    workers: int
    store_gb: float
    object_gb: float
    p50: float
    p95: float
    price: float
    first: str


def plan(pictures: int, answers: float, of: Measured, requests: int) -> Plan:
    """The plan for so many pictures and answers a second, with a cold tier where pictures would fill more
    than one server of Redis.
    """
    cold = pictures * of.picture_bytes > of.redis_bytes
    site, load = sized(pictures, answers, of, cold)
    took = simulated(site, load, of, requests)
    store = pictures * of.kept(cold) / 1e9
    objects = pictures * (of.picture_bytes - of.warm_bytes) / 1e9 if cold else 0.0
    cores = site.fronts + site.stores + site.workers
    price = cores * of.core_price + store * of.memory_price + objects * of.object_price
    return Plan(
        pictures,
        answers,
        load.from_cdn / load.asked,
        load.from_memory / load.asked,
        load.made,
        *(site.fronts, site.stores, site.workers),
        *(store, objects),
        *((took[len(took) // 2], took[int(0.95 * len(took))]) if took else (0.0, 0.0)),
        price,
        first_bottleneck(pictures, of),
    )


def first_bottleneck(pictures: int, of: Measured) -> str:
    """What gives way first when ever more is asked of a front end, a server of Redis and a worker on a core
    each, and at how many answers a second.
    """
    if pictures * of.warm_bytes > of.redis_bytes:
        return "memory of the store"
    per_answer = load_of(pictures, 1.0, 1, of).busy(of)
    part = max(per_answer, key=lambda name: per_answer[name])
    return f"{part} at {BUSY / per_answer[part]:.0f}/s"


def measured_store(size: int) -> float:
    """Seconds that a Valkey takes for a range of so many bytes, of its own time."""
    import asyncio
    import tempfile
    import time

    import redis

    from service.storage.valkey import EmbeddedValkey

    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedValkey(Path(folder))
        asyncio.run(server.start())
        try:
            client = redis.Redis(unix_socket_path=str(server.socket))
            client.set("x", bytes(2 * size))

            def used() -> float:
                cpu = client.info("cpu")
                return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

            before, count, until = used(), 0, time.monotonic() + 3
            while time.monotonic() < until:
                client.getrange("x", 0, size - 1)
                count += 1
            return (used() - before) / count
        finally:
            asyncio.run(server.stop())


def shown(plans: Sequence[Plan]) -> str:
    """The plans as a table."""
    head = ["pictures", "answers/s", "CDN", "memory", "made/s", "front ends", "Redis", "workers", "RAM, GB"]
    head += ["objects, GB", "p50, ms", "p95, ms", "price a month", "first to give way"]
    rows = [
        [
            f"{one.pictures:.0e}".replace("e+0", "e").replace("e+", "e"),
            f"{one.answers:,.0f}",
            f"{one.cdn:.0%}",
            f"{one.memory:.0%}",
            f"{one.made:,.1f}",
            *(f"{count:,}" for count in (one.fronts, one.stores, one.workers)),
            f"{one.store_gb:,.0f}",
            f"{one.object_gb:,.0f}",
            *(f"{1000 * seconds:.0f}" for seconds in (one.p50, one.p95)),
            f"{one.price:,.0f}",
            one.first,
        ]
        for one in plans
    ]
    return table(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/scale"))
    parser.add_argument("--requests", type=int, default=3000, help="answers made in each simulation")
    parser.add_argument("--measure-store", action="store_true", help="measure Redis here first")
    parser.add_argument("--pictures", type=float, nargs="+", default=PICTURES)
    parser.add_argument("--answers", type=float, nargs="+", default=ANSWERS)
    for name in (
        "zipf",
        "cdn_bytes",
        "small",
        "large",
        "code",
        "uploads",
        "larges",
        "core_price",
        "memory_price",
    ):
        default = getattr(Measured, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    options = parser.parse_args(argv)
    given = {name: value for name, value in vars(options).items() if name in Measured.__dataclass_fields__}
    store = measured_store(Measured.warm_bytes) if options.measure_store else Measured.store
    of = Measured(**{**given, "store": store})
    plans = [
        plan(int(pictures), answers, of, options.requests)
        for pictures in options.pictures
        for answers in options.answers
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    finish(
        options.out, "scale", [shown(plans)], {"measured": asdict(of), "plans": [asdict(p) for p in plans]}
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
