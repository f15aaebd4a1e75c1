"""What those who run the service are told."""

import pytest

from tests.service.routes.test_images import problem


async def test_alive_whatever_else_is_broken(serve):
    client, library = serve()
    library.store.down = True
    library.engine.ready = False
    assert (await client.get("/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("ready", "down", "status"), [(True, False, 200), (False, False, 503), (True, True, 503)]
)
async def test_ready_needs_a_worker_and_the_store(serve, ready, down, status):
    client, library = serve()
    library.store.down, library.engine.ready = down, ready
    answer = await client.get("/readyz")
    assert answer.status_code == status
    if status == 503:
        problem(answer, 503)
        assert answer.headers["retry-after"] == "2"


async def test_metrics_say_whether_the_store_answers(serve):
    client, library = serve()
    text = (await client.get("/metrics")).text
    assert "compass_store_up 1.0" in text
    assert "compass_store_memory_limit_bytes 2000.0" in text
    library.store.down = True
    assert "compass_store_up 0.0" in (await client.get("/metrics")).text
