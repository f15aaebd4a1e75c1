"""What searching for latents saves: `make bench-refinement DATA=folder PROFILE=lite`.

Every picture is coded in one layer and in three, each twice as wide as the one below, without effort and
with each effort of :data:`model.codec.refine.EFFORTS`. Real stream bytes, 8-bit decoded pictures.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.bdrate import bd_rate
from benchmarks.measure.cache import Measurement
from benchmarks.measure.curves import curve_points
from benchmarks.measure.ours import layers_of
from benchmarks.measure.pictures import Picture
from benchmarks.measure.report import finish, table
from benchmarks.quality.layers import ladder
from model.codec.codec import Codec
from model.codec.refine import EFFORTS, Effort
from model.geometry import Size

QUALITIES = (10, 35, 65, 95)


@dataclass
class Searching:
    """Measures pictures coded with an effort, and counts the ``seconds`` of a core that coding takes."""

    codec: Codec
    effort: Effort
    seconds: float = 0.0

    def measure(self, picture: Picture, sizes: Sequence[Size], quality: int) -> Measurement:
        """(Bytes from the stream's start, PSNR) of each layer, smallest first."""
        began = time.process_time()
        stream = self.codec.encode(picture.pixels, sizes, quality, effort=self.effort)
        self.seconds += time.process_time() - began
        return [[end, decibels] for end, decibels, _ in layers_of(self.codec, picture, stream)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-refinement", __doc__)
    parser.add_argument("--efforts", nargs="+", choices=list(EFFORTS)[1:], default=list(EFFORTS)[1:])
    options = parser.parse_args(arguments)
    inputs = command.load(options)
    torch.set_num_threads(1)  # the search runs in this thread; others would count while they wait for it
    codec = Codec.load(options.profile, inputs.device, threads=1)
    megapixels = sum(picture.size.area for picture in inputs.pictures) * len(QUALITIES) / 1e6
    rows, rates = [], {}
    for name, sizes in (("one layer", _whole), ("1 : 2 : 4", ladder)):
        curves = {}
        for effort in ("none", *options.efforts):
            searching = Searching(codec, Effort(EFFORTS[effort]))
            measured: list[list[Measurement]] = [
                [searching.measure(picture, sizes(picture.size), quality) for picture in inputs.pictures]
                for quality in tqdm(QUALITIES, f"{name}, {effort}", unit="quality")
            ]
            curves[effort] = curve_points(inputs.pictures, measured)
            rate = bd_rate(curves["none"], curves[effort])
            change = max(b[1] - a[1] for a, b in zip(curves[effort], curves["none"], strict=True))
            rows.append((name, effort, f"{rate:+.2f} %", f"{change:.3f}", searching.seconds / megapixels))
            rates[f"{name}, {effort}"] = round(rate, 3)
    head = ["layers", "effort", "BD-rate", "largest loss of PSNR, dB", "seconds of a core per megapixel"]
    text = [
        f"# Refinement: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}, qualities {', '.join(map(str, QUALITIES))}; PSNR of the last layer.",
        table(head, rows),
    ]
    finish(inputs.out, "refinement", text, {"bd_rate": rates})


def _whole(size: Size) -> list[Size]:
    return [size]


if __name__ == "__main__":
    main()
