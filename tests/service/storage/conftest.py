"""What tests of the storage share: originals in a bucket."""

import pytest

from service.settings import Settings
from service.storage.originals import Originals, originals_of
from service.storage.store import Store
from tests.service.buckets import Buckets


@pytest.fixture
def address(buckets: Buckets) -> str:
    """The address of an empty bucket."""
    return buckets.bucket()


@pytest.fixture
def originals(address: str, store: Store) -> Originals:
    """Originals of the store under test, in that bucket."""
    made = originals_of(Settings(originals=address, object_timeout=5), store)
    assert made is not None
    return made
