"""A service under mixed load while everything around it fails: ``make soak OPTIONS="--minutes 10"``.

Workers are killed and halted, the store hangs, its disk runs full, clients read slowly, leave, or dribble. At
the end every picture that was acknowledged must be there, every distinct answer must show what its stream
holds, nothing but 408, 429, 503 and 507 may have been refused, and not nearly everything, every kind of fault
must have been brought about if there was time for it, and the HTTP process must hold no more memory. The disk
is filled only as root, on a small disk that is mounted for it.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from random import Random

import httpx
import numpy as np
import psutil
from PIL import Image
from tqdm import tqdm

from model.stream.container import read_header, verify
from service.messages.jobs import Render
from service.planning.plans import make_plan
from service.planning.quality import output_quality
from service.planning.sizing import Wanted, choose_view
from service.settings import MIB, Settings
from service.worker.tasks import Tasks
from tests.service.running import RunningService
from tests.soak.faults import FAULTS, KEPT_FREE, Fault, fill_the_disk, own_disk
from tests.soak.load import Addressed, Outcome, at_work

EVERY = 8.0
"""Seconds from the end of one fault to the next."""
SELDOM = 3 * EVERY
"""Seconds within which one fault is brought about even on a busy machine, and with some that fail."""
WARM_UP = 0.25
"""Share of the time after which memory is looked at."""
GROWTH = 0.05
"""Of its memory the HTTP process may gain so much from then to the end."""


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """The folder on a disk of 96 MiB, if that can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


class Disturber:
    """Brings about faults, each kind equally often, and counts them."""

    def __init__(self, service: RunningService, random: Random) -> None:
        self._service, self._random = service, random
        own = own_disk(service.folder / "data")
        self._kinds: list[Fault] = [fault for fault in FAULTS if fault is not fill_the_disk or own]
        self.done, self.failed = Counter[str](), Counter[str]()

    def work(self, ended: threading.Event) -> None:
        """One fault after the other until the end; one that fails is tried again."""
        while not ended.wait(EVERY * self._random.uniform(0.5, 1.5)):
            fault = min(self._kinds, key=self._turn)
            try:
                fault(self._service, self._random)
            except (httpx.HTTPError, OSError, LookupError, psutil.Error):
                self.failed[fault.__name__] += 1  # another fault was in its way
            else:
                self.done[fault.__name__] += 1

    def _turn(self, fault: Fault) -> tuple[int, int, float]:
        return self.done[fault.__name__], self.failed[fault.__name__], self._random.random()

    def too_little(self, seconds: float) -> list[str]:
        """What was not brought about in that time, and should have been."""
        done, expected = self.done.total(), int(seconds / SELDOM)
        found = [f"only {done} faults were brought about"] if done < expected else []
        if expected >= len(self._kinds):
            names = [fault.__name__ for fault in self._kinds]
            found += [f"{name} was never brought about" for name in names if not self.done[name]]
        return found


def lost_or_wrong(service: Addressed, outcome: Outcome) -> list[str]:
    """Pictures that were acknowledged and are not there whole, and answers that do not show them.

    That nothing could be compared is a fault, too.
    """
    tasks = Tasks(Settings(device="cpu").for_worker)
    found, compared = [], 0
    for picture in outcome.pictures:
        answer = service.client.get(f"/images/{picture}/stream")
        if answer.status_code != 200:
            found.append(f"{picture} is lost: {answer.status_code}")
            continue
        stream = answer.content
        verify(stream)
        header = read_header(stream)
        for (name, width, kind), body in outcome.answers.items():
            if name == picture:
                view = choose_view(header.sizes, Wanted(width=width))
                quality = output_quality(kind, header.layers[view.layer].quality)
                right = tasks.render(Render(make_plan(picture, header, view, kind, quality), stream)).body
                compared += 1
                difference = np.abs(_pixels(right) - _pixels(body)).mean()
                if difference > 0.5:
                    found.append(f"{picture} {width} {kind} is wrong by {difference:.1f} levels")
    return found if compared else [*found, "no answer shows a picture that was kept to the end"]


def _pixels(body: bytes) -> np.ndarray:
    with Image.open(BytesIO(body)) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def soak(folder: Path, minutes: float, seed: int) -> list[str]:
    """Run it, print what came of it, return the faults."""
    service = RunningService(
        folder,
        workers=2,
        spare_workers=1,
        cache_bytes=4 * MIB,
        store_timeout=2,
        store_disk_reserve=KEPT_FREE,
        stall_seconds=5,
        drain_seconds=10,
    )
    outcome = Outcome()
    memory: list[tuple[float, int]] = []
    with small_disk(folder / "data"), service:
        disturber = Disturber(service, Random(seed))
        with at_work(service, outcome, seed, disturber.work) as ended:
            for _ in tqdm(range(round(60 * minutes)), unit="s", desc="soak"):
                if ended.wait(1):
                    break
                memory.append((time.monotonic(), service.process.memory_info().rss))
        service.wait_until_ready(120)
        restarts = service.metric("compass_worker_restarts_total")
        faults = [*outcome.faults, *lost_or_wrong(service, outcome)]
        faults += [*outcome.too_little(), *disturber.too_little(60 * minutes)]
        if "Traceback" in service.log:
            faults.append(
                "the log holds a traceback:\n" + service.log[service.log.index("Traceback") :][:2000]
            )
    requests = sum(outcome.statuses.values())
    print(f"{minutes:g} minutes: {requests} requests {dict(sorted(outcome.statuses.items()))}")
    print(f"faults brought about: {dict(sorted(disturber.done.items()))}; {restarts:.0f} workers replaced")
    print(f"faults that failed: {dict(sorted(disturber.failed.items()))}")
    print(
        f"{len(outcome.answers)} distinct answers, {len(outcome.pictures)} pictures kept at the end, checked"
    )
    return faults + growing(memory[int(WARM_UP * len(memory)) :])


def growing(memory: list[tuple[float, int]]) -> list[str]:
    """Print how the memory went, by seconds and bytes; whether it grew too much."""
    if len(memory) < 2:
        return ["the run was too short to see memory"]
    seconds, held = np.array(memory, float).T
    slope, _ = np.polyfit(seconds - seconds[0], held, 1)
    growth = slope * (seconds[-1] - seconds[0]) / held.mean()
    print(
        f"HTTP process: {held.mean() / MIB:.0f} MiB, {60 * slope / 1024:+.0f} KiB a minute, "
        f"{100 * growth:+.1f} % after the warm-up"
    )
    return [f"memory grew by {100 * growth:.1f} %"] if growth > GROWTH else []


def main() -> None:
    """Exit code 1 if anything was lost, wrong, or refused in a way that is not promised."""
    parser = argparse.ArgumentParser("make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = soak(Path(folder), options.minutes, options.seed)
    for fault in faults[:20]:
        print(f"FAULT {fault}", file=sys.stderr)
    print(f"{len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
