"""The bounded cache against a plain model of it."""

from hypothesis import given
from hypothesis import strategies as st

from service.cache import BoundedCache

STEPS = st.lists(st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 8), st.integers(0, 60)))


@given(STEPS)
def test_holds_the_most_recent_and_never_more_than_the_limit(steps):
    cache: BoundedCache[int, int] = BoundedCache(100)
    model: dict[int, int] = {}  # key -> size, least recently used first
    for action, key, size in steps:
        if action == "put":
            cache.put(key, size, size)
            model.pop(key, None)
            if 2 * size <= 100:
                model[key] = size
                while sum(model.values()) > 100:
                    del model[next(iter(model))]
        else:
            assert cache.get(key) == model.get(key)
            if key in model:
                model[key] = model.pop(key)
        assert len(cache) == len(model)
        assert cache.size == sum(model.values()) <= 100
