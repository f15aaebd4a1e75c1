"""The pool's figures as Prometheus sees them."""

import re
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.engine import link
from service.engine.gauges import EngineGauges
from service.engine.interface import EngineState

STATE = EngineState(
    waiting={"light": 3, "heavy": 0, "upload": 1},
    running={"light": 1, "heavy": 2, "upload": 0},
    workers=4,
    memory=5000,
    restarts={"hung": 6},
    retried=7,
    refused=8,
    late=9,
    abandoned=10,
    quarantined=11,
)


def test_every_count_is_there_under_its_name() -> None:
    registry = CollectorRegistry()
    registry.register(EngineGauges(lambda: STATE))
    value = registry.get_sample_value
    assert value("compass_queue_depth", {"queue": "light"}) == 3
    assert value("compass_jobs_running", {"queue": "heavy"}) == 2
    assert value("compass_workers_ready") == 4
    assert value("compass_workers_memory_bytes") == 5000
    assert value("compass_worker_restarts_total", {"reason": "hung"}) == 6
    outcomes = ("retried", "refused", "late", "abandoned", "quarantined")
    found = [value("compass_jobs_total", {"outcome": outcome}) for outcome in outcomes]
    assert found == [7, 8, 9, 10, 11]


def test_restarts_are_counted_from_nought() -> None:
    """An alert on their increase sees the first ones only if the count was there before."""
    reasons = {"crashed", *re.findall(r'self\.kill\("(.+?)"\)', Path(link.__file__).read_text())}
    assert len(reasons) == 5
    registry = CollectorRegistry()
    registry.register(EngineGauges(lambda: replace(STATE, restarts={})))
    found = {
        reason: registry.get_sample_value("compass_worker_restarts_total", {"reason": reason})
        for reason in reasons
    }
    assert found == dict.fromkeys(reasons, 0)
