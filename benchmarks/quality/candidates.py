"""Weight files side by side on photographs that no training saw: `make bench-candidates`.

`make bench-candidates DATA=PHOTOS OPTIONS="OLD.safetensors NEW.safetensors"`, with the folder that they were
trained on: what is measured are the pictures that training held out, the middle 768 x 512 pixels of each, as
real streams. The table has each file's BD-rate against the first, for one layer and for three. Weights are
chosen by these figures, so that no test picture decides.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.measure.bdrate import Point
from benchmarks.measure.cache import Cache
from benchmarks.measure.curves import curve_points
from benchmarks.measure.ours import Meter
from benchmarks.measure.pictures import Picture, middle
from benchmarks.measure.report import compare, finish, table
from benchmarks.quality.scalable import THREE_LAYERS, Ladder
from model.codec.codec import Codec
from model.geometry import Size
from model.training.data import read_picture
from model.training.folder import held_out_paths

LADDERS = (Ladder((1,)), THREE_LAYERS)
QUALITIES = (10, 35, 65, 95)
PART = Size(512, 768)
"""What is measured of a picture, in pixels."""


def curve(meter: Meter, pictures: Sequence[Picture], ladder: Ladder) -> tuple[Point, ...]:
    """Bits per pixel and PSNR of the largest layer at every quality."""
    return curve_points(
        pictures,
        [[meter.layers(p, ladder.sizes(p.size), quality) for p in pictures] for quality in QUALITIES],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser(prog="make bench-candidates", description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+", help="weight files; the first is compared with")
    parser.add_argument("--data", type=Path, required=True, help="the folder that was trained on")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the table and a cache")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    cache = Cache(options.out / "ours.jsonl")
    files = held_out_paths(options.data)[1]
    pictures = [middle(Picture(path.stem, read_picture(path).numpy()), PART) for path in files]
    curves: dict[str, list[tuple[Point, ...]]] = {}
    for path in tqdm(options.weights, unit="file"):
        meter = Meter(Codec.load(str(path)), cache)
        name = f"{path.stem} {meter.codec.model_id.hex()}"
        curves[name] = [curve(meter, pictures, ladder) for ladder in LADDERS]
    first = next(iter(curves.values()))
    rates = {
        name: [compare(anchor, test) for anchor, test in zip(first, own, strict=True)]
        for name, own in curves.items()
    }
    text = table(
        ["weights", *(ladder.name for ladder in LADDERS), "PSNR at quality 95, dB"],
        [[name, *rates[name], curves[name][0][-1][1]] for name in curves],
    )
    title = f"# Weight files, {len(pictures)} held-out pictures: bytes at equal PSNR, %"
    finish(options.out, "candidates", [title, text], {"bd_rate": rates, "curve": curves})


if __name__ == "__main__":
    main()
