"""What a worker process is started with; its life is tested in test_pool.py, with real processes."""

import os
import sys

from service.engine.link import worker_environment


def test_a_worker_gets_no_secrets_and_its_own_place() -> None:
    ours = {"COMPASS_API_KEYS": "secret", "COMPASS_REDIS_URL": "redis://:password@host", "HOME": "/home/x"}
    found = worker_environment({**ours, "OMP_NUM_THREADS": "8"}, {"OMP_NUM_THREADS": "1"})
    assert found.keys() == {"HOME", "OMP_NUM_THREADS", "PYTHONPATH"}
    assert found["OMP_NUM_THREADS"] == "1"


def test_a_worker_finds_the_modules_that_its_parent_finds() -> None:
    found = worker_environment({"PYTHONPATH": "/elsewhere"}, {})
    assert found["PYTHONPATH"].split(os.pathsep) == [path for path in sys.path if path]
