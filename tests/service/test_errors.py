"""The tree of errors: complete in its picture, and able to cross to another process."""

import pickle

import pytest

from model.errors import CompassError
from service import errors
from service.errors import ServiceError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServiceError) and kind is not ServiceError
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_has_its_place_status_and_title(kind: type[ServiceError]) -> None:
    assert f"── {kind.__name__} {kind.status} " in (errors.__doc__ or "")
    assert 400 <= kind.status < 600
    assert kind.title


def test_titles_tell_them_apart() -> None:
    told = [kind for kind in KINDS if kind is not errors.Expired]  # a client is told that there is none
    assert len({kind.title for kind in told}) == len(told)
    assert errors.Expired.title == errors.NotFound.title


@pytest.mark.parametrize("kind", KINDS)
def test_they_can_be_pickled(kind: type[ServiceError]) -> None:
    again = pickle.loads(pickle.dumps(kind("detail", 2.5)))
    assert (type(again), str(again), again.retry_after) == (kind, "detail", 2.5)


LASTING = {errors.WeightsMissing, errors.UnknownFormat, errors.Quarantined}
"""Errors of 503 that only an operator ends, or whose end each case knows."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.status in (429, 503)])
def test_what_passes_says_when_to_come_back(kind: type[ServiceError]) -> None:
    assert (kind().retry_after is None) == (kind in LASTING)
    assert kind("detail", 7.5).retry_after == 7.5


def test_without_a_detail_the_title_says_it() -> None:
    assert str(errors.NotFound()) == errors.NotFound.title
    assert not issubclass(ServiceError, CompassError)
