import numpy as np
import pytest
from PIL import Image

from benchmarks.measure.pictures import Picture, middle, picture_files, psnr, read_pictures
from model.geometry import Size
from model.training.folder import held_out_paths


def test_psnr_of_a_known_error():
    black = np.zeros((4, 6, 3), np.uint8)
    assert psnr(black, black + np.uint8(5)) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(black + np.uint8(255), black) == pytest.approx(0)  # no wrap-around of 8-bit values
    assert psnr(black, black) == float("inf")


def test_psnr_of_different_sizes_or_floats_is_refused():
    black = np.zeros((4, 6, 3), np.uint8)
    with pytest.raises(ValueError):
        psnr(black, np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError):
        psnr(black, black.astype(float))


def test_the_middle_of_a_picture():
    pixels = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    cut = middle(Picture("a", pixels), Size(2, 4))
    assert np.array_equal(cut.pixels, pixels[2:4, 3:7])
    assert np.array_equal(middle(Picture("a", pixels), Size(8, 20)).pixels, pixels)


def test_a_subset_is_spread_over_the_folder(tmp_path):
    for number in range(6):
        Image.new("L", (3, 2), number).save(tmp_path / f"p{number}.png")
    assert [p.name for p in read_pictures(tmp_path)] == [f"p{n}" for n in range(6)]
    assert [p.name for p in read_pictures(tmp_path, 3)] == ["p0", "p2", "p4"]
    picture = read_pictures(tmp_path, 1)[0]
    assert picture.pixels.shape == (2, 3, 3)
    assert picture.size == Size(2, 3)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no PNG"):
        read_pictures(tmp_path)


def test_of_a_folder_of_training_photographs_those_held_out_are_taken(tmp_path):
    for number in range(20):
        path = tmp_path / f"shard{number % 2}" / f"{number:02}.webp"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (3, 2), (number, 0, 0)).save(path)
    held_out = held_out_paths(tmp_path)[1]
    assert picture_files(tmp_path) == held_out
    assert picture_files(tmp_path, 2) == [held_out[0], held_out[len(held_out) // 2]]
    assert [p.name for p in read_pictures(tmp_path)] == [path.stem for path in held_out]
    Image.new("RGB", (3, 2)).save(tmp_path / "own.png")
    assert [p.name for p in read_pictures(tmp_path)] == ["own"]


def test_digests_tell_pixels_and_shapes_apart():
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    digests = {Picture("", x).digest for x in (pixels, pixels.reshape(4, 3, 3), pixels + np.uint8(1))}
    assert len(digests) == 3
    assert Picture("other name", pixels.copy()).digest in digests
