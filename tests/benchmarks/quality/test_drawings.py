"""The benchmark of drawings whole, on a cartoon and a photograph."""

import json

from PIL import Image

from benchmarks.quality import drawings
from tests.model.tiny import picture


def test_whole(tmp_path, capsys, tiny_weights):
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.png")
    options = ["--data", str(tmp_path), "--profile", str(tiny_weights), "--out", str(tmp_path)]
    drawings.main([*options, "--only", "cartoon"])
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)["pictures"]
    assert found["cartoon"]["kind"] == "lossless"
    assert found["cartoon"]["psnr"] is None
    assert found["cartoon"]["bytes"] < found["cartoon"]["stream"]
    assert found["a"]["bytes"] <= found["a"]["stream"]
    assert any("exact" in line for line in lines)
