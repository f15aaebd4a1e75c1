"""The benchmark of large pictures whole, on small ones."""

import json

import pytest
from PIL import Image

from benchmarks.load import large
from tests.model.tiny import picture


@pytest.mark.slow
def test_whole(tmp_path, capsys):
    for number in range(2):
        Image.fromarray(picture(90, 60, seed=number)).save(tmp_path / f"{number}.png")
    large.main(
        ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--pictures", "2", "--size", "1400", "90"]
    )
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(figures["seconds"]["start"]) == 1
    for name in ("upload", "avif, whole", "jpeg, 1280 wide"):
        assert len(figures["seconds"][name]) == 2
        assert min(figures["seconds"][name]) > 0
    assert 2**27 < figures["memory"] < 2**33
