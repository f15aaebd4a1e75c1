"""How far pixels in bfloat16 are from those in float32, layer by layer: `make bench-drift DATA=folder`.

Streams are written in float32, with nine layers that are each 1.25 times as wide as the one below, and
decoded in both: first given the same pixels of the layer below, where values may differ by one, then each on
its own, where every layer begins from what differs already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.pictures import Picture, psnr
from benchmarks.measure.report import finish, table
from benchmarks.quality.scalable import Ladder
from model.codec.codec import Codec, downscale
from model.codec.weights import load
from model.installed import weight_file

LADDER = Ladder(tuple(1.25**k for k in range(9)))
QUALITIES = (10, 50, 80, 100)


@dataclass(frozen=True)
class Difference:
    """Between one layer in float32 and in bfloat16, in steps of 8-bit values."""

    same_below: int
    """The largest, given the same pixels of the layer below."""
    largest: int
    """The largest, each with its own layers below."""
    more_than_one: float
    """The share of values that differ by more than one, each with its own layers below."""
    lost: float
    """How much lower the PSNR is in bfloat16, in dB."""


def differences(exact: Codec, fast: Codec, picture: Picture, quality: int) -> Iterator[Difference]:
    """Of each layer, smallest first."""
    sizes = LADDER.sizes(picture.size)
    stream = exact.encode(picture.pixels, sizes, quality)
    below = drifted = None
    for k, size in enumerate(sizes):
        one = exact.decode(stream, k, start=below)
        same = fast.decode(stream, k, start=below)
        other = fast.decode(stream, k, start=drifted)
        apart = np.abs(one.astype(int) - other)
        original = downscale(picture.pixels, size)
        yield Difference(
            int(np.abs(one.astype(int) - same).max()),
            int(apart.max()),
            float((apart > 1).mean()),
            psnr(original, one) - psnr(original, other),
        )
        below, drifted = (k, one), (k, other)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    options = command.parser("bench-drift", __doc__).parse_args(arguments)
    inputs = command.load(options)
    weights = load(weight_file(options.profile))
    exact, fast = (Codec(weights, inputs.device, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    rows = []
    for quality in QUALITIES:
        found = [
            list(differences(exact, fast, picture, quality))
            for picture in tqdm(inputs.pictures, f"quality {quality}", unit="picture")
        ]
        for k, layer in enumerate(zip(*found, strict=True)):
            rows.append(
                {
                    "quality": quality,
                    "layer": k,
                    "given the same layer below": max(one.same_below for one in layer),
                    "largest": max(one.largest for one in layer),
                    "more than one apart, %": 100 * float(np.mean([one.more_than_one for one in layer])),
                    "most of one picture, %": 100 * max(one.more_than_one for one in layer),
                    "PSNR lost, dB": float(np.mean([one.lost for one in layer])),
                    "most lost, dB": max(one.lost for one in layer),
                }
            )
    title = f"# bfloat16 against float32: {len(inputs.pictures)} pictures of {inputs.data}, {inputs.model_id}"
    text = [title, table(list(rows[0]), [list(row.values()) for row in rows])]
    finish(inputs.out, "drift", text, {"model": inputs.model_id, "rows": rows})


if __name__ == "__main__":
    main()
