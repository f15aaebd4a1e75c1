"""Jobs that go through the bridge to a real cluster, and what happens when that breaks."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.service.cluster.conftest import OnCluster
from tests.service.cluster.nodes import HEAL_SECONDS, replicas, worker_node
from tests.service.commands import compass
from tests.service.running import RunningService, seconds_until
from tests.service.samples import encoded, photo

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


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
    local: RunningService, remote: RunningService
) -> None:
    there = remote.upload(encoded(photo(180, 120), "PNG"), widths="60,90")
    path = f"/images/{there['id']}?width=70&format=png"
    expected = local.client.get(path).content
    (victim,) = replicas()
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
    assert replicas()[0].pid != victim.pid


def test_without_the_cluster_requests_get_503_at_once_until_it_is_back(
    cluster: Any, local: RunningService, remote: RunningService, on_cluster: OnCluster
) -> None:
    """Unless a worker of their own takes its place."""
    cautious = on_cluster(engine_fallback="local")
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
    seconds_until(lambda: cautious.client.get(path).status_code == 200, HEAL_SECONDS)
    assert cautious.client.get(path).content == local.client.get(path).content
    worker_node(cluster)
    seconds_until(lambda: remote.client.get("/readyz").status_code == 200, HEAL_SECONDS)
    assert remote.client.get(path).content == local.client.get(path).content
