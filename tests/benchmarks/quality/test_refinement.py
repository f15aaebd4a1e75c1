"""The comparison of efforts, with a real codec of small weights."""

import json

from PIL import Image

from benchmarks.measure import command
from benchmarks.quality import refinement
from model.geometry import Size
from tests.model.tiny import picture


def test_whole(tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(refinement, "EFFORTS", {"none": 0, "fast": 3, "best": 5})
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.png")
    options = ["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path / "out")]
    refinement.main([*options, "--efforts", "fast"])
    output = capsys.readouterr().out
    figures = json.loads(output.splitlines()[-1])
    assert figures["bd_rate"].keys() == {
        "one layer, none",
        "one layer, fast",
        "1 : 2 : 4, none",
        "1 : 2 : 4, fast",
    }
    assert figures["bd_rate"]["one layer, none"] == 0
    assert "seconds of a core per megapixel" in output

    kept = (tmp_path / "out" / "ours.jsonl").read_text()
    refinement.main([*options, "--efforts", "fast", "--ladders", "one layer"])  # goes on where a run ended
    assert (tmp_path / "out" / "ours.jsonl").read_text() == kept
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["bd_rate"] == {name: figures["bd_rate"][name] for name in again["bd_rate"]}
    assert again["bd_rate"].keys() == {"one layer, none", "one layer, fast"}


def test_the_middle_of_pictures_turned_as_they_are(tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(refinement, "EFFORTS", {"none": 0, "fast": 1})
    monkeypatch.setattr(command, "MIDDLE", Size(32, 48))
    for name, size in (("wide", (90, 60)), ("high", (60, 90))):
        Image.fromarray(picture(*size)).save(tmp_path / f"{name}.png")
    options = ["--profile", str(tiny_weights), "--out", str(tmp_path / "out"), "--efforts", "fast"]
    refinement.main(["--data", str(tmp_path), *options, "--ladders", "one layer", "--middle"])
    measured = (tmp_path / "out" / "ours.jsonl").read_text()
    assert " 48x32 " in measured
    assert " 32x48 " in measured
    assert "90" not in {word for line in measured.split() for word in line.split("x")}
