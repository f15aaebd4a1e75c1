"""What the integer hyper-synthesis costs: `make bench-priors DATA=folder PROFILE=lite`.

Every picture is coded in three layers, each twice as wide as the one below, with the priors of the format
and with floating-point ones from the weights as they are stored, in half precision. Real stream bytes,
8-bit decoded pictures. Streams of the second kind are for this comparison only: another machine need not
decode them.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.bdrate import bd_rate
from benchmarks.measure.cache import Measurement
from benchmarks.measure.curves import curve_points
from benchmarks.measure.ours import measure
from benchmarks.measure.report import finish, table
from benchmarks.quality.scalable import THREE_LAYERS
from model.codec.codec import Codec
from model.codec.weights import Prior, scale_table
from model.geometry import Box, Size, halved
from model.network.compass import SCALE_COUNT, Hyperprior
from model.network.priors import FRACTION, IntegerHyperSynthesis

QUALITIES = (10, 40, 70, 100)


class FloatHyperSynthesis:
    """The hyper-synthesis as it was trained, in the place of the integer one.

    Everything else, such as ``medians``, is the integer one's.
    """

    def __init__(self, hyperprior: Hyperprior, integer: IntegerHyperSynthesis) -> None:
        self._hyperprior = hyperprior
        self._integer = integer
        self._log_scales = torch.from_numpy(scale_table()).log()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._integer, name)

    def __call__(self, symbols: Tensor, window: Box, box: Box, size: Size) -> tuple[Tensor, Tensor]:
        """Table indexes and means of the latents in ``box``, the means in units of 2^-8 and not clamped."""
        z = symbols[None].float() + self._hyperprior.medians()
        latents = halved(size, 4)
        log_scale, mean = self._hyperprior.hyper_synthesise(z, latents)
        step = self._log_scales[1] - self._log_scales[0]
        index = torch.round((log_scale - self._log_scales[0]) / step).clamp(0, SCALE_COUNT - 1)
        cut = box.slices
        return index[0, :, *cut].to(torch.uint8), torch.round(mean[0, :, *cut] * 2**FRACTION).to(torch.int32)


def with_float_priors(profile: str, device: str = "cpu") -> Codec:
    """A codec of the same weights whose priors are computed in floating point."""
    codec = Codec.load(profile, device)
    for part, prior in codec.layers.priors.items():
        synthesis = FloatHyperSynthesis(getattr(codec.layers.network, part), prior.synthesis)
        codec.layers.priors[part] = Prior(cast(IntegerHyperSynthesis, synthesis), prior.tables)
    return codec


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    options = command.parser("bench-priors", __doc__).parse_args(arguments)
    inputs = command.load(options)
    other = with_float_priors(options.profile, inputs.device)
    integer: list[list[Measurement]] = []
    floating: list[list[Measurement]] = []
    for quality in tqdm(QUALITIES, inputs.profile, unit="quality"):
        integer.append([inputs.meter.layers(p, THREE_LAYERS.sizes(p.size), quality) for p in inputs.pictures])
        floating.append([measure(other, p, THREE_LAYERS.sizes(p.size), quality) for p in inputs.pictures])
    points = curve_points(inputs.pictures, integer), curve_points(inputs.pictures, floating)
    loss = bd_rate(points[1], points[0])
    rows = [
        (quality, f"{a[0]:.4f} / {a[1]:.3f}", f"{b[0]:.4f} / {b[1]:.3f}")
        for quality, a, b in zip(QUALITIES, *points, strict=True)
    ]
    text = [
        f"# Integer priors: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}. Bits per pixel and PSNR in dB of the last of three layers.",
        table(["quality", "integer", "floating point"], rows),
        f"BD-rate of the integer priors against floating-point ones: {loss:+.2f} %.",
    ]
    figures = {"bd_rate": {"float priors": round(loss, 3)}, "curve": [list(p) for p in points[0]]}
    finish(inputs.out, "priors", text, figures)


if __name__ == "__main__":
    main()
