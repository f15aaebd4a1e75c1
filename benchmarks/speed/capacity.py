"""What a million pictures need: bytes stored and read, and CPU seconds of a worker.

    make bench-capacity DATA=folder [OPTIONS="--pictures 4"]

Does with every picture what a worker does for the service as it is set: codes it, then renders each
layer from the stream's prefix, nothing remembered from before. CPU seconds, of all threads, hardly
depend on what else the machine does. Prints the table of docs/operations.md, and one line of JSON.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch
from tqdm import tqdm

from benchmarks.measure.pictures import picture_files
from benchmarks.measure.report import table
from model.stream.container import read_header
from service.messages.jobs import Render, Upload
from service.messages.plans import RenderPlan
from service.planning.quality import output_quality
from service.settings import Settings
from service.worker.tasks import Tasks

MILLION = 10**6
RECORD_BYTES = 1000
"""What the store keeps beside a stream, about."""
FORMATS = ("avif", "webp", "jpeg")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser(prog="make bench-capacity", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of PNG pictures of one size")
    parser.add_argument("--profile", default="lite")
    parser.add_argument("--pictures", type=int, help="so many, spread evenly; default: all")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # so many the tasks take
    settings = Settings(profile=options.profile, device="cpu", worker_cache_bytes=0, graphics=False)
    files = picture_files(options.data, options.pictures)
    figures = measure(Tasks(settings.for_worker), settings, [file.read_bytes() for file in files])
    print(report(figures))
    print(json.dumps({"benchmark": "capacity", "pictures": len(files), **figures}))


def measure(tasks: Tasks, settings: Settings, files: Sequence[bytes]) -> dict[str, float]:
    """Means of what :func:`measured` tells of each picture, without what is loaded and compiled at first."""
    tasks.warm_up()
    measured(tasks, settings, files[0])
    found: dict[str, list[float]] = {}
    for file in tqdm(files, unit="picture", leave=False):
        for name, value in measured(tasks, settings, file).items():
            found.setdefault(name, []).append(value)
    return {name: round(mean(values), 4) for name, values in found.items()}


def measured(tasks: Tasks, settings: Settings, file: bytes) -> dict[str, float]:
    """Of a picture: bytes, CPU seconds, ``megapixels``; names end with the layer's number."""
    began = time.process_time()
    coded = tasks.upload(Upload("", file, settings.quality, settings.ladder_of(None)))
    values = {
        "megapixels": coded.width * coded.height / MILLION,
        "bytes": len(coded.stream),
        "code": time.process_time() - began,
    }
    for k, layer in enumerate(read_header(coded.stream).layers):
        values[f"read {k}"] = layer.end
        for kind in FORMATS:
            quality = output_quality(kind, settings.quality)
            order = Render(RenderPlan("", "", k, layer.size, kind, quality), coded.stream[: layer.end])
            began = time.process_time()
            tasks.render(order)
            values[f"{kind} {k}"] = time.process_time() - began
    return values


def report(figures: dict[str, float]) -> str:
    """For one picture and for a million, as Markdown."""
    layers = sum(name.startswith("read ") for name in figures)
    rows: list[tuple[object, ...]] = [
        ("megapixels", figures["megapixels"], None),
        ("bytes stored", round(figures["bytes"]), f"{(figures['bytes'] + RECORD_BYTES) / 1000:.1f} GB"),
        ("CPU seconds to code", figures["code"], _hours(figures["code"])),
    ]
    for k in range(layers):
        read = figures[f"read {k}"]
        rows.append((f"layer {k}: bytes read", round(read), f"{read / 1000:.1f} GB"))
        for kind in FORMATS:
            seconds = figures[f"{kind} {k}"]
            rows.append((f"layer {k}: CPU seconds to render, {kind}", seconds, _hours(seconds)))
    return table(["", "a picture", "a million"], rows)


def _hours(seconds: float) -> str:
    return f"{seconds * MILLION / 3600:.0f} core hours"


if __name__ == "__main__":
    main()
