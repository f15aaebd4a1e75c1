"""The command ``compass refine``: by hand, and whenever it suits, what the service does in the background.

What waits in the store is refined, all of it or some pictures. Pictures whose uploads are kept no more are
refined from the files of a folder (``--from``): each is put among those that wait, and taken from there, so
that a running service and this command never work on the same one.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import ClassVar

from tqdm import tqdm

from service.client.api import Coding
from service.client.folder import LINE_SECONDS, in_words, picture_files
from service.engine.devices import refining_place
from service.engine.refiner import Refiner
from service.errors import BadParameter, DamagedStream, NotFound, UnknownFormat
from service.interleaving import interleaved
from service.library import Keeping
from service.messages.jobs import Refine, Refined
from service.metrics import Metrics
from service.planning.identity import is_picture_id, picture_id, upload_digest
from service.refining.pictures import Ending, Outcome, Refining
from service.settings import Settings
from service.storage.by_hand import open_store
from service.storage.outcomes import Sum
from service.storage.records import Effort, Record
from service.storage.store import Store

_RANKS = {"fast": 1, "best": 2}


class Tally(Sum):
    """What was refined."""

    CHANGED, VERB = "refined", "refined"
    OTHERS: ClassVar[Mapping[str, str]] = {
        "kept": "could not be made smaller",
        "skipped": "were refined before",
        "gone": "are gone, or others refine them",
        "unknown": "are not stored, or their uploads are not kept",
        "retried": "failed and will be tried again",
        "failed": "failed and stay as they are",
    }


def run(options: argparse.Namespace) -> int:
    """Refine what the arguments name; 0 if nothing failed, else 1. Raises ServiceError and OSError."""
    for name in Coding.__annotations__ if options.folder is None else ():
        if getattr(options, name) is not None:
            raise BadParameter(f"--{name.replace('_', '-')} is that of uploads: it needs --from")
    if options.folder is not None and not options.folder.is_dir():
        raise NotADirectoryError(None, "not a folder", str(options.folder))
    for picture in options.pictures:
        if not is_picture_id(picture):
            raise BadParameter(f"{picture[:64]!r} is no picture's id")
    return asyncio.run(_run(Settings(), options))


async def _run(settings: Settings, options: argparse.Namespace) -> int:
    if options.engine is not None:
        settings = Settings(engine=options.engine)
    effort: Effort = options.effort or ("best" if settings.refine == "off" else settings.refine)
    async with AsyncExitStack() as stack:
        store = await open_store(settings, stack)
        place = refining_place(settings, os.environ)
        refiner = Refiner(settings, place, "service.worker.tasks:Tasks", busy=lambda: False)
        stack.push_async_callback(refiner.stop)
        shown = _Shown()
        stack.callback(shown.close)

        async def search(job: Refine) -> Refined:
            return await refiner.refine(job, shown.within)

        refining = Refining(store, Metrics(), effort, search)
        if options.folder is not None:
            work = _from_folder(store, refining, effort, settings, options, shown, refiner.at_once)
        else:
            work = _waiting(store, refining, options.pictures, shown, refiner.at_once)
        tally = Tally()
        try:
            async for outcome in work:
                tally.add(outcome)
                shown.done(tally)
        finally:
            shown.close()
            print(tally)
        return 1 if tally.endings["failed"] or tally.endings["retried"] else 0


async def _waiting(
    store: Store, refining: Refining, chosen: Sequence[str], shown: "_Shown", at_once: int
) -> AsyncIterator[Outcome]:
    """Refine what waits, so many at once; the outcomes."""
    shown.begin(len(chosen) or (await store.waiting.counts())[0])
    left = iter(chosen)

    async def all_that_wait() -> AsyncIterator[Outcome]:
        while (outcome := await refining.next()) is not None:
            yield outcome

    async def those_chosen() -> AsyncIterator[Outcome]:
        for picture in left:
            known = await _known(store, picture)
            if not isinstance(known, Record) and known.ending == "failed":
                yield known
                continue
            waits = await store.waiting.waits(picture)
            refined = isinstance(known, Record) and known.facts.refined is not None
            before: Ending = "skipped" if refined else "unknown"
            yield await refining.next(picture) or Outcome(picture, "gone" if waits else before)

    work = those_chosen if chosen else all_that_wait
    async for outcome in interleaved(work() for _ in range(at_once)):
        yield outcome


async def _from_folder(
    store: Store,
    refining: Refining,
    effort: Effort,
    settings: Settings,
    options: argparse.Namespace,
    shown: "_Shown",
    at_once: int,
) -> AsyncIterator[Outcome]:
    """Refine what was uploaded from a folder with these parameters, so many at once; the outcomes."""
    keeping = Keeping.wished(options.focus, options.metadata, options.frame)
    ladder = settings.ladder_of(options.widths)
    how = (options.quality or settings.quality, ladder, options.max_width, keeping.identity)
    files = list(picture_files(options.folder))
    shown.begin(len(files))
    left = iter(files)

    async def one_after_another() -> AsyncIterator[Outcome]:
        for file in left:
            data = await asyncio.to_thread(file.read_bytes)
            picture = picture_id(await asyncio.to_thread(upload_digest, data), *how)
            if options.pictures and picture not in options.pictures:
                shown.leave_out()
                continue
            record = await _known(store, picture)
            if not isinstance(record, Record):
                yield record
                continue
            refined = record.facts.refined
            if refined is not None and _RANKS[refined.effort] >= _RANKS[effort]:
                yield Outcome(picture, "skipped")
                continue
            if not await store.waiting.waits(picture):
                await store.offer(record, data)
            yield await refining.next(picture) or Outcome(picture, "gone")

    async for outcome in interleaved(one_after_another() for _ in range(at_once)):
        yield outcome


async def _known(store: Store, picture: str) -> Record | Outcome:
    """The record of a picture, or what is to be told where it cannot be refined."""
    try:
        return await store.record(picture, fresh=True)
    except NotFound:
        return Outcome(picture, "unknown")
    except (DamagedStream, UnknownFormat) as error:
        print(f"{picture}: {error}", file=sys.stderr)
        return Outcome(picture, "failed")


class _Shown:
    """Progress on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._before = 0.0
        self._told = time.monotonic()

    def begin(self, pictures: int) -> None:
        """So many pictures are to be done."""
        layout = (
            "{desc}: {percentage:3.0f} %|{bar}| {n:.2f} of {total} [{elapsed}, {remaining} left{postfix}]"
        )
        self._bar = tqdm(total=pictures, desc="refine", bar_format=layout, file=sys.stderr, disable=None)

    def within(self, share: float) -> None:
        """So much of a picture is done."""
        if self._bar is not None:
            self._bar.update(self._before + share - self._bar.n)

    def done(self, tally: Tally) -> None:
        """One more picture is done."""
        self._before += 1
        self.within(0.0)
        if self._bar is None:
            return
        self._bar.set_postfix_str(f"{in_words(tally.before - tally.after)} saved")
        if self._bar.disable and time.monotonic() - self._told > LINE_SECONDS:
            self._told = time.monotonic()
            print(tally, file=sys.stderr, flush=True)

    def leave_out(self) -> None:
        """One file is none of those that are wanted."""
        self._before += 1
        self.within(0.0)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()
