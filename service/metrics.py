"""Prometheus metrics; ``docs/metrics.md`` lists them for users, their names do not change."""

import math
from collections.abc import Iterable
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper bounds of the latency histograms, in seconds."""

OUTCOMES = ("refined", "kept", "failed", "retried", "gone", "unqueued")
"""How the refining of a picture ends: with a smaller stream; without; given up; to be tried again; the
picture was deleted meanwhile; its upload was not kept, because too many wait.
"""


STORED = "stored"
"""The status of an upload in the background that was kept."""


class Metrics:
    """All metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"compass_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"compass_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, label: str) -> Histogram:
            return Histogram(f"compass_{name}", text, (label,), registry=registry, buckets=BUCKETS)

        self.requests = counter("requests", "Requests answered", ("route", "method", "status"))
        self.request_seconds = histogram("request_seconds", "Seconds until a request was answered", "route")
        self.stage_seconds = histogram("stage_seconds", "Seconds by stage of the work", "stage")
        self.source_bytes = counter("source_bytes", "Bytes of the uploads that were stored")
        self.bytes_stored = counter("bytes_stored", "Bytes of streams and alpha planes stored")
        self.bytes_read = counter("bytes_read", "Bytes of streams and alpha planes read from the store")
        self.bytes_served = counter("bytes_served", "Bytes of pictures sent to clients", ("format",))
        self.pictures_stored = counter("pictures_stored", "Uploads stored")
        self.kinds_stored = counter("kinds_stored", "Uploads stored, by what they are kept as", ("kind",))
        self.upload_jobs = counter("upload_jobs", "Uploads in the background that are over", ("status",))
        for status in (STORED, "500", "503", "507"):  # so that the first of them is an increase
            self.upload_jobs.labels(status)
        self.renders = counter("renders", "Pictures rendered by workers")
        self.layers_decoded = counter("layers_decoded", "Layers decoded by workers")
        self.cache_hits = counter("cache_hits", "Answers found in memory", ("cache",))
        self.coalesced = counter("coalesced_requests", "Requests that joined a rendering under way")
        self.store_errors = counter("store_errors", "Commands the store failed to carry out")
        self.store_unconfirmed = counter("store_unconfirmed", "Changes that too few servers had in time")
        self.damaged = counter("damaged_streams", "Stored pictures found not to fit their checksums")
        self.changes = counter("changes", "Deleted and replaced pictures that the service heard of")
        self.purges = counter("purges", "Pictures that a cache in front was asked to drop", ("outcome",))
        for outcome in ("purged", "failed"):
            self.purges.labels(outcome)
        self.refinements = counter("refinements", "Pictures whose refinement has ended", ("outcome",))
        for outcome in OUTCOMES:
            self.refinements.labels(outcome)
        self.refinement_saved = counter("refinement_saved_bytes", "Bytes that refined pictures are smaller")
        self.refinement_seconds = counter("refinement_seconds", "CPU seconds that workers spent refining")
        self.refinements_waiting = gauge("refinements_waiting", "Pictures that wait to be refined")
        self.refinements_waiting_bytes = gauge("refinements_waiting_bytes", "Bytes of their uploads")
        self.pictures = gauge("pictures", "Pictures stored, by the model that coded them", ("model",))
        self.pictures_without_weights = gauge(
            "pictures_without_weights", "Pictures whose model's weights are not installed"
        )
        self.cold_moved = counter(
            "cold_moved_pictures", "Pictures whose large layers were moved to the cold tier"
        )
        self.cold_moved_bytes = counter("cold_moved_bytes", "Bytes moved to the cold tier")
        self.cold_bytes_read = counter("cold_read_bytes", "Bytes read from the cold tier")
        self.cold_errors = counter("cold_errors", "Readings that the cold tier did not answer")
        self.backup = gauge("backup_timestamp_seconds", "When the last complete backup began, Unix time")
        self.backup.set(math.nan)
        self.store_up = gauge("store_up", "1 if the store answered when metrics were asked for, else 0")
        self.store_memory = gauge("store_memory_bytes", "Memory that the store uses")
        self.store_limit = gauge("store_memory_limit_bytes", "Memory that the store may use; 0: no limit")
        self.store_disk_free = gauge("store_disk_free_bytes", "Free bytes on the embedded store's disk")
        self.store_disk_reserve = gauge("store_disk_reserve_bytes", "Of these, bytes that are kept free")
        for unknown in (self.store_disk_free, self.store_disk_reserve):
            unknown.set(math.nan)  # of a Redis elsewhere
        self.build = Info("compass_build", "Version, profile and model id", registry=registry)

    def begin_failures(self, route: str, methods: Iterable[str], statuses: Iterable[int | str]) -> None:
        """Count answers 5xx of a route, of the statuses that it has, from 0: the first is an increase."""
        for method, status in product(methods, map(str, statuses)):
            if status.startswith("5"):
                self.requests.labels(route, method, status)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
