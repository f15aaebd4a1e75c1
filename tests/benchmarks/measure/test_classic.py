import numpy as np
import pytest

from benchmarks.measure.cache import Cache
from benchmarks.measure.classic import CLASSIC_CODECS
from benchmarks.measure.curves import as_layers, curve_points, mean_point
from benchmarks.measure.pictures import Picture


@pytest.fixture(scope="module")
def picture() -> Picture:
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    noise = np.random.default_rng(1).normal(0, 12, (64, 96, 3))
    smooth = np.stack([2 * x, 3 * y, x + y], axis=-1)
    return Picture("synthetic", (smooth + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("codec", CLASSIC_CODECS, ids=lambda codec: codec.name)
def test_bytes_and_psnr_rise_along_the_ladder(codec, picture, tmp_path):
    cache = Cache(tmp_path / "cache")
    ladder = codec.ladder[0], codec.ladder[len(codec.ladder) // 2], codec.ladder[-1]
    rows = [[codec.measure(picture, quality, cache)] for quality in ladder]
    low, middle, high = curve_points([picture], rows)
    assert low[0] < middle[0] < high[0]
    assert low[1] < middle[1] < high[1]


@pytest.mark.parametrize("codec", CLASSIC_CODECS, ids=lambda codec: codec.name)
def test_a_measurement_is_of_the_real_file(codec, picture, tmp_path):
    quality = codec.ladder[len(codec.ladder) // 2]
    [[size, psnr]] = codec.measure(picture, quality, Cache(tmp_path / "cache"))
    data = codec.encode(picture.pixels, quality)
    error = np.mean((codec.decode(data).astype(float) - picture.pixels) ** 2)
    assert size == len(data)
    assert psnr == pytest.approx(10 * np.log10(255**2 / error))


def test_means_are_over_pictures():
    pictures = [Picture(name, np.zeros((10, 8, 3), np.uint8)) for name in "ab"]
    measured = [[[5, 20.0], [10, 30.0]], [[15, 22.0], [30, float("inf")]]]
    assert mean_point(pictures, measured) == (2.0, 45.0)
    assert mean_point(pictures, measured, 0) == (1.0, 21.0)


def test_simulcast_adds_up_bytes_and_keeps_each_psnr():
    assert as_layers([[[10, 30.0]], [[25, 31.0]], [[70, 29.0]]]) == [[10, 30.0], [35, 31.0], [105, 29.0]]
