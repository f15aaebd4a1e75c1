"""Where workers run: which CUDA devices and CPU cores there are, told without importing torch."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from service.errors import ServiceError
from service.settings import MIB, Settings

CUDA_PIPELINES = 2
"""Batches at once in a CUDA worker: one on the device while another is read or written."""
CUDA_BATCH = 16
LARGE_BLOCK = 8 * MIB
"""Bytes from which on memory comes from the system and goes back to it at once. glibc would raise that with
use, to 32 MiB, and keep what is smaller: up to 100 MB more at 12 megapixels, for 5 % of the time."""


@dataclass(frozen=True)
class Place:
    """One worker's place: its number, its environment, and how much work it takes at once.

    ``spare`` places are filled last, and work only while another has no worker. What is at an ``idle`` place
    runs only when no other process wants the core, and may be made to stand still. ``module`` is what the
    process runs; a ``remote`` one passes its work on to others, which read the store themselves.
    """

    index: int
    environment: Mapping[str, str]
    pipelines: int = 1
    batch: int = 1
    spare: bool = False
    idle: bool = False
    module: str = "service.worker.process"
    remote: bool = False


def places(
    settings: Settings, environment: Mapping[str, str], dev: Path = Path("/dev"), cores: int | None = None
) -> tuple[Place, ...]:
    """The places of all workers: one a CUDA device, else one a core, or as many as the settings say; on
    CPUs spare ones come after them.

    Raises ServiceError if the settings ask for CUDA where there is no device.
    """
    cores = cores or core_count()
    devices = [] if settings.device == "cpu" else cuda_devices(environment, dev)
    if settings.device == "cuda" and not devices:
        raise ServiceError("COMPASS_DEVICE=cuda, but no CUDA device is visible")
    count = settings.workers or len(devices) or cores
    threads = str(settings.worker_threads or max(1, cores // count))
    spare = 0 if devices else settings.spare_workers
    found = []
    for index in range(count + spare):
        own = {
            "CUDA_VISIBLE_DEVICES": devices[index % len(devices)] if devices else "",
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            "MALLOC_MMAP_THRESHOLD_": str(LARGE_BLOCK),
            "THP_MEM_ALLOC_ENABLE": "1",  # torch's large blocks come in pages of 2 MiB: 8 % of the time
        }
        if devices:
            found.append(Place(index, own, pipelines=CUDA_PIPELINES, batch=CUDA_BATCH))
        else:
            found.append(Place(index, own, spare=index >= count))
    return tuple(found)


def cluster_place(settings: Settings, module: str, pipelines: int) -> Place:
    """The place of a process that passes so many jobs at once to a Ray cluster.

    Raises ServiceError if Ray is not installed.
    """
    if find_spec("ray") is None:
        raise ServiceError("COMPASS_ENGINE=ray needs Ray: pip install 'compass-images[ray]'")
    environment = {**settings.for_cluster, "RAY_USAGE_STATS_ENABLED": "0"}
    return Place(0, environment, pipelines=pipelines, module=module, remote=True)


def refining_place(settings: Settings, environment: Mapping[str, str]) -> Place:
    """The place of the process that refines: where the first worker is, with one thread. With a cluster, of
    the one that passes pictures on to workers that do nothing else.

    Raises ServiceError if a cluster is asked for and Ray is not installed.
    """
    if settings.engine == "ray":
        return cluster_place(settings, "service.cluster.bulk", settings.ray_max_replicas)
    ordinary = places(settings, environment)
    one = {name: "1" for name in ordinary[0].environment if name.endswith("_THREADS")}
    return Place(len(ordinary), {**ordinary[0].environment, **one}, idle=True)


def cuda_devices(environment: Mapping[str, str], dev: Path = Path("/dev")) -> list[str]:
    """Names of the CUDA devices, as CUDA_VISIBLE_DEVICES writes them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    nodes = [node for node in dev.glob("nvidia*") if re.fullmatch(r"nvidia\d+", node.name)]
    if visible is None:
        return [str(number) for number in range(len(nodes))]
    if not nodes:
        return []
    names = [name.strip() for name in visible.split(",")]
    return names[: next((n for n, name in enumerate(names) if name in ("", "-1")), len(names))]


def core_count(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """CPU cores this process may use: its affinity, and the quota of its container."""
    cores = len(os.sched_getaffinity(0))
    try:
        limit, period = quota.read_text().split()
        return cores if limit == "max" else max(1, min(cores, math.ceil(int(limit) / int(period))))
    except (OSError, ValueError):
        return cores
