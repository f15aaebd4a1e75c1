"""The commands ``compass backup`` and ``compass restore``.

Exit codes: 0 everything is saved or restored, 1 it could not be done, 3 something is not.
"""

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from service.backup.restoring import Restored, Restoring
from service.backup.saving import Saved, Saving
from service.client.folder import LINE_SECONDS, in_words
from service.errors import BadParameter
from service.settings import Settings
from service.storage.by_hand import open_store
from service.storage.objects import Objects
from service.storage.originals import originals_of

EXIT_INCOMPLETE = 3


def backup(options: argparse.Namespace) -> int:
    """Save the store named by the settings. Raises ServiceError."""
    return asyncio.run(_backup(Settings(), options))


def restore(options: argparse.Namespace) -> int:
    """Restore into the store named by the settings, or check a backup. Raises ServiceError."""
    return asyncio.run(_restore(Settings(), options))


async def _backup(settings: Settings, options: argparse.Namespace) -> int:
    since = None if options.since is None else _seconds(options.since)
    async with AsyncExitStack() as stack:
        store = await open_store(settings, stack)
        saving = Saving(store, originals_of(settings, store), Objects(_address(options.place), settings))
        shown = stack.enter_context(_Shown("backup", None))
        saved = await saving.run(since, lambda so_far: shown.tell(so_far.written, _saved(so_far)))
        if options.keep:
            await saving.prune(options.keep)
    return _told(_saved(saved), saved.complaints)


async def _restore(settings: Settings, options: argparse.Namespace) -> int:
    source = Objects(_address(options.place), settings)
    async with AsyncExitStack() as stack:
        store = None if options.check else await open_store(settings, stack, create=True)
        restoring = Restoring(source, store, originals_of(settings, store) if store else None)
        shown = stack.enter_context(_Shown("restore", None))
        done = await restoring.run(options.at, lambda so_far: shown.tell(so_far.done, _restored(so_far)))
    return _told(_restored(done, options.check), done.complaints)


def _saved(saved: Saved) -> str:
    text = f"{saved.pictures} pictures in the backup: " if saved.pictures else ""
    text += f"{saved.written} pictures and {saved.originals} originals written, {in_words(saved.bytes)}"
    return text + (f"; {saved.removed} old ones deleted" if saved.removed else "")


def _restored(done: Restored, checked: bool = False) -> str:
    text = f"{done.restored} of {done.pictures} pictures {'found whole' if checked else 'restored'}"
    others = {
        "were there": done.there,
        "have expired": done.expired,
        "have no original": done.without_original,
        "originals brought back": done.originals,
    }
    return text + "".join(f"; {count} {what}" for what, count in others.items() if count)


def _told(text: str, complaints: list[str]) -> int:
    for complaint in complaints:
        print(complaint)
    print(text + (f"; {len(complaints)} complaints" if complaints else ""))
    return EXIT_INCOMPLETE if complaints else 0


class _Shown:
    """Progress on standard error: a count on a terminal, else a line now and then."""

    def __init__(self, what: str, total: int | None) -> None:
        self._bar = tqdm(total=total, desc=what, unit=" pictures", file=sys.stderr, disable=None)
        self._last = time.monotonic()

    def __enter__(self) -> "_Shown":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def tell(self, done: int, text: str) -> None:
        """So many pictures are done."""
        self._bar.update(done - self._bar.n)
        if self._bar.disable and time.monotonic() - self._last > LINE_SECONDS:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def _address(place: str) -> str:
    """The address of a backup, which may be given as a folder. Raises BadParameter."""
    if place.startswith(("s3://", "file:///")):
        return place
    if "://" in place:
        raise BadParameter(f"{place}: a backup lies in a folder, or at file:///... or s3://...")
    return Path(place).absolute().as_uri()


def _seconds(text: str) -> float:
    """A time such as 2026-11-26 or 2026-11-26T12:00, in UTC unless it says otherwise. Raises BadParameter."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadParameter(f"{text!r} is no time such as 2026-11-26T12:00") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
