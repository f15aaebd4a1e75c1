"""The bounded cache against a plain model of it."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from model.geometry import Size
from service.cache import BoundedCache
from service.library import FinishedOrder
from service.messages.jobs import Rendered
from service.messages.plans import RenderPlan
from service.routes.answers import STAGES

STEPS = st.lists(st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 8), st.integers(0, 60)))


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
        elif action == "drop":
            cache.drop(key)
            model.pop(key, None)
        else:
            assert cache.get(key) == model.get(key)
            if key in model:
                model[key] = model.pop(key)
        assert len(cache) == len(model)
        assert cache.size == sum(model.values()) <= 100


def test_tiny_answers_count_for_what_they_take() -> None:
    cache: BoundedCache[str, FinishedOrder] = BoundedCache(2**24)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(2000):
        seconds = dict.fromkeys(STAGES, number / 3)
        picture = Rendered(bytes(f"{number:040d}", "ascii"), "image/avif", 1, number, 2, dict(seconds))
        plan = RenderPlan(f"{number:032d}", f"{number:016d}", 1, Size(number + 1000, 1), "avif", 80)
        answer = FinishedOrder(picture, number + 1000, seconds)
        cache.put(plan.entity_tag, answer, answer.weight)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(cache) == 2000
    assert taken <= 1.1 * cache.size


def test_values_of_unwanted_keys_are_forgotten_and_others_stay() -> None:
    cache: BoundedCache[int, str] = BoundedCache(100)
    for key in range(10):
        cache.put(key, str(key), 10)
    cache.drop_where(lambda key: key % 2 == 0)
    assert [cache.get(key) for key in range(4)] == [None, "1", None, "3"]
    assert (len(cache), cache.size) == (5, 50)
