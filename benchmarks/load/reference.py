"""Whether a service under load answered right: every answer against a decoding of its own."""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from io import BytesIO
from multiprocessing import get_context

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.load.traffic import Hit
from model.stream.container import read_header
from service.messages.jobs import Render
from service.planning.formats import MEDIA_TYPES
from service.planning.plans import make_plan
from service.planning.quality import output_quality
from service.planning.sizing import Wanted, choose_view
from service.settings import Settings
from service.worker.tasks import Tasks

_PATH = re.compile(r"/images/(\w+)\?width=(\d+)")
_FORMATS = {media_type: name for name, media_type in MEDIA_TYPES.items()}
NEAR = 1.0
"""Mean difference of 255 up to which two encodings of one picture count as the same pixels."""


def wrong_answers(
    streams: Mapping[str, bytes], settings: Settings, hits: Sequence[Hit], processes: int
) -> list[str]:
    """What :meth:`Reference.wrong` finds, the pictures divided among so many processes."""
    names = sorted(streams)
    share = {name: number % processes for number, name in enumerate(names)}
    parts: list[list[Hit]] = [[] for _ in range(processes)]
    for hit in hits:
        if hit.shot.route == "read":
            request = _PATH.fullmatch(hit.shot.path)
            parts[share.get(request[1], 0) if request else 0].append(hit)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        works = [pool.submit(_wrong, streams, settings, part) for part in parts]
        return [failure for work in works for failure in work.result()]


def _wrong(streams: Mapping[str, bytes], settings: Settings, hits: Sequence[Hit]) -> list[str]:
    return Reference(streams, settings).wrong(hits)


class Reference:
    """Renders by itself, without service, store or pool, what a service had to answer.

    ``streams`` are the pictures' streams by id.
    """

    def __init__(self, streams: Mapping[str, bytes], settings: Settings) -> None:
        self._streams = streams
        self._tasks = Tasks(settings.for_worker)
        self._settings = settings

    def expected(self, picture: str, width: int, media_type: str) -> bytes:
        """The encoded picture of that width in pixels; raises KeyError for an unknown picture or type."""
        stream, name = self._streams[picture], _FORMATS[media_type]
        header = read_header(stream)
        view = choose_view(header.sizes, Wanted(width=width))
        quality = output_quality(
            name, header.layers[view.layer].quality, fixed=self._settings.fixed_quality(name)
        )
        plan = make_plan(picture, header, view, name, quality)
        return self._tasks.render(Render(plan, stream)).body

    def wrong(self, hits: Iterable[Hit]) -> list[str]:
        """Every distinct answer that is not what was asked for, in words; shows progress."""
        answers: dict[tuple[str, str], dict[bytes, Hit]] = {}
        for hit in hits:
            if hit.shot.route == "read" and hit.status == 200:
                same_request = answers.setdefault((hit.shot.path, hit.media_type), {})
                same_request.setdefault(sha256(hit.body).digest(), hit)
        found = []
        # by picture, so that its layers are decoded once
        for (path, media_type), bodies in tqdm(sorted(answers.items()), "checking", leave=False):
            request = _PATH.fullmatch(path)
            if request is None:
                found.append(f"{path}: not a reading of this benchmark")
                continue
            try:
                right = self.expected(request[1], int(request[2]), media_type)
            except KeyError:
                found.append(f"{path} as {media_type}: there is nothing to compare it with")
                continue
            for hit in bodies.values():
                difference = 0.0 if hit.body == right else _difference(hit.body, right)
                if difference > NEAR:
                    found.append(f"{path} as {media_type}: pixels differ by {difference:.1f} of 255")
        return found


def _difference(one: bytes, other: bytes) -> float:
    """Mean absolute difference of two encoded pictures, 255 if their sizes differ or one is damaged."""
    pixels = []
    for body in (one, other):
        try:
            with Image.open(BytesIO(body)) as picture:
                pixels.append(np.asarray(picture.convert("RGB"), np.int16))
        except (OSError, ValueError):
            return 255.0
    if pixels[0].shape != pixels[1].shape:
        return 255.0
    return float(np.abs(pixels[0] - pixels[1]).mean())
