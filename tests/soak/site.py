"""A site of several machines, on one: ``make soak-site OPTIONS="--requests 2000"``.

The head of a Ray cluster and two nodes with a core each, a Valkey, two front ends behind nginx, all as
shipped. So many requests are made of it undisturbed, and then as many while a replica, a node's raylet,
Serve's controller, the head and a front end are killed with SIGKILL, one after the other. Whoever supervises
a machine starts again what has ended, as systemd or Kubernetes would; so does this.

At the end every upload that was acknowledged must be there, every distinct answer must show what its stream
holds, nothing but 429 and 503 with Retry-After may have been refused, undisturbed not nearly everything, and
after each fault both front ends must have been ready again, and a picture that was asked for anew been
answered.
"""

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import ray
from ray.cluster_utils import Cluster
from tqdm import tqdm

from tests.deploy.nginx import Nginx
from tests.deploy.shipped import ShippedRedis
from tests.service.cluster.nodes import processes
from tests.service.running import RunningService
from tests.soak.__main__ import lost_or_wrong
from tests.soak.load import Outcome, at_work

NODE = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
TRIES = 12
"""So often a node is started: it ends where its agents take more than 15 seconds to start."""
HEAL_SECONDS = 400.0
"""So long it may take until all is well again after a fault, on a machine that is busy with other work."""


def tried(start: Callable[[], Any]) -> Any:
    """Start a node, again if it ends at its start."""
    for _ in range(TRIES - 1):
        try:
            return start()
        except Exception as error:  # Ray raises nothing more special
            print(f"a node ended at its start: {str(error).splitlines()[:1]}", flush=True)
    return start()


@dataclass
class Machines:
    """The cluster: a head without cores and nodes of one core."""

    cluster: Any = None
    port: int = 0
    nodes: list[Any] = field(default_factory=list)

    def start(self, nodes: int) -> None:
        """Start the head and so many nodes. Their agents are those of a Ray without a dashboard: they load
        faster, which on a busy machine decides whether a node starts at all.
        """
        ray._private.utils.get_dashboard_dependency_error = lambda: ImportError("no dashboard is wanted")
        head = {**NODE, "num_cpus": 0}
        self.cluster = tried(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.port = int(self.cluster.address.rpartition(":")[2])
        self.nodes = [self._node() for _ in range(nodes)]

    def _node(self) -> Any:
        return tried(lambda: self.cluster.add_node(**NODE, num_cpus=1, wait=False))

    def renew(self, node: Any) -> None:
        """Start a node in the place of one that has lost its raylet."""
        with suppress(AssertionError, KeyError):
            self.cluster.remove_node(node, allow_graceful=False)
        self.nodes[self.nodes.index(node)] = self._node()

    def renew_head(self) -> None:
        """Start a head at the same address, and all nodes anew: those of the old one end by themselves."""
        with suppress(AssertionError):
            self.cluster.remove_node(self.cluster.head_node, allow_graceful=False)
        self.cluster.head_node = None
        head = {**NODE, "num_cpus": 0, "gcs_server_port": self.port, "wait": False}
        tried(lambda: self.cluster.add_node(**head))
        for node in list(self.nodes):
            self.renew(node)

    def stop(self) -> None:
        """End all of it."""
        if self.cluster is not None:
            self.cluster.shutdown()


class Site:
    """All of it, started by :meth:`start`; ``url`` is that of nginx, ``client`` one of its clients."""

    def __init__(self, folder: Path, nodes: int = 2) -> None:
        self.machines = Machines()
        self._nodes = nodes
        self._folder = folder
        self.fronts: list[RunningService] = []
        self.url = ""
        self.client: httpx.Client

    @contextmanager
    def running(self) -> Iterator["Site"]:
        """Start everything, and end everything."""
        with ExitStack() as stack:
            (self._folder / "store").mkdir()
            store = ShippedRedis(self._folder / "store")
            store.start()
            stack.callback(store.stop)
            stack.callback(self.machines.stop)
            self.machines.start(self._nodes)
            self.fronts = [
                RunningService(
                    self._folder / f"front-{number}",
                    engine="ray",
                    ray_address=self.machines.cluster.address,
                    ray_min_replicas=self._nodes,
                    ray_max_replicas=self._nodes,
                    redis_url=store.url,
                    read_deadline=60,
                    drain_seconds=5,
                )
                for number in (1, 2)
            ]
            for front in self.fronts:
                front.launch()
                stack.callback(front.stop)
            for front in self.fronts:
                front.wait_until_ready(600)
            (self._folder / "nginx").mkdir()
            nginx = Nginx(self._folder / "nginx", [front.port for front in self.fronts])
            nginx.start()
            stack.callback(nginx.stop)
            self.url = nginx.url
            self.client = httpx.Client(base_url=self.url, timeout=120)
            yield self

    def replicas(self) -> list[psutil.Process]:
        """The replicas' processes."""
        return processes("ServeReplica:compass")

    def is_well(self, path: str) -> bool:
        """Whether both front ends are ready, have all replicas, and one renders ``path``."""
        with suppress(httpx.HTTPError):
            for front in self.fronts:
                if front.client.get("/readyz", timeout=10).status_code != 200:
                    return False
                if front.metric("compass_workers_ready") < self._nodes:
                    return False
            return self.client.get(path).status_code == 200
        return False


def kill(process: psutil.Process | int) -> None:
    """SIGKILL."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        os.kill(process if isinstance(process, int) else process.pid, signal.SIGKILL)


def kill_a_replica(site: Site) -> None:
    """Serve starts another one."""
    kill(site.replicas()[0])


def kill_a_raylet(site: Site) -> None:
    """All that ran on the node ends with it; the node is started anew."""
    node = site.machines.nodes[0]
    kill(node.all_processes["raylet"][0].process.pid)
    site.machines.renew(node)


def kill_the_controller(site: Site) -> None:
    """Ray starts another one."""
    for process in processes("ServeController"):
        kill(process)


def kill_the_head(site: Site) -> None:
    """Its control store and its raylet; the cluster has forgotten everything when they are back."""
    head = site.machines.cluster.head_node
    for kind in ("gcs_server", "raylet"):
        kill(head.all_processes[kind][0].process.pid)
    site.machines.renew_head()


def kill_a_front_end(site: Site) -> None:
    """nginx passes it over until it is started anew."""
    site.fronts[0].kill_everything()
    site.fronts[0].launch()


FAULTS = (kill_a_replica, kill_a_raylet, kill_the_controller, kill_the_head, kill_a_front_end)


def made(site: Site, outcome: Outcome, requests: int, meanwhile: Callable[[], None], seed: str) -> float:
    """Make so many requests, and more until ``meanwhile`` is over; returns the seconds."""
    before, start = sum(outcome.statuses.values()), time.monotonic()
    with at_work(site, outcome, seed) as ended:
        meanwhile()
        with tqdm(total=requests, desc="requests", mininterval=10) as bar:
            while (done := sum(outcome.statuses.values()) - before) < requests and not ended.wait(0.5):
                bar.update(done - bar.n)
    return time.monotonic() - start


def disturbed(site: Site, outcome: Outcome) -> Iterator[tuple[str, float]]:
    """Bring about one fault after the other; the name of each and the seconds until all was well again."""
    widths = itertools.count(41)  # none of them was asked for before
    for fault in FAULTS:
        start = time.monotonic()
        fault(site)
        while True:
            with outcome.lock:
                newest = list(outcome.pictures)[-1]
            if site.is_well(f"/images/{newest}?width={next(widths)}&format=png"):
                break
            if time.monotonic() - start > HEAL_SECONDS:
                outcome.faults.append(f"{fault.__name__}: not well again after {HEAL_SECONDS:.0f} s")
                break
            time.sleep(0.5)
        yield fault.__name__, time.monotonic() - start


def soak(folder: Path, requests: int, seed: int) -> list[str]:
    """Run it, print what came of it, return the faults."""
    with Site(folder).running() as site:
        outcome, told = Outcome(), 0

        def tell(what: str, seconds: float) -> None:
            nonlocal told
            total = sum(outcome.statuses.values())
            print(f"{what}: {total - told} requests in {seconds:.0f} s", flush=True)
            print(f"  so far {dict(sorted(outcome.statuses.items()))}", flush=True)
            told = total

        tell("undisturbed", made(site, outcome, requests, lambda: None, f"{seed} undisturbed"))
        too_little = outcome.too_little()  # of what is asked while the head is away most is refused

        def kill_all() -> None:
            for name, seconds in disturbed(site, outcome):
                print(f"{name}: all was well again after {seconds:.1f} s", flush=True)

        tell("disturbed", made(site, outcome, requests, kill_all, f"{seed} disturbed"))
        faults = [*too_little, *outcome.faults, *lost_or_wrong(site, outcome)]
        for front in site.fronts:
            if "Traceback" in front.log:
                faults.append(f"the log of {front.folder.name} holds a traceback")
        kept = len(outcome.pictures)
    print(f"{len(outcome.answers)} distinct answers, {kept} pictures kept at the end, checked")
    return faults


def main() -> int:
    """The command line; 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="in each of the two parts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compass-site-") as folder:
        faults = soak(Path(folder), options.requests, options.seed)
    print("\n".join(faults) or "nothing wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
