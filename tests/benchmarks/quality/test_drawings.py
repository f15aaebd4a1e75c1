"""The benchmark of drawings whole, on its smallest picture and a photograph."""

import json

from PIL import Image

from benchmarks.quality import drawings
from tests.model.tiny import picture


def test_whole(tmp_path, capsys, tiny_weights):
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.png")
    options = [
        "--data",
        str(tmp_path),
        "--profile",
        str(tiny_weights),
        "--out",
        str(tmp_path),
        "--only",
        "icon",
    ]
    drawings.main(options)
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)["pictures"]
    assert found["icon"]["kind"] == "lossless"
    assert found["icon"]["psnr"] is None
    assert found["icon"]["bytes"] < found["icon"]["stream"]
    assert found["a"]["bytes"] <= found["a"]["stream"]
    assert any("exact" in line for line in lines)
