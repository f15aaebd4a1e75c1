"""A client of the shared service, and a folder of pictures to import."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.api import Client
from tests.service.running import RunningService
from tests.service.samples import encoded, photo


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    """Of the shared service."""
    with Client(service.url) as opened:
        yield opened


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
