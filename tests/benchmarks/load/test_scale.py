"""The simulation against what is known exactly: caches played through, queues that have a formula."""

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.load.scale import (
    BUSY,
    Load,
    Measured,
    Popularity,
    Site,
    first_bottleneck,
    load_of,
    main,
    measured_store,
    simulated,
    sized,
)

ALONE = Measured(front_render=1e-9, front_memory=1e-9, store=1e-9, engine=0.0, larges=0.0, small=1.0)
"""Only workers take time, and each answer a second."""


@pytest.mark.parametrize("capacity", [10, 100, 500])
def test_a_cache_passes_on_what_one_that_is_played_through_does(capacity: int) -> None:
    objects, exponent = 1000, 0.9
    weights = np.arange(1, objects + 1) ** -exponent
    random = np.random.default_rng(1)
    kept: OrderedDict[int, None] = OrderedDict()
    missed = 0
    asked = random.choice(objects, 40_000, p=weights / weights.sum())
    for number, one in enumerate(asked):
        if one in kept:
            kept.move_to_end(one)
            continue
        missed += number >= 10_000
        kept[one] = None
        if len(kept) > capacity:
            kept.popitem(last=False)
    popularity = Popularity(objects, exponent)
    assert popularity.shares.sum() == pytest.approx(1)
    left = popularity.left(capacity, popularity.shares).sum()
    assert left == pytest.approx(missed / 30_000, abs=0.02)


def test_a_cache_for_everything_passes_nothing_on() -> None:
    popularity = Popularity(1000, 0.9)
    assert popularity.left(1000, popularity.shares).sum() == 0


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_one_worker_queues_as_the_formula_says(busy: float) -> None:
    """M/D/1: the mean wait is busy / (2 (1 - busy)) times the seconds of one."""
    took = simulated(Site(1, 1, 1), Load(busy, 0.0, 0.0, busy, 0.0), ALONE, 20_000)
    assert len(took) >= 20_000
    assert took[0] == pytest.approx(1, rel=1e-6)
    assert np.mean(took) - 1 == pytest.approx(busy / (2 * (1 - busy)), rel=0.12)


def test_more_workers_than_are_simulated_have_their_share_of_the_requests() -> None:
    load = Load(700.0, 0.0, 0.0, 700.0, 0.0)
    took = simulated(Site(1, 1, 1000), load, ALONE, 2000)
    assert took[len(took) // 2] < 1.05


def test_a_site_is_busy_but_not_too_busy() -> None:
    of = Measured()
    for pictures in (10**6, 10**8):
        site, load = sized(pictures, 1000, of, cold=True)
        busy = load.busy(of)
        assert busy["worker"] / site.workers <= BUSY < busy["worker"] / (site.workers - 1)
        assert busy["front end"] / site.fronts <= BUSY
        assert load.from_cdn + load.from_memory + load.made == pytest.approx(1000)


def test_front_ends_share_their_memory() -> None:
    of = replace(Measured(), cdn_bytes=0.0)
    one, many = (load_of(10**6, 1.0, fronts, of) for fronts in (1, 10))
    assert many.made < one.made


def test_first_it_is_the_workers_and_with_many_pictures_the_store() -> None:
    assert first_bottleneck(10**5, Measured(cdn_bytes=0.0)).startswith("worker at ")
    assert first_bottleneck(10**5, Measured(cdn_bytes=0.0, small=1e-6, large=1e-6, code=1e-6)).startswith(
        "front end at "
    )
    assert first_bottleneck(10**10, Measured()) == "memory of the store"


def test_what_a_cdn_has_is_not_simulated(tmp_path: Path) -> None:
    arguments = ["--cdn-bytes", "1e15", "--pictures", "1000", "--answers", "10", "--requests", "50"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    (plan,) = json.loads((tmp_path / "scale.json").read_text())["plans"]
    assert (plan["cdn"], plan["made"], plan["p95"]) == (1.0, 0.0, 0.0)
    assert "| 1e3" in (tmp_path / "scale.md").read_text()


@pytest.mark.slow
def test_the_store_is_really_measured() -> None:
    assert 1e-6 < measured_store(15_000) < 0.01
