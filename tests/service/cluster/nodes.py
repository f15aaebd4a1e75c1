"""Nodes of a Ray cluster on this machine."""

from collections.abc import Callable
from typing import Any

import psutil

HEAL_SECONDS = 180
"""All is well again after so long, beside other work as well."""
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


def worker_node(cluster: Any) -> Any:
    """Add a node with one core."""
    return tried(lambda: cluster.add_node(**NODE, num_cpus=1))


def processes(title: str) -> list[psutil.Process]:
    """Processes whose title has these words."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(title in part for part in process.info["cmdline"] or ())
    ]


def replicas() -> list[psutil.Process]:
    """The processes of our replicas, without those of the application for bulk work."""
    return processes("ServeReplica:compass:")
