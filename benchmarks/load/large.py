"""One worker and pictures of 12 megapixels: seconds to start, to keep and to answer, and memory.

    make bench-large DATA=folder

A service with one worker, which has all cores, and nothing else to do. A photograph, scaled to 4000 x 3000
pixels, is uploaded as a JPEG file of a camera, then asked for whole and at a width of 1280. Each further
round takes another photograph, so that nothing is answered from memory. Seconds are those of a client.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence

import httpx
import numpy as np
import psutil
from PIL import Image, ImageOps
from tqdm import tqdm

from benchmarks.load.options import parser
from benchmarks.load.processes import free_port, peak_memory, started
from benchmarks.load.serve import upload
from benchmarks.load.traffic import TIMEOUT_SECONDS
from benchmarks.measure.pictures import camera_jpeg, read_pictures
from benchmarks.measure.report import finish, table

COMMAND = (sys.executable, "-m", "service.cli", "serve")
SETTINGS = {"COMPASS_WORKERS": "1", "COMPASS_SPARE_WORKERS": "0", "COMPASS_READ_DEADLINE": "600"}
SIZE = (4000, 3000)
FORMATS = ("avif", "webp", "jpeg")
WIDTH = 1280


async def measure(options: argparse.Namespace) -> tuple[dict[str, list[float]], int]:
    """Seconds of each round by what was asked for, and the most bytes of memory that the worker held."""
    port = free_port()
    seconds: dict[str, list[float]] = {}
    pictures = read_pictures(options.data, options.pictures)
    began = time.perf_counter()
    with started(COMMAND, port, options.profile, SETTINGS) as server:
        server.until_ready()
        seconds["start"] = [time.perf_counter() - began]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS) as client:
            (worker,) = (
                child for child in psutil.Process(server.pid).children() if "valkey" not in child.name()
            )
            for picture in tqdm(pictures, unit="picture", leave=False):
                photo = ImageOps.fit(Image.fromarray(picture.pixels), options.size)
                for name, taken in (await one_round(client, camera_jpeg(np.asarray(photo)))).items():
                    seconds.setdefault(name, []).append(taken)
            return seconds, peak_memory(worker.pid)


async def one_round(client: httpx.AsyncClient, file: bytes) -> Mapping[str, float]:
    """Seconds of the upload and of each answer."""
    taken, began = {}, time.perf_counter()
    stored = await upload(client, file)
    taken["upload"] = time.perf_counter() - began
    for name in FORMATS:
        for width in (stored.width, WIDTH):
            began = time.perf_counter()
            answer = await client.get(f"/images/{stored.id}", params={"width": width, "format": name})
            answer.raise_for_status()
            taken[f"{name}, {'whole' if width == stored.width else f'{width} wide'}"] = (
                time.perf_counter() - began
            )
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and one line of JSON; ``arguments`` instead of the command line's."""
    known = parser("large", __doc__.split("\n")[0], pictures=3, seconds=0)
    known.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("WIDTH", "HEIGHT"))
    options = known.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the run")
    seconds, memory = asyncio.run(measure(options))
    width, height = options.size
    text = [
        f"# {width} x {height} pixels: {options.profile}, one worker",
        table(["", "first, s", "best, s"], [(name, all_[0], min(all_)) for name, all_ in seconds.items()]),
        f"The worker held at most {memory / 2**20:.0f} MiB.",
    ]
    rounded = {name: [round(one, 3) for one in all_] for name, all_ in seconds.items()}
    finish(options.out, "large", text, {"benchmark": "large", "seconds": rounded, "memory": memory})


if __name__ == "__main__":
    main()
