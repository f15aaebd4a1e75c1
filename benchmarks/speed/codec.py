"""Seconds of each stage of coding, beside the plain way and beside other formats.

    python -m benchmarks.speed.codec --data FOLDER

One picture of the folder, scaled to each size, in the layers the service gives it. The plain way
(benchmarks/speed/plain.py) runs the same weights as a CompressAI model would, on one thread, and is compared
with our decoder on one thread. Every figure is the best of several rounds. A profile without weights is
measured with untrained ones, and the table says so: their speed is the same but for entropy coding. The
other formats code the picture in about as many bytes.
Last, a region of 512 x 512 pixels out of a 24-megapixel mosaic of the folder's pictures.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from benchmarks.measure.classic import CLASSIC_CODECS, ClassicCodec
from benchmarks.measure.pictures import Picture, Pixels, read_pictures
from benchmarks.measure.report import table
from benchmarks.speed.operations import operations, peaks
from benchmarks.speed.plain import PlainCodec
from model.clock import StageClock
from model.codec.codec import Codec
from model.geometry import Box, Size
from model.installed import FOLDER
from model.network.config import PROFILES
from model.stream.container import read_header
from model.stream.ladder import Ladder
from model.training.export import export
from model.training.network import initialise
from service.settings import Settings

SIZES = (Size(512, 768), Size(1080, 1920))
WIDTHS: tuple[int, ...] = Settings.model_fields["widths"].default
QUALITY = 75
LARGE = Size(4000, 6000)
REGIONS = (Box(0, 0, 512, 512), Box(1800, 2700, 2312, 3212), Box(3400, 5400, 3912, 5912))
"""Regions of the large picture; the one that takes longest counts."""
STAGES = ("analysis", "priors", "rounding", "entropy", "prediction", "synthesis", "check")
ONE_THREAD, ENCODE_ALONE, PLAIN = "decode, one thread", "encode, one thread", "plain decode"
AVIF_SPEEDS = (4, 8)

Seconds = dict[str, float]
"""By stage, and ``all``."""


def load(profile: str, device: str = "cpu") -> tuple[Codec, bool]:
    """A profile's codec, and whether its weights are trained."""
    if (FOLDER / f"{profile}.safetensors").is_file():
        return Codec.load(profile, device), True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{profile}.safetensors"
        export(initialise(PROFILES[profile]), path)
        return Codec.load(str(path), device), False


def best(work: Callable[[StageClock], object], rounds: int, progress: tqdm) -> Seconds:
    """The fastest of several rounds."""
    runs: list[Seconds] = []
    for _ in range(rounds):
        clock, began = StageClock(), time.perf_counter()
        work(clock)
        runs.append({**clock.seconds, "all": time.perf_counter() - began})
        progress.update()
    return min(runs, key=lambda run: run["all"])


def measure(
    codec: Codec, pixels: Pixels, sizes: Sequence[Size], rounds: int, with_plain: bool, progress: tqdm
) -> tuple[dict[str, Seconds], int]:
    """Seconds of our encoder and decoder and of the plain ones, and the bytes of our stream."""
    stream = codec.encode(pixels, sizes, QUALITY)
    codec.decode(stream)
    alone = Codec(codec.weights, str(codec.device), threads=1)
    rows = {
        "encode": best(lambda clock: codec.encode(pixels, sizes, QUALITY, clock), rounds, progress),
        "decode": best(lambda clock: codec.decode(stream, clock=clock), rounds, progress),
        ENCODE_ALONE: best(lambda clock: alone.encode(pixels, sizes, QUALITY, clock), rounds, progress),
        ONE_THREAD: best(lambda clock: alone.decode(stream, clock=clock), rounds, progress),
    }
    if with_plain:
        plain = PlainCodec(codec.weights)
        layers = plain.encode(pixels, sizes, QUALITY, StageClock())
        progress.update()
        rows[PLAIN] = best(lambda clock: plain.decode(layers, QUALITY, clock), rounds, progress)
    return rows, len(stream)


def measure_region(codec: Codec, pictures: Sequence[Picture], rounds: int) -> dict[str, float]:
    """What a region of a large picture costs to decode: shares of its bytes and of its seconds."""
    pixels = mosaic(pictures, LARGE)
    stream = codec.encode(pixels, Ladder(WIDTHS).sizes(LARGE), QUALITY)
    layer = len(read_header(stream).layers) - 1
    whole = min(_seconds(codec.decode, stream) for _ in range(2))
    seconds = [min(_seconds(codec.decode, stream, layer, box) for _ in range(rounds)) for box in REGIONS]
    read = [sum(end - start for start, end in codec.reads(stream, layer, box)) for box in REGIONS]
    return {
        "bytes": len(stream),
        "whole_seconds": round(whole, 3),
        "seconds": round(max(seconds), 3),
        "share_of_seconds": round(max(seconds) / whole, 4),
        "share_of_bytes": round(max(read) / len(stream), 4),
    }


def mosaic(pictures: Sequence[Picture], size: Size) -> Pixels:
    """A large picture of many: detail as fine as theirs, as no enlargement has."""
    canvas, number = Image.new("RGB", (size.width, size.height)), 0
    for top in range(0, size.height, 512):
        for left in range(0, size.width, 512):
            picture = Image.fromarray(pictures[number % len(pictures)].pixels)
            canvas.paste(ImageOps.fit(picture, (512, 512), Image.Resampling.LANCZOS), (left, top))
            number += 1
    return np.asarray(canvas)


def other_formats(pixels: Pixels, size: int, rounds: int) -> dict[str, Seconds]:
    """Seconds that Pillow takes to code and decode the picture in about ``size`` bytes."""
    figures = {}
    for codec in CLASSIC_CODECS:
        coded = [codec.encode(pixels, quality) for quality in codec.ladder]
        nearest = min(range(len(coded)), key=lambda i: abs(len(coded[i]) - size))
        quality, data = codec.ladder[nearest], coded[nearest]
        figures[codec.name] = {
            "bytes": len(data),
            "encode": min(_seconds(codec.encode, pixels, quality) for _ in range(rounds)),
            "decode": min(_seconds(codec.decode, data) for _ in range(rounds)),
        }
    return figures


def avif_of_all_sizes(pixels: Pixels, sizes: Sequence[Size], count: int, rounds: int) -> dict[int, float]:
    """Seconds that AVIF takes for one file of each size, by its speed, in about ``count`` bytes together."""
    avif = next(codec for codec in CLASSIC_CODECS if codec.name == "avif")
    pictures = [scaled_to(pixels, size) for size in sizes]

    def files(codec: ClassicCodec, quality: int) -> int:
        return sum(len(codec.encode(picture, quality)) for picture in pictures)

    quality = min(avif.ladder, key=lambda quality: abs(files(avif, quality) - count))
    fast = {speed: replace(avif, options={**avif.options, "speed": speed}) for speed in AVIF_SPEEDS}
    return {
        speed: min(_seconds(files, codec, quality) for _ in range(rounds)) for speed, codec in fast.items()
    }


def shares(codec: Codec, ladder: Sequence[Size], rows: dict[str, Seconds], speeds: dict[str, float]) -> str:
    """A table of each stage's operations, and of how near the machine's peak they come on one thread."""
    body = []
    fast = str(codec.dtype).removeprefix("torch.")
    for stage, count in operations(codec.weights.config, ladder).items():
        seconds = rows[ENCODE_ALONE if stage == "analysis" else ONE_THREAD][stage]
        others, least = (count.all - count.narrow) / 1e9, count.seconds(speeds, fast)
        body.append([stage, count.narrow / 1e9, others, 1000 * seconds, 1000 * least, least / seconds])
    head = ["one thread", f"GFLOP in {fast}", "in float32", "ms", "ms at the peak", "share"]
    return table(head, body) + "\n\nThe priors are integers: beside them stands what float32 would take."


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def scaled_to(pixels: Pixels, size: Size) -> Pixels:
    """A picture of ``size``, enlarged if need be."""
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.LANCZOS))


def text_of(title: str, rows: dict[str, Seconds]) -> str:
    """A table of milliseconds."""
    body = [
        [name, *(round(1000 * row[stage], 1) if stage in row else None for stage in (*STAGES, "all"))]
        for name, row in rows.items()
    ]
    return f"## {title}\n\n" + table(["milliseconds", *STAGES, "all"], body)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and end with one line of JSON."""
    parser = argparse.ArgumentParser(prog="make bench-codec", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of PNG pictures")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="default: all of them")
    parser.add_argument("--rounds", type=int, default=5, help="of which the fastest counts")
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain way: it takes minutes")
    parser.add_argument("--quick", action="store_true", help="two rounds of the smaller size")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rounds = 2 if options.quick else options.rounds
    picture = read_pictures(options.data, 1)[0]
    profiles = [options.profile] if options.profile else sorted(PROFILES)
    sizes = SIZES[:1] if options.quick else SIZES
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the run")
    speeds = peaks()
    print("one thread at most: " + ", ".join(f"{name} {s / 1e9:.0f} GFLOP/s" for name, s in speeds.items()))
    result: dict[str, Any] = {"benchmark": "codec", "picture": picture.name, "peaks": speeds}
    paragraphs = []
    total = len(profiles) * len(sizes) * (4 * rounds + (0 if options.no_plain else rounds + 1))
    with tqdm(total=total, unit="run", leave=False) as progress:
        for profile in profiles:
            codec, trained = load(profile)
            for size in sizes:
                pixels = scaled_to(picture.pixels, size)
                ladder = Ladder(WIDTHS).sizes(size)
                rows, count = measure(codec, pixels, ladder, rounds, not options.no_plain, progress)
                name = f"{profile} {size}"
                title = f"{name}, {len(ladder)} layers, {count} bytes" + ("" if trained else ", untrained")
                paragraphs.append(text_of(title, rows))
                result[name] = {"trained": trained, "bytes": count, "seconds": _rounded(rows)}
                paragraphs.append(shares(codec, ladder, rows, speeds))
                if not options.no_plain:
                    ratio = rows[PLAIN]["all"] / rows[ONE_THREAD]["all"]
                    paragraphs.append(
                        f"On one thread decoding is {ratio:.1f} times as fast as the plain way."
                    )
                    result[name]["plain_over_ours"] = round(ratio, 2)
    for size in sizes:
        pixels = scaled_to(picture.pixels, size)
        name = str(size)
        lite = result.get(f"lite {name}") or result[f"{profiles[0]} {name}"]
        figures = other_formats(pixels, lite["bytes"], rounds)
        ours = lite["seconds"]["decode"]["all"]
        body = [
            [form, row["bytes"], 1000 * row["encode"], 1000 * row["decode"], ours / row["decode"]]
            for form, row in figures.items()
        ]
        head = ["format", "bytes", "encode, ms", "decode, ms", "our decode takes times"]
        paragraphs.append(f"## Other formats, {name}\n\n" + table(head, body))
        ladder_seconds = avif_of_all_sizes(pixels, Ladder(WIDTHS).sizes(size), lite["bytes"], rounds)
        ours = lite["seconds"][ENCODE_ALONE]["all"]
        paragraphs += [
            f"AVIF at speed {speed} codes the layers' sizes, one thread, one file each, in "
            f"{1000 * seconds:.0f} ms: {seconds / ours:.2f} times as long as we take for the stream."
            for speed, seconds in ladder_seconds.items()
        ]
        result[f"formats {name}"] = _rounded(figures)
        result[f"avif of all sizes {name}"] = ladder_seconds
    if len(profiles) > 1:
        for size in sizes:
            name = str(size)
            paper, lite = (
                result[f"{profile} {name}"]["seconds"]["decode"]["all"] for profile in ("paper", "lite")
            )
            paragraphs.append(f"{name}: lite decodes {paper / lite:.1f} times as fast as paper.")
    if not options.quick:
        region = measure_region(load(profiles[0])[0], read_pictures(options.data), rounds)
        share_of_bytes, share_of_seconds = 100 * region["share_of_bytes"], 100 * region["share_of_seconds"]
        paragraphs.append(
            f"A region of 512x512 out of {LARGE}, {profiles[0]}: {share_of_bytes:.1f} % of the "
            f"bytes, {share_of_seconds:.1f} % of the {region['whole_seconds']:.1f} seconds of the whole."
        )
        result["region"] = region
    print("\n\n".join(paragraphs))
    print(json.dumps(result))


def _rounded(rows: dict[str, Seconds]) -> dict[str, Seconds]:
    return {name: {key: round(value, 4) for key, value in row.items()} for name, row in rows.items()}


if __name__ == "__main__":
    main()
