"""What all tests share: their order, and one running service."""

from collections.abc import Iterator

import pytest

from tests.service.buckets import CREDENTIALS, Buckets
from tests.service.running import RunningService


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a slow one says little that a fast one has not said before."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A running service with one worker, shared: leave it as it was."""
    with RunningService(tmp_path_factory.mktemp("service"), max_upload_bytes=8 * 2**20) as running:
        yield running


@pytest.fixture(scope="session")
def shared_buckets() -> Iterator[Buckets]:
    """An S3 service for all tests."""
    running = Buckets()
    yield running
    running.stop()


@pytest.fixture
def buckets(shared_buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """The same, without faults, and its address and credentials in the environment."""
    shared_buckets.fault = "none"
    shared_buckets.asked.clear()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": shared_buckets.endpoint}.items():
        monkeypatch.setenv(name, value)
    return shared_buckets
