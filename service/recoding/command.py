"""The command ``compass recode``: pictures of older models coded anew, by any number of processes at once.

It works on the store itself, beside running services or without any. What is done is told by the streams
themselves: whoever begins again finds only what is left.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from random import shuffle
from typing import ClassVar

from tqdm import tqdm

from model.installed import model_id, path_of_profile
from service.client.folder import LINE_SECONDS, in_words
from service.engine.devices import refining_place
from service.engine.refiner import Refiner
from service.errors import BadParameter
from service.interleaving import interleaved
from service.planning.identity import is_picture_id
from service.recoding.pictures import Outcome, Recoding
from service.settings import Settings
from service.storage.by_hand import open_store
from service.storage.leases import LEASE_SECONDS
from service.storage.originals import originals_of
from service.storage.outcomes import Sum
from service.storage.store import Store

LOOK_SECONDS = 1.0
"""So often a picture is looked at that another process has."""


class Tally(Sum):
    """What was coded anew."""

    CHANGED, VERB = "recoded", "coded anew"
    OTHERS: ClassVar[Mapping[str, str]] = {
        "current": "are of the current model by now",
        "taken": "are worked on by others",
        "gone": "are gone, or have changed",
        "without": "have no original and stay as they are (--from-layers codes them from what is stored)",
        "failed": "failed and stay as they are",
    }


def run(options: argparse.Namespace) -> int:
    """Code anew what the arguments name; 0 if nothing failed, else 1. Raises ServiceError and OSError."""
    for picture in options.pictures:
        if not is_picture_id(picture):
            raise BadParameter(f"{picture[:64]!r} is no picture's id")
    return asyncio.run(_run(Settings(), options))


async def _run(settings: Settings, options: argparse.Namespace) -> int:
    if options.engine is not None:
        settings = Settings(engine=options.engine)
    current = model_id(path_of_profile(settings.profile))
    async with AsyncExitStack() as stack:
        store = await open_store(settings, stack)
        originals = originals_of(settings, store)
        place = refining_place(settings, os.environ)
        refiner = Refiner(settings, place, "service.worker.tasks:Tasks", busy=lambda: False)
        stack.push_async_callback(refiner.stop)
        recoding = Recoding(store, originals, current, refiner.recode, options.from_layers)
        pictures = await _concerned(store, recoding, options.pictures)
        pace = 60 / options.per_minute if options.per_minute else 0.0
        tally = Tally()
        bar = tqdm(total=len(pictures), desc="recode", unit=" pictures", file=sys.stderr, disable=None)
        told = time.monotonic()
        try:
            async for outcome in _recoded(recoding, pictures, pace, refiner.at_once):
                tally.add(outcome)
                bar.update()
                bar.set_postfix_str(f"{in_words(tally.saved)} saved")
                if bar.disable and time.monotonic() - told > LINE_SECONDS:
                    told = time.monotonic()
                    print(tally, file=sys.stderr, flush=True)
        finally:
            bar.close()
            print(tally)
        return 1 if tally.endings["failed"] else 0


async def _concerned(store: Store, recoding: Recoding, chosen: Sequence[str]) -> list[str]:
    """The pictures that were coded with other weights, in an order of this process's own: so that several get
    into one another's way rarely.
    """
    found = [record.id async for record in store.catalogue.all_records() if recoding.concerns(record)]
    if chosen:
        found = [picture for picture in found if picture in set(chosen)]
    shuffle(found)
    return found


async def _recoded(
    recoding: Recoding, pictures: Sequence[str], pace: float, at_once: int
) -> AsyncIterator[Outcome]:
    """Code them anew, so many at once, and one in ``pace`` seconds at most. What others have is looked at
    again at the end, for as long as whoever died may hold it.
    """
    waiting, due, held = iter(pictures), time.monotonic(), list[str]()

    async def one_after_another() -> AsyncIterator[Outcome]:
        nonlocal due
        for picture in waiting:
            outcome = await recoding.one(picture)
            if outcome.ending == "taken":
                held.append(picture)
                continue
            yield outcome
            if outcome.ending == "recoded":
                due = max(due + pace, time.monotonic() - pace)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async for outcome in interleaved(one_after_another() for _ in range(at_once)):
        yield outcome
    until = time.monotonic() + 2 * LEASE_SECONDS
    while held:
        outcome = await recoding.one(held[0])
        if outcome.ending == "taken" and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        yield outcome
        held.pop(0)
