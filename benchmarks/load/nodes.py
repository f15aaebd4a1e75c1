"""What a second machine is worth: answers a second of a cluster of one node, then of two, one core each.

`make bench-nodes DATA=folder`. Both nodes are of this machine, so it needs two cores for them and a little
more for the front end; nothing is cached, and several pictures are asked for at once. Needs Ray.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle

import httpx
from prometheus_client.parser import text_string_to_metric_families
from ray.cluster_utils import Cluster

from benchmarks.load.engines import COMMON, NODE, asked
from benchmarks.load.options import parser
from benchmarks.load.processes import START_SECONDS, free_port, started
from benchmarks.measure.pictures import picture_files
from benchmarks.measure.report import finish, table

AT_ONCE = 6
"""Requests under way."""
NODES = 2


def replicas(client: httpx.Client) -> int:
    """How many replicas take work, as the front end knows it."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return sum(int(sample.value) for sample in samples if sample.name == "compass_workers_ready")


def until_replicas(client: httpx.Client, count: int) -> None:
    """Return when so many replicas take work. Raises TimeoutError."""
    until = time.monotonic() + START_SECONDS
    while (found := replicas(client)) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{found} replicas instead of {count}")
        time.sleep(0.5)


def answers_per_second(client: httpx.Client, paths: Sequence[str], seconds: float) -> float:
    """Answers a second with AT_ONCE requests under way, after as many that are not counted."""
    turns, lock = cycle(paths), threading.Lock()

    def ask(until: float) -> int:
        count = 0
        while time.monotonic() < until:
            with lock:
                path = next(turns)
            asked(client, path)
            count += 1
        return count

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(ask, [time.monotonic() + seconds / 5] * AT_ONCE))
        start = time.monotonic()
        counts = list(threads.map(ask, [start + seconds] * AT_ONCE))
        return sum(counts) / (time.monotonic() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and one line of JSON."""
    options = parser("nodes", __doc__, pictures=12, seconds=30).parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    files = picture_files(options.data, options.pictures)
    rates = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        stack.callback(cluster.shutdown)
        cluster.add_node(**NODE, num_cpus=1)
        settings = {
            **COMMON,
            "COMPASS_ENGINE": "ray",
            "COMPASS_RAY_ADDRESS": cluster.address,
            "COMPASS_RAY_MIN_REPLICAS": str(NODES),
            "COMPASS_RAY_MAX_REPLICAS": str(NODES),
            "COMPASS_REDIS_URL": f"unix://{folder}/valkey.sock",
        }
        serve = [sys.executable, "-m", "service.cli", "serve"]
        for each in ({**COMMON, "COMPASS_DATA": folder}, settings):  # the first has the store, no more
            port = free_port()
            stack.enter_context(started(serve, port, options.profile, each)).until_ready()
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_SECONDS)
        stored = [client.post("/images", files={"file": file.read_bytes()}).json() for file in files]
        paths = [f"/images/{picture['id']}?width={picture['width']}&format=jpeg" for picture in stored]
        for node in range(1, NODES + 1):
            if node > 1:
                cluster.add_node(**NODE, num_cpus=1)
            until_replicas(client, node)
            rates.append(answers_per_second(client, paths, options.seconds))
    rows = [
        (str(nodes), f"{rate:.1f}", f"{rate / rates[0]:.2f}") for nodes, rate in enumerate(rates, start=1)
    ]
    figures = {"benchmark": "nodes", "answers_per_second": [round(rate, 2) for rate in rates]}
    finish(options.out, "nodes", [table(["nodes", "answers/s", "of one node"], rows)], figures)


if __name__ == "__main__":
    main()
