"""What all tests share."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a slow one says little that a fast one has not said before."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
