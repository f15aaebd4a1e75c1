"""What every benchmark under load can be told."""

from pathlib import Path

import pytest

from benchmarks.load.options import parser


def test_defaults_and_what_is_given() -> None:
    known = parser("serve", "about", pictures=12, seconds=30)
    assert known.prog == "make bench-serve"
    options = known.parse_args(["--data", "photos", "--seconds", "2.5"])
    assert (options.data, options.out) == (Path("photos"), Path("out/serve"))
    assert (options.profile, options.pictures, options.seconds) == ("lite", 12, 2.5)


def test_without_pictures_there_is_nothing_to_measure() -> None:
    with pytest.raises(SystemExit):
        parser("serve", "about", pictures=12, seconds=30).parse_args([])
