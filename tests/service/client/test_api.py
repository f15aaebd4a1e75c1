"""The client and ``compass import``, against the running service and against bad servers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from service.client.api import Client, ClientError, Refused, Unreachable
from service.client.folder import LIST_NAME, import_folder
from tests.service.running import RunningService, free_port
from tests.service.samples import encoded, photo
from tests.service.test_cli import compass


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    with Client(service.url) as opened:
        yield opened


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


FACTS = {"id": "x", "url": "/x", "width": 1, "height": 1, "bytes": 1, "source_bytes": 2, "srcset": ""}


@pytest.fixture
def moody():
    class Handler(Moody):
        moods: list[int] = []  # noqa: RUF012
        seen: list[bytes] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, Handler
    server.shutdown()
    server.server_close()


def test_busy_services_are_asked_again_with_the_whole_body(moody):
    server, handler = moody
    handler.moods[:] = [429, 503, 201]
    with Client(f"http://127.0.0.1:{server.server_port}") as client:
        assert client.upload(b"picture").id == "x"
    assert handler.seen == [b"picture"] * 3


def test_patience_ends_with_the_last_answer(moody):
    server, handler = moody
    handler.moods[:] = [429, 429]
    client = Client(f"http://127.0.0.1:{server.server_port}", retries=1)
    with client, pytest.raises(Refused, match="Mood: 429") as refused:
        client.upload(b"picture")
    assert refused.value.status == 429


def test_other_errors_are_not_tried_again(moody):
    server, handler = moody
    handler.moods[:] = [500, 201]
    with Client(f"http://127.0.0.1:{server.server_port}") as client, pytest.raises(Refused):
        client.upload(b"picture")
    assert handler.moods == [201]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of them broken, and things that are none."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.png").write_bytes(encoded(photo(60, 40, seed=51), "PNG"))
    (tmp_path / "deep" / "b.JPG").write_bytes(encoded(photo(60, 40, seed=52), "JPEG"))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"no picture either")
    return tmp_path


def test_import(service, client, folder):
    uploads = service.metric("compass_requests_total", method="POST")
    result = compass("import", folder, "--url", service.url, "--widths", "30")
    assert result.returncode == 1
    assert "2 pictures stored, 0 of them before" in result.stdout
    assert "1 failed" in result.stdout
    assert "broken.jpg" in result.stderr
    lines = [json.loads(line) for line in (folder / LIST_NAME).read_text().splitlines()]
    assert sorted(line["file"] for line in lines) == ["a.png", "deep/b.JPG"]
    assert all(
        [layer["width"] for layer in client.info(line["id"]).facts["layers"]] == [30, 60] for line in lines
    )
    assert service.metric("compass_requests_total", method="POST") == uploads + 3

    (folder / "broken.jpg").unlink()
    again = compass("import", folder, "--url", service.url, "--widths", "30")
    assert again.returncode == 0
    assert "2 pictures stored, 2 of them before" in again.stdout
    assert service.metric("compass_requests_total", method="POST") == uploads + 3


def test_import_goes_on_after_a_crash(service, client, folder):
    (folder / "broken.jpg").unlink()
    import_folder(client, folder, widths=(30,))
    journal = folder / LIST_NAME
    whole = journal.read_text().splitlines()
    journal.write_text(whole[0] + "\n" + whole[1][:20])
    tally = import_folder(client, folder, widths=(30,))
    assert (tally.stored, tally.before, tally.failed) == (2, 1, 0)
    assert sorted(journal.read_text().splitlines()[i] for i in (0, 2)) == sorted(whole)
    assert import_folder(client, folder, widths=(30,)).before == 2


def test_a_changed_file_is_sent_again(client, folder):
    (folder / "broken.jpg").unlink()
    import_folder(client, folder, widths=(30,))
    (folder / "a.png").write_bytes(encoded(photo(60, 40, seed=53), "PNG"))
    assert import_folder(client, folder, widths=(30,)).before == 1
    assert import_folder(client, folder, widths=(20,)).before == 0


def test_import_without_a_service(folder):
    result = compass("import", folder, "--url", "http://127.0.0.1:1")
    assert result.returncode == 1
    assert "no answer from http://127.0.0.1:1" in result.stderr
    with Client("http://127.0.0.1:1", retries=0) as nobody, pytest.raises(ClientError):
        import_folder(nobody, folder)
    assert compass("import", folder / "none").returncode == 1
