"""Latents near the middle of two integers go to the one that costs less bits and error."""

import numpy as np
import pytest
import torch

import model.codec.rounding
from model.codec.codec import Codec
from model.codec.distortion import Part, Target
from model.codec.latents import RoundedLatents
from model.codec.layers import Layers
from model.codec.rounding import UNDECIDED, WEIGHT, moves
from model.codec.weights import load
from model.geometry import Box, Size, halved, whole
from model.installed import path_of_profile
from model.network.compass import quality_to_level
from model.network.rate import lagrange_multiplier
from model.network.transforms import Patches, Transforms
from model.stream.container import read_header
from tests.model.tiny import TINY_PATCHES, lively_network, picture

SIZE = Size(48, 80)
GRID = halved(SIZE, 4)
REACH = 4
CODED = 3
"""The first table that is coded."""


def target(linear: bool, multiplier: float) -> Target:
    """Of noise, and of a network whose synthesis is its linear part alone, or a whole one."""
    random = torch.Generator().manual_seed(0)
    part: Transforms = lively_network(TINY_PATCHES).base.transforms
    if linear:
        patches = Patches(TINY_PATCHES, enhancement=False)
        shape = patches.linear_synthesis.shape
        patches.linear_synthesis.data = torch.randn(shape, generator=random) / 16
        part = patches
    original = torch.rand((1, 3, *SIZE), generator=random)
    gain = torch.full((1, TINY_PATCHES.latents, 1, 1), 0.1)
    return Target(
        part.requires_grad_(False), SIZE, lambda box: original[..., *box.slices], None, gain, multiplier
    )


def rounded(latents: torch.Tensor, seed: int = 0) -> RoundedLatents:
    """Latents beside means of 0, whose tables are drawn."""
    symbols = latents[0].round().to(torch.int16)
    index = torch.randint(0, 9, symbols.shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    symbols[index < CODED] = 0
    nothing = torch.zeros(0)
    return RoundedLatents(nothing, symbols, index, CODED, symbols[None].float(), nothing)


def lengths() -> torch.Tensor:
    """Bits of nine tables: each integer further from 0 takes more."""
    return (1 + torch.arange(9)[:, None] / 4) * torch.arange(-REACH, REACH + 1).abs()


@pytest.mark.parametrize("multiplier", [0.001, 0.01, 0.1])
def test_the_integer_of_less_bits_and_error_is_taken(multiplier):
    """The error of a linear synthesis is quadratic: then what is said of one latent is exact."""
    aim, tables, random = target(True, multiplier), lengths(), torch.Generator().manual_seed(1)
    part = Part(aim, whole(SIZE))
    answers = []
    for _ in range(60):
        y = torch.randint(-2, 3, (1, TINY_PATCHES.latents, *GRID), generator=random).float()
        m, row, column = (int(torch.randint(0, n, (), generator=random)) for n in y.shape[1:])
        y[0, m, row, column] += 0.46
        start = rounded(y)
        found = moves(aim, y, start, tables, whole(GRID))
        if start.index[m, row, column] < CODED:
            assert not found.any()
            continue
        table, low = tables[int(start.index[m, row, column])], int(start.symbols[m, row, column])
        costs = []
        for integer in (low, low + 1):
            start.values[0, m, row, column] = integer
            costs.append(table[integer + REACH] + WEIGHT * multiplier * part.squares(start.values))
        answers.append(costs[1] < costs[0])
        assert found[m, row, column] == answers[-1]
        assert found.abs().sum() == answers[-1]
    assert 0 < sum(answers) < len(answers)


def test_only_what_is_near_the_middle_moves_and_to_the_other_integer():
    random = torch.Generator().manual_seed(2)
    y = 2 * torch.randn((1, TINY_PATCHES.latents, *GRID), generator=random)
    start = rounded(y)
    found = moves(target(False, 0.01), y, start, lengths(), whole(GRID))
    offset = (y[0] - start.symbols) * start.coded(whole(GRID))
    moved = found != 0
    assert 0 < moved.sum() < (offset.abs() > UNDECIDED).sum()
    assert offset[moved].abs().min() > UNDECIDED
    assert torch.equal(found[moved].float(), offset[moved].sign())


def test_a_box_is_weighed_as_in_the_whole_layer():
    """Nearly: pixels beyond the neighbouring latents are left out."""
    random = torch.Generator().manual_seed(3)
    y = 2 * torch.randn((1, TINY_PATCHES.latents, *GRID), generator=random)
    aim, start, box = target(False, 0.01), rounded(y), Box(1, 1, 3, 4)
    all_moves = moves(aim, y, start, lengths(), whole(GRID))
    found = moves(aim, y, start, lengths(), box)
    assert found.shape == (TINY_PATCHES.latents, 2, 3)
    assert (found != all_moves[:, *box.slices]).float().mean() < 0.01


def test_moved_latents_stay_exact():
    y = torch.full((1, TINY_PATCHES.latents, *GRID), 0.5)
    start, box = rounded(y), Box(1, 0, 2, 3)
    start.values.add_(0.75)
    start.move(torch.full((TINY_PATCHES.latents, *box.size), -1, dtype=torch.int8), box)
    assert torch.equal(start.values, start.symbols[None] + 0.75)
    assert int(start.symbols.sum()) == -TINY_PATCHES.latents * box.size.area


@pytest.mark.parametrize("sizes", [[Size(128, 160)], [Size(64, 80), Size(128, 160)]], ids=["one", "two"])
def test_bits_and_error_together_fall(sizes, monkeypatch):
    """Of real streams, beside those of the nearest integers."""
    lite = Codec(load(path_of_profile("lite")), threads=1)
    costs: dict[float, list[float]] = {0.6: [], UNDECIDED: []}
    for quality in (20, 60, 90):
        level = torch.tensor(quality_to_level(lite.weights.config, quality))
        multiplier = float(lagrange_multiplier(lite.weights.config, level))
        for seed in range(3):
            pixels = picture(160, 128, seed)
            for least, of in costs.items():
                monkeypatch.setattr(model.codec.rounding, "UNDECIDED", least)
                stream = lite.encode(pixels, sizes, quality)
                error = np.square(lite.decode(stream).astype(float) - pixels).sum() / 3
                of.append(8 * len(stream) + multiplier * error)
    assert np.mean(np.divide(costs[UNDECIDED], costs[0.6])) < 0.98


def test_large_layers_are_not_weighed(tiny_codec, monkeypatch):
    """An upload of 12 megapixels is to be kept within seconds."""
    pixels, sizes = picture(160, 120), [Size(60, 80), Size(120, 160)]
    weighed = tiny_codec.encode(pixels, sizes, 70)
    monkeypatch.setattr("model.codec.layers._LARGEST_WEIGHED", 60 * 80)
    lower = tiny_codec.encode(pixels, sizes, 70)
    monkeypatch.setattr("model.codec.layers._LARGEST_WEIGHED", 0)
    nearest = tiny_codec.encode(pixels, sizes, 70)
    monkeypatch.undo()
    monkeypatch.setattr(model.codec.rounding, "UNDECIDED", 1.0)
    assert tiny_codec.encode(pixels, sizes, 70) == nearest
    below = [stream[: read_header(stream).layers[0].length] for stream in (weighed, lower, nearest)]
    assert len({weighed, lower, nearest}) == 3
    assert below[0][-50:] == below[1][-50:] != below[2][-50:]


def test_whole_layers_are_weighed_piece_by_piece(tiny_codec, monkeypatch):
    """Pieces know their neighbours' latents as they were: the order of the work changes nothing."""
    pixels = picture(160, 120)
    stream = tiny_codec.encode(pixels, [Size(120, 160)], 70)
    weigh = Layers._weigh

    def backwards(layers, *rest):
        monkeypatch.setattr("model.codec.layers.pieces", lambda *of: model.geometry.pieces(*of)[::-1])
        weigh(layers, *rest)

    monkeypatch.setattr("model.codec.layers._PIECE", 16 * 16 * 12)
    small = tiny_codec.encode(pixels, [Size(120, 160)], 70)
    monkeypatch.setattr(Layers, "_weigh", backwards)
    assert tiny_codec.encode(pixels, [Size(120, 160)], 70) == small
    assert abs(len(small) - len(stream)) < 0.02 * len(stream)
