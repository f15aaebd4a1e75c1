"""A server under test as a family of processes: started, watched, harmed, ended."""

import asyncio
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path


@contextmanager
def started(command: Sequence[str], port: int, profile: str) -> Iterator[int]:
    """A server process with an empty store, ended at last; yields its process id."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COMPASS_")},
            "COMPASS_DATA": folder,
            "COMPASS_PORT": str(port),
            "COMPASS_PROFILE": profile,
        }
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        ):
            try:
                yield process.pid
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()


@asynccontextmanager
async def sampled(pid: int, kill: float) -> AsyncIterator[tuple[list[int], list[int]]]:
    """Sample the memory of a process and its children each second; kill a worker every so often."""
    memory: list[int] = []
    killed: list[int] = []

    async def sample() -> None:
        begin = time.monotonic()
        while True:
            family = _family(pid)
            memory.append(sum(_resident(member) for member in family))
            if kill and time.monotonic() - begin > kill * (len(killed) + 1):
                victim = random.choice([member for member in family if _is_worker(member)] or [0])
                with suppress(ProcessLookupError):
                    if victim:
                        os.kill(victim, signal.SIGKILL)
                killed.append(victim)
            await asyncio.sleep(1)

    task = asyncio.create_task(sample())
    try:
        yield memory, killed
    finally:
        task.cancel()


def _family(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _is_worker(pid: int) -> bool:
    try:
        return b"service.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
