"""Objects in a folder and in an S3 bucket, whose server does all that servers do."""

import asyncio
import shutil
import time

import pytest

from service.errors import NotFound, ObjectsUnavailable
from service.settings import Settings
from service.storage.objects import Objects


@pytest.fixture(params=["file", "s3"])
def address(request, tmp_path, buckets):
    return f"file://{tmp_path}/a folder" if request.param == "file" else buckets.bucket()


def objects_at(address, seconds=10.0):
    return Objects(address, Settings(object_timeout=seconds))


async def test_what_is_written_is_read(address):
    objects = objects_at(address.replace(" ", "%20"))
    data = bytes(range(256)) * 1000
    assert await objects.size("deep/down/one") is None
    await objects.put("deep/down/one", data)
    await objects.put("two", b"2")
    assert await objects.size("deep/down/one") == len(data)
    assert await objects.get("deep/down/one") == data
    assert await objects.part("deep/down/one", 100, 300) == data[100:300]
    assert await objects.part("deep/down/one", len(data) - 3, len(data) + 9) == data[-3:]
    found = {one.key: one async for one in objects.list()}
    assert {key: one.size for key, one in found.items()} == {"deep/down/one": len(data), "two": 1}
    assert abs(found["two"].written - time.time()) < 60
    assert [one.key async for one in objects.list("deep")] == ["deep/down/one"]
    await objects.put("two", b"zwei")
    assert await objects.get("two") == b"zwei"
    for _ in range(2):
        await objects.delete("two")
    for reading in (objects.get("two"), objects.part("two", 0, 1)):
        with pytest.raises(NotFound):
            await reading


async def test_a_folder_is_private_and_may_be_gone(tmp_path):
    folder = tmp_path / "kept"
    objects = objects_at(f"file://{folder}")
    assert folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(folder)
    with pytest.raises(ObjectsUnavailable):  # a disk that is not mounted has lost nothing
        await objects.get("one")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ObjectsUnavailable):
        objects_at(f"file://{tmp_path}/file")


@pytest.mark.parametrize("fault", ["error", "cut", "away"])
async def test_a_server_that_fails_is_not_believed(buckets, fault):
    objects = objects_at(buckets.bucket())
    await objects.put("one", b"some bytes")
    with buckets.being(fault), pytest.raises(ObjectsUnavailable) as refused:
        await objects.get("one")
    assert buckets.endpoint not in str(refused.value)
    assert await objects.get("one") == b"some bytes"


async def test_a_slow_server_is_waited_for_and_blocks_nobody(buckets):
    address = buckets.bucket()
    await objects_at(address).put("one", b"some bytes")
    with buckets.being("slow"):
        reading = asyncio.create_task(objects_at(address).get("one"))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert await reading == b"some bytes"
        assert turns > 20
        with pytest.raises(ObjectsUnavailable):
            await objects_at(address, seconds=0.3).get("one")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await objects_at(address).get("one")


async def test_secrets_stay_secret(buckets, caplog):
    objects = objects_at(buckets.bucket())
    with buckets.being("error"), pytest.raises(ObjectsUnavailable) as refused:
        await objects.get("one")
    assert "sesame" not in caplog.text + str(refused.value) + repr(vars(objects))


@pytest.mark.parametrize(
    "address",
    ["http://bucket", "s3://", "s3://user:word@bucket/x", "s3://bucket/x?key=1", "file://x", "/folder"],
)
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError):
        Settings(originals=address)


async def test_credentials_come_from_settings_too(buckets, monkeypatch):
    address = buckets.bucket()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    settings = Settings(
        s3_endpoint=buckets.endpoint, s3_access_key_id="tester", s3_secret_access_key="open-sesame"
    )
    assert "sesame" not in str(settings)
    objects = Objects(address, settings)
    await objects.put("one", b"1")
    assert await objects.get("one") == b"1"
    with pytest.raises(ValueError):
        Settings(s3_endpoint="https://user:word@host")
