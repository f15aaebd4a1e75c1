"""What other encoders and settings would make of an answer: `make bench-encoders DATA=PHOTOS`.

Decoded streams of the default quality, as a worker has them, are written by each encoder of Pillow at several
qualities. The table says how many bytes each takes at the PSNR that a default answer has against what was
decoded, beside the encoder in use, and the CPU time there.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.classic import ClassicCodec
from benchmarks.measure.pictures import Picture, psnr
from benchmarks.measure.report import finish, table
from benchmarks.quality.answers import LADDERS, Point, bytes_at
from service.planning.quality import output_quality
from service.settings import Settings

USED = {
    "avif": {"speed": 8},
    "jpeg": {"progressive": True},
    "webp": {"method": 3},
}
"""Pillow's options of the service's own answers (:func:`service.worker.imagefile.write`)."""
OTHERS: dict[str, tuple[dict[str, Any], ...]] = {
    "avif": (
        {"speed": 6},
        {"speed": 7},
        {"speed": 9},
        {"speed": 8, "subsampling": "4:4:4"},
        {"speed": 8, "advanced": {"tune": "psnr"}},
    ),
    "jpeg": ({}, {"optimize": True}),
    "webp": ({"method": 2}, {"method": 4}, {"method": 6}),
}


@dataclass(frozen=True)
class Curve:
    """An encoder's mean bytes and mean PSNR at each quality of its ladder, and its CPU seconds there."""

    points: tuple[Point, ...]
    seconds: tuple[float, ...]

    def seconds_at(self, decibels: float) -> float:
        """CPU seconds of all pictures at a PSNR, on a line between two points."""
        return float(np.interp(decibels, [value for _, value in self.points], self.seconds))


def curve(codec: ClassicCodec, pictures: Sequence[Picture]) -> Curve:
    """Write all pictures at each quality."""
    points, seconds = [], []
    for quality in codec.ladder:
        began = time.process_time()
        files = [codec.encode(picture.pixels, quality) for picture in pictures]
        seconds.append(time.process_time() - began)
        values = [psnr(one.pixels, codec.decode(file)) for one, file in zip(pictures, files, strict=True)]
        points.append((float(np.mean([len(file) for file in files])), float(np.mean(values))))
    return Curve(tuple(points), tuple(seconds))


def encoder(name: str, options: dict[str, Any]) -> ClassicCodec:
    """One of Pillow's encoders, with one thread."""
    threads = {"max_threads": 1} if name == "avif" else {}
    return ClassicCodec(name, name.upper(), LADDERS[name], {**options, **threads})


def described(options: dict[str, Any]) -> str:
    """Options as a table shows them."""
    shown = {key: value for key, value in options.items() if key != "advanced"} | options.get("advanced", {})
    return ", ".join(f"{key} {value}" for key, value in shown.items()) or "as Pillow does by itself"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-encoders", __doc__)
    command.add_middle(parser)
    options: argparse.Namespace = parser.parse_args(arguments)
    inputs = command.load(options)
    codec, quality = inputs.meter.codec, Settings().quality
    decoded = []
    for picture in tqdm(inputs.pictures, "decoding", unit="picture"):
        stream = codec.encode(picture.pixels, [picture.size], quality)
        decoded.append(Picture(picture.name, codec.decode(stream)))
    megapixels = sum(picture.size.area for picture in decoded) / 1e6
    rows: list[list[object]] = []
    figures: dict[str, dict[str, float]] = {}
    for name, used in tqdm(USED.items(), "encoding", unit="format"):
        curves = [curve(encoder(name, chosen), decoded) for chosen in (used, *OTHERS[name])]
        answer = LADDERS[name], [decibels for _, decibels in curves[0].points]
        decibels = float(np.interp(output_quality(name, quality), *answer))
        least = bytes_at(curves[0].points, decibels)
        for chosen, found in zip((used, *OTHERS[name]), curves, strict=True):
            share = 100 * bytes_at(found.points, decibels) / least
            milliseconds = 1000 * found.seconds_at(decibels) / megapixels
            label = f"{name.upper()}: {described(chosen)}"
            rows.append(
                [label, decibels, f"{share:.0f} %", round(milliseconds), "used" if chosen is used else ""]
            )
            figures[label] = {"bytes": round(share, 1), "ms": round(milliseconds, 1)}
    head = ["encoder", "PSNR, dB", "bytes", "ms per megapixel", ""]
    title = f"## {inputs.profile}, streams of quality {quality}, {len(decoded)} pictures"
    result = {"encoders": figures, "profile": inputs.profile, "model_id": inputs.model_id}
    finish(inputs.out, "encoders", [title, table(head, rows)], result)


if __name__ == "__main__":
    main()
