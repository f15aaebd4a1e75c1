"""bfloat16 beside float32, on a small picture and small weights."""

import json

import pytest
from PIL import Image

from benchmarks.quality import drift
from model.training.export import export
from tests.model.tiny import TINY_PATCHES, lively_network, picture


@pytest.fixture
def weights(tmp_path):
    """A weight file of the form that may compute in bfloat16."""
    path = tmp_path / "patches.safetensors"
    export(lively_network(TINY_PATCHES), path)
    return path


def test_whole(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(drift, "QUALITIES", (60,))
    Image.fromarray(picture(120, 90)).save(tmp_path / "a.png")
    drift.main(["--data", str(tmp_path), "--profile", str(weights), "--out", str(tmp_path / "out")])
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["layer"] for row in rows] == list(range(9))
    assert all(row["given the same layer below"] <= row["largest"] for row in rows)
    assert rows[0]["given the same layer below"] == rows[0]["largest"]  # nothing lies below it
    assert rows[-1]["largest"] > 0
    assert all(0 <= row["more than one apart, %"] <= row["most of one picture, %"] <= 100 for row in rows)
