"""Figures of a run under load, from hits that are known."""

import json

import pytest

from benchmarks.load.processes import Watch
from benchmarks.load.runs import HEAD, Report, Run, plot
from benchmarks.load.traffic import Hit, Shot

READ, UPLOAD, HEALTH = Shot("read", "/r"), Shot("upload", "/u"), Shot("health", "/h")


def run(watch: Watch | None = None) -> Run:
    hits = [Hit(READ, 200, seconds=n / 100, read=2000, stored=8000, cached=n > 50) for n in range(1, 101)]
    hits += [Hit(READ, 429, 0.001), Hit(READ, 503, 0.001), Hit(READ, 0, 1.0), Hit(UPLOAD, 201, 2.0)]
    probes = [Hit(HEALTH, 200, 0.004), Hit(HEALTH, 200, 0.002), Hit(READ, 429, 0.01)]
    probes += [Hit(READ, 200, 0.1)] * 4  # as a service counts them, too
    metrics = {"compass_coalesced_requests_total": 25.0}
    return Run("half", 12.0, 10.0, hits, watch or Watch(), metrics, probes)


def test_figures() -> None:
    figures = run().summary()
    assert figures["done"] == 10.1  # 100 readings and an upload in 10 seconds
    assert figures["read_seconds"] == {"p50": 0.51, "p90": 0.91, "p99": 1.0}
    assert figures["upload_seconds"]["p50"] == 2.0
    assert figures["read_status"] == {200: 100, 429: 1, 503: 1, 0: 1}
    assert (figures["cached_share"], figures["coalesced_share"]) == (0.5, 0.24)  # of 100 and of 104
    assert (figures["bytes_read_per_decode"], figures["bytes_stored_per_decode"]) == (2000, 8000)
    assert figures["health_ms"] == {"p99": 4.0, "max": 4.0}
    assert (figures["refused_ms_p99"], figures["refused_probes"]) == (10.0, 1)
    assert figures["probe_status"] == {"health": {200: 2}, "read": {200: 4, 429: 1}}
    json.dumps(figures)


def test_a_row_has_a_cell_for_each_head() -> None:
    row = dict(zip(HEAD, run().row("compass"), strict=True))
    assert (row["server"], row["load"], row["429"], row["5xx"]) == ("compass", "half", 1, 2)
    assert (row["KB read"], row["cached %"]) == (2.0, 50.0)


def test_what_goes_wrong_with_probes_is_told() -> None:
    harmed = run()
    assert harmed.failures() == []
    harmed.probes += [Hit(READ, 503, 0.1), Hit(READ, 0, 9.0), Hit(HEALTH, 503, 0.1), Hit(HEALTH, 0, 9.0)]
    assert dict(zip(HEAD, harmed.row("compass"), strict=True))["5xx"] == 2 + 4
    assert harmed.failures() == ["half: /h was answered 503", "half: /h was not answered"]


def test_a_run_without_answers_has_no_figures_instead_of_wrong_ones() -> None:
    figures = Run("none", 1.0, 1.0, [Hit(READ, 0, 1.0)], Watch()).summary()
    assert figures["read_seconds"] == {"p50": None, "p90": None, "p99": None}
    assert figures["cached_share"] is None


def test_memory_is_told_by_role_and_minute() -> None:
    seen = [{"http": n << 20, "worker": 0, "store": 0} for n in range(200)]
    mean = run(Watch(memory=seen)).summary()["memory_mib_mean"]
    assert mean["third_minute"]["http"] == pytest.approx(149.5)
    assert mean["last_minute"]["http"] == pytest.approx(169.5)


def test_the_plot_is_a_picture(tmp_path) -> None:
    plot(tmp_path / "plot.png", [Report("compass", runs=[run()]), Report("plain")])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
