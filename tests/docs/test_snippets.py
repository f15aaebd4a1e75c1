"""Commands and code of the documentation, run against a real service.

Shell and Python blocks are run as they stand, but for the address of the service and the id of a picture.
A comment before a block, which no reader sees, says why it cannot be run (``<!-- not run: reason -->``), or
what has to come before it (``<!-- before: code -->``).
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.running import ROOT, RunningService
from tests.service.samples import encoded, photo

PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>not run|before):\s*(?P<note>[^>]*?)\s*-->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_SERVICES = re.compile(r"https?://(?:localhost:8000|img\.example\.org)")
_SHELL = """set -euo pipefail
curl() { command curl --fail-with-body --silent --show-error "$@"; }
compass() { python -m service.cli "$@"; }
"""


@dataclass(frozen=True)
class Snippet:
    """A block of a page; ``reason`` says why it is not run, ``before`` is code that comes first."""

    place: str
    language: str
    code: str
    reason: str
    before: str

    def __str__(self) -> str:
        return self.place


def snippets(page: Path) -> list[Snippet]:
    """The blocks of a page, in their order."""
    text = page.read_text()
    found = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("code"))
        note, mark = block["note"] or "", block["mark"]
        reason, before = (note if mark == kind else "" for kind in ("not run", "before"))
        place = f"{page.relative_to(ROOT)}:{line}"
        found.append(Snippet(place, block["language"], block["code"], reason, before))
    return found


RUNNABLE = [
    snippet
    for page in PAGES
    for snippet in snippets(page)
    if snippet.language in ("sh", "python") and not snippet.reason
]


@pytest.fixture(scope="module")
def picture(service: RunningService) -> str:
    """The id of a stored picture."""
    return str(service.upload(encoded(photo(120, 80, seed=300), "PNG"))["id"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a reader has: a photo, and a folder of them."""
    (tmp_path / "photo.jpg").write_bytes(encoded(photo(120, 80, seed=301), "JPEG"))
    (tmp_path / "photos").mkdir()
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "photos")
    return tmp_path


@pytest.mark.parametrize("snippet", RUNNABLE, ids=str)
def test_it_runs(snippet: Snippet, service: RunningService, picture: str, folder: Path) -> None:
    code = re.sub(r"\bID\b", picture, _SERVICES.sub(service.url, snippet.code))
    if snippet.language == "sh":
        if "curl " in code and shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        command = ["bash", "-c", _SHELL + code]
    else:
        command = [sys.executable, "-c", f"{snippet.before}\n{code}"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "COMPASS_DATA": str(service.folder / "data"),
    }
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr + result.stdout


def test_snippets_of_both_languages_are_found() -> None:
    assert {snippet.language for snippet in RUNNABLE} == {"sh", "python"}
    assert len(RUNNABLE) >= 7


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mark_stands_right_before_a_block_and_says_why(page: Path) -> None:
    text = page.read_text()
    marks = len(re.findall(r"<!-- (?:not run|before):", text))
    assert marks == sum(bool(snippet.reason or snippet.before) for snippet in snippets(page))
    assert all(not snippet.reason or " " in snippet.reason for snippet in snippets(page))
