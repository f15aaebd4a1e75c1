"""Tables, comparisons, and what a benchmark leaves behind."""

import json

from benchmarks.measure.curves import Curve
from benchmarks.measure.report import compare, finish, plot_curves, plot_over_scale, shared_range, table

LOW = ((0.5, 30.0), (1.0, 33.0), (2.0, 36.0))
HALF = tuple((bpp / 2, psnr) for bpp, psnr in LOW)
FAR = ((0.5, 50.0), (1.0, 53.0))


def test_a_table_is_markdown_with_aligned_columns():
    assert table(["name", "n"], [("a", 1), ("long name", 2.5), ("none", None)]).splitlines() == [
        "| name      |    n |",
        "| --------- | ---: |",
        "| a         |    1 |",
        "| long name | 2.50 |",
        "| none      |    - |",
    ]


def test_curves_are_compared_where_they_overlap():
    assert compare(LOW, HALF) == -50.0
    assert shared_range(LOW, HALF) == "30.0 to 36.0"
    assert compare(LOW, FAR) is None
    assert shared_range(LOW, FAR) is None


def test_plots_are_pictures(tmp_path):
    plot_curves(tmp_path / "a.png", "title", Curve("ours", LOW), [Curve("half", HALF), Curve("far", FAR)])
    plot_over_scale(tmp_path / "b.png", "title", "scale", {"ours": LOW, "paper": HALF})
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_result_is_printed_last_and_kept(tmp_path, capsys):
    finish(tmp_path, "name", ["# Title", "text"], {"figure": 1.5})
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1]) == {"figure": 1.5}
    assert printed.startswith("# Title\n\ntext\n")
    assert (tmp_path / "name.md").read_text() == "# Title\n\ntext\n"
    assert json.loads((tmp_path / "name.json").read_text()) == {"figure": 1.5}
