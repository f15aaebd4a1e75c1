"""What a visitor downloads: answers beside files of the original, `make bench-answers DATA=PHOTOS`.

An answer was coded twice, as a stream and as an ordinary picture. The table says how many more bytes a
default answer takes than a file of the resized original that the same encoder writes with its PSNR.

`OPTIONS="--points service/planning/points.py"` finds the operating points instead: for streams of several
qualities, the quality of an answer from which on a further decibel takes LIMIT times the bytes that it takes
in files of the original; the sums are over all pictures, each at the sizes of its layers.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.ours import scaled
from benchmarks.measure.pictures import Picture, Pixels, psnr
from benchmarks.measure.report import finish, table
from model.codec.codec import Codec
from model.geometry import Size
from model.stream.container import read_header
from service.planning.quality import LIMIT, as_module, output_quality
from service.planning.sizing import Wanted, choose_view
from service.settings import Settings
from service.worker.imagefile import write

WIDTHS = (320, 640, 1280, None)
"""The widths asked for, in pixels; None: the whole picture."""
LADDERS = {
    "avif": (5, 20, 32, 40, 47, 53, 59, 66, 75, 86),
    "webp": (1, 15, 30, 45, 58, 68, 76, 82, 88, 93),
    "jpeg": (10, 25, 40, 52, 62, 70, 77, 83, 88, 93),
}
"""Qualities at which files and answers are written, by format."""
STREAMS = (25, 45, 60, 75, 90)
"""Qualities of streams for which there is an operating point."""

Point = tuple[float, float]
"""Bytes and PSNR."""


@dataclass(frozen=True)
class Shown:
    """What a visitor sees at one size: of the ``original``, and of the stream, ``decoded``."""

    picture: str
    width: int | None
    original: Picture
    decoded: Pixels


def shown(codec: Codec, picture: Picture, quality: int, widths: Sequence[int | None] | None) -> list[Shown]:
    """A picture coded and decoded, at those of the ``widths`` that it has; None: at its layers' sizes."""
    stream = codec.encode(picture.pixels, Settings().ladder_of(None).sizes(picture.size), quality)
    header = read_header(stream)
    asked = [size.width for size in header.sizes] if widths is None else widths
    found = []
    for width in asked:
        if width is not None and width > picture.size.width:
            continue
        view = choose_view(header.sizes, Wanted(width=width))
        image = Image.fromarray(codec.decode(stream[: header.layers[view.layer].end], view.layer))
        if Size(image.height, image.width) != view.size:
            image = image.resize((view.size.width, view.size.height), Image.Resampling.LANCZOS)
        original = scaled(picture, view.size)
        found.append(Shown(picture.name, width, original, np.asarray(image)))
    return found


def written(pixels: Pixels, name: str, quality: int, original: Picture) -> Point:
    """Bytes of pixels in a format, as the service writes it, and its PSNR against the original."""
    body = write(Image.fromarray(pixels), name, quality)
    with Image.open(BytesIO(body)) as image:
        return len(body), psnr(original.pixels, np.asarray(image.convert("RGB")))


def bytes_at(points: Sequence[Point], decibels: float) -> float:
    """Bytes of a curve at a PSNR: between two points, on a line in logarithms; NaN outside the curve."""
    sizes, values = np.array(sorted(points, key=lambda point: point[1])).T
    if not values[0] <= decibels <= values[-1]:
        return float("nan")
    return float(np.exp(np.interp(decibels, values, np.log(sizes))))


def overhead(item: Shown, name: str, quality: int) -> tuple[float, float, float]:
    """Bytes of an answer, its PSNR, and its bytes over those of a direct file of that PSNR."""
    size, decibels = written(item.decoded, name, quality, item.original)
    direct = [written(item.original.pixels, name, q, item.original) for q in LADDERS[name]]
    return size, decibels, size / bytes_at(direct, decibels)


def answers(inputs: command.Inputs, stream: int) -> tuple[list[str], dict[str, object]]:
    """The table of default answers, and its figures."""
    found: dict[tuple[str, int | None], list[tuple[float, float, float]]] = {}
    for picture in tqdm(inputs.pictures, "answers", unit="picture"):
        for item in shown(inputs.meter.codec, picture, stream, WIDTHS):
            for name in LADDERS:
                measured = overhead(item, name, output_quality(name, stream))
                found.setdefault((name, item.width), []).append(measured)
    rows: list[list[object]] = []
    figures: dict[str, object] = {}
    for (name, width), values in sorted(found.items(), key=lambda each: (each[0][0], each[0][1] or 10**6)):
        sizes, decibels, ratios = np.array(values).T
        more = _more(ratios[~np.isnan(ratios)])
        label = "whole" if width is None else str(width)
        rows.append(
            [
                name,
                label,
                len(values),
                round(sizes.mean()),
                float(decibels.mean()),
                None if more is None else f"{more:+.0f} %",
            ]
        )
        figures[f"{name} {label}"] = {
            "bytes": round(float(sizes.mean())),
            "psnr": round(float(decibels.mean()), 2),
            "over_direct": more,
        }
    head = ["format", "width", "pictures", "bytes", "PSNR, dB", "bytes over a direct file"]
    qualities = ", ".join(f"{name} {output_quality(name, stream)}" for name in LADDERS)
    text = [
        f"# Answers: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}, streams of quality {stream}, answers of {qualities}. Pictures narrower "
        "than a width are not counted there. Direct: a file of the resized original with the answer's PSNR.",
        table(head, rows),
    ]
    return text, figures


def _more(ratios: np.ndarray) -> float | None:
    """The geometric mean of ratios, as percent above 1; None of none."""
    return round(100 * (float(np.exp(np.log(ratios).mean())) - 1), 1) if len(ratios) else None


@dataclass(frozen=True)
class Curves:
    """Bytes and PSNR, by quality of a format, of direct files and of answers by quality of their streams."""

    direct: list[Point]
    coded: dict[int, list[Point]]


def curves(inputs: command.Inputs, names: Sequence[str]) -> dict[str, Curves]:
    """Of each format: bytes of all pictures at the sizes of their layers together, and the mean PSNR."""
    direct = {name: [np.zeros(2) for _ in LADDERS[name]] for name in names}
    coded = {(name, s): [np.zeros(2) for _ in LADDERS[name]] for name in names for s in STREAMS}
    count = 0
    for picture in tqdm(inputs.pictures, "points", unit="picture"):
        for stream in STREAMS:
            for item in shown(inputs.meter.codec, picture, stream, None):
                count += stream == STREAMS[0]
                for name in names:
                    for at, quality in enumerate(LADDERS[name]):
                        coded[name, stream][at] += written(item.decoded, name, quality, item.original)
                        if stream == STREAMS[0]:
                            direct[name][at] += written(item.original.pixels, name, quality, item.original)

    def mean(sums: Sequence[np.ndarray]) -> list[Point]:
        return [(float(size), float(decibels) / count) for size, decibels in sums]

    return {name: Curves(mean(direct[name]), {s: mean(coded[name, s]) for s in STREAMS}) for name in names}


def knee(qualities: Sequence[int], coded: Sequence[Point], direct: Sequence[Point], limit: float) -> int:
    """The quality from which on a further decibel takes ``limit`` times the bytes that it takes directly.

    ``coded`` and ``direct`` are points at these qualities. The last quality that gains anything if none is
    too dear, and the first one if all are.
    """
    worst = min(decibels for _, decibels in direct)
    costs: list[Point] = []  # quality between two neighbours, and the ratio there
    for at, (low, high) in enumerate(pairwise(qualities)):
        (size, decibels), (larger, higher) = coded[at : at + 2]
        if decibels < worst:  # where no direct file is as bad, nothing is compared
            continue
        directly = bytes_at(direct, higher) - bytes_at(direct, decibels)
        ratio = (larger - size) / directly if directly > 0 else math.inf
        if ratio > limit:
            if not costs:
                return low
            before, below = costs[-1]
            if math.isinf(ratio):
                return low
            return round(float(np.interp(limit, [below, ratio], [before, (low + high) / 2])))
        costs.append(((low + high) / 2, ratio))
    return qualities[-1]


def rising(found: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The points, none lower than the one before: a better stream is never worth a worse answer."""
    return [(stream, max(q for _, q in found[: at + 1])) for at, (stream, _) in enumerate(found)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-answers", __doc__)
    parser.add_argument(
        "--stream", type=int, default=Settings().quality, help="quality of the streams, 1-100"
    )
    parser.add_argument("--points", type=Path, help="write the operating points to this module instead")
    parser.add_argument(
        "--only", choices=("avif", "webp", "jpeg"), nargs="+", help="operating points of these formats"
    )
    options = parser.parse_args(arguments)
    inputs = command.load(options)
    if options.points is None:
        text, figures = answers(inputs, options.stream)
        finish(inputs.out, "answers", text, {"answers": figures})
    else:
        _write_points(options, inputs)


def _write_points(options: argparse.Namespace, inputs: command.Inputs) -> None:
    measured = curves(inputs, options.only or tuple(LADDERS))
    found = {
        name: rising([(s, knee(LADDERS[name], coded, each.direct, LIMIT)) for s, coded in each.coded.items()])
        for name, each in measured.items()
    }
    how = (
        f'``make bench-answers OPTIONS="--points FILE"``: model {inputs.model_id}, {len(inputs.pictures)} '
        f"pictures,\nlimit {LIMIT:g}."
    )
    module = as_module(found, how)
    options.points.write_text(module)
    figures = {name: {"direct": each.direct, "coded": each.coded} for name, each in measured.items()}
    finish(inputs.out, "points", [module], {"points": found, "curves": figures})


if __name__ == "__main__":
    main()
