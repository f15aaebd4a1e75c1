"""The capacity benchmark whole, on two small pictures."""

import json

import pytest
from PIL import Image

from benchmarks.speed import capacity
from tests.model.tiny import picture


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
