"""Rate and PSNR of every layer: `make bench-layers DATA=folder PROFILE=lite`.

Three layers, each twice as wide as the one below, on every picture of the folder; real stream bytes,
headers counted. The table stands in the model card.
"""

from collections.abc import Sequence

from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.curves import mean_point
from benchmarks.measure.report import finish, table
from model.geometry import Size

QUALITIES = (1, 10, 30, 50, 70, 90, 100)
LAYERS = 3


def ladder(size: Size) -> list[Size]:
    """A quarter, a half and all of a picture's width and height."""
    return [Size(max(1, size.height >> k), max(1, size.width >> k)) for k in reversed(range(LAYERS))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    inputs = command.load(command.parser("bench-layers", __doc__).parse_args(arguments))
    rows = []
    figures = {}
    for quality in tqdm(QUALITIES, inputs.profile, unit="quality"):
        measured = [inputs.meter.layers(p, ladder(p.size), quality) for p in inputs.pictures]
        points = [mean_point(inputs.pictures, measured, layer) for layer in range(LAYERS)]
        # mean_point counts the picture's own pixels; a layer at 1/2 has a quarter of them
        own = [(rate * 4 ** (LAYERS - 1 - k), psnr) for k, (rate, psnr) in enumerate(points)]
        rows.append((quality, *(f"{rate:.3f} / {psnr:.2f}" for rate, psnr in own)))
        figures[quality] = [[round(rate, 4), round(psnr, 3)] for rate, psnr in own]
    text = [
        f"# Every layer: {inputs.profile}, {len(inputs.pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}. Bits up to and with the layer, per pixel of that layer, and its PSNR in "
        "dB against the picture scaled to its size.",
        table(["quality", *(f"layer {k}, 1/{4 >> k} of the width" for k in range(LAYERS))], rows),
    ]
    finish(inputs.out, "layers", text, {"layers": figures})


if __name__ == "__main__":
    main()
