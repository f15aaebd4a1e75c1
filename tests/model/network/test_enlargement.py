"""LIFF's compiled loops give what torch gives."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry import Box, Size, whole
from model.network.enlargement import CHUNK
from model.network.liff import LIFF
from tests.model.tiny import TINY

EDGES = st.integers(1, 12)


def lively_liff(step: int, layers: int, skip: bool) -> LIFF:
    """Random weights everywhere."""
    torch.manual_seed(layers)
    liff = LIFF(replace(TINY, feature_step=step, hidden_layers=layers, bicubic_skip=skip))
    torch.nn.init.normal_(liff.last.weight, std=0.1)
    torch.nn.init.normal_(liff.last.bias, std=0.1)
    return liff.requires_grad_(False)


LIFFS = [lively_liff(1, 2, True), lively_liff(2, 2, True), lively_liff(2, 4, False), lively_liff(3, 3, True)]


def both(liff: LIFF, x, box, small, large):
    """A box of the enlarged ``x`` by compiled loops, and by torch as in training."""
    needed = liff.pixels_for_prediction(box, small, large)
    compiled = liff.in_one_pass(x[..., *needed.inside(whole(small))], needed, box, small, large)
    return compiled, liff.predict(x, whole(small), box, small, large)


@given(st.data(), st.sampled_from(LIFFS), st.builds(Size, EDGES, EDGES), st.floats(1, 9), st.floats(1, 9))
@settings(deadline=None, max_examples=60)
def test_any_box_of_any_enlargement(data, liff, small, down, right):
    large = Size(int(small.height * down), int(small.width * right))
    top, left = data.draw(st.integers(0, large.height - 1)), data.draw(st.integers(0, large.width - 1))
    bottom = data.draw(st.integers(top + 1, large.height))
    box = Box(top, left, bottom, data.draw(st.integers(left + 1, large.width)))
    compiled, plain = both(liff, torch.rand(2, 3, *small), box, small, large)
    assert (compiled - plain).abs().max() < 2e-5


@pytest.mark.parametrize("width", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_rows_of_several_chunks(width):
    small, large = Size(3, width // 2), Size(5, width)
    compiled, plain = both(LIFFS[1], torch.rand(1, 3, *small), whole(large), small, large)
    assert plain.std() > 0.1
    assert (compiled - plain).abs().max() < 2e-5


def test_without_gradients_it_is_the_compiled_loops_that_predict(monkeypatch):
    passes = []
    monkeypatch.setattr(LIFF, "in_one_pass", lambda self, *_: passes.append(self))
    x, large = torch.rand(1, 3, 4, 4), Size(7, 7)
    LIFFS[0](x, large)
    assert not passes  # so that :func:`both` compares with torch
    with torch.no_grad():
        LIFFS[0](x, large)
    assert passes == [LIFFS[0]]


def test_one_layer_or_an_odd_width_is_left_to_torch():
    x, small, large = torch.rand(1, 3, 4, 4), Size(4, 4), Size(7, 7)
    for config in (replace(TINY, hidden_layers=1), replace(TINY, hidden=6)):
        with torch.no_grad():
            assert LIFF(config).predict(x, whole(small), whole(large), small, large).shape == (1, 3, 7, 7)
