"""The capacity benchmark whole, on two small pictures."""

import json

import pytest
import torch
from PIL import Image

from benchmarks.speed import capacity
from service.worker.tasks import Tasks
from tests.model.tiny import picture


def test_one_thread_is_measured_and_nothing_of_the_first_use(tmp_path, capsys, monkeypatch):
    """By a clock that goes on with the work: the first time takes a hundred times as long."""
    seconds, done, threads = [0.0], set(), []

    class Slow(Tasks):
        def __init__(self, settings):
            threads.append(torch.get_num_threads())
            super().__init__(settings)

        def upload(self, job):
            work("code")
            return super().upload(job)

        def render(self, job):
            work((job.plan.layer, job.plan.format))
            return super().render(job)

    def work(kind):
        seconds[0] += 1 if kind in done else 100
        done.add(kind)

    monkeypatch.setattr(capacity, "Tasks", Slow)
    monkeypatch.setattr(capacity.time, "process_time", lambda: seconds[0])
    monkeypatch.setenv("COMPASS_WIDTHS", "40")
    monkeypatch.setenv("COMPASS_SINGLE_LAYER_BELOW", "0")
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.png")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        capacity.main(["--data", str(tmp_path)])
    finally:
        torch.set_num_threads(before)
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert threads == [1]
    assert {figures[name] for name in ("code", "avif 0", "webp 0", "jpeg 0", "avif 1", "jpeg 1")} == {1.0}


def test_whole(tmp_path, capsys, monkeypatch):
    for number, size in enumerate([(90, 60), (110, 70)]):
        Image.fromarray(picture(*size)).save(tmp_path / f"{number}.png")
    monkeypatch.setenv("COMPASS_WIDTHS", "40")
    monkeypatch.setenv("COMPASS_SINGLE_LAYER_BELOW", "0")
    capacity.main(["--data", str(tmp_path)])
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert figures["pictures"] == 2
    assert figures["megapixels"] == pytest.approx((90 * 60 + 110 * 70) / 2e6, abs=1e-4)
    assert 0 < figures["read 0"] < figures["read 1"] == figures["bytes"]
    assert all(figures[f"{kind} {k}"] > 0 for kind in capacity.FORMATS for k in (0, 1))
    stored = next(line for line in lines if line.startswith("| bytes stored"))
    assert f"{round(figures['bytes'])} |" in stored
    assert f"{(figures['bytes'] + capacity.RECORD_BYTES) / 1000:.1f} GB" in stored
