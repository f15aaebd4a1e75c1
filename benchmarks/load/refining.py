"""Whether readings notice that pictures are refined meanwhile: `make bench-refining DATA=folder`.

Two services hold the same pictures, one of them with much to refine. They take turns: while one is asked for
pictures at half of what it can do, all processes of the other are halted. Both are asked for the same at the
same moments of a turn. Nothing is answered from memory, and workers keep no decoded layers. Everything runs
on this machine, client included. Turns differ by more than what is looked for, so the report says how often
chance alone would make the difference that was found.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from statistics import median

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray
from scipy.stats import permutation_test

from benchmarks.load.options import parser
from benchmarks.load.processes import free_port, started
from benchmarks.load.serve import upload
from benchmarks.load.traffic import TIMEOUT_SECONDS, Hit, Traffic, closed_loop, open_loop, percentile
from benchmarks.measure.pictures import camera_jpeg, read_pictures
from benchmarks.measure.report import finish, table

COMMAND = (sys.executable, "-m", "service.cli", "serve")
UNKEPT = {"COMPASS_CACHE_BYTES": "0", "COMPASS_WORKER_CACHE_BYTES": "0"}
"""Settings with which neither answers nor decoded layers stay in memory."""
SHARE = 0.5
REST_SECONDS = 2.0
"""Between two turns, so that refining is under way when the next one begins."""


@dataclass
class Server:
    """A running service, and how long each answer of its turns took, in seconds."""

    pid: int
    client: httpx.AsyncClient
    traffic: Traffic
    turns: list[list[float]] = field(default_factory=list)
    failed: int = 0
    refining_seconds: float = 0.0
    _halted: list[psutil.Process] = field(default_factory=list)

    def halt(self) -> None:
        """Stop every process of it that is not stopped by itself."""
        for process in (psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_STOPPED:
                    process.suspend()
                    self._halted.append(process)

    def go_on(self) -> None:
        """Let them go on, the service last."""
        while self._halted:
            with suppress(psutil.NoSuchProcess):
                self._halted.pop().resume()

    @property
    def refiner_seconds(self) -> float:
        """CPU seconds that its refining process has used; 0 without one."""
        for process in psutil.Process(self.pid).children():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.sched_getscheduler(process.pid) == os.SCHED_IDLE:
                    times = process.cpu_times()
                    return float(times.user + times.system)
        return 0.0

    def note(self, hits: Sequence[Hit]) -> None:
        """The answers of one turn."""
        self.turns.append([hit.seconds for hit in hits if hit.status == 200])
        self.failed += sum(hit.status != 200 for hit in hits)

    def row(self, name: str) -> tuple[str, ...]:
        """Answers, their median and 99th percentile, the latter turn by turn, and seconds of refining."""
        everything = [seconds for turn in self.turns for seconds in turn]
        worst = ", ".join(f"{1000 * (percentile(turn, 0.99) or 0):.0f}" for turn in self.turns)
        figures = (f"{1000 * (percentile(everything, share) or 0):.0f}" for share in (0.5, 0.9, 0.99))
        return name, str(len(everything)), *figures, worst, f"{self.refining_seconds:.1f}"


async def measure(options: argparse.Namespace) -> tuple[dict[str, Server], float]:
    """Both services after all their turns, and the rate at which they were asked."""
    sources = [camera_jpeg(picture.pixels) for picture in read_pictures(options.data, options.pictures)]
    servers: dict[str, Server] = {}
    async with AsyncExitStack() as stack:
        for name in ("off", "best"):
            port = free_port()
            running = stack.enter_context(
                started(COMMAND, port, options.profile, {**UNKEPT, "COMPASS_REFINE": name})
            )
            running.until_ready()
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS)
            await stack.enter_async_context(client)
            stored = [await upload(client, data) for data in sources]
            servers[name] = Server(
                running.pid, client, Traffic(stored, [], random.Random(2), upload_share=0.0)
            )
        for server in servers.values():
            stack.callback(server.go_on)  # a halted process does not end when it is asked to
            server.halt()
        clients = 2 * len(os.sched_getaffinity(0))
        for server in reversed(servers.values()):  # both get warm, and what "off" can do is what counts
            server.go_on()
            capacity, _ = await closed_loop(server.client, server.traffic.draw, clients, options.seconds)
            server.halt()
        rate = SHARE * capacity
        for turn in range(options.turns):
            for server in list(servers.values())[:: 1 if turn % 2 else -1]:
                server.go_on()
                await asyncio.sleep(REST_SECONDS)
                before = server.refiner_seconds
                server.traffic.random.seed(turn)
                moments = random.Random(turn)
                hits = await open_loop(server.client, server.traffic.draw, rate, options.seconds, moments)
                server.refining_seconds += max(0.0, server.refiner_seconds - before)
                server.note(hits)
                server.halt()
    return servers, rate


def slower_by(tails: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """By how many seconds the first are greater than the others on average, turn by turn, and the share (0-1)
    of all exchanges within turns that would make them greater by as much; a sample beyond 16 turns.
    """

    def mean_difference(
        one: NDArray[np.float64], other: NDArray[np.float64], axis: int
    ) -> NDArray[np.float64]:
        return np.asarray((one - other).mean(axis))

    found = permutation_test(
        (np.asarray(tails), np.asarray(others)),
        mean_difference,
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**16,
    )
    return float(found.statistic), float(found.pvalue)


def main() -> int:
    """Measure, print the table and one line of JSON; 1 if a reading failed."""
    known = parser("refining", __doc__.split("\n")[0], pictures=12, seconds=20)
    known.add_argument("--turns", type=int, default=16, help="turns of each service")
    options = known.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays halted
    servers, rate = asyncio.run(measure(options))
    rows = [server.row(f"refining {name}") for name, server in servers.items()]
    head = ["service", "answers", "median, ms", "p90, ms", "p99, ms", "p99 of each turn", "CPU s of refining"]
    tails = {
        name: [percentile(turn, 0.99) or 0.0 for turn in server.turns] for name, server in servers.items()
    }
    slower, chance = slower_by(tails["best"], tails["off"])
    text = [
        f"# Readings while pictures are refined: {options.profile}, {rate:.1f} readings a second",
        "Half of what the service can do without pause, from no memory; both services in turns.",
        table(head, rows),
        f"The p99 of a turn is {1000 * slower:+.0f} ms with refining than without, on average; "
        f"chance alone makes as much of no difference in {100 * chance:.0f} % of the cases.",
    ]
    result = {
        "benchmark": "refining",
        "rate": round(rate, 2),
        "p99_of_turns": {name: [round(tail, 4) for tail in found] for name, found in tails.items()},
        "median_p99": {name: round(median(found), 4) for name, found in tails.items()},
        "slower_by": round(slower, 4),
        "chance": round(chance, 3),
        "refining_seconds": {name: round(server.refining_seconds, 1) for name, server in servers.items()},
        "failed": {name: server.failed for name, server in servers.items()},
    }
    finish(options.out, "refining", text, result)
    return 1 if any(server.failed for server in servers.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
