"""What renderings cost: decoding, enlarging and writing all count."""

from service.messages.plans import RenderPlan
from service.planning.cost import rendering_cost

LAYERS = [(750, 550), (3000, 2200)]


def cost(
    layer: int, size: tuple[int, int], kind: str = "jpeg", crop: tuple[int, int, int, int] | None = None
) -> float:
    return rendering_cost(LAYERS, RenderPlan("id", "", layer, size, kind, 90, crop))


def test_every_part_of_the_work_counts() -> None:
    thumbnail = cost(0, (100, 73))
    assert thumbnail < 0.6e6
    whole = cost(1, (3000, 2200))
    assert 3000 * 2200 < whole < 9e6
    assert cost(1, (3000, 2200), "png") > 1.4 * whole
    enlarged = cost(1, (6000, 4400), "png")
    assert enlarged > 4 * cost(1, (3000, 2200), "png") - 3 * 3000 * 2200
    assert enlarged > 25e6


def test_a_part_that_is_blown_up_costs_what_is_written() -> None:
    part = cost(1, (6000, 4400), "png", crop=(0, 0, 100, 73))
    assert part > 0.6 * 6000 * 4400
    assert cost(1, (100, 73), "jpeg", crop=(0, 0, 100, 73)) < 0.1e6
