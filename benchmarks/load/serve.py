"""The service under load, beside a plain server that resizes AVIF files with Pillow.

    make bench-serve DATA=folder [OPTIONS="--quick"]

Starts each server afresh, uploads the pictures, measures what it answers when asked without pause
(that is 100 %), then fires requests at fixed shares of that rate: readings of any width by Zipf's
law, one upload in ten. ``--kill S`` adds a run in which a worker of the service is killed every S
seconds. At the end every acknowledged upload is read back and verified, and every distinct answer is
compared with a decoding of its own. How fast it refuses and how healthy it is, a process of its own asks
(benchmarks/load/prober.py), which adds a reading every two seconds. Everything runs on this machine, client
included.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load.options import parser
from benchmarks.load.prober import Probes, probing
from benchmarks.load.processes import free_port, outliving, started, unix_sockets, watched
from benchmarks.load.reference import wrong_answers
from benchmarks.load.runs import HEAD, Report, Run, plot
from benchmarks.load.traffic import (
    TIMEOUT_SECONDS,
    Hit,
    Shot,
    Stored,
    Traffic,
    closed_loop,
    fire,
    open_loop,
)
from benchmarks.measure.pictures import camera_jpeg, read_pictures
from benchmarks.measure.report import finish, table
from model.errors import StreamError
from model.stream.container import verify
from service.settings import Settings

SHARES = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0)
QUICK_SHARES = (0.5, 1.0, 4.0)
CAPACITY_SECONDS = 30
KILL_SHARE = 0.25
"""A worker takes seconds of a core to load: of two cores, a kill every 5 s leaves less than half."""
MORE_SOCKETS = 16
"""So many connections to the store may be opened under load; a leak would be one for each killed worker."""


async def measure(server: str, command: Sequence[str], port: int, options: argparse.Namespace) -> Report:
    """All runs against one server, from its start to its end."""
    chance = random.Random(1)
    report = Report(server)
    sources = [camera_jpeg(picture.pixels) for picture in read_pictures(options.data, options.pictures)]
    with started(command, port, options.profile) as running:
        running.until_ready()
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        ) as client:
            sockets = unix_sockets(running.pid)
            pictures = [await upload(client, data) for data in sources]
            traffic = Traffic(pictures, sources, chance)
            cores = len(os.sched_getaffinity(0))
            seconds = min(options.seconds, CAPACITY_SECONDS)
            report.capacity, hits = await closed_loop(client, traffic.draw, 2 * cores, seconds)
            if failed := sum(hit.failed for hit in hits):
                report.failures.append(
                    f"{failed} of {len(hits)} requests failed when it was asked without pause"
                )
            plan = [(f"{share:.0%}", share, 0.0) for share in options.shares]
            if server == "compass" and options.kill:
                plan.append((f"{KILL_SHARE:.0%}, kill", KILL_SHARE, options.kill))
            for name, share, kill in plan:
                rate = max(0.2, share * report.capacity)
                before = await _metrics(client) if server == "compass" else {}
                run = await one_run(client, running.pid, traffic, name, rate, options.seconds, kill)
                running.until_ready()
                after = await _metrics(client) if server == "compass" else {}
                run.metrics = {metric: value - before.get(metric, 0.0) for metric, value in after.items()}
                report.runs.append(run)
                report.failures += run.failures()
                hits += run.hits
            if server == "compass":
                report.metrics = await _metrics(client)
                streams, lost = await read_back(client, [*(one.id for one in pictures), *acknowledged(hits)])
                report.failures += lost
                more = unix_sockets(running.pid) - sockets
                if more > MORE_SOCKETS:
                    report.failures.append(f"{more} more unix sockets are open than at the start")
    seen = {member for run in report.runs for member in run.watch.seen}
    report.failures += [f"process {member} outlives the server" for member in outliving(seen)]
    if server == "compass":
        asked = {one.id: streams[one.id] for one in pictures if one.id in streams}
        report.failures += wrong_answers(asked, Settings(profile=options.profile), hits, cores)
    return report


async def one_run(
    client: httpx.AsyncClient,
    pid: int,
    traffic: Traffic,
    name: str,
    rate: float,
    seconds: float,
    kill: float = 0.0,
) -> Run:
    """Offer the server of process ``pid`` so many requests per second; one of its workers is killed every
    ``kill`` seconds, 0 for never.
    """
    port = client.base_url.port
    assert port
    async with probed(port, traffic) as probes, watched(pid, kill, seconds) as watch:
        begin = time.perf_counter()
        hits = await open_loop(client, traffic.draw, rate, seconds, traffic.random)
        elapsed = time.perf_counter() - begin
    return Run(name, rate, elapsed, hits, watch, probes=probes.hits)


@asynccontextmanager
async def probed(port: int, traffic: Traffic) -> AsyncIterator[Probes]:
    """Probe the server meanwhile, without holding up this event loop at the start and the end."""
    probing_now = probing(port, traffic)
    probes = await asyncio.to_thread(probing_now.__enter__)
    try:
        yield probes
    finally:
        await asyncio.to_thread(probing_now.__exit__, None, None, None)


async def upload(client: httpx.AsyncClient, data: bytes) -> Stored:
    """Have a picture stored."""
    answer = await client.post("/images", content=data, headers={"Content-Type": "image/jpeg"})
    answer.raise_for_status()
    info = answer.json()
    return Stored(info["id"], info["width"], info["height"])


async def stream_of(client: httpx.AsyncClient, picture: str) -> bytes:
    """A picture's stream as the server has stored it. Raises StreamError if it is damaged or not there."""
    hit = await fire(client, Shot("read", f"/images/{picture}/stream"), time.perf_counter())
    if not hit.good:
        raise StreamError(f"it was answered {hit.status or 'not at all'}")
    verify(hit.body)
    return hit.body


def acknowledged(hits: Iterable[Hit]) -> list[str]:
    """The ids of the pictures that were uploaded with success."""
    return [json.loads(hit.body)["id"] for hit in hits if hit.shot.route == "upload" and hit.good]


async def read_back(client: httpx.AsyncClient, pictures: Iterable[str]) -> tuple[dict[str, bytes], list[str]]:
    """The streams of pictures by id, and in words which of them are damaged or lost."""
    streams, failures = {}, []
    for picture in pictures:
        try:
            streams[picture] = await stream_of(client, picture)
        except StreamError as error:
            failures.append(f"{picture}: {error}")
    return streams, failures


async def _metrics(client: httpx.AsyncClient) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    wanted = ("cache_hits", "coalesced", "renders", "layers_decoded", "bytes_", "worker_restarts")
    return {
        sample.name + "".join(f"_{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith("_total") and any(part in sample.name for part in wanted)
    }


def _options() -> argparse.Namespace:
    known = parser("serve", __doc__.split("\n")[0], pictures=12, seconds=30)
    known.add_argument("--shares", type=float, nargs="*", default=SHARES, help="rates, 1 is what it can do")
    known.add_argument(
        "--servers", nargs="+", choices=("compass", "plain"), default=("compass", "plain"), help="which ones"
    )
    known.add_argument("--kill", type=float, default=0, help="kill a worker every so many seconds, one run")
    known.add_argument("--quick", action="store_true", help="few pictures, three runs of 8 seconds")
    options = known.parse_args()
    if options.quick:
        options.pictures, options.seconds, options.shares = 4, 8.0, QUICK_SHARES
    return options


def main() -> int:
    """Measure both servers, print the table and one line of JSON; 1 if something went wrong."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    cores = str(len(os.sched_getaffinity(0)))
    ports = free_port(), free_port()
    servers = {
        "compass": [sys.executable, "-m", "service.cli", "serve"],
        "plain": [sys.executable, "-m", "benchmarks.load.plain_server", str(ports[1]), cores],
    }
    reports = [
        asyncio.run(measure(name, command, port, options))
        for (name, command), port in zip(servers.items(), ports, strict=True)
        if name in options.servers
    ]
    plot(options.out / "latency.png", reports)
    rows = [run.row(report.server) for report in reports for run in report.runs]
    failures = [failure for report in reports for failure in report.failures]
    result = {
        "benchmark": "serve",
        "profile": options.profile,
        "pictures": options.pictures,
        "seconds": options.seconds,
        "cores": int(cores),
        **{
            report.server: {
                "capacity": round(report.capacity, 2),
                "metrics": report.metrics,
                "runs": [run.summary() for run in report.runs],
            }
            for report in reports
        },
        "failures": failures,
    }
    paragraphs = [table(HEAD, rows), *(f"FAILED: {failure}" for failure in failures)]
    finish(options.out, "serve", paragraphs, result)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
