"""Rate and PSNR of every layer: `make bench-layers DATA=folder PROFILE=lite`.

Three layers, each twice as wide as the one below, on every picture of the folder; real stream bytes,
headers counted. The table stands in the model card, and benchmarks/speed/memory.py fills a store by it.
"""

from collections.abc import Sequence

from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.bdrate import Point
from benchmarks.measure.curves import mean_point
from benchmarks.measure.report import finish, table
from benchmarks.quality.scalable import THREE_LAYERS

QUALITIES = (1, 10, 30, 50, 70, 80, 90, 100)
LAYERS = len(THREE_LAYERS.factors)


def own(points: Sequence[Point]) -> list[tuple[float, float, float]]:
    """Of each layer: bits up to and with it, those of it alone, both per pixel of its own, and its PSNR.

    ``points`` count bits up to and with a layer per pixel of the last one, of which one at 1/2 has a quarter.
    """
    found, below = [], 0.0
    for k, (rate, decibels) in enumerate(points):
        times = 4 ** (len(points) - 1 - k)
        found.append((rate * times, (rate - below) * times, decibels))
        below = rate
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    inputs = command.load(command.parser("bench-layers", __doc__).parse_args(arguments))
    rows = []
    figures = {}
    for quality in tqdm(QUALITIES, inputs.profile, unit="quality"):
        measured = [inputs.meter.layers(p, THREE_LAYERS.sizes(p.size), quality) for p in inputs.pictures]
        points = [mean_point(inputs.pictures, measured, layer) for layer in range(LAYERS)]
        layers = own(points)
        rows.append((quality, *(f"{up_to:.3f} / {alone:.3f} / {psnr:.2f}" for up_to, alone, psnr in layers)))
        figures[quality] = [[round(value, 4) for value in layer] for layer in layers]
    text = [
        f"# Every layer: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}. Bits up to and with the layer and of it alone, per pixel of it, and its "
        "PSNR in dB against the picture scaled to its size.",
        table(["quality", *(f"layer {k}, 1/{4 >> k} of the width" for k in range(LAYERS))], rows),
    ]
    finish(inputs.out, "layers", text, {"layers": figures})


if __name__ == "__main__":
    main()
