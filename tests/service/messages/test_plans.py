"""A plan's entity tag changes with what is made, and with nothing else."""

from dataclasses import replace

from model.geometry import Box, Size
from service.messages.jobs import Render
from service.messages.plans import RenderPlan

PLAN = RenderPlan(picture="k", stream="s", layer=1, size=Size(2, 3), format="webp", quality=80)


def test_entity_tags_are_those_that_clients_hold() -> None:
    assert PLAN.entity_tag == 'W/"wj3hbnro2ycabxmwoqvocnjwv3qhzk6t"'
    turned = replace(PLAN, crop=Box(0, 0, 1, 1), rotation=90, mirror=True, gray=True, background="#000000")
    assert turned.entity_tag == 'W/"bk5sb77qr5tniytnhv5t5hc5zpschfrb"'


def test_everything_in_a_plan_changes_its_entity_tag() -> None:
    changed = [
        replace(PLAN, picture="x"),
        replace(PLAN, stream="other"),
        replace(PLAN, layer=0),
        replace(PLAN, size=Size(3, 2)),
        replace(PLAN, format="png"),
        replace(PLAN, quality=81),
        replace(PLAN, crop=Box(0, 0, 1, 1)),
        replace(PLAN, rotation=90),
        replace(PLAN, mirror=True),
        replace(PLAN, gray=True),
        replace(PLAN, bitonal=True),
        replace(PLAN, background="#000000"),
    ]
    assert len({plan.entity_tag for plan in (PLAN, *changed)}) == len(changed) + 1


def test_a_job_goes_by_its_plan() -> None:
    job = Render(PLAN, b"prefix", b"plane")
    assert (job.key, job.layer) == ("k s", 1)
