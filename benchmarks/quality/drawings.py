"""Pictures that are no photographs: what they are kept as, `make bench-drawings`.

Each is coded as an upload is, by default, with and without graphics. The seconds are those of deciding,
beside those of coding.
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.measure.drawn import DRAWN, drawn
from benchmarks.measure.pictures import Picture, psnr, read_pictures
from benchmarks.measure.report import finish, table
from model.codec.codec import Codec
from model.geometry import Size
from model.stream.container import read_header
from service.settings import Settings
from service.worker.graphics import best_stream, looks_drawn


def measured(codec: Codec, picture: Picture, quality: int) -> dict[str, object]:
    """Bytes and PSNR of a picture without and with graphics, and processor seconds per megapixel."""
    pixels = np.ascontiguousarray(picture.pixels)
    megapixels = picture.size.area / 1e6
    began = time.process_time()
    encoder = partial(codec.encode, pixels, Settings().ladder_of(None).sizes(picture.size))
    stream = encoder(quality)
    coded = time.process_time()
    looks_drawn(pixels, len(stream))
    guessed = time.process_time()
    kept = best_stream(pixels, stream, quality, encoder, codec.decode)
    decided = time.process_time()
    return {
        "size": str(picture.size),
        "stream": len(stream),
        "stream_psnr": round(psnr(pixels, codec.decode(stream)), 2),
        "kind": read_header(kept).kind.word,
        "bytes": len(kept),
        "psnr": round(psnr(pixels, codec.decode(kept)), 2),
        "coding": round((coded - began) / megapixels, 2),
        "test": round((guessed - coded) / megapixels, 3),
        "deciding": round((decided - guessed) / megapixels, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report; ``arguments`` instead of the command line's."""
    parser = argparse.ArgumentParser(prog="make bench-drawings", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of photographs (PNG), to be measured as well")
    parser.add_argument("--pictures", type=int, help="only so many of these")
    parser.add_argument("--profile", default="lite", help="profile of the codec, or a weight file")
    parser.add_argument(
        "--quality", type=int, default=Settings().quality, help="quality of the streams, 1-100"
    )
    parser.add_argument("--only", nargs="+", choices=DRAWN, default=list(DRAWN), help="these drawings alone")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the table")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    codec = Codec.load(options.profile, threads=1)
    codec.encode(np.zeros((64, 64, 3), np.uint8), [Size(64, 64)], 50)  # compiles
    pictures = [drawn(name) for name in options.only]
    if options.data is not None:
        pictures += read_pictures(options.data, options.pictures)
    found = {p.name: measured(codec, p, options.quality) for p in tqdm(pictures, unit="picture", leave=False)}
    head = ["picture", "pixels", "stream", "PSNR, dB", "kept as", "bytes", "PSNR, dB", "coding", "deciding"]
    names = ("size", "stream", "stream_psnr", "kind", "bytes", "psnr", "coding", "deciding")
    rows = [[name, *(_shown(values[key]) for key in names)] for name, values in found.items()]
    text = [
        "# Pictures that are no photographs",
        f"Model {codec.model_id.hex()}, quality {options.quality}; seconds of one core per megapixel.",
        table(head, rows),
    ]
    finish(options.out, "drawings", text, {"model_id": codec.model_id.hex(), "pictures": _finite(found)})


def _shown(value: object) -> object:
    return "exact" if value == float("inf") else value


def _finite(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """The same with None for an infinite PSNR, which JSON does not know."""
    infinite = float("inf")
    return {n: {k: None if v == infinite else v for k, v in each.items()} for n, each in found.items()}


if __name__ == "__main__":
    main()
