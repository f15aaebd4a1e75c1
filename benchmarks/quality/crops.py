"""Crops of the layers beside AVIF and JPEG for the eye: `make crops DATA=folder PROFILE=lite`.

One PNG per picture, three rows: the sizes of a three-layer stream, each twice as wide as the one above. The
others keep one file per size, and up to each size their files have as many bytes as the stream has, or the
next fewer that their qualities give. Small sizes are enlarged by repeating pixels.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from benchmarks.measure.classic import CLASSIC_CODECS, ClassicCodec
from benchmarks.measure.ours import decoded_layers, scaled
from benchmarks.measure.pictures import Picture, Pixels, psnr, read_pictures
from benchmarks.measure.report import finish, table
from benchmarks.quality.scalable import THREE_LAYERS
from model.codec.codec import Codec
from model.geometry import Box

CROPS = {
    "kodim07": Box(136, 316, 296, 508),
    "kodim14": Box(260, 452, 420, 644),
    "kodim20": Box(212, 208, 372, 400),
}
"""Each picture's crop in pixels of the largest layer, all of one size, all edges multiples of 4."""
RIVALS = tuple(codec for codec in CLASSIC_CODECS if codec.name in {"avif", "jpeg"})
_CAPTION, _GAP = 18, 4


@dataclass(frozen=True)
class Shown:
    """One size as a codec coded it: ``size`` in bytes counts the smaller sizes too; PSNR in decibels."""

    who: str
    pixels: Pixels
    size: int
    psnr: float


def of_stream(codec: Codec, picture: Picture, quality: int) -> list[Shown]:
    """The three layers of the codec's stream."""
    layers = decoded_layers(codec, picture, THREE_LAYERS.sizes(picture.size), quality)
    return [Shown("COMPASS", pixels, end, decibels) for end, decibels, pixels in layers]


def of_files(codec: ClassicCodec, picture: Picture, ends: Sequence[int]) -> list[Shown]:
    """One file per size; their bytes add up to at most those in ``ends`` unless the lowest quality is."""
    shown: list[Shown] = []
    spent = 0
    for size, end in zip(THREE_LAYERS.sizes(picture.size), ends, strict=True):
        truth = scaled(picture, size).pixels
        file = best_within(codec, truth, end - spent)
        spent += len(file)
        pixels = codec.decode(file)
        shown.append(Shown(codec.name.upper(), pixels, spent, psnr(truth, pixels)))
    return shown


def best_within(codec: ClassicCodec, pixels: Pixels, limit: int) -> bytes:
    """The file of the highest quality, 1 to 95, of at most ``limit`` bytes; at least quality 1."""
    low, high = 1, 95
    best = codec.encode(pixels, low)
    while low < high:
        middle = (low + high + 1) // 2
        file = codec.encode(pixels, middle)
        if len(file) <= limit:
            low, best = middle, file
        else:
            high = middle - 1
    return best


def draw(picture: Picture, box: Box, columns: Sequence[Sequence[Shown]]) -> Image.Image:
    """The crops ``box``, in pixels of the largest layer: a row per size, a column per codec."""
    rows = len(columns[0])
    height, width = box.size
    sheet = Image.new("RGB", ((width + _GAP) * len(columns) - _GAP, (height + _CAPTION) * rows), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column, shown_by in enumerate(columns):
        for row, shown in enumerate(shown_by):
            shrink = 2 ** (rows - 1 - row)
            crop = Image.fromarray(shown.pixels).crop(
                (box.left // shrink, box.top // shrink, box.right // shrink, box.bottom // shrink)
            )
            left, top = column * (width + _GAP), row * (height + _CAPTION)
            caption = f"{shown.who} {shown.size:,} bytes, {shown.psnr:.2f} dB"
            pen.text((left + 2, top + 1), caption, "black", font)
            sheet.paste(crop.resize((width, height), Image.Resampling.NEAREST), (left, top + _CAPTION))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser("make crops", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of PNG pictures")
    parser.add_argument("--profile", default="lite", help="profile of the codec, or a weight file")
    parser.add_argument("--quality", type=int, default=50, help="of our streams, 1-100")
    parser.add_argument("--only", choices=CROPS, action="append", help="this picture; repeatable")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the drawings")
    parser.add_argument("--tables", type=Path, default=Path("out/crops"), help="folder of the figures")
    options = parser.parse_args(arguments)
    codec = Codec.load(options.profile)
    for folder in (options.out, options.tables):
        folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[str, Any]] = {}
    pictures = [p for p in read_pictures(options.data) if p.name in (options.only or CROPS)]
    for picture in tqdm(pictures, unit="picture"):
        ours = of_stream(codec, picture, options.quality)
        columns = [ours, *(of_files(rival, picture, [shown.size for shown in ours]) for rival in RIVALS)]
        sheet = draw(picture, CROPS[picture.name], columns)
        sheet.save(options.out / f"crops-{picture.name}.png", optimize=True)
        figures[picture.name] = {
            column[0].who: [[shown.size, round(shown.psnr, 2)] for shown in column] for column in columns
        }
    rows = [
        (name, who, *(f"{size:,} / {decibels:.2f}" for size, decibels in layers))
        for name, by in figures.items()
        for who, layers in by.items()
    ]
    text = [
        f"# Crops: {options.profile} at quality {options.quality}",
        f"Model {codec.model_id.hex()}. Bytes up to and with each size / PSNR in dB of the whole picture.",
        table(["picture", "codec", "1/4 of the width", "1/2", "whole"], rows),
    ]
    finish(options.tables, "crops", text, {"crops": figures})


if __name__ == "__main__":
    main()
