"""A service on a real Ray cluster of two nodes on this machine, beside one with its own workers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.service.cluster.nodes import NODE, tried, worker_node
from tests.service.running import RunningService

OnCluster = Callable[..., RunningService]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, and a node with one."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    head = {**NODE, "num_cpus": 0}
    made = tried(lambda: cluster_utils.Cluster(initialize_head=True, head_node_args=head))
    worker_node(made)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with a worker of its own, whose store the others share."""
    with RunningService(tmp_path_factory.mktemp("local"), cache_bytes=0) as running:
        yield running


@pytest.fixture(scope="module")
def on_cluster(
    cluster: Any, local: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OnCluster]:
    """Starts services that work on the cluster, with more settings."""
    with ExitStack() as stack:

        def start(**settings: Any) -> RunningService:
            folder = tmp_path_factory.mktemp("remote")
            store = f"unix://{local.folder}/data/valkey.sock"
            common = {"engine": "ray", "ray_address": cluster.address, "redis_url": store, "cache_bytes": 0}
            running = RunningService(folder, **{**common, "read_deadline": 120, **settings})
            return stack.enter_context(running)

        yield start


@pytest.fixture(scope="module")
def remote(on_cluster: OnCluster) -> RunningService:
    """A service that works on the cluster."""
    return on_cluster()
