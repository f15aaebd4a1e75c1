"""The client, against the running service and against bad servers."""

import inspect
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from benchmarks.load.processes import free_port
from service.client import api
from service.client.api import Client, Refused, Unreachable
from service.settings import Settings
from tests.service.samples import encoded, photo


def test_a_picture_comes_and_goes(client, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded(photo(90, 60, seed=41), "PNG"))
    picture = client.upload(file, quality=60, widths=(30,))
    assert client.upload(file.read_bytes(), quality=60, widths=(30,)) == picture
    assert (picture.width, picture.height) == (90, 60)
    assert picture.source_bytes == file.stat().st_size
    assert [layer["width"] for layer in picture.facts["layers"]] == [30, 90]
    assert client.info(picture.id) == picture
    assert picture in list(client.pictures())
    with Image.open(BytesIO(client.fetch(picture.id, "image/webp", width=45))) as image:
        assert (image.format, image.size) == ("WEBP", (45, 30))
    assert len(client.stream(picture.id)) == picture.bytes
    assert client.stream(picture.id).startswith(client.stream(picture.id, width=30))
    client.delete(picture.id)
    with pytest.raises(Refused) as refused:
        client.info(picture.id)
    assert refused.value.status == 404
    assert refused.value.title == "Not found"


def test_refusals_name_the_problem(client):
    with pytest.raises(Refused, match="Unsupported picture"):
        client.upload(b"no picture")
    with pytest.raises(Refused, match="Bad parameter"):
        client.upload(encoded(photo(9, 9), "PNG"), quality=101)
    with pytest.raises(Refused) as refused:
        client.fetch("../metrics")
    assert refused.value.status == 404


def test_nobody_there():
    with Client(f"http://127.0.0.1:{free_port()}", retries=1) as nobody, pytest.raises(Unreachable):
        nobody.info("a" * 32)


def test_whether_a_service_is_there_is_asked_once(service):
    """A misspelt address is known at once, however patient the client is elsewhere."""
    with Client(service.url) as client:
        client.find_service()
    with Client(f"http://127.0.0.1:{free_port()}", retries=1000) as nobody, pytest.raises(Unreachable):
        nobody.find_service()


class Moody(BaseHTTPRequestHandler):
    """Answers with the statuses of ``moods``, one a request, and remembers the requests."""

    moods: list[int]
    seen: list[bytes]

    def do_POST(self) -> None:
        self.seen.append(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.moods.pop(0)
        body = json.dumps({"title": "Mood", "detail": str(status)} if status > 299 else FACTS).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status in (429, 503):
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Working(BaseHTTPRequestHandler):
    """Answers uploads at once; the job of each ends, one after the other, as ``ends`` tells: with the status
    of a failure, lost (404), or, with 201, in a picture.
    """

    ends: list[int]
    seen: list[bytes]

    def do_POST(self) -> None:
        self.seen.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(202, {"id": "job", "state": "working", "stage": "waiting", "percent": 0})

    def do_GET(self) -> None:
        status = self.ends.pop(0)
        problem = {"status": status, "title": "End", "detail": "of a job"}
        done = {"state": "stored", "stage": "done", "percent": 100, "picture": FACTS}
        failed = {"state": "failed", "stage": "coding", "percent": 10, "problem": problem}
        if status == 404:
            self._answer(404, problem)
        else:
            self._answer(200, done if status == 201 else failed)

    def _answer(self, status: int, facts: dict[str, Any]) -> None:
        body = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


FACTS = {"id": "x", "url": "/x", "width": 1, "height": 1, "bytes": 1, "source_bytes": 2, "srcset": ""}


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server that answers with this."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def moody():
    class Handler(Moody):
        moods: list[int] = []  # noqa: RUF012
        seen: list[bytes] = []  # noqa: RUF012

    with serving(Handler) as url:
        yield url, Handler


@pytest.fixture
def working(monkeypatch):
    class Handler(Working):
        ends: list[int] = []  # noqa: RUF012
        seen: list[bytes] = []  # noqa: RUF012

    monkeypatch.setattr(api, "_AGAIN_SECONDS", 0.01)
    with serving(Handler) as url:
        yield url, Handler


def test_busy_services_are_asked_again_with_the_whole_body(moody):
    url, handler = moody
    handler.moods[:] = [429, 503, 201]
    with Client(url) as client:
        assert client.upload(b"picture").id == "x"
    assert handler.seen == [b"picture"] * 3


def test_patience_ends_with_the_last_answer(moody):
    url, handler = moody
    handler.moods[:] = [429, 429]
    client = Client(url, retries=1)
    with client, pytest.raises(Refused, match="Mood: 429") as refused:
        client.upload(b"picture")
    assert refused.value.status == 429


def test_the_client_waits_longer_than_the_service_works_on_an_upload():
    """Else an upload that waits for its turn is cut off, and sent again and again."""
    timeout = inspect.signature(Client).parameters["timeout"].default
    assert timeout > Settings().upload_deadline


def test_other_errors_are_not_tried_again(moody):
    url, handler = moody
    handler.moods[:] = [500, 201]
    with Client(url) as client, pytest.raises(Refused):
        client.upload(b"picture")
    assert handler.moods == [201]


@pytest.mark.parametrize("end", [404, 429, 503])
def test_a_picture_whose_job_passed_away_is_sent_again(working, end):
    url, handler = working
    handler.ends[:] = [end, 201]
    stages = []
    with Client(url) as client:
        picture = client.upload(b"picture", progress=lambda progress: stages.append(progress.stage))
    assert picture.id == "x"
    assert handler.seen == [b"picture"] * 2
    assert stages[-1] == "done"


@pytest.mark.parametrize(("end", "retries", "sent"), [(503, 3, 4), (429, 0, 1), (404, 8, 3), (422, 8, 1)])
def test_jobs_that_never_do_end_with_the_last_answer(working, end, retries, sent):
    url, handler = working
    handler.ends[:] = [end] * 9
    with Client(url, retries=retries) as client, pytest.raises(Refused, match="End: of a job") as refused:
        client.upload(b"picture", progress=lambda _: None)
    assert refused.value.status == end
    assert len(handler.seen) == sent
