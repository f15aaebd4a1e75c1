"""What all tests share: their order, and one running service."""

from collections.abc import Iterator

import pytest

from tests.service.running import RunningService


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a slow one says little that a fast one has not said before."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A running service with one worker, shared: leave it as it was."""
    running = RunningService(tmp_path_factory.mktemp("service"), max_upload_bytes=8 * 2**20)
    try:
        yield running.start()
    finally:
        running.stop()
