"""What a cluster adds to an answer: the same renderings by a worker process and by Ray on this machine.

`make bench-engines DATA=folder`. Both services have one worker, one store and no cache; each picture is asked
of them in turn, so that both see the same machine. Needs Ray.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median, quantiles

import httpx
from ray.cluster_utils import Cluster

from benchmarks.load.options import parser
from benchmarks.load.processes import free_port, started
from benchmarks.measure.pictures import picture_files
from benchmarks.measure.report import finish, table

NODE = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
COMMON = {
    "COMPASS_CACHE_BYTES": "0",
    "COMPASS_WORKER_CACHE_BYTES": "0",
    "COMPASS_WORKERS": "1",
    "COMPASS_SPARE_WORKERS": "0",
    "COMPASS_DEVICE": "cpu",
    "COMPASS_READ_DEADLINE": "300",
    "OMP_NUM_THREADS": "1",
}


def asked(client: httpx.Client, path: str) -> tuple[float, bytes]:
    """Seconds of one answer, and its body."""
    start = time.perf_counter()
    answer = client.get(path)
    answer.raise_for_status()
    return time.perf_counter() - start, answer.content


def measured(
    clients: Sequence[httpx.Client], sources: Sequence[bytes], width: int, seconds: float
) -> list[tuple[float, ...]]:
    """Seconds of each answer at each service, in turn, for so long. Raises ValueError if answers differ."""
    names = [client.post("/images", files={"file": data}) for client in clients[:1] for data in sources]
    paths = [f"/images/{answer.json()['id']}?width={width}&format=jpeg" for answer in names]
    for client in clients:
        for path in paths:
            asked(client, path)
    found: list[tuple[float, ...]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        path = paths[len(found) % len(paths)]
        answers = [asked(client, path) for client in clients]
        if len({body for _, body in answers}) > 1:
            raise ValueError(f"{path} differs")
        found.append(tuple(taken for taken, _ in answers))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and one line of JSON."""
    known = parser("engines", __doc__, pictures=4, seconds=60)
    known.add_argument("--width", type=int, default=160, help="of the answers")
    options = known.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    sources = [path.read_bytes() for path in picture_files(options.data, options.pictures)]
    serve = [sys.executable, "-m", "service.cli", "serve"]
    ports = free_port(), free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        stack.callback(cluster.shutdown)
        cluster.add_node(**NODE, num_cpus=1)
        local = {**COMMON, "COMPASS_DATA": folder}
        remote = {
            **COMMON,
            "COMPASS_ENGINE": "ray",
            "COMPASS_RAY_ADDRESS": cluster.address,
            "COMPASS_REDIS_URL": f"unix://{folder}/valkey.sock",
        }
        clients = [httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) for port in ports]
        for port, settings in zip(ports, (local, remote), strict=True):
            stack.enter_context(started(serve, port, options.profile, settings)).until_ready()
        found = measured(clients, sources, options.width, options.seconds)
    of_each = [[1000 * seconds for seconds in column] for column in zip(*found, strict=True)]
    more = [after - before for before, after in zip(*of_each, strict=True)]
    rows = [
        (name, f"{median(column):.1f}", f"{quantiles(column, n=20)[-1]:.1f}")
        for name, column in (("local", of_each[0]), ("ray", of_each[1]), ("ray, more than local", more))
    ]
    text = [
        table(["engine", "p50, ms", "p95, ms"], rows),
        f"{len(found)} answers each, {options.width} wide.",
    ]
    figures = {
        "benchmark": "engines",
        "answers": len(found),
        "local_ms": round(median(of_each[0]), 2),
        "ray_ms": round(median(of_each[1]), 2),
        "more_ms": round(median(more), 2),
    }
    finish(options.out, "engines", text, figures)


if __name__ == "__main__":
    main()
