"""Pictures that end workers: refused after the second death, unless they were innocent."""

import pytest

from service.engine.quarantine import Quarantine
from service.errors import Quarantined


def test_two_deaths_are_enough() -> None:
    quarantine = Quarantine()
    quarantine.blame("bad", 1)
    quarantine.check("bad", 1)
    quarantine.blame("bad", 1)
    with pytest.raises(Quarantined):
        quarantine.check("bad", 1)
    quarantine.check("good", 1)


def test_guilt_holds_for_the_layers_above_and_not_below() -> None:
    quarantine = Quarantine()
    for _ in range(2):
        quarantine.blame("bad", 2)
    with pytest.raises(Quarantined):
        quarantine.check("bad", 3)
    quarantine.check("bad", 1)


def test_success_clears_the_layer_and_those_below_only() -> None:
    quarantine = Quarantine()
    quarantine.blame("unlucky", 1)
    quarantine.absolve("unlucky", 1)
    assert not quarantine.suspects("unlucky")
    for _ in range(2):
        quarantine.blame("bad", 2)
    quarantine.absolve("bad", 1)
    with pytest.raises(Quarantined):
        quarantine.check("bad", 2)


def test_a_sentence_ends() -> None:
    now = [0.0]
    quarantine = Quarantine(seconds=60, clock=lambda: now[0])
    for _ in range(2):
        quarantine.blame("bad", 0)
    now[0] = 61
    quarantine.check("bad", 0)
    assert len(quarantine) == 0


def test_it_remembers_a_bounded_number_of_pictures() -> None:
    quarantine = Quarantine(max_pictures=3)
    for n in range(10):
        quarantine.blame(str(n), 0)
    assert len(quarantine) == 3
    assert quarantine.suspects("9")
