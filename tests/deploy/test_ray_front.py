"""docker/ray-front.sh: node and service end together, with programs in the place of both."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy.shipped import DOCKER

STAY = (
    'sleep 60 & trap "echo {name} ended >> {log}; kill $!; exit {status}" TERM; touch {log}.{name}; wait $!\n'
)
"""Lives until it is told to end, for which it is ready once the file with its name is there."""


def programs(folder: Path, node: str, front: str) -> tuple[dict[str, str], Path]:
    """Programs called ``ray`` and ``compass`` that do this, and where they log."""
    log = folder / "log"
    for name, text in (("ray", node), ("compass", front)):
        file = folder / name
        file.write_text("#!/bin/bash\n" + text.replace("{name}", name).replace("{log}", str(log)))
        file.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "COMPASS_RAY_ADDRESS": "head:6379"}, log


def started(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", str(DOCKER / "ray-front.sh")], env=environment)


def test_a_node_that_ends_ends_the_service(tmp_path: Path) -> None:
    node = 'until [ -e {log}.compass ]; do sleep 0.05; done; echo "$@" > {log}; exit 3'
    environment, log = programs(tmp_path, node, STAY.replace("{status}", "0"))
    assert started(environment).wait(30) == 3
    said = log.read_text()
    assert "--address=head:6379" in said
    assert "compass ended" in said


def test_a_service_that_ends_ends_the_node(tmp_path: Path) -> None:
    environment, log = programs(tmp_path, STAY.replace("{status}", "0"), "sleep 0.5; exit 4")
    assert started(environment).wait(30) == 4
    for _ in range(100):
        if log.exists():
            break
        time.sleep(0.05)
    assert "ray ended" in log.read_text()


@pytest.mark.parametrize("status", [0, 1])
def test_who_is_told_to_end_ends_as_the_service_does(tmp_path: Path, status: int) -> None:
    front = STAY.replace("{status}", str(status))
    environment, log = programs(tmp_path, STAY.replace("{status}", "0"), front)
    process = started(environment)
    for _ in range(200):
        if Path(f"{log}.compass").exists():
            break
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == status
    assert "compass ended" in log.read_text()
