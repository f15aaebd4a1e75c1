"""Requests as browsers send them, fired at fixed rates whether or not the server keeps up."""

import asyncio
import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx
from tqdm import tqdm

Route = Literal["read", "upload", "health"]

WIDTHS = (96, 160, 240, 320, 480, 640, 768, 1024, 1280, 1920, 2560)
"""The widths that half of all readings ask for, as a srcset does; the others ask for any width."""
ACCEPT = ("image/avif,image/webp,*/*;q=0.8", "image/webp,*/*;q=0.8", "image/jpeg")
MAX_OUTSTANDING = 1000
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Shot:
    """One request: a path to get, or a body to post; ``accept`` is the header of that name."""

    route: Route
    path: str
    accept: str = "*/*"
    body: bytes | None = None


@dataclass(frozen=True)
class Hit:
    """What came of a request. ``seconds`` count from when it should have been sent, ``status`` 0
    stands for no answer; ``read`` and ``stored`` are the bytes the server read, and might have read.
    """

    shot: Shot
    status: int
    seconds: float
    body: bytes = b""
    read: int = 0
    stored: int = 0
    cached: bool = False
    media_type: str = ""

    @property
    def good(self) -> bool:
        """Whether it was answered with success."""
        return self.status in (200, 201)

    @property
    def failed(self) -> bool:
        """Whether it was not answered, or with an error of the server."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True)
class Stored:
    """A picture on the server."""

    id: str
    width: int
    height: int


@dataclass
class Traffic:
    """Draws requests: pictures by Zipf's law, mixed widths and formats, some uploads (share 0-1)."""

    pictures: Sequence[Stored]
    uploads: Sequence[bytes]
    random: random.Random
    upload_share: float = 0.1
    _sent: int = field(default=0, init=False)

    def draw(self) -> Shot:
        """The next request."""
        if self.random.random() < self.upload_share:
            self._sent += 1
            body = with_comment(self.random.choice(self.uploads), f"{self.random.random()} {self._sent}")
            return Shot("upload", "/images", body=body)
        weights = [1 / rank for rank in range(1, len(self.pictures) + 1)]
        picture = self.random.choices(self.pictures, weights)[0]
        fitting = [width for width in WIDTHS if width <= picture.width]
        if fitting and self.random.random() < 0.5:
            width = self.random.choice(fitting)
        else:
            width = self.random.randint(64, picture.width)
        accept = self.random.choices(ACCEPT, (6, 3, 1))[0]
        return Shot("read", f"/images/{picture.id}?width={width}", accept)


def with_comment(jpeg: bytes, comment: str) -> bytes:
    """The same picture as another file, so that it is no known upload."""
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment.encode() + jpeg[2:]


async def fire(client: httpx.AsyncClient, shot: Shot, due: float) -> Hit:
    """Send one request that was due at a time of ``time.perf_counter``."""
    headers = {
        "Accept": shot.accept,
        "Cache-Control": "no-store",
    }  # so that it is told whether it was in memory
    try:
        if shot.body is None:
            answer = await client.get(shot.path, headers=headers)
        else:
            answer = await client.post(
                shot.path, content=shot.body, headers={**headers, "Content-Type": "image/jpeg"}
            )
    except httpx.HTTPError:
        return Hit(shot, 0, time.perf_counter() - due)
    return Hit(
        shot,
        answer.status_code,
        time.perf_counter() - due,
        answer.content,
        int(answer.headers.get("Compass-Bytes-Read", 0)),
        int(answer.headers.get("Compass-Bytes-Stored", 0)),
        answer.headers.get("Server-Timing") == "cache",
        answer.headers.get("Content-Type", ""),
    )


async def open_loop(
    client: httpx.AsyncClient, draw: Callable[[], Shot], rate: float, seconds: float, chance: random.Random
) -> list[Hit]:
    """Fire ``rate`` requests per second at random moments for so long, and wait for all answers."""
    tasks: list[asyncio.Task[Hit]] = []
    begin = time.perf_counter()
    due = begin
    with tqdm(total=round(seconds), unit="s", desc=f"{rate:.2f}/s", leave=False) as progress:
        while due < begin + seconds:
            due += chance.expovariate(rate)
            progress.update(min(round(due - begin), round(seconds)) - progress.n)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if sum(not task.done() for task in tasks[-2 * MAX_OUTSTANDING :]) < MAX_OUTSTANDING:
                tasks.append(asyncio.create_task(fire(client, draw(), due)))
    return list(await asyncio.gather(*tasks))


async def closed_loop(
    client: httpx.AsyncClient, draw: Callable[[], Shot], clients: int, seconds: float
) -> tuple[float, list[Hit]]:
    """Answers per second of ``clients`` clients, each of which waits for an answer before it asks again, and
    what came of each request.
    """
    begin = time.perf_counter()
    hits: list[Hit] = []

    async def one() -> None:
        while time.perf_counter() < begin + seconds:
            hit = await fire(client, draw(), time.perf_counter())
            hits.append(hit)
            if hit.status == 429:
                await asyncio.sleep(0.1)

    await asyncio.gather(*(one() for _ in range(clients)))
    return sum(hit.good for hit in hits) / (time.perf_counter() - begin), hits


def insist(hits: Iterable[Hit]) -> None:
    """Raise RuntimeError if one of the requests was not answered with success."""
    for hit in hits:
        if not hit.good:
            raise RuntimeError(f"{hit.shot.path} was answered {hit.status or 'not at all'}")


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that this share (0-1) of all values does not exceed; None if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def outcomes(hits: Sequence[Hit], route: Route) -> dict[int, int]:
    """How many requests of a route were answered with each status."""
    return dict(sorted(Counter(hit.status for hit in hits if hit.shot.route == route).items()))
