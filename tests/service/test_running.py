"""What starts services for tests leaves none of them behind."""

import signal
from pathlib import Path

import pytest

from tests.service.running import RunningService


def test_a_service_that_never_gets_ready_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = RunningService(tmp_path)

    def never() -> None:
        raise AssertionError("not ready")

    monkeypatch.setattr(service, "wait_until_ready", never)
    with pytest.raises(AssertionError, match="not ready"), service:
        pass
    assert service.stop() == -signal.SIGKILL
