"""Several sizes in one stream against one size and against simulcast: `make bench-scalable DATA=folder`.

The tables of the COMPASS paper from real streams: two layers, three layers, factors outside the trained
range, and up to nine layers. The largest layer is always the whole picture; the others are that much
smaller. BD-rates compare the largest layer at the bytes of everything up to it. Simulcast codes every
size separately, at the same quality setting. Our smaller layers have a lower PSNR than an AVIF file of such
a setting, so "avif matched" is simulcast whose files have, in every size, the mean PSNR of our layer.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.bdrate import Point, rate_at
from benchmarks.measure.cache import Measurement
from benchmarks.measure.classic import CLASSIC_CODECS, ClassicCodec
from benchmarks.measure.curves import Curve, as_layers, curve_points, mean_point
from benchmarks.measure.ours import scaled
from benchmarks.measure.pictures import Picture
from benchmarks.measure.report import compare, finish, plot_curves, plot_over_scale, table
from benchmarks.quality.publication import REPORTED
from model.geometry import Size

QUALITIES = (10, 30, 50, 70, 90)
SIMULCAST_CODECS = tuple(codec for codec in CLASSIC_CODECS if codec.name in {"avif", "webp", "jpeg"})
MATCHED = next(codec for codec in CLASSIC_CODECS if codec.name == "avif")
PUBLISHED = "mbt2018-mean"
"""The single-layer model that the paper compares with."""


@dataclass(frozen=True)
class Ladder:
    """Sizes of the layers relative to the smallest, which has factor 1."""

    factors: tuple[float, ...]

    @property
    def name(self) -> str:
        """For tables: "1 : 2 : 4"."""
        return " : ".join(f"{factor:.3g}" for factor in self.factors)

    def sizes(self, size: Size) -> list[Size]:
        """Sizes of the layers, smallest first, the last one ``size`` itself."""
        shrink = [factor / self.factors[-1] for factor in self.factors]
        return [Size(*(max(1, round(edge * s)) for edge in size)) for s in shrink]


THREE_LAYERS = Ladder((1, 2, 4))
"""What most benchmarks code: a quarter, a half and all of a picture's width."""


@dataclass(frozen=True)
class Section:
    """A table: its ladders, and the name of its plot over the largest factor, if it has one."""

    title: str
    ladders: tuple[Ladder, ...]
    plot: str | None = None


def even_steps(layers: int) -> Ladder:
    """That many layers in equal steps from a quarter of the width to the whole."""
    return Ladder(tuple(4 ** (k / (layers - 1)) for k in range(layers)))


SECTIONS = {
    "two": Section(
        "Two layers (paper: Table 2)",
        tuple(Ladder((1, factor)) for factor in (1.2, 1.6, 2.0, 2.4, 2.8)),
        "two_layers",
    ),
    "three": Section(
        "Three layers (paper: Tables 1 and 3)",
        tuple(Ladder((1, 2, factor)) for factor in (2.4, 2.8, 3.2, 3.6, 4.0)),
        "three_layers_twice",
    ),
    "far": Section(
        "Three layers, factors outside the trained range (paper: supplement, Table 5)",
        tuple(Ladder((1, 2, factor)) for factor in (4.5, 5.0, 5.5, 6.0)),
        "far_layers",
    ),
    "close": Section(
        "Three layers, the second closer to the first (paper: supplement, Tables 6 to 9)",
        tuple(
            Ladder((1, middle, factor))
            for middle in (1.2, 1.4, 1.6, 1.8)
            for factor in (2.4, 2.8, 3.2, 3.6, 4.0)
        ),
    ),
    "many": Section("Four to nine layers, 1 to 4 in equal steps", tuple(map(even_steps, (4, 5, 6, 9)))),
}


def quick(section: Section) -> Section:
    """The section with the one ladder that is most worth knowing."""
    wanted = {(1, 2.0), (1, 2, 4.0), (1, 2, 6.0), (1, 1.6, 3.2), even_steps(6).factors}
    return Section(section.title, tuple(x for x in section.ladders if x.factors in wanted), section.plot)


@dataclass(frozen=True)
class Result:
    """One ladder: the stream's curve, its layers at the ``middle`` quality, BD-rates by rival."""

    ladder: Ladder
    points: tuple[Point, ...]
    middle: int
    layers: list[Point]
    bd_rates: dict[str, float | None]
    rivals: list[Curve]


class Bench:
    """Measures ladders; what they share (the single layer, common sizes) is measured once.

    ``qualities`` of our own streams, rising; at least two.
    """

    def __init__(self, inputs: command.Inputs, qualities: Sequence[int]) -> None:
        self._inputs = inputs
        self._pictures = inputs.pictures
        self._qualities = qualities

    def run(self, ladder: Ladder) -> Result:
        """Code every picture with this ladder, and in every rival's way."""
        rows = [
            [self._inputs.meter.layers(p, ladder.sizes(p.size), quality) for p in self._pictures]
            for quality in self._progress(self._qualities, ladder.name)
        ]
        points = curve_points(self._pictures, rows)
        rivals = [*self._rivals(ladder), self._matched(ladder, rows)]
        middle = len(rows) // 2
        return Result(
            ladder,
            points,
            self._qualities[middle],
            [mean_point(self._pictures, rows[middle], k) for k in range(len(ladder.factors))],
            {rival.name: compare(rival.points, points) for rival in rivals},
            rivals,
        )

    def _rivals(self, ladder: Ladder) -> list[Curve]:
        whole = Ladder((1,))
        curves = [self._ours("single layer", whole), self._ours("simulcast", ladder)]
        curves += [curve for curve in self._inputs.anchors if curve.name == PUBLISHED]
        for codec in SIMULCAST_CODECS:
            curves.append(self._classic(f"{codec.name} simulcast", codec, ladder))
            curves.append(self._classic(f"{codec.name} single", codec, whole))
        return curves

    def _ours(self, name: str, ladder: Ladder) -> Curve:
        def simulcast(picture: Picture, quality: int) -> Measurement:
            small = [scaled(picture, size) for size in ladder.sizes(picture.size)]
            return as_layers([self._inputs.meter.layers(s, [s.size], quality) for s in small])

        rows = [[simulcast(p, q) for p in self._pictures] for q in self._progress(self._qualities, name)]
        return Curve(name, curve_points(self._pictures, rows))

    def _classic(self, name: str, codec: ClassicCodec, ladder: Ladder) -> Curve:
        def simulcast(picture: Picture, quality: int) -> Measurement:
            small = [scaled(picture, size) for size in ladder.sizes(picture.size)]
            return as_layers([codec.measure(s, quality, self._inputs.classic_cache) for s in small])

        rows = [[simulcast(p, q) for p in self._pictures] for q in self._progress(codec.ladder[::2], name)]
        return Curve(name, curve_points(self._pictures, rows))

    def _matched(self, ladder: Ladder, rows: Sequence[Sequence[Measurement]]) -> Curve:
        """AVIF files with the PSNR of our layers in every size; ``rows`` of our streams by quality."""
        rates = []
        for k in range(len(ladder.factors)):
            files = [scaled(p, ladder.sizes(p.size)[k]) for p in self._pictures]
            measured = [
                [MATCHED.measure(file, quality, self._inputs.classic_cache) for file in files]
                for quality in MATCHED.ladder[::2]
            ]
            curve = curve_points(self._pictures, measured)
            rates.append([rate_at(curve, mean_point(self._pictures, row, k)[1]) for row in rows])
        points = [
            (sum(bpp for bpp in sizes if bpp is not None), mean_point(self._pictures, row)[1])
            for sizes, row in zip(zip(*rates, strict=True), rows, strict=True)
            if None not in sizes
        ]
        return Curve(f"{MATCHED.name} matched", tuple(points))

    def _progress(self, qualities: Sequence[int], name: str) -> tqdm:
        alone = len(self._pictures) == 1
        return tqdm(qualities, desc=name, unit="quality", leave=False, disable=alone)


def reported(ladder: Ladder) -> dict[str, float | None]:
    """The publication's figures for a ladder, by the name of their column; None where it has none."""
    figures = REPORTED.get(ladder.factors)
    return {
        "paper: single layer": figures and figures.single_layer,
        "paper: simulcast": figures and figures.simulcast,
    }


def section_text(section: Section, results: Sequence[Result]) -> str:
    """A section's tables: BD-rates by ladder, and what each layer costs and gives."""
    columns = [*results[0].bd_rates, *reported(results[0].ladder)]
    rates = table(
        ["layers", *columns],
        [[r.ladder.name, *r.bd_rates.values(), *reported(r.ladder).values()] for r in results],
    )
    layers = table(
        [
            "layers",
            f"bits per pixel of the largest, accumulated / PSNR in dB, at quality {results[0].middle}",
        ],
        [[r.ladder.name, ", ".join(f"{bpp:.3f} / {psnr:.2f}" for bpp, psnr in r.layers)] for r in results],
    )
    return f"## {section.title}\n\nBD-rate in % of our stream against:\n\n{rates}\n\n{layers}"


def plot_section(path: Path, section: Section, results: Sequence[Result]) -> None:
    """BD-rates against single layer and simulcast over the largest factor, beside the paper's."""
    rows = [(r.ladder.factors[-1], r.bd_rates | reported(r.ladder)) for r in results]
    lines: dict[str, list[Point]] = {
        name: [(factor, rate) for factor, rates in rows if (rate := rates[name]) is not None]
        for name in rows[0][1]
    }
    plot_over_scale(path, section.title, "largest layer relative to the smallest", lines)


def sections_of(options: argparse.Namespace) -> list[Section]:
    """What the options ask for."""
    sections = [SECTIONS[name] for name in options.only or SECTIONS]
    return [quick(section) for section in sections] if options.quick else sections


def measure(inputs: command.Inputs, options: argparse.Namespace) -> None:
    """Everything that the tables need of the pictures, for the caches."""
    bench = Bench(inputs, sorted(options.qualities))
    for section in sections_of(options):
        for ladder in section.ladders:
            bench.run(ladder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compare, report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-scalable", __doc__)
    command.add_anchors(parser)
    parser.add_argument("--only", choices=SECTIONS, action="append", help="this section alone; repeatable")
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES, help="of our own streams")
    command.add_effort(parser)
    command.add_jobs(parser)
    options = parser.parse_args(arguments)
    inputs = command.measure_in_processes(measure, options, command.load(options))
    sections = sections_of(options)
    bench = Bench(inputs, sorted(options.qualities))
    text = [
        f"# Scalable coding: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}" + (f", effort {options.effort}." if options.effort != "none" else "."),
    ]
    bd_rates: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for section in tqdm(sections, desc="sections", unit="section"):
        results = [bench.run(ladder) for ladder in tqdm(section.ladders, section.title, unit="ladder")]
        text.append(section_text(section, results))
        if section.plot:
            plot_section(inputs.out / f"{section.plot}.png", section, results)
        for result in results:
            bd_rates[result.ladder.name] = result.bd_rates
            curves[result.ladder.name] = [[round(bpp, 5), round(psnr, 4)] for bpp, psnr in result.points]
            if result.ladder.name == "1 : 2 : 4":
                stream = Curve(f"COMPASS {inputs.profile}", result.points)
                title = "The largest of three layers, each twice as wide"
                plot_curves(inputs.out / "three_layers.png", title, stream, result.rivals)
    result_line = {
        "bd_rate": bd_rates,
        "curve": curves,
        "profile": inputs.profile,
        "model_id": inputs.model_id,
        "pictures": len(inputs.pictures),
        "effort": options.effort,
    }
    finish(inputs.out, "scalable", text, result_line)


if __name__ == "__main__":
    main()
