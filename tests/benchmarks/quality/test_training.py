"""Recipes of training side by side, with few steps on small crops."""

import json

import pytest
from PIL import Image

from benchmarks.quality import training
from model.training.stages import Recipe
from tests.model.tiny import picture


@pytest.mark.slow
def test_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "USUAL", {"lite": {"base": Recipe("base", batch=1, side=64)}})
    larger = {"side": 80, "optimiser": "adam", "average": 0.9}
    recipes: dict[str, dict] = {"usual": {}, "larger": larger}
    monkeypatch.setattr(training, "CHANGES", recipes)
    monkeypatch.setattr(training, "NETWORKS", {"few latents": {"latents": 64}})
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(18):
        Image.fromarray(picture(100, 90, number)).save(photos / f"{number}.png")
    common = ["--data", str(photos), "--device", "cpu", "--out", str(tmp_path / "out")]
    training.main([*common, "--steps", "2"])
    printed = capsys.readouterr().out
    results = json.loads(printed.splitlines()[-1])["recipes"]
    assert results.keys() == {*recipes, "few latents"}
    assert all(r["steps"] == 2 and r["loss"] > 0 and r["steps_per_second"] > 0 for r in results.values())
    assert results["usual"]["loss"] != results["larger"]["loss"]
    assert results["usual"]["loss"] != results["few latents"]["loss"]
    assert "adam 2e-3, 1 of 80 x 80, average 0.9" in printed
    assert "1 of 64 x 64, few latents" in printed
    with pytest.raises(SystemExit):
        training.main(common)
