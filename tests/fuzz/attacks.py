"""Attacks for ``make fuzz``: each makes one hostile input after another and says what became of it.

An attack is called with a seeded random generator, once per input. It returns a word for the outcome, and
raises anything else than the errors that are promised for bad input: then a fault has been found.
"""

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import quote

import numpy as np

from model.codec.codec import Codec
from model.errors import StreamError
from model.stream.container import read_header, verify
from model.stream.entropy import decode
from model.training.export import export
from service.errors import ServiceError
from service.worker import imagefile
from tests.model.mutations import mutate, whole_streams
from tests.model.tiny import lively_network
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

Attack = Callable[[Random], str]

PATIENCE = 30.0
"""Seconds within which a service says something, on a machine that is busy with other work."""
KINDS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")
_METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS", "PATCH", "get", "TRACE")
_PATHS = (
    "/images/{id}", "/images/{id}/info", "/images/{id}/stream", "/images", "/iiif/3/{id}/info.json",
    "/iiif/3/{id}/full/max/0/default.jpg", "/healthz", "/readyz", "/metrics", "/", "/static/main.js", "/docs",
)  # fmt: skip
_PARAMETERS = (
    "width", "height", "fit", "format", "q", "upscale", "background", "quality", "widths", "max_width", "ttl",
    "cursor", "limit", "signature", "expires", "dpr", "layer",
)  # fmt: skip
_KNOWN = {
    "/images/{id}": ("width", "height", "fit", "format", "q", "upscale", "background", "dpr", "layer"),
    "/images/{id}/stream": ("width", "layer", "signature", "expires"),
    "/images": ("cursor", "limit", "quality", "widths", "max_width", "ttl"),
}
"""Parameters that a route knows: others are refused before their values are looked at."""
_VALUES = (
    "", "0", "1", "320", "-1", "1e9", "99999999999999999999", "0x10", "NaN", "١٢", "avif", "jpeg", "cover",
    "#fff", "%00", "%ff", "a" * 300, "1,2,3", "true", "../../etc/passwd", "{}", "[]", "'", '"', "\u202e",
)  # fmt: skip
_HEADERS = (
    "Accept", "If-None-Match", "Range", "If-Range", "X-API-Key", "Authorization", "Content-Type", "Host",
    "Origin", "Content-Length", "Transfer-Encoding", "X-Request-ID", "Accept-Encoding",
)  # fmt: skip


@contextmanager
def headers() -> Iterator[Attack]:
    """Streams whose first bytes are wrong, read as headers."""
    with _codec() as codec:
        whole = whole_streams(codec)

        def attack(random: Random) -> str:
            data = mutate(random, whole)
            try:
                read_header(data[: random.randrange(300)])
                verify(data)
            except StreamError as error:
                return type(error).__name__
            return "whole"

        yield attack


@contextmanager
def streams() -> Iterator[Attack]:
    """Streams made wrong, many with checksums that fit again, decoded whole."""
    with _codec() as codec:
        whole = whole_streams(codec)
        for stream in whole:
            codec.decode(stream)

        def attack(random: Random) -> str:
            try:
                codec.decode(mutate(random, whole), random.choice([None, 0, 1]))
            except StreamError as error:
                return type(error).__name__
            return "decoded"

        yield attack


@contextmanager
def strings() -> Iterator[Attack]:
    """Random bytes for the entropy coder alone."""
    with _codec() as codec:
        tables = codec.weights.latent_tables

        def attack(random: Random) -> str:
            indexes = np.array(
                [random.randrange(len(tables)) for _ in range(random.randrange(200))], np.uint8
            )
            try:
                decode(random.randbytes(random.randrange(120)), indexes, tables)
            except StreamError as error:
                return type(error).__name__
            return "decoded"

        yield attack


@contextmanager
def uploads() -> Iterator[Attack]:
    """Files of every format with bytes overwritten, cut or repeated, opened as a worker opens them."""
    image = photo(48, 36)
    whole = [encoded(image, kind) for kind in KINDS]
    whole += [encoded(image.convert(mode), "PNG") for mode in ("P", "LA", "RGBA", "1", "I;16")]
    whole += [encoded(image, "JPEG", progressive=True), encoded(image.convert("CMYK"), "JPEG")]

    def attack(random: Random) -> str:
        data = bytearray(random.choice(whole))
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(data))
            kind = random.randrange(4)
            if kind == 0:
                data[at] ^= 1 << random.randrange(8)
            elif kind == 1:
                data[at : at + 4] = random.randbytes(4)
            elif kind == 2:
                data[at:at] = data[at : at + random.randrange(1, 30)]
            elif len(data) > 20:
                del data[at : at + random.randrange(1, 30)]
        try:
            imagefile.read(bytes(data), max_pixels=10**6)
        except ServiceError as error:
            return type(error).__name__
        return "read"

    yield attack


@contextmanager
def requests() -> Iterator[Attack]:
    """Requests over a socket of their own, by nobody's rules, to a service that runs for this alone."""
    with tempfile.TemporaryDirectory() as folder:
        service = RunningService(Path(folder), workers=1).start()
        try:
            picture_id = str(service.upload(encoded(photo(96, 64), "PNG"))["id"])

            def attack(random: Random) -> str:
                answer = _exchange(service.port, _request(random, picture_id))
                status = answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"
                if status[0] == "5" and status not in ("501", "503"):
                    raise AssertionError(f"{status}: {answer[:2000]!r}")
                return status

            yield attack
        finally:
            service.stop()


ATTACKS = {
    "headers": headers,
    "streams": streams,
    "strings": strings,
    "uploads": uploads,
    "requests": requests,
}


@contextmanager
def _codec() -> Iterator[Codec]:
    """A codec of a small random network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        export(lively_network(), path)
        yield Codec.load(str(path), threads=1)


def _request(random: Random, picture_id: str) -> bytes:
    named = picture_id if random.random() < 0.9 else random.choice(_VALUES)
    route = random.choice(_PATHS)
    path = route.replace("{id}", named)
    method = "GET" if random.random() < 0.7 else random.choice(_METHODS)
    names = _KNOWN.get(route, ()) if random.random() < 0.8 else _PARAMETERS
    chosen = random.sample(names, min(len(names), random.randrange(4)))
    pairs = [(name, random.choice(_VALUES)) for name in chosen]
    query = "&".join(f"{name}={value if random.random() < 0.3 else quote(value)}" for name, value in pairs)
    lines = [f"{method} {path}{'?' + query if query else ''} HTTP/1.1", "Host: localhost"]
    for _ in range(random.randrange(4)):
        lines.append(f"{random.choice(_HEADERS)}: {random.choice(_VALUES)}")
    lines.append("Connection: close")
    data = bytearray("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n")
    if random.random() < 0.3:
        data += random.randbytes(random.randrange(200))
    if random.random() < 0.3:
        data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data)


def _exchange(port: int, request: bytes) -> bytes:
    """What the service answers, up to the end of the connection.

    A request without an answer after half a second waits for more of its body: then there is no more.
    """
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
        connection.sendall(request)
        while True:
            try:
                part = connection.recv(65536)
            except TimeoutError:
                if connection.gettimeout() == PATIENCE:
                    raise
                connection.settimeout(PATIENCE)
                connection.shutdown(socket.SHUT_WR)
                continue
            except ConnectionResetError:
                return bytes(answer)
            if not part:
                return bytes(answer)
            answer += part
