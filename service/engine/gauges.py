"""The engine's own figures for Prometheus; ``docs/metrics.md`` lists them, their names do not change."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.engine.interface import EngineState

RESTARTS = ("crashed", "hung", "memory", "not ready", "protocol")
"""Why workers are replaced; counted from 0, so that the first of them is an increase."""


class EngineGauges(Collector):
    """The engine's own counts, read at the moment they are asked for."""

    def __init__(self, state: Callable[[], EngineState]) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """One family a count."""
        state = self._state()
        depth = GaugeMetricFamily("compass_queue_depth", "Jobs waiting for a worker", labels=("queue",))
        running = GaugeMetricFamily("compass_jobs_running", "Jobs that workers work on", labels=("queue",))
        for queue in state.waiting:
            depth.add_metric((queue,), state.waiting[queue])
            running.add_metric((queue,), state.running[queue])
        yield depth
        yield running
        yield GaugeMetricFamily(
            "compass_workers_ready", "Worker processes ready for work, spare ones too", state.workers
        )
        yield GaugeMetricFamily("compass_workers_memory_bytes", "Resident memory of workers", state.memory)
        restarts = CounterMetricFamily(
            "compass_worker_restarts", "Worker processes replaced after they ended", labels=("reason",)
        )
        for reason, count in {**dict.fromkeys(RESTARTS, 0), **state.restarts}.items():
            restarts.add_metric((reason,), count)
        yield restarts
        jobs = CounterMetricFamily(
            "compass_jobs", "Jobs that did not go the ordinary way", labels=("outcome",)
        )
        for outcome in ("retried", "refused", "late", "abandoned", "quarantined"):
            jobs.add_metric((outcome,), getattr(state, outcome))
        yield jobs
