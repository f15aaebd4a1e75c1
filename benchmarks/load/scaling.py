"""What the service adds to the bare codec, and what a second worker brings: `make bench-scaling DATA=folder`.

Whole pictures are asked for as JPEG, with nothing kept in memory, so that every request decodes all layers.
The same renderings are made by the same number of plain processes without HTTP, store and pool. Every worker
has one thread. Then one picture is asked for at a width of 640 and of 1280, layers kept, and of 1280 alone.
"""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import httpx
import numpy as np
import torch
from PIL import Image

from benchmarks.load.options import parser
from benchmarks.load.processes import free_port, started
from benchmarks.load.serve import stream_of, upload
from benchmarks.load.traffic import TIMEOUT_SECONDS, Shot, closed_loop, fire, insist, with_comment
from benchmarks.measure.pictures import camera_jpeg, read_pictures
from benchmarks.measure.report import finish, table
from model.stream.container import read_header
from service.messages.jobs import Render
from service.messages.plans import RenderPlan
from service.planning.quality import output_quality
from service.settings import Profile, Settings
from service.worker.tasks import Tasks

COMMAND = (sys.executable, "-m", "service.cli", "serve")
SMALL, LARGE = 640, 1280
NOTHING_KEPT = {
    "COMPASS_CACHE_BYTES": "0",
    "COMPASS_WORKER_CACHE_BYTES": "0",
    "COMPASS_WORKER_THREADS": "1",
    "COMPASS_SPARE_WORKERS": "0",  # its loading would be measured too
}


def bare(profile: Profile, streams: Sequence[bytes], seconds: float) -> float:
    """Renderings per second of this process."""
    torch.set_num_threads(1)
    tasks = Tasks(Settings(profile=profile, worker_cache_bytes=0).for_worker)
    tasks.warm_up()
    done, begin = 0, time.perf_counter()
    for stream in itertools.cycle(streams):
        layers = read_header(stream).layers
        size = layers[-1].size
        quality = output_quality("jpeg", layers[-1].quality)
        tasks.render(Render(RenderPlan("", "", len(layers) - 1, size, "jpeg", quality), stream))
        done += 1
        if time.perf_counter() > begin + seconds:
            break
    return done / (time.perf_counter() - begin)


def bare_in_processes(profile: Profile, streams: Sequence[bytes], seconds: float, processes: int) -> float:
    """Renderings per second of so many processes."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        works = [pool.submit(bare, profile, streams, seconds) for _ in range(processes)]
        return sum(work.result() for work in works)


async def served(
    profile: str, sources: Sequence[bytes], seconds: float, workers: int
) -> tuple[float, list[bytes]]:
    """Renderings per second of the service with so many workers, and the streams it had made."""
    port = free_port()
    settings = {**NOTHING_KEPT, "COMPASS_WORKERS": str(workers)}
    with started(COMMAND, port, profile, settings) as server:
        server.until_ready()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS) as client:
            pictures = [await upload(client, data) for data in sources]
            shots = itertools.cycle(
                [Shot("read", f"/images/{picture.id}?format=jpeg") for picture in pictures]
            )
            await closed_loop(client, lambda: next(shots), workers, 3)
            rate, hits = await closed_loop(client, lambda: next(shots), 2 * workers, seconds)
            insist(hits)
            return rate, [await stream_of(client, picture.id) for picture in pictures]


async def reuse(profile: str, source: bytes, rounds: int) -> tuple[float, float]:
    """Seconds of a picture at LARGE pixels' width alone, and of SMALL and LARGE one after the other."""
    port = free_port()
    settings = {"COMPASS_CACHE_BYTES": "0", "COMPASS_WORKERS": "1", "COMPASS_SPARE_WORKERS": "0"}
    alone: list[float] = []
    both: list[float] = []
    with started(COMMAND, port, profile, settings) as server:
        server.until_ready()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS) as client:
            for number in range(2 * rounds):
                # each time a new picture, whose layers have not been decoded
                picture = await upload(client, with_comment(source, str(number)))
                widths = [LARGE] if number % 2 else [SMALL, LARGE]
                seconds = 0.0
                for width in widths:
                    shot = Shot("read", f"/images/{picture.id}?width={width}&format=jpeg")
                    hit = await fire(client, shot, time.perf_counter())
                    insist([hit])
                    seconds += hit.seconds
                (alone if number % 2 else both).append(seconds)
    return median(alone), median(both)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and one line of JSON."""
    known = parser("scaling", __doc__, pictures=8, seconds=20)
    known.add_argument("--rounds", type=int, default=12, help="of the second part; the median counts")
    options = known.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(options.data, options.pictures)
    sources = [camera_jpeg(picture.pixels) for picture in pictures]
    cores = len(os.sched_getaffinity(0))
    rates: dict[int, tuple[float, float]] = {}
    for workers in sorted({1, cores}):
        rate, streams = asyncio.run(served(options.profile, sources, options.seconds, workers))
        rates[workers] = rate, bare_in_processes(options.profile, streams, options.seconds, workers)
    large = Image.fromarray(pictures[0].pixels).resize((LARGE, LARGE * 2 // 3), Image.Resampling.LANCZOS)
    alone, both = asyncio.run(reuse(options.profile, camera_jpeg(np.asarray(large)), options.rounds))
    overhead = 1 - rates[cores][0] / rates[cores][1]
    gain, bare_gain = (rates[cores][which] / rates[1][which] for which in (0, 1))
    text = [
        table(
            ["workers", "service, pictures/s", "bare codec, pictures/s"],
            [(workers, *pair) for workers, pair in rates.items()],
        ),
        f"{cores} workers do {gain:.2f} times as much as one; {cores} processes of the bare codec "
        f"{bare_gain:.2f} times as much as one.",
        f"At full load the service does {100 * overhead:.1f} % less than the bare codec.",
        f"{SMALL} and then {LARGE} pixels of one picture take {both:.3f} s, {both / alone:.3f} times {LARGE} "
        "alone.",
    ]
    figures = {
        "benchmark": "scaling",
        "rates": {str(workers): [round(rate, 3) for rate in pair] for workers, pair in rates.items()},
        "gain": round(gain, 3),
        "bare_gain": round(bare_gain, 3),
        "overhead": round(overhead, 4),
        "reuse": round(both / alone, 4),
        "reuse_seconds": [round(both, 4), round(alone, 4)],
    }
    finish(options.out, "scaling", text, figures)


if __name__ == "__main__":
    main()
