"""What is said of pictures that were worked on."""

from collections.abc import Mapping
from typing import ClassVar

from service.storage.outcomes import Outcome, Sum


class Painted(Sum):
    """What was painted."""

    CHANGED, VERB = "painted", "painted"
    OTHERS: ClassVar[Mapping[str, str]] = {"dry": "were dry before", "lost": "are lost"}


def test_bytes_count_where_something_was_changed() -> None:
    done = Painted()
    for outcome in (
        Outcome("a", "painted", 3000, 2000, 1.5),
        Outcome("b", "painted", 1000, 1000, 1.0),
        Outcome("c", "dry", 500, 400, 0.5),
    ):
        done.add(outcome)
    assert (done.before, done.after, done.saved, done.seconds) == (4000, 3000, 1000, 3.0)
    text = "2 pictures painted: 3.0 kB of 4.0 kB, 1.0 kB (25.0 %) saved in 3 CPU seconds; 1 were dry before"
    assert str(done) == text


def test_nothing_was_done() -> None:
    assert str(Painted()).startswith("0 pictures painted: ")
    assert "lost" not in str(Painted())
