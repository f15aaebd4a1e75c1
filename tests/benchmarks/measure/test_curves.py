import json

import pytest

from benchmarks.measure.curves import Curve, read_curve, read_folder, short_name


def test_a_folder_gives_its_curves_and_skips_other_json(tmp_path):
    (tmp_path / "compressai-mbt2018-mean_mse_cuda.json").write_text(
        json.dumps({"name": "x", "results": {"bpp": [0.1, 0.2], "psnr-rgb": [28.0, 30.0], "other": [1]}})
    )
    (tmp_path / "figures.json").write_text(json.dumps({"table": [1, 2]}))
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "notes.txt").write_text("nothing")
    assert read_folder(tmp_path) == [Curve("mbt2018-mean", ((0.1, 28.0), (0.2, 30.0)))]


def test_lists_of_different_lengths_are_refused(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"results": {"bpp": [0.1], "psnr-rgb": [28.0, 30.0]}}))
    with pytest.raises(ValueError):
        read_curve(path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        read_folder(tmp_path / "absent")


@pytest.mark.parametrize(
    ("stem", "name"), [("jpeg", "jpeg"), ("compressai-mbt2018_mse_cuda", "mbt2018"), ("x_mse", "x")]
)
def test_short_names(stem, name):
    assert short_name(stem) == name
