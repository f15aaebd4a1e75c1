"""A short run of ``make soak``."""

import pytest

from tests.soak.__main__ import soak


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_minute_of_faults(tmp_path):
    """Too short to judge memory by; everything else must be right."""
    assert [fault for fault in soak(tmp_path, minutes=1, seed=2) if "memory grew" not in fault] == []
