"""What batches bring, bytes in and encoded picture out: `make bench-batches DATA=folder PROFILE=paper`.

A worker's own tasks decode all layers of 1920 x 1080 pictures, nothing kept from before, and write them as
JPEG. One batch after the other gives the seconds a client waits; two pipelines side by side, as a CUDA
worker has them, give the pictures per second. Operations are those that the transforms of a whole picture
need, a multiplication and an addition counted as two. A profile without weights is measured with untrained
ones: their speed is the same but for entropy coding.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.measure.pictures import read_pictures
from benchmarks.measure.report import finish, table
from benchmarks.speed.codec import QUALITY, WIDTHS, load, scaled_to
from model.codec.codec import Codec
from model.geometry import Size, halved
from model.network.transforms import synthesise_whole
from model.stream.ladder import Ladder
from model.training.speed import counting, peak
from service.engine.devices import CUDA_PIPELINES
from service.errors import ServiceError
from service.messages.jobs import Render
from service.messages.plans import RenderPlan
from service.settings import Settings
from service.worker.tasks import Tasks

SIZE = Size(1080, 1920)


def operations(codec: Codec, sizes: Sequence[Size]) -> int:
    """Floating-point operations of the synthesis and prediction of layers of these sizes."""
    network = deepcopy(codec.layers.network).to("meta")
    channels = codec.weights.config.latents
    below: Size | None = None
    with counting() as counter, torch.inference_mode():
        for size in sizes:
            part = network.base if below is None else network.enhancement
            prediction = None
            if below is not None:
                prediction = network.liff(torch.empty((1, 3, *below), device="meta"), size)
            latents = torch.empty((1, channels, *halved(size, 4)), device="meta")
            synthesise_whole(part.transforms, latents, size, prediction)
            below = size
    return int(counter.get_total_flops())


def render(tasks: Tasks, jobs: Sequence[Render]) -> float:
    """Seconds of one batch. Raises the ServiceError of a job that failed."""
    began = time.perf_counter()
    for result in tasks.render_batch(jobs):
        if isinstance(result, ServiceError):
            raise result
    return time.perf_counter() - began


def measure(tasks: Tasks, jobs: Sequence[Render], batch: int, seconds: float) -> dict[str, float]:
    """For batches of a size: median seconds of one, and pictures per second of two pipelines."""
    batches = itertools.cycle([list(jobs[i : i + batch]) for i in range(0, len(jobs), batch)])
    render(tasks, next(batches))
    alone: list[float] = []
    while len(alone) < 3 or sum(alone) < seconds:
        alone.append(render(tasks, next(batches)))
    rounds = max(CUDA_PIPELINES, int(CUDA_PIPELINES * seconds / median(alone)))
    with ThreadPoolExecutor(CUDA_PIPELINES) as pipelines:
        began = time.perf_counter()
        list(pipelines.map(lambda some: render(tasks, some), itertools.islice(batches, rounds)))
        elapsed = time.perf_counter() - began
    return {"p50_seconds": round(median(alone), 4), "pictures_per_second": round(rounds * batch / elapsed, 3)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser("make bench-batches", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of PNG pictures")
    parser.add_argument("--profile", default="lite", help="profile of the codec")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 4, 16), help="sizes of batches")
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--quick", action="store_true", help="smaller pictures, a second each")
    parser.add_argument("--out", type=Path, default=Path("out/batches"), help="folder for the table")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    seconds, size = (1.0, Size(270, 480)) if options.quick else (options.seconds, SIZE)
    codec, trained = load(options.profile, options.device)
    tasks = Tasks(Settings(profile=options.profile, worker_cache_bytes=0).for_worker, codec)
    sizes = Ladder(WIDTHS).sizes(size)
    pictures = read_pictures(options.data, max(options.batches))
    jobs = []
    for number in range(max(options.batches)):
        pixels = scaled_to(pictures[number % len(pictures)].pixels, size)
        stream = codec.encode(pixels, sizes, QUALITY)
        plan = RenderPlan(str(number), "", len(sizes) - 1, size, "jpeg", QUALITY)
        jobs.append(Render(plan, stream))
    figures: dict[int, dict[str, float]] = {}
    best = peak(codec.device, torch.float32)
    needed = operations(codec, sizes)
    for batch in options.batches:
        found = measure(tasks, jobs, batch, seconds)
        figures[batch] = {**found, "share_of_peak": round(found["pictures_per_second"] * needed / best, 4)}
    text = [
        f"# Batches of {size} on {options.device}: {options.profile}" + ("" if trained else ", untrained"),
        f"{needed / 1e9:.0f} billion operations per picture; the device does at best "
        f"{best / 1e9:.0f} billion a second.",
        table(
            ["batch", "p50, ms", "pictures/s", "of peak, %"],
            [
                (batch, 1000 * f["p50_seconds"], f["pictures_per_second"], 100 * f["share_of_peak"])
                for batch, f in figures.items()
            ],
        ),
    ]
    result: dict[str, Any] = {"benchmark": "batches", "operations": needed, "peak": best}
    finish(options.out, "batches", text, {**result, "batches": {str(b): f for b, f in figures.items()}})


if __name__ == "__main__":
    main()
