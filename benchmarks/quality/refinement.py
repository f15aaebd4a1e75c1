"""What searching for latents saves: `make bench-refinement DATA=folder PROFILE=lite`.

Every picture is coded in one layer and in three, each twice as wide as the one below, without effort and
with each effort of :data:`model.codec.refine.EFFORTS`. Real stream bytes, 8-bit decoded pictures. Hours of a
core: what was measured is kept in OUT, and a run that was broken off goes on where it was.
"""

import argparse
import time
from collections.abc import Sequence

import torch
from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.bdrate import bd_rate
from benchmarks.measure.cache import Measurement
from benchmarks.measure.curves import curve_points
from benchmarks.measure.ours import layers_of
from benchmarks.measure.pictures import Picture
from benchmarks.measure.report import finish, table
from benchmarks.quality.scalable import THREE_LAYERS, Ladder
from model.codec.refine import EFFORTS, Effort

QUALITIES = (10, 35, 65, 95)
LADDERS = {"one layer": Ladder((1,)), "1 : 2 : 4": THREE_LAYERS}


def searched(
    inputs: command.Inputs, picture: Picture, ladder: Ladder, quality: int, effort: str
) -> tuple[Measurement, float]:
    """(Bytes from the stream's start, PSNR) of each layer, smallest first; how many seconds coding took."""
    codec, sizes, steps = inputs.meter.codec, ladder.sizes(picture.size), EFFORTS[effort]

    def measure() -> Measurement:
        began = time.process_time()
        stream = codec.encode(picture.pixels, sizes, quality, effort=Effort(steps))
        seconds = time.process_time() - began
        return [*([end, decibels] for end, decibels, _ in layers_of(codec, picture, stream)), [seconds]]

    how = f"{quality} {steps} steps"
    *layers, [seconds] = inputs.meter.kept(picture, sizes, how, measure)
    return layers, seconds


def measure_all(inputs: command.Inputs, options: argparse.Namespace) -> None:
    """Measure every picture with every effort that the options name."""
    for picture in inputs.pictures:
        for name in options.ladders:
            for effort in ("none", *options.efforts):
                for quality in QUALITIES:
                    searched(inputs, picture, LADDERS[name], quality, effort)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-refinement", __doc__)
    parser.add_argument("--efforts", nargs="+", choices=list(EFFORTS)[1:], default=list(EFFORTS)[1:])
    parser.add_argument("--ladders", nargs="+", choices=list(LADDERS), default=list(LADDERS))
    command.add_middle(parser)
    command.add_jobs(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the search runs in this thread; others would count while they wait for it
    inputs = command.measure_in_processes(measure_all, options, command.load(options, threads=1))
    megapixels = sum(picture.size.area for picture in inputs.pictures) * len(QUALITIES) / 1e6
    rows, rates = [], {}
    for name in options.ladders:
        curves = {}
        for effort in ("none", *options.efforts):
            measured = [
                [searched(inputs, picture, LADDERS[name], quality, effort) for picture in inputs.pictures]
                for quality in tqdm(QUALITIES, f"{name}, {effort}", unit="quality")
            ]
            layers = [[measurement for measurement, _ in row] for row in measured]
            curves[effort] = curve_points(inputs.pictures, layers)
            rate = bd_rate(curves["none"], curves[effort])
            change = max(b[1] - a[1] for a, b in zip(curves[effort], curves["none"], strict=True))
            seconds = sum(seconds for row in measured for _, seconds in row)
            rows.append((name, effort, f"{rate:+.2f} %", f"{change:.3f}", seconds / megapixels))
            rates[f"{name}, {effort}"] = round(rate, 3)
    head = ["layers", "effort", "BD-rate", "largest loss of PSNR, dB", "seconds of a core per megapixel"]
    text = [
        f"# Refinement: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}, qualities {', '.join(map(str, QUALITIES))}; PSNR of the last layer.",
        table(head, rows),
    ]
    finish(inputs.out, "refinement", text, {"bd_rate": rates})


if __name__ == "__main__":
    main()
