"""Weight files side by side, on small pictures and weights."""

import json

from PIL import Image

from benchmarks.quality import candidates
from model.geometry import Size
from model.training.export import export
from tests.golden.write import CONFIG
from tests.model.tiny import lively_network, picture


def test_whole(tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(candidates, "QUALITIES", (10, 90))
    monkeypatch.setattr(candidates, "PART", Size(64, 96))
    for number in range(17):
        Image.fromarray(picture(100, 70, seed=number)).save(tmp_path / f"{number:02}.png")
    other = tmp_path / "other.safetensors"
    export(lively_network(CONFIG, seed=5), other)
    files = [str(tiny_weights), str(other)]
    candidates.main([*files, "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    first, second = figures["bd_rate"]
    assert [first.split()[0], second.split()[0]] == ["tiny", "other"]
    assert figures["bd_rate"][first] == [0.0, 0.0]
    assert figures["curve"][first] != figures["curve"][second]
    lines = (tmp_path / "out/ours.jsonl").read_text().split("\n")
    measured = {json.loads(line)[0].split()[4] for line in lines if line}
    assert len(measured) == 9  # of 17 pictures every second: those that training holds out
