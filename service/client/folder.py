"""Uploading a whole folder: ``compass import``. Can be stopped and started again at any time.

Beside the pictures a list is kept of what is stored, one JSON object per line; it tells which file
became which picture, and files that stand in it unchanged are not sent again.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TextIO, Unpack

from tqdm import tqdm

from service.client.api import ClientError, Coding, Progress, StoredPicture

LIST_NAME = "compass-import.jsonl"
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif"}
)
LINE_SECONDS = 10.0
"""Seconds from one line of progress to the next, where there is no terminal for a bar."""
_MOST_NAME = 200
"""Characters of a name that the service takes."""
_FATAL = (0, 401, 403)
"""Statuses that every further file would get as well: no answer, no valid key."""


class Uploads(Protocol):
    """Where pictures are uploaded to, such as a :class:`service.client.api.Client`; ``url`` names it."""

    @property
    def url(self) -> str:
        """The same for the same store."""

    def find_service(self) -> None:
        """Return if it is there. Raises ClientError."""

    def upload(
        self,
        picture: Path,
        *,
        name: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        **coding: Unpack[Coding],
    ) -> StoredPicture:
        """Store a picture, called ``name``, and tell how far it is, on any thread. Raises ClientError and
        OSError.
        """


@dataclass
class Tally:
    """What an import did; sizes in bytes, files done in an earlier run included in ``stored``."""

    stored: int = 0
    before: int = 0
    failed: int = 0
    source_bytes: int = 0
    bytes: int = 0
    interrupted: bool = False

    def __str__(self) -> str:
        saved = self.source_bytes - self.bytes
        share = 100 * saved / self.source_bytes if self.source_bytes else 0
        text = f"{self.stored} pictures stored, {self.before} of them before"
        text += f": {in_words(self.bytes)} of {in_words(self.source_bytes)}"
        text += f", {in_words(saved)} ({share:.1f} %) saved"
        text += f"; {self.failed} failed" if self.failed else ""
        return text + ("; interrupted: the same command goes on" if self.interrupted else "")


def import_folder(client: Uploads, folder: Path, jobs: int = 2, **coding: Unpack[Coding]) -> Tally:
    """Upload every picture below a folder, ``jobs`` at a time, with a progress bar on stderr; each is called
    as its file is.

    Files that are refused are named and left out. Ctrl-C ends it when the uploads under way are done. Raises
    ClientError when no file can be uploaded, at once where no service answers, and OSError.
    """
    client.find_service()
    tally = Tally()
    known = _read_list(folder / LIST_NAME)
    todo = []
    for file in picture_files(folder):
        mark = _mark(client, folder, file, coding)
        done = known.get(json.dumps(mark))
        if done is None:
            todo.append((file, mark))
        else:
            tally.before += 1
            _count(tally, done)
    size = sum(file.stat().st_size for file, _ in todo)
    with (
        _open_list(folder / LIST_NAME) as journal,
        tqdm(total=size, unit="B", unit_scale=True, desc="import", file=sys.stderr, disable=None) as bar,
        ThreadPoolExecutor(jobs) as threads,
    ):
        waiting = iter(todo)
        running: dict[Future[StoredPicture], tuple[Path, dict[str, Any]]] = {}
        began = told = time.monotonic()
        stages = _Stages(bar)
        while True:
            for file, mark in islice(waiting, jobs - len(running)):
                hear = partial(stages.tell, file)
                keep = partial(client.upload, file, name=_called(file), progress=hear, **coding)
                running[threads.submit(keep)] = file, mark
            if not running:
                return tally
            try:
                done_now = wait(running, return_when=FIRST_COMPLETED).done
            except KeyboardInterrupt:  # those under way are waited for
                tally.interrupted = True
                waiting = iter(())
                done_now = wait(running).done
            if bar.disable and time.monotonic() > told + LINE_SECONDS:
                told = time.monotonic()
                print(f"{told - began:.0f} s: {tally}", file=sys.stderr, flush=True)
            for future in done_now:
                file, mark = running.pop(future)
                stages.end(file)
                try:
                    _remember(journal, tally, mark, future.result())
                except ClientError as error:
                    if error.status in _FATAL:
                        raise
                    tally.failed += 1
                    bar.write(f"{file}: {error}", file=sys.stderr)
                bar.update(mark["size"])


class _Stages:
    """What the uploads under way are doing, beside the bar. Told by several threads."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar
        self._doing: dict[Path, str] = {}
        self._lock = Lock()

    def tell(self, file: Path, progress: Progress) -> None:
        """A file has come this far."""
        self._show(file, f"{file.name} {progress.stage} {progress.percent} %")

    def end(self, file: Path) -> None:
        """A file is done with."""
        self._show(file, None)

    def _show(self, file: Path, text: str | None) -> None:
        with self._lock:
            self._doing.pop(file, None)
            if text:
                self._doing[file] = text
            self._bar.set_postfix_str(", ".join(self._doing.values()), refresh=False)


def picture_files(folder: Path) -> Iterator[Path]:
    """The files below a folder that are named like pictures, in order; hidden ones are left out."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in SUFFIXES and not hidden and file.is_file():
            yield file


def _called(file: Path) -> str:
    """The name of a file as text: without bytes that are none, and no longer than the service takes it."""
    return file.name.encode(errors="ignore").decode()[:_MOST_NAME]


def _mark(client: Uploads, folder: Path, file: Path, coding: Coding) -> dict[str, Any]:
    """What must be unchanged for a file to count as done."""
    stat = file.stat()
    return {
        "file": file.relative_to(folder).as_posix(),
        "size": stat.st_size,
        "changed": stat.st_mtime_ns,
        "service": client.url,
        "coding": {name: value for name, value in sorted(coding.items()) if value is not None},
    }


def _remember(journal: TextIO, tally: Tally, mark: dict[str, Any], picture: StoredPicture) -> None:
    done = {"id": picture.id, "bytes": picture.bytes, "source_bytes": picture.source_bytes}
    journal.write(json.dumps({**mark, **done}) + "\n")
    journal.flush()
    _count(tally, done)


def _count(tally: Tally, done: dict[str, Any]) -> None:
    tally.stored += 1
    tally.bytes += done["bytes"]
    tally.source_bytes += done["source_bytes"]


def _open_list(path: Path) -> TextIO:
    """The list, to be added to on a line of its own even after a crash."""
    cut_short = path.is_file() and not path.read_bytes().endswith(b"\n")
    journal = path.open("a", encoding="utf-8")
    journal.write("\n" if cut_short else "")
    return journal


def _read_list(path: Path) -> dict[str, dict[str, Any]]:
    """What is done, by mark; a line that a crash cut short counts as not done."""
    known: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return known
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            done = {name: entry.pop(name) for name in ("id", "bytes", "source_bytes")}
        except (ValueError, KeyError, AttributeError):
            continue
        known[json.dumps(entry)] = done
    return known


def in_words(count: int) -> str:
    """A number of bytes as people read it."""
    return f"{count / 1e6:.1f} MB" if abs(count) >= 1e6 else f"{count / 1e3:.1f} kB"
