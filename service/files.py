"""``compass encode``, ``decode`` and ``info``: streams as files, without a service.

What fails fast comes before what loads torch.
"""

import argparse
import json
import sys
from math import inf
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from model.stream.container import Header, layers_held, read_header, verify_layer
from service.errors import CommandError
from service.messages.jobs import Render, Upload
from service.planning.plans import make_plan
from service.planning.sizing import View, Wanted, choose_view
from service.settings import Settings

STANDARD = Path("-")
"""Standard input or output instead of a file."""
_SEARCH = "{desc} {percentage:3.0f} %|{bar}| {elapsed}, {remaining} left"


def encode(options: argparse.Namespace) -> int:
    """``compass encode``: a picture file to a stream file."""
    settings = Settings()
    data = _read(options.picture)
    quality, ladder = options.quality or settings.quality, settings.ladder_of(options.widths)
    from model.codec.refine import EFFORTS, Effort  # after what fails fast: this loads torch
    from service.worker.tasks import Tasks

    job, tasks = Upload(str(options.picture), data, quality, ladder), Tasks(settings.for_worker)
    effort = Effort(EFFORTS[options.effort], seconds=options.seconds or inf)
    hidden = None if effort.steps else True  # None: where standard error is no terminal
    with tqdm(total=1.0, desc="search", bar_format=_SEARCH, disable=hidden, leave=False) as bar:

        def show(share: float) -> None:
            bar.update(share - bar.n)

        coded = tasks.upload(job, effort, show)
    if coded.alpha:
        print("compass: the picture's transparency is not kept in the file", file=sys.stderr)
    told = f"{options.stream}: {coded.width} x {coded.height}, {len(coded.stream)} bytes of {len(data)}"
    _write(options.stream, coded.stream, f"{told}, {read_header(coded.stream).kind.word}")
    return 0


def decode(options: argparse.Namespace) -> int:
    """``compass decode``: a stream file, or the first part of one, to a picture file."""
    kinds = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
    kind = options.format or kinds.get(options.picture.suffix.lower())
    if kind is None:
        raise CommandError(f"{options.picture}: write one of {', '.join(kinds)}, or name a --format")
    stream = _read(options.stream)
    header = read_header(stream)
    view = choose_view(header.sizes, Wanted(width=options.width))
    held = layers_held(header, len(stream))
    if view.layer >= held:
        raise CommandError(
            f"{options.stream}: {len(stream)} of {header.total} bytes are here, which hold {held} layers; "
            f"this width needs {view.layer + 1}"
        )
    write = _written_graphic if header.is_graphic else _written_layer
    width, height = view.size
    told = f"{options.picture}: {width} x {height}, layer {view.layer}"
    _write(options.picture, write(stream, header, view, kind, options.quality), told)
    return 0


def info(options: argparse.Namespace) -> int:
    """``compass info``: what a stream file holds, checked."""
    stream = _read(options.stream)
    header = read_header(stream)
    held = layers_held(header, len(stream))
    for k in range(held):
        verify_layer(header, k, stream)
    if len(stream) > header.total:
        raise CommandError(f"{len(stream) - header.total} bytes follow the last layer")
    if options.json:
        layers = [
            {
                "width": e.width,
                "height": e.height,
                "quality": e.quality,
                "bytes": e.length,
                "prefix": e.end,
                "here": k < held,
            }
            for k, e in enumerate(header.layers)
        ]
        found = {
            "kind": header.kind.word,
            "model": None if header.is_graphic else header.model_id.hex(),
            "tile": header.tile,
            "bytes": header.total,
            "here": len(stream),
        }
        print(json.dumps({**found, "layers": layers}))
        return 0
    if header.is_graphic:
        print(f"kind {header.kind.word}: one picture file")
    else:
        print(f"model {header.model_id.hex()}, tiles of {header.tile} pixels, {len(header.layers)} layers")
    print("layer      width  height  quality      bytes     prefix  bits/pixel")
    for k, layer in enumerate(header.layers):
        rate = 8 * layer.length / (layer.width * layer.height)
        print(
            f"{k:5d} {layer.width:10d} {layer.height:7d} {layer.quality:8d} {layer.length:10d} "
            f"{layer.end:10d} {rate:11.3f}{'' if k < held else '  not in this file'}"
        )
    print(f"{len(stream)} of {header.total} bytes, all checksums right")
    return 0


def _written_layer(stream: bytes, header: Header, view: View, kind: str, quality: int) -> bytes:
    """A layer of the network as a picture file."""
    from service.worker.tasks import Tasks

    plan = make_plan("file", header, view, kind, quality)
    return Tasks(Settings().for_worker).render(Render(plan, stream)).body


def _written_graphic(stream: bytes, header: Header, view: View, kind: str, quality: int) -> bytes:
    """A graphic as a picture file, without any weights."""
    from model.codec.graphics import decode
    from service.worker.imagefile import write

    image = Image.fromarray(decode(stream, header))
    size = view.size.width, view.size.height
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return write(image, kind, quality, sharp=True)


def _read(path: Path) -> bytes:
    return sys.stdin.buffer.read() if path == STANDARD else path.read_bytes()


def _write(path: Path, data: bytes, told: str) -> None:
    """Write a result, and tell of it where it is not in the way."""
    if path == STANDARD:
        sys.stdout.buffer.write(data)
        print(told, file=sys.stderr)
    else:
        path.write_bytes(data)
        print(told)
