"""The benchmark of focus=auto: its arithmetic, and whole on a picture whose subject is known."""

import json

import pytest

from benchmarks.quality import focus
from benchmarks.quality.focus import seen
from benchmarks.quality.subjects import KODAK, TRAINING
from tests.service.worker.test_saliency import scene


def test_what_is_seen_of_a_subject():
    subject = (0.0, 0.0, 0.25, 1.0)
    assert seen(subject, (400, 200), (0.5, 0.5), 1.0) == 0
    assert seen(subject, (400, 200), (0.1, 0.5), 1.0) == 1
    assert seen(subject, (400, 200), (0.5, 0.5), 2.0) == 1
    assert seen((0.2, 0.0, 0.3, 1.0), (400, 200), (0.5, 0.5), 1.0) == pytest.approx(0.5)
    assert seen((0.0, 0.0, 1.0, 1.0), (400, 200), (0.5, 0.5), 1.0) == 1  # all that a cut can show


@pytest.mark.parametrize(("name", "subject"), [("kodim21.png", KODAK), ("shard1/00289.avif", TRAINING)])
def test_whole(tmp_path, capsys, name, subject):
    left, top, right, bottom = subject[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    scene((600, 400), ((left + right) / 2, (top + bottom) / 2)).save(path)
    focus.main(["--data", str(tmp_path), "--out", str(tmp_path)])
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["pictures"] for row in rows] == ["whole", "part"]
    assert all(row["auto"] >= row["middle"] for row in rows)
    assert rows[1]["auto"] > 90


def test_a_folder_without_marked_pictures_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        focus.main(["--data", str(tmp_path), "--out", str(tmp_path)])
    assert "none of the pictures" in capsys.readouterr().err
