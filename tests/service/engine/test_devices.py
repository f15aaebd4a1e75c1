"""Where workers run, told from files and environment alone."""

from pathlib import Path

import pytest

from service.engine.devices import core_count, cuda_devices, places
from service.errors import ServiceError
from service.settings import Settings


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A /dev with two CUDA devices."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1"]),
        ("", []),
        ("1", ["1"]),
        ("1, 0", ["1", "0"]),
        ("GPU-8932f937", ["GPU-8932f937"]),
        ("0,-1,1", ["0"]),
        ("-1", []),
    ],
)
def test_devices_follow_the_environment(dev: Path, visible: str | None, expected: list[str]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert cuda_devices(environment, dev) == expected


def test_no_device_without_device_files(tmp_path: Path) -> None:
    assert cuda_devices({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path) == []


def test_one_worker_a_device(dev: Path) -> None:
    found = places(Settings(), {}, dev, cores=8)
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in found] == ["0", "1"]
    assert all(place.environment["OMP_NUM_THREADS"] == "4" for place in found)
    assert all(place.pipelines > 1 and place.batch > 1 for place in found)


def test_more_workers_than_devices_share_them(dev: Path) -> None:
    found = places(Settings(workers=3, spare_workers=2), {}, dev, cores=8)
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in found] == ["0", "1", "0"]


def test_one_worker_a_core_without_devices(tmp_path: Path) -> None:
    found = places(Settings(), {}, tmp_path, cores=3)
    assert [place.spare for place in found] == [False, False, False, True]
    assert [place.environment["OMP_NUM_THREADS"] for place in found] == ["1", "1", "1", "1"]
    assert all(place.environment["CUDA_VISIBLE_DEVICES"] == "" for place in found)
    assert all(place.pipelines == place.batch == 1 for place in found)


def test_the_settings_come_first(dev: Path) -> None:
    settings = Settings(device="cpu", workers=2, worker_threads=5, spare_workers=0)
    found = places(settings, {}, dev, cores=8)
    assert [place.environment["OMP_NUM_THREADS"] for place in found] == ["5", "5"]
    assert all(place.environment["CUDA_VISIBLE_DEVICES"] == "" for place in found)


def test_cuda_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no CUDA device"):
        places(Settings(device="cuda"), {}, tmp_path, cores=2)


def test_cores_follow_the_container_s_quota(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert core_count(quota) == 1
    quota.write_text("max 100000\n")
    everything = core_count(quota)
    assert everything >= 1
    assert core_count(tmp_path / "missing") == everything
