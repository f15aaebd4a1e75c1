"""The load of ``make soak``: readers and an uploader who remember all that they were answered."""

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from random import Random
from typing import Any, Protocol

import httpx
from PIL import Image

from benchmarks.measure.drawn import page
from tests.service.samples import encoded, photo

READERS = 3
WIDTHS = (40, 80, 160, 300)
FORMATS = ("jpeg", "webp", "avif", "png")
KEPT = 24
"""So many pictures are kept: for each further one the oldest is deleted."""
ALLOWED = frozenset({200, 201, 204, 404, 408, 429, 503, 507})
"""Statuses that may be answered; 404 for pictures that were deleted meanwhile."""
SERVED = 0.1
"""A larger share of the readings, and of the uploads, must have been answered with what was asked for."""


Work = Callable[[threading.Event], None]
"""What goes on until the event is set."""


class Addressed(Protocol):
    """What answers at ``url``, and a client of it."""

    url: str
    client: httpx.Client


@dataclass
class Outcome:
    """What became of all requests, by every thread; ``answers`` holds the first body of each address."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    answers: dict[tuple[str, int, str], bytes] = field(default_factory=dict)
    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, answer: httpx.Response) -> None:
        """Count an answer; a status that may not be is a fault."""
        with self.lock:
            self.statuses[f"{what} {answer.status_code}"] += 1
            if answer.status_code not in ALLOWED:
                self.faults.append(f"{what}: {answer.status_code} {answer.text[:200]}")
            if answer.status_code == 503 and "Retry-After" not in answer.headers:
                self.faults.append(f"{what}: 503 without Retry-After")

    def answered(self, key: tuple[str, int, str], body: bytes) -> None:
        """Remember a picture; another one under the same address is a fault."""
        with self.lock:
            first = self.answers.setdefault(key, body)
            if first != body:
                names = [sha256(one).hexdigest()[:12] for one in (first, body)]
                self.faults.append(f"{key}: two answers, {names[0]} and {names[1]}")

    def too_little(self) -> list[str]:
        """Kinds of requests that were hardly ever served: a service that refuses all loses nothing."""
        found = []
        for what in ("reading", "upload"):
            asked = sum(number for status, number in self.statuses.items() if status.startswith(what))
            served = self.statuses[f"{what} 200"] + self.statuses[f"{what} 201"]
            if served <= SERVED * asked:
                found.append(f"{what}: only {served} of {asked} were served")
        return found


@contextmanager
def at_work(service: Addressed, outcome: Outcome, seed: int | str, *more: Work) -> Iterator[threading.Event]:
    """Readers, an uploader and ``more``, each in a thread, until the block ends or one of them dies.

    The event says that this is so. Who has died is a fault.
    """
    ended = threading.Event()
    works: list[Work] = [partial(read, service, outcome, Random(f"{seed} {n}")) for n in range(READERS)]
    works += [partial(write, service, outcome, Random(seed)), *more]
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work, ended) for work in works]
        for future in futures:
            future.add_done_callback(lambda _: ended.set())
        try:
            yield ended
        finally:
            ended.set()
    for error in filter(None, (future.exception() for future in futures)):
        outcome.faults.append("a thread died:\n" + "".join(traceback.format_exception(error)))


def read(service: Addressed, outcome: Outcome, random: Random, ended: threading.Event) -> None:
    """Ask for pictures that are kept, at a few sizes and formats, until the end."""
    with httpx.Client(base_url=service.url, timeout=60) as client:
        while not ended.is_set():
            with outcome.lock:
                known = list(outcome.pictures)
            if not known:
                ended.wait(0.1)
                continue
            picture, width, kind = random.choice(known), random.choice(WIDTHS), random.choice(FORMATS)
            try:
                answer = client.get(f"/images/{picture}", params={"width": width, "format": kind})
            except httpx.HTTPError as error:
                with outcome.lock:
                    outcome.faults.append(f"reading: {error!r}")
                continue
            outcome.count("reading", answer)
            if answer.status_code == 200:
                outcome.answered((picture, width, kind), answer.content)
            elif answer.status_code == 404:
                with outcome.lock:
                    if picture in outcome.pictures:
                        outcome.faults.append(f"{picture} is gone")
            ended.wait(random.uniform(0, 0.2))


def write(service: Addressed, outcome: Outcome, random: Random, ended: threading.Event) -> None:
    """Keep new pictures, photographs and text, and delete the oldest, until the end."""
    drawing = page()
    with httpx.Client(base_url=service.url, timeout=120) as client:
        number = random.randrange(10**6)
        while not ended.is_set():
            number += 1
            size = random.choice(((320, 240), (300, 400), (640, 480)))
            if random.random() < 0.8:
                data = encoded(photo(*size, seed=number), random.choice(("PNG", "JPEG", "WEBP")))
            else:
                data = encoded(_part_of(drawing, size, random), "PNG")
            try:
                answer = client.post("/images", content=data, params={"widths": "80,160"})
                outcome.count("upload", answer)
                if answer.status_code in (200, 201):
                    with outcome.lock:
                        outcome.pictures[answer.json()["id"]] = answer.json()
                        oldest = next(iter(outcome.pictures)) if len(outcome.pictures) > KEPT else None
                        if oldest:
                            del outcome.pictures[oldest]
                    if oldest:
                        _delete(client, outcome, oldest)
            except httpx.HTTPError as error:
                with outcome.lock:
                    outcome.faults.append(f"upload: {error!r}")
            ended.wait(random.uniform(0.2, 1))


def _part_of(drawing: Image.Image, size: tuple[int, int], random: Random) -> Image.Image:
    """A part of (width, height) pixels, anywhere."""
    left, top = (random.randrange(whole - side) for whole, side in zip(drawing.size, size, strict=True))
    return drawing.crop((left, top, left + size[0], top + size[1]))


def _delete(client: httpx.Client, outcome: Outcome, picture: str) -> None:
    for _ in range(60):
        answer = client.delete(f"/images/{picture}")
        outcome.count("deletion", answer)
        if answer.status_code in (204, 404):
            return
        time.sleep(0.5)
