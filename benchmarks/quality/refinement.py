"""What searching for latents saves: `make bench-refinement DATA=folder PROFILE=lite`.

Every picture is coded in one layer and in three, each twice as wide as the one below, without effort and
with each effort of :data:`model.codec.refine.EFFORTS`. Real stream bytes, 8-bit decoded pictures.
"""

import time
from collections.abc import Sequence

from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.bdrate import bd_rate
from benchmarks.measure.cache import Measurement
from benchmarks.measure.curves import curve_points
from benchmarks.measure.ours import measure
from benchmarks.measure.report import finish, table
from benchmarks.quality.layers import ladder
from model.codec.codec import Codec
from model.codec.refine import EFFORTS, Effort
from model.geometry import Size

QUALITIES = (10, 35, 65, 95)


class Searching(Codec):
    """A codec that always makes an effort, and counts the seconds of a core that it takes."""

    effort = Effort()
    seconds = 0.0

    def encode(self, pixels, sizes, quality, clock=None, effort=None, told=None):  # type: ignore[no-untyped-def]
        """As :meth:`Codec.encode`, with this codec's effort."""
        began = time.process_time()
        stream = super().encode(pixels, sizes, quality, clock, self.effort)
        self.seconds += time.process_time() - began
        return stream


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-refinement", __doc__)
    parser.add_argument("--efforts", nargs="+", choices=list(EFFORTS)[1:], default=list(EFFORTS)[1:])
    options = parser.parse_args(arguments)
    inputs = command.load(options)
    codec = Searching.load(options.profile, inputs.device, threads=1)
    assert isinstance(codec, Searching)
    megapixels = sum(picture.size.area for picture in inputs.pictures) * len(QUALITIES) / 1e6
    rows, rates = [], {}
    for name, sizes in (("one layer", _whole), ("1 : 2 : 4", ladder)):
        curves = {}
        for effort in ("none", *options.efforts):
            codec.effort, codec.seconds = Effort(EFFORTS[effort]), 0.0
            measured: list[list[Measurement]] = [
                [measure(codec, picture, sizes(picture.size), quality) for picture in inputs.pictures]
                for quality in tqdm(QUALITIES, f"{name}, {effort}", unit="quality")
            ]
            curves[effort] = curve_points(inputs.pictures, measured)
            rate = bd_rate(curves["none"], curves[effort])
            change = max(b[1] - a[1] for a, b in zip(curves[effort], curves["none"], strict=True))
            rows.append((name, effort, f"{rate:+.2f} %", f"{change:.3f}", codec.seconds / megapixels))
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
