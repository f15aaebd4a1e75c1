"""A service on a real Ray cluster of two nodes on this machine, beside one with its own workers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.service.running import RunningService, seconds_until
from tests.service.samples import encoded, photo
from tests.service.test_cli import compass

cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEAL_SECONDS = 180


NODE = {"object_store_memory": 100 * 2**20, "include_dashboard": False}


def tried(start: Callable[[], Any]) -> Any:
    """Start a node; it ends where its agents take more than 15 seconds to start, as beside other work."""
    for _ in range(3):
        try:
            return start()
        except Exception as error:  # Ray raises nothing more special
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, and a node with one."""
    head = {**NODE, "num_cpus": 0}
    made = tried(lambda: cluster_utils.Cluster(initialize_head=True, head_node_args=head))
    tried(lambda: made.add_node(**NODE, num_cpus=1))
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with a worker of its own, whose store the other one shares."""
    running = RunningService(tmp_path_factory.mktemp("local"), cache_bytes=0)
    yield running.start()
    running.stop()


@pytest.fixture(scope="module")
def remote(
    cluster: Any, local: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service that works on the cluster."""
    store = f"unix://{local.folder}/data/valkey.sock"
    running = RunningService(
        tmp_path_factory.mktemp("remote"),
        engine="ray",
        ray_address=cluster.address,
        redis_url=store,
        cache_bytes=0,
        read_deadline=120,
    )
    yield running.start()
    running.stop()


def replicas(cluster: Any) -> list[psutil.Process]:
    """The processes of our replicas, without those of the application for bulk work."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any("ServeReplica:compass:" in part for part in process.info["cmdline"] or ())
    ]


def test_an_upload_and_its_answers_are_those_of_the_local_pool(
    local: RunningService, remote: RunningService
) -> None:
    data = encoded(photo(200, 150), "PNG")
    there = remote.upload(data, widths="50,100")
    assert local.upload(data, widths="50,100")["bytes"] == there["bytes"]
    assert local.metric("compass_pictures_stored_total") == 0  # it was stored by the cluster
    for query in ("width=40", "width=90&format=png", "width=200&format=webp", "width=120&crop=10,10,50,50"):
        path = f"/images/{there['id']}?{query}"
        expected, found = local.client.get(path), remote.client.get(path)
        assert found.status_code == expected.status_code
        assert found.content == expected.content
        assert found.headers.get("Compass-Bytes-Read") == expected.headers.get("Compass-Bytes-Read")


def test_what_the_cluster_refuses_has_the_status_of_the_local_pool(
    local: RunningService, remote: RunningService
) -> None:
    answers = [
        service.client.post("/images", files={"file": b"\x89PNG\r\n\x1a\n" + b"x" * 99})
        for service in (local, remote)
    ]
    assert answers[0].status_code == answers[1].status_code == 422
    assert answers[0].json()["detail"] == answers[1].json()["detail"]


def test_what_replicas_read_is_counted(local: RunningService, remote: RunningService) -> None:
    there = remote.upload(encoded(photo(140, 100), "PNG"), widths="70")
    before = remote.metric("compass_bytes_read_total")
    answer = remote.client.get(f"/images/{there['id']}?width=60&format=png")
    read = remote.metric("compass_bytes_read_total") - before
    assert int(answer.headers["Compass-Bytes-Read"]) <= read <= there["bytes"] + 4096  # a header at most


def test_a_picture_is_refined_by_the_cluster(
    cluster: Any, local: RunningService, remote: RunningService, tmp_path: Path
) -> None:
    data = encoded(photo(64, 48), "PNG")
    (tmp_path / "picture.png").write_bytes(data)
    there = remote.upload(data, widths="32")
    environment = {
        "COMPASS_RAY_ADDRESS": cluster.address,
        "COMPASS_REDIS_URL": f"unix://{local.folder}/data/valkey.sock",
        "COMPASS_DEVICE": "cpu",
    }
    arguments = ("refine", "--from", tmp_path, "--widths", "32", "--effort", "fast", "--engine", "ray")
    done = compass(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    assert remote.client.get(f"/images/{there['id']}/info").json()["bytes"] <= there["bytes"]
    again = compass(*arguments, **environment)
    assert "1 were refined before" in again.stdout


def test_neither_torch_nor_ray_is_in_the_http_process(remote: RunningService) -> None:
    maps = Path(f"/proc/{remote.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "_raylet" not in maps


def test_a_replica_that_is_killed_is_replaced_and_no_answer_is_wrong(
    cluster: Any, local: RunningService, remote: RunningService
) -> None:
    there = remote.upload(encoded(photo(180, 120), "PNG"), widths="60,90")
    path = f"/images/{there['id']}?width=70&format=png"
    expected = local.client.get(path).content
    (victim,) = replicas(cluster)
    os.kill(victim.pid, signal.SIGKILL)

    def healed() -> bool:
        answer = remote.client.get(path)
        if answer.status_code == 200:
            assert answer.content == expected
            return True
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        return False

    seconds_until(healed, HEAL_SECONDS)
    assert replicas(cluster)[0].pid != victim.pid


def test_without_the_cluster_requests_get_503_at_once_until_it_is_back(
    cluster: Any, local: RunningService, remote: RunningService
) -> None:
    seconds_until(lambda: remote.client.get("/readyz").status_code == 200, HEAL_SECONDS)
    there = remote.upload(encoded(photo(160, 100), "PNG"), widths="60")
    path = f"/images/{there['id']}?width=50&format=png"
    node = next(iter(cluster.worker_nodes))
    cluster.remove_node(node)
    seconds_until(lambda: remote.client.get("/readyz").status_code == 503, HEAL_SECONDS)
    start = time.monotonic()
    answer = remote.client.get(path)
    assert time.monotonic() - start < 2
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert remote.client.get(f"/images/{there['id']}/info").status_code == 200
    tried(lambda: cluster.add_node(**NODE, num_cpus=1))
    seconds_until(lambda: remote.client.get("/readyz").status_code == 200, HEAL_SECONDS)
    assert remote.client.get(path).content == local.client.get(path).content
