"""Two services on one store: what one of them deletes, the other has no more, in whatever memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.running import RunningService, seconds_until
from tests.service.samples import encoded, photo

GONE_SECONDS = 3.0
"""So long a deleted picture may be known anywhere."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, RunningService]]:
    """Two front ends; the first has the store."""
    folder = tmp_path_factory.mktemp("first")
    with (
        RunningService(folder) as first,
        RunningService(
            tmp_path_factory.mktemp("second"), redis_url=f"unix://{folder}/data/valkey.sock"
        ) as second,
    ):
        yield first, second


def test_a_picture_that_one_deletes_is_gone_from_the_other(
    services: tuple[RunningService, RunningService],
) -> None:
    first, second = services
    path = f"/images/{first.upload(encoded(photo(90, 60), 'PNG'))['id']}"
    for service in services:
        assert service.client.get(f"{path}?width=50&format=png").status_code == 200
    assert first.client.delete(path).status_code == 204
    assert first.client.get(path).status_code == 404  # at once
    seconds_until(lambda: second.metric("compass_changes_total") == 1, GONE_SECONDS)
    for query in ("?width=50&format=png", "?width=40&format=png", "/info"):
        assert second.client.get(path + query).status_code == 404


def test_decoded_layers_of_a_deleted_picture_are_decoded_anew(
    services: tuple[RunningService, RunningService],
) -> None:
    """The same upload again has the same id and the same stream: layers that were kept would be used."""
    first, second = services
    data = encoded(photo(120, 90), "PNG")

    def decoded(width: int) -> str:
        answer = second.client.get(f"{path}?width={width}&format=png")
        assert answer.status_code == 200, answer.text
        return str(answer.headers["Compass-Layers-Decoded"])

    path = f"/images/{first.upload(data, widths='60')['id']}"
    assert decoded(50) == "1"
    assert decoded(51) == "0"  # the layer is there
    heard = second.metric("compass_changes_total")
    assert first.client.delete(path).status_code == 204
    seconds_until(lambda: second.metric("compass_changes_total") == heard + 1, GONE_SECONDS)
    first.upload(data, widths="60")
    assert decoded(52) == "1"


def test_what_was_answered_before_the_deletion_takes_no_memory(
    services: tuple[RunningService, RunningService], tmp_path: Path
) -> None:
    first, second = services
    data = encoded(photo(80, 80), "PNG")
    path = f"/images/{first.upload(data)['id']}?width=33&format=png"
    before = second.client.get(path)
    hits = second.metric("compass_cache_hits_total", cache="answers")
    assert second.client.get(path).content == before.content
    assert second.metric("compass_cache_hits_total", cache="answers") == hits + 1
    heard = second.metric("compass_changes_total")
    first.client.delete(path.partition("?")[0])
    seconds_until(lambda: second.metric("compass_changes_total") == heard + 1, GONE_SECONDS)
    first.upload(data)  # the same picture under the same tag
    assert second.client.get(path).content == before.content
    assert second.metric("compass_cache_hits_total", cache="answers") == hits + 1  # made anew
