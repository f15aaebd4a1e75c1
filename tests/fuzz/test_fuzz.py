"""A short run of every attack; ``make fuzz`` runs them for as long as one likes."""

from math import inf

import pytest

from tests.fuzz.__main__ import run
from tests.fuzz.attacks import ATTACKS


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_few_hundred_hostile_inputs(name):
    assert run(name, seconds=inf, count=200, seed=1) == 200
