"""What the runs of the serving benchmark gave: figures, a table, a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.load.processes import ROLES, Watch
from benchmarks.load.traffic import Hit, outcomes, percentile

HEAD = (
    *("server", "load", "offered/s", "done/s", "read p50 s", "p90", "p99", "upload p50 s", "p99"),
    *("429", "429 p99 ms", "5xx", "health p99 ms", "KB read", "KB whole", "cached %", "joined %"),
    *("MiB, 3rd minute", "MiB, last", "HTTP CPU %"),
)


@dataclass
class Run:
    """Requests at one rate, and what came of them. ``seconds`` until the last of them was answered;
    ``metrics`` is what the service's counters grew by, ``probes`` what another process saw, a few requests
    that are neither offered nor done.
    """

    name: str
    offered: float
    seconds: float
    hits: list[Hit]
    watch: Watch
    metrics: dict[str, float] = field(default_factory=dict)
    probes: list[Hit] = field(default_factory=list)

    def times(self, route: str, *statuses: int) -> list[float]:
        """Seconds of the requests of a route that were answered so."""
        return _times(self.hits, route, *statuses)

    def failures(self) -> list[str]:
        """In words, whenever the server was not healthy."""
        return [
            f"{self.name}: {hit.shot.path} was {f'answered {hit.status}' if hit.status else 'not answered'}"
            for hit in self.probes
            if hit.shot.route == "health" and not hit.good
        ]

    def summary(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        decoded = [
            hit for hit in self.hits if hit.shot.route == "read" and hit.status == 200 and not hit.cached
        ]
        reads, uploads = self.times("read", 200), self.times("upload", 200, 201)
        refused = _times(self.probes, "read", 429)
        health = _times(self.probes, "health", 200)
        counted = len(reads) + len(_times(self.probes, "read", 200))  # by the service: the probes' as well
        return {
            "load": self.name,
            "offered": round(self.offered, 2),
            "done": round((len(reads) + len(uploads)) / self.seconds, 2),
            "read_seconds": {f"p{share}": percentile(reads, share / 100) for share in (50, 90, 99)},
            "upload_seconds": {f"p{share}": percentile(uploads, share / 100) for share in (50, 99)},
            "refused_ms_p99": _milliseconds(percentile(refused, 0.99)),
            "refused_probes": len(refused),
            "health_ms": {
                "p99": _milliseconds(percentile(health, 0.99)),
                "max": _milliseconds(max(health, default=None)),
            },
            "read_status": outcomes(self.hits, "read"),
            "upload_status": outcomes(self.hits, "upload"),
            "probe_status": {route: outcomes(self.probes, route) for route in ("health", "read")},
            "cached_share": _share(sum(hit.cached for hit in self.hits), len(reads)),
            "coalesced_share": _share(self.metrics.get("compass_coalesced_requests_total", 0.0), counted),
            "bytes_read_per_decode": _mean([hit.read for hit in decoded]),
            "bytes_stored_per_decode": _mean([hit.stored for hit in decoded]),
            "memory_mib": [sum(sizes.values()) >> 20 for sizes in self.watch.memory],
            "memory_mib_mean": {
                "third_minute": _memory(self.watch.memory[120:180]),
                "last_minute": _memory(self.watch.memory[-60:]),
            },
            "cpu_seconds": self.watch.cpu(),
            "killed": self.watch.killed,
        }

    def row(self, server: str) -> list[object]:
        """A line of the table."""
        figures = self.summary()
        statuses = [hit.status for hit in self.hits]
        read, upload = figures["read_seconds"], figures["upload_seconds"]
        cpu = figures["cpu_seconds"]
        return [
            *(server, self.name, figures["offered"], figures["done"]),
            *(read["p50"], read["p90"], read["p99"], upload["p50"], upload["p99"]),
            *(statuses.count(429), figures["refused_ms_p99"]),
            sum(hit.failed for hit in (*self.hits, *self.probes)),
            figures["health_ms"]["p99"],
            *(_kilobytes(figures[f"bytes_{kind}_per_decode"]) for kind in ("read", "stored")),
            *(_percent(figures[f"{kind}_share"]) for kind in ("cached", "coalesced")),
            *(_total(figures["memory_mib_mean"][part]) for part in ("third_minute", "last_minute")),
            100 * cpu["http"] / max(0.01, sum(cpu.values())),
        ]


@dataclass
class Report:
    """All runs of one server; ``failures`` are things that must not happen, in words."""

    server: str
    capacity: float = 0.0
    runs: list[Run] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def plot(path: Path, reports: Sequence[Report]) -> None:
    """Write latency over throughput as a PNG."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for number, report in enumerate(reports):
        figures = [run.summary() for run in report.runs if not run.watch.killed]
        for key, style in (("p50", "o-"), ("p99", "s--")):
            points = [(f["done"], f["read_seconds"][key]) for f in figures if f["read_seconds"][key]]
            if points:
                label = f"{report.server}, {key}"
                axes.plot(*zip(*points, strict=True), style, color=f"C{number}", label=label)
    axes.set(
        xlabel="answered requests per second", ylabel="seconds until a reading is answered", yscale="log"
    )
    axes.set_title("Latency over throughput, 10 % uploads")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def _times(hits: Sequence[Hit], route: str, *statuses: int) -> list[float]:
    return [hit.seconds for hit in hits if hit.shot.route == route and hit.status in statuses]


def _share(count: float, answered: int) -> float | None:
    return round(count / answered, 3) if answered else None


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _memory(seen: Sequence[Mapping[str, int]]) -> dict[str, float | None]:
    """Mean MiB of each role."""
    return {role: _mean([sizes[role] / 2**20 for sizes in seen]) for role in ROLES}


def _total(parts: Mapping[str, float | None]) -> float | None:
    known = [part for part in parts.values() if part is not None]
    return sum(known) if known else None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def _kilobytes(size: float | None) -> float | None:
    return None if size is None else size / 1000
