"""Limits of memory, beside what a service needs with its defaults: docs/operations.md, "Capacity"."""

import re

import pytest

from service.settings import MIB, Settings
from tests.deploy.shipped import DOCKER, SERVICES, expanded
from tests.deploy.test_kubernetes import CONFIG, FRONT, MANIFESTS, RAY_PODS

DEFAULTS = Settings.model_construct()
PROCESS, IDLE_WORKER = 72 * MIB, 933 * MIB
"""Measured: docs/deployment.md, "Built without Docker"."""
NODE = 600 * MIB
"""Ray's node without cores, and the bridge: docs/operations.md, "Capacity"."""


def of_http(workers: int) -> int:
    """What the HTTP process may take beside so many workers."""
    bodies = 2 * DEFAULTS.max_upload_bytes * (DEFAULTS.max_uploads + workers)
    return PROCESS + bodies + DEFAULTS.unsent_bytes + DEFAULTS.cache_bytes + DEFAULTS.repeats_bytes


def of_front(workers: int) -> int:
    """What a front end of a cluster with so many workers may take."""
    script = (DOCKER / "ray-front.sh").read_text()
    (objects,) = re.findall(r"--object-store-memory=(\d+)", script)
    return of_http(workers) + NODE + int(objects)


def limits(name: str) -> tuple[int, int]:
    """The cores of a service of docker-compose.yml, and its memory in bytes."""
    found = SERVICES[name]["deploy"]["resources"]["limits"]
    return int(expanded(found["cpus"])), in_bytes(expanded(found["memory"]))


def in_bytes(text: str) -> int:
    """Such as 4g, of Docker, and 4Gi, of Kubernetes."""
    number, unit = re.fullmatch(r"(\d+)(g|m|Gi|Mi)", text).groups()  # type: ignore[union-attr]
    return int(number) * MIB * (1024 if unit[0] in "gG" else 1)


def test_one_machine_holds_its_workers_at_their_largest() -> None:
    cores, memory = limits("compass")
    workers = cores * DEFAULTS.worker_memory_bytes + DEFAULTS.spare_workers * IDLE_WORKER
    assert workers + of_http(cores) <= memory


def test_one_machine_holds_the_worker_of_its_gpu() -> None:
    _, memory = limits("compass-gpu")
    assert DEFAULTS.worker_memory_bytes + of_http(1) <= memory


@pytest.mark.parametrize("name", ["front-1", "front-2"])
def test_a_front_end_in_compose_holds_the_uploads_of_all_workers(name: str) -> None:
    workers = int(expanded(SERVICES[name]["environment"]["COMPASS_RAY_MAX_REPLICAS"]))
    assert of_front(workers) <= limits(name)[1]


def test_a_front_end_on_kubernetes_holds_the_uploads_of_all_workers() -> None:
    (container,) = FRONT["spec"]["template"]["spec"]["containers"]
    limit = container["resources"]["limits"]["memory"]
    assert of_front(int(CONFIG["COMPASS_RAY_MAX_REPLICAS"])) <= in_bytes(limit)


def test_workers_of_a_cluster_have_all_its_cores_and_as_much_memory_as_one_may_take() -> None:
    cores, memory = limits("ray-worker")
    assert int(expanded(SERVICES["ray-worker"]["environment"]["COMPASS_RAY_MAX_REPLICAS"])) == cores
    assert cores * DEFAULTS.worker_memory_bytes <= memory
    (group,) = MANIFESTS["RayService", "compass"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = RAY_PODS[1]["spec"]["containers"]
    found = container["resources"]["limits"]
    assert int(CONFIG["COMPASS_RAY_MAX_REPLICAS"]) == group["maxReplicas"] * int(found["cpu"])
    assert int(found["cpu"]) * DEFAULTS.worker_memory_bytes <= in_bytes(found["memory"])
