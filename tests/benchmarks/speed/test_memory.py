"""The memory benchmark whole, on some small pictures."""

import json

from benchmarks.speed import memory


def test_whole(capsys):
    memory.main(["--pictures", "40", "--widths", "64,128,256", "--cold-width", "128"])
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert figures["pictures"] == 40
    pixels = sum(width * width * 3 // 4 for width in (64, 128, 256))
    assert 0.7 * 1.3 < 8 * figures["stored"] / pixels < 1.4 * 1.3
    assert figures["stored"] < figures["warm"]
    assert 0.6 < figures["tier"] / figures["stored"] < 0.9
    assert figures["stored"] - figures["tier"] < figures["cold"] < figures["warm"]
    told = next(line for line in lines if line.startswith("| bytes in the cold tier"))
    assert f"{figures['tier']:.0f} |" in told
    assert f"{figures['tier'] / 1000:.1f} GB" in told
