"""The comparison of efforts, with a real codec of small weights."""

import json

from PIL import Image

from benchmarks.quality import refinement
from tests.model.tiny import picture


def test_whole(tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(refinement, "EFFORTS", {"none": 0, "fast": 3, "best": 5})
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.png")
    command = ["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path / "out")]
    refinement.main([*command, "--efforts", "fast"])
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
    refinement.main([*command, "--efforts", "fast", "--ladders", "one layer"])  # goes on where a run ended
    assert (tmp_path / "out" / "ours.jsonl").read_text() == kept
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["bd_rate"] == {name: figures["bd_rate"][name] for name in again["bd_rate"]}
    assert again["bd_rate"].keys() == {"one layer, none", "one layer, fast"}
