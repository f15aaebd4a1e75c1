"""What renderings cost: decoding, enlarging and writing all count."""

from model.geometry import Box, Size
from service.messages.plans import RenderPlan
from service.planning.cost import rendering_cost

LAYERS = [Size(550, 750), Size(2200, 3000)]


def cost(layer: int, size: Size, kind: str = "jpeg", crop: Box | None = None) -> float:
    return rendering_cost(LAYERS, RenderPlan("id", "", layer, size, kind, 90, crop))


def test_every_part_of_the_work_counts() -> None:
    thumbnail = cost(0, Size(73, 100))
    assert thumbnail < 0.6e6
    whole = cost(1, Size(2200, 3000))
    assert 3000 * 2200 < whole < 9e6
    assert cost(1, Size(2200, 3000), "png") > 1.4 * whole
    enlarged = cost(1, Size(4400, 6000), "png")
    assert enlarged > 4 * cost(1, Size(2200, 3000), "png") - 3 * 3000 * 2200
    assert enlarged > 25e6


def test_a_part_that_is_blown_up_costs_what_is_written() -> None:
    part = cost(1, Size(4400, 6000), "png", crop=Box(0, 0, 73, 100))
    assert part > 0.6 * 6000 * 4400
    assert cost(1, Size(73, 100), "jpeg", crop=Box(0, 0, 73, 100)) < 0.1e6
