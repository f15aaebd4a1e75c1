"""The memory benchmark whole, on some small pictures."""

import json

import pytest

from benchmarks.speed import memory


def test_bits_of_layers_by_their_place():
    assert memory.bits_of_layers((1.6, 1.1, 1.0), 1) == [1.6]
    assert memory.bits_of_layers((1.6, 1.1, 1.0), 2) == [1.6, 1.0]
    assert memory.bits_of_layers((1.6, 1.1, 1.0), 4) == [1.6, 1.1, 1.1, 1.0]


def test_whole(capsys):
    memory.main(["--pictures", "40", "--widths", "64,128,256", "--cold-width", "128"])
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert figures["pictures"] == 40
    first, middle, last = (
        bits * width * width * 3 / 32 for bits, width in zip(memory.BITS, (64, 128, 256), strict=True)
    )
    assert first + middle + last < figures["stored"] * 1.1 < 1.4 * (first + middle + last)
    assert figures["stored"] < figures["warm"]
    assert figures["tier"] / figures["stored"] == pytest.approx(last / (first + middle + last), abs=0.03)
    kept = figures["stored"] - figures["tier"]
    assert kept < figures["cold"] < figures["warm"]
    told = next(line for line in lines if line.startswith("| bytes in the cold tier"))
    assert f"{figures['tier']:.0f} |" in told
    assert f"{figures['tier'] / 1000:.1f} GB" in told
