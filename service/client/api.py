"""A client of the service: upload, fetch, info, delete. Imports neither torch nor the server.

with Client("http://localhost:8000") as client:
    picture = client.upload(Path("photo.jpg"))
    small = client.fetch(picture.id, width=640)
"""

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypedDict
from urllib.parse import quote

import urllib3

from service.client.urls import query_of

_BUSY = (429, 503)
_POLL_SECONDS, _SLOWEST_POLL = 0.2, 2.0
_LOST = 2
"""So often a picture is sent again whose job is gone before it was stored."""
_AGAIN_SECONDS, _LONGEST_AGAIN = 1.0, 30.0
"""A picture is sent again after so long at first, and after twice as long every further time."""


class ClientError(Exception):
    """Base class of what a :class:`Client` raises.

    ``status`` is the HTTP status, or 0 where there was no answer; ``title`` and ``detail`` are sentences.
    """

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(status, title, detail)
        self.status = status
        self.title = title
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.title}: {self.detail}" if self.detail else self.title


class Unreachable(ClientError):
    """No answer came, however often it was tried."""


class Refused(ClientError):
    """The service answered with an error; ``status``, ``title`` and ``detail`` are the service's own."""


class _Failed(Refused):
    """How a job ended, with what the upload would have been answered."""


@dataclass(frozen=True)
class StoredPicture:
    """What the service says of a picture; ``facts`` is all of it (see docs/api.md)."""

    id: str
    url: str
    width: int
    height: int
    bytes: int
    source_bytes: int
    srcset: str
    facts: dict[str, Any]

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """From the JSON of an answer. Raises KeyError if it is not one."""
        names = ("id", "url", "width", "height", "bytes", "source_bytes", "srcset")
        return cls(**{name: facts[name] for name in names}, facts=facts)


Focus = tuple[float, float] | Literal["auto"]
Metadata = Literal["none", "copyright"]


class Coding(TypedDict, total=False):
    """How a picture is coded, and what else is wished for of it, as :meth:`Client.upload` takes it; what is
    unset is up to the service.
    """

    quality: int | None
    widths: Sequence[int] | None
    max_width: int | None
    focus: Focus | None
    metadata: Metadata | None
    frame: Literal[0] | None


@dataclass(frozen=True)
class Progress:
    """How far an upload is: ``stage`` is ``sending``, then ``waiting``, ``coding``, ``storing`` and ``done``,
    as the service tells them; ``percent`` is of ``sending``, then of the work.
    """

    stage: str
    percent: int


class Client:
    """Talks to one service; safe to share between threads.

    Answers 429 and 503 are tried again up to ``retries`` times, after the seconds that Retry-After
    names, and so are broken connections: every request may be repeated, because the same upload is
    stored once. So are uploads whose job fails with 429 or 503. ``key`` is an API key; ``timeout`` is in
    seconds, bounds each try, and should be longer than the service's ``COMPASS_UPLOAD_DEADLINE``.
    """

    def __init__(self, url: str, key: str | None = None, retries: int = 8, timeout: float = 630) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        self._pool = urllib3.PoolManager(
            maxsize=16,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=urllib3.Timeout(connect=10, read=timeout),
            retries=urllib3.Retry(
                retries,
                redirect=0,
                allowed_methods=None,
                status_forcelist=_BUSY,
                backoff_factor=0.2,
                backoff_max=30,
                raise_on_status=False,
                respect_retry_after_header=True,
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.clear()

    def find_service(self) -> None:
        """Return if anything answers at the service's address. It is asked only once.

        Raises Unreachable, at once and not after the ``retries`` of other methods.
        """
        try:
            self._pool.request("GET", f"{self.url}/healthz", retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(0, f"no answer from {self.url}", str(error)) from error

    def upload(
        self,
        picture: bytes | Path,
        *,
        quality: int | None = None,
        widths: Sequence[int] | None = None,
        max_width: int | None = None,
        ttl: int | None = None,
        focus: Focus | None = None,
        metadata: Metadata | None = None,
        frame: Literal[0] | None = None,
        name: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> StoredPicture:
        """Store a picture, given as a file or its bytes; sending it again changes nothing.

        Returns when it is stored. With ``progress`` the service answers when it has the bytes, and is then
        asked how far it is; no connection is held meanwhile. If it is lost on the way, or fails with 429 or
        503, it is sent again.

        ``quality`` 1-100 and the layer ``widths`` in pixels default to the service's settings; a picture
        wider than ``max_width`` is made that wide; after ``ttl`` seconds it is deleted. ``focus`` is what
        ``fit=cover`` keeps in sight, ``metadata`` whether its makers are named in answers, ``frame=0`` takes
        the first frame of an animation, and ``name`` is for people.
        Raises ClientError, or OSError if the file cannot be read.
        """
        data = picture if isinstance(picture, bytes) else picture.read_bytes()
        wanted = {
            "quality": quality,
            "widths": widths and list(widths),
            "max_width": max_width,
            "ttl": ttl,
            "focus": focus,
            "metadata": metadata,
            "frame": frame,
            "name": name,
        }
        kind = {"Content-Type": "application/octet-stream"}
        if progress is None:
            return StoredPicture.of(json.loads(self._ask("POST", "/images", wanted, data, kind)))
        headers = {**kind, "Prefer": "respond-async", "Content-Length": str(len(data))}
        again, pause = 0, _AGAIN_SECONDS
        while True:
            found = json.loads(self._ask("POST", "/images", wanted, _Told(data, progress), headers))
            if "stage" not in found:  # a service without jobs, or a proxy that dropped the wish
                return StoredPicture.of(found)
            try:
                return self._followed(found["id"], progress)
            except Refused as error:
                if again >= self._times_again(error):
                    raise
            time.sleep(pause)
            again, pause = again + 1, min(_LONGEST_AGAIN, 2 * pause)

    def _times_again(self, error: Refused) -> int:
        """How often at most a picture is sent again whose job came to this."""
        if isinstance(error, _Failed) and error.status in _BUSY:
            return self._retries
        return _LOST if error.status == 404 else 0

    def _followed(self, job: str, progress: Callable[[Progress], None]) -> StoredPicture:
        """Wait for a job. Raises _Failed if it failed, or another Refused: with status 404 if it is lost."""
        pause = _POLL_SECONDS
        while True:
            found = json.loads(self._ask("GET", f"/jobs/{quote(job, safe='')}"))
            progress(Progress(found["stage"], found["percent"]))
            if found["state"] == "failed":
                problem = found["problem"]
                raise _Failed(problem["status"], problem["title"], problem["detail"])
            if found["state"] == "stored" and found["picture"]:
                return StoredPicture.of(found["picture"])
            if found["state"] == "stored":
                raise Refused(410, "Gone", "the picture was deleted meanwhile")
            time.sleep(pause)
            pause = min(_SLOWEST_POLL, 1.3 * pause)

    def fetch(self, picture: str, accept: str = "*/*", **parameters: Any) -> bytes:
        """A rendering of a picture; ``parameters`` are those of ``GET /images/{id}``, such as ``width=640``.

        ``accept`` names the wanted media types, unless ``format`` is among the parameters.
        Raises ClientError.
        """
        return self._ask("GET", _path(picture), parameters, headers={"Accept": accept})

    def stream(self, picture: str, width: int | None = None) -> bytes:
        """The stored stream, or the part of it that holds ``width`` pixels. Raises ClientError."""
        return self._ask("GET", f"{_path(picture)}/stream", {"width": width})

    def original(self, picture: str) -> bytes:
        """The upload as it came, for holders of a key. Raises ClientError, with 404 if there is none."""
        return self._ask("GET", f"{_path(picture)}/original")

    def info(self, picture: str) -> StoredPicture:
        """What the service knows of a picture. Raises ClientError, with status 404 if there is none."""
        return StoredPicture.of(json.loads(self._ask("GET", f"{_path(picture)}/info")))

    def pictures(self) -> Iterator[StoredPicture]:
        """Every stored picture, newest first. Raises ClientError."""
        cursor: str | None = None
        while True:
            page = json.loads(self._ask("GET", "/images", {"cursor": cursor, "limit": 500}))
            yield from map(StoredPicture.of, page["images"])
            cursor = page["next"]
            if cursor is None:
                return

    def rename(self, picture: str, name: str) -> StoredPicture:
        """Give a picture another name. Raises ClientError, with status 404 if there is none."""
        return StoredPicture.of(json.loads(self._ask("PATCH", _path(picture), {"name": name})))

    def delete(self, picture: str) -> None:
        """Delete a picture. Raises ClientError, with status 404 if there is none."""
        self._ask("DELETE", _path(picture))

    def _ask(
        self,
        method: str,
        path: str,
        parameters: dict[str, Any] | None = None,
        body: "bytes | _Told | None" = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        query = query_of(parameters or {})
        url = f"{self.url}{path}" + (f"?{query}" if query else "")
        try:
            answer = self._pool.request(
                method, url, body=body, headers={**self._pool.headers, **(headers or {})}
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(0, f"no answer from {self.url}", str(error)) from error
        if answer.status >= 300:
            raise _refusal(answer.status, answer.data)
        return bytes(answer.data)


class _Told(io.BytesIO):
    """A body that tells how much of it was read to be sent."""

    def __init__(self, data: bytes, progress: Callable[[Progress], None]) -> None:
        super().__init__(data)
        self._size = max(1, len(data))
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        piece = super().read(size)
        self._progress(Progress("sending", round(100 * self.tell() / self._size)))
        return piece


def _path(picture: str) -> str:
    return f"/images/{quote(picture, safe='')}"


def _refusal(status: int, body: bytes) -> Refused:
    """The error in a problem+json body, or one made of the status (a proxy's page)."""
    try:
        problem = json.loads(body)
        return Refused(status, str(problem["title"]), str(problem.get("detail", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        known = status in HTTPStatus.__members__.values()
        return Refused(status, HTTPStatus(status).phrase if known else f"status {status}")
