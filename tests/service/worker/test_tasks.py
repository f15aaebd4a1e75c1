"""What a worker keeps: layers once decoded are not decoded again."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmarks.measure.drawn import cartoon
from model.codec.codec import Codec
from model.codec.refine import EFFORTS, MOST_ERROR, Effort
from model.geometry import Size
from model.stream.container import CodedLayer, Kind, read_header, verify, write, write_graphic
from model.stream.ladder import Ladder
from service.errors import BadParameter, BadPicture, DamagedStream, WeightsMissing
from service.messages.jobs import Recode, Refine, Rendered, Upload
from service.settings import Settings, WorkerSettings
from service.worker import imagefile
from service.worker.tasks import Tasks
from service.worker.thumbhash import average_colour
from tests.model.tiny import picture
from tests.service.jobs import rendering
from tests.service.samples import adobe_rgb_profile, encoded, photo, pixels


@pytest.fixture(scope="module")
def settings() -> WorkerSettings:
    return Settings(device="cpu").for_worker


@pytest.fixture(scope="module")
def stream(settings: WorkerSettings) -> bytes:
    """A picture of 192 x 128 in layers of 64, 96 and 192 pixels' width."""
    return Tasks(settings).upload(Upload("", _png(lambda x, y: x), 75, Ladder((64, 96)))).stream


def _png(red: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bytes:
    y, x = np.mgrid[0:128, 0:192]
    out = BytesIO()
    Image.fromarray(np.stack([red(x, y), y, (x + y) % 256], 2).astype(np.uint8)).save(out, "png")
    return out.getvalue()


def render(tasks: Tasks, stream: bytes, layer: int, key: str = "key") -> tuple[bytes, int]:
    """The PNG of a layer, and how many layers were decoded for it."""
    size = [(64, 43), (96, 64), (192, 128)][layer]
    rendered = tasks.render(rendering(key, stream, layer, size, "png", 100))
    return rendered.body, rendered.layers_decoded


def test_a_larger_layer_continues_from_a_smaller_one(settings: WorkerSettings, stream: bytes) -> None:
    tasks = Tasks(settings)
    whole = render(Tasks(settings), stream, 2)
    assert whole[1] == 3
    assert render(tasks, stream, 0)[1] == 1
    assert render(tasks, stream, 2) == (whole[0], 2)
    assert render(tasks, stream, 2) == (whole[0], 0)


def test_a_smaller_layer_was_decoded_on_the_way_to_a_larger_one(
    settings: WorkerSettings, stream: bytes
) -> None:
    tasks = Tasks(settings)
    render(tasks, stream, 2)
    assert render(tasks, stream, 1) == (render(Tasks(settings), stream, 1)[0], 0)
    assert render(tasks, stream, 1, key="another picture")[1] == 2


def test_what_is_kept_is_bounded(stream: bytes) -> None:
    tasks = Tasks(Settings(device="cpu", worker_cache_bytes=64 * 43 * 3).for_worker)
    render(tasks, stream, 2)
    assert render(tasks, stream, 2)[1] == 3


def test_warming_up_leaves_nothing_behind(settings: WorkerSettings, stream: bytes) -> None:
    tasks = Tasks(settings)
    tasks.warm_up()
    assert render(tasks, stream, 2)[1] == 3


@pytest.mark.parametrize("crop", [(0, 0, 96, 64), (101, 30, 160, 99), (191, 127, 192, 128)])
@pytest.mark.parametrize("started", [False, True])
def test_a_small_part_is_decoded_alone(
    settings: WorkerSettings, stream: bytes, crop: tuple[int, int, int, int], started: bool
) -> None:
    """As the same part of the whole layer, but neither decoded nor kept whole."""
    tasks = Tasks(settings)
    if started:
        render(tasks, stream, 1)
    size = crop[2] - crop[0], crop[3] - crop[1]
    part = tasks.render(rendering("key", stream, 2, size, "png", 100, crop))
    assert part.layers_decoded == (1 if started else 3)
    body, decoded = render(tasks, stream, 2)
    assert decoded == part.layers_decoded
    expected = np.asarray(Image.open(BytesIO(body)).crop(crop), int)
    assert np.abs(np.asarray(Image.open(BytesIO(part.body)), int) - expected).max() <= 1
    kept = tasks.render(rendering("key", stream, 2, size, "png", 100, crop))
    assert kept.layers_decoded == 0
    assert np.array_equal(np.asarray(Image.open(BytesIO(kept.body)), int), expected)


def test_a_batch_gives_what_its_jobs_give_alone(settings: WorkerSettings, stream: bytes) -> None:
    """Pictures of the same sizes and others, whole and in part, one picture twice, bad ones among them."""
    negative = Tasks(settings).upload(Upload("", _png(lambda x, y: 255 - x), 75, Ladder((64, 96)))).stream
    jobs = [
        rendering("one", stream, 2, (192, 128), "png", 100),
        rendering("two", negative, 2, (192, 128), "png", 100),
        rendering("one", stream, 2, (100, 67), "webp", 80),
        rendering("one", stream, 1, (96, 64), "png", 100),
        rendering("two", negative, 2, (20, 20), "png", 100, (100, 50, 120, 70)),
        rendering("cut", stream[:-300], 2, (192, 128), "png", 100),
        rendering("nonsense", b"nonsense", 0, (64, 43), "png", 100),
        rendering("one", stream, 7, (64, 43), "png", 100),
    ]
    results = Tasks(settings).render_batch(jobs)
    for job, result in zip(jobs[:5], results[:5], strict=True):
        alone = Tasks(settings).render(job)
        assert isinstance(result, Rendered)
        assert (result.media_type, result.layers_decoded) == (alone.media_type, alone.layers_decoded)
        pixels = [np.asarray(Image.open(BytesIO(r.body)).convert("RGB"), int) for r in (result, alone)]
        assert np.abs(pixels[0] - pixels[1]).max() <= (1 if job.plan.format == "png" else 8)
    assert [type(result) for result in results[5:]] == [DamagedStream, DamagedStream, BadParameter]


def test_a_batch_continues_from_kept_layers(settings: WorkerSettings, stream: bytes) -> None:
    tasks = Tasks(settings)
    render(tasks, stream, 1, key="a")
    jobs = [rendering(key, stream, 2, (192, 128), "png", 100) for key in ("a", "b")]
    continued, fresh = tasks.render_batch(jobs)
    assert isinstance(continued, Rendered)
    assert isinstance(fresh, Rendered)
    assert (continued.layers_decoded, fresh.layers_decoded) == (1, 3)
    assert continued.body == fresh.body
    assert render(tasks, stream, 2, key="b") == (fresh.body, 0)


def test_a_part_is_resized_with_its_transparency(settings: WorkerSettings) -> None:
    out = BytesIO()
    y, x = np.mgrid[0:128, 0:192]
    planes = [x, y, (x + y) % 256, np.where(x < 100, 255, y)]
    Image.fromarray(np.stack(planes, 2).astype(np.uint8)).save(out, "png")
    coded = Tasks(settings).upload(Upload("", out.getvalue(), 75, Ladder((64,))))
    crop = (90, 40, 120, 70)
    job = rendering("key", coded.stream, 1, (30, 30), "png", 100, crop, alpha=coded.alpha[1])
    alpha = np.asarray(Image.open(BytesIO(Tasks(settings).render(job).body)).getchannel("A"))
    assert np.array_equal(alpha, planes[3][40:70, 90:120])


@pytest.fixture(scope="module")
def drawing() -> Image.Image:
    return cartoon().crop((100, 100, 420, 340))


@pytest.fixture(scope="module")
def graphic(settings: WorkerSettings, drawing: Image.Image) -> bytes:
    """A drawing of 320 x 240, asked for in three layers."""
    return Tasks(settings).upload(Upload("", encoded(drawing, "PNG"), 75, Ladder((80, 160)))).stream


def test_a_drawing_is_given_back_exactly(
    settings: WorkerSettings, graphic: bytes, drawing: Image.Image
) -> None:
    """Whole, in part and turned; it is decoded once."""
    header = verify(graphic)
    assert (header.kind, len(header.layers)) == (Kind.LOSSLESS, 1)
    tasks = Tasks(settings)
    whole = tasks.render(rendering("key", graphic, 0, (320, 240)))
    assert np.array_equal(pixels(whole.body), pixels(encoded(drawing, "PNG")))
    part = tasks.render(rendering("key", graphic, 0, (30, 20), crop=(10, 40, 40, 60)))
    assert np.array_equal(pixels(part.body), np.asarray(drawing.crop((10, 40, 40, 60)), np.int32))
    assert (whole.layers_decoded, part.layers_decoded) == (1, 0)
    alone = Tasks(settings)  # of a graphic a part alone cannot be decoded: all of it is kept
    assert alone.render(rendering("key", graphic, 0, (30, 20), crop=(10, 40, 40, 60))).body == part.body
    assert alone.render(rendering("key", graphic, 0, (320, 240))).layers_decoded == 0


def test_smaller_widths_of_a_drawing_are_resized(
    settings: WorkerSettings, graphic: bytes, drawing: Image.Image
) -> None:
    small = Tasks(settings).render(rendering("key", graphic, 0, (100, 75)))
    expected = drawing.resize((100, 75), Image.Resampling.LANCZOS)
    assert np.array_equal(pixels(small.body), np.asarray(expected, np.int32))


def test_no_answer_is_larger_than_the_file_that_is_stored(settings: WorkerSettings, graphic: bytes) -> None:
    file = graphic[read_header(graphic).length :]
    tasks = Tasks(settings)
    assert tasks.render(rendering("key", graphic, 0, (320, 240), "webp", 100)).body == file
    rough = tasks.render(rendering("key", graphic, 0, (320, 240), "webp", 1)).body
    assert len(rough) < len(file)
    assert tasks.render(rendering("key", graphic, 0, (319, 239), "webp", 100)).body != file


def test_a_transparent_drawing(settings: WorkerSettings, drawing: Image.Image) -> None:
    """One plane of transparency, for the one layer."""
    image = drawing.copy()
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    tasks = Tasks(settings)
    coded = tasks.upload(Upload("", encoded(image, "PNG"), 75, Ladder((80, 160))))
    assert read_header(coded.stream).kind is Kind.LOSSLESS
    assert len(coded.alpha) == 1
    for output in ("png", "webp"):
        body = tasks.render(rendering("key", coded.stream, 0, (320, 240), output, alpha=coded.alpha[0])).body
        assert np.array_equal(pixels(body)[..., 3], np.asarray(image, np.int32)[..., 3])
        if output == "png":
            assert np.array_equal(pixels(body), np.asarray(image, np.int32))


def test_graphics_can_be_switched_off(drawing: Image.Image) -> None:
    tasks = Tasks(Settings(device="cpu", graphics=False).for_worker)
    coded = tasks.upload(Upload("", encoded(drawing, "PNG"), 75, Ladder((80, 160))))
    header = read_header(coded.stream)
    assert (header.kind, len(header.layers)) == (Kind.PHOTOGRAPH, 3)


def test_effort_is_spent_on_photographs_alone(settings: WorkerSettings, drawing: Image.Image) -> None:
    told: list[float] = []
    job = Upload("", encoded(drawing, "PNG"), 75, Ladder((80, 160)))
    assert read_header(Tasks(settings).upload(job, Effort(2), told.append).stream).is_graphic
    assert told == []


@pytest.mark.parametrize("kind", [Kind.LOSSLESS, Kind.AVIF])
def test_a_hostile_graphic_is_damage(settings: WorkerSettings, graphic: bytes, kind: Kind) -> None:
    """Alone and among others."""
    forged = write_graphic(kind, Size(240, 320), 100, b"RIFF" + bytes(40))
    jobs = [rendering(str(n), s, 0, (320, 240)) for n, s in enumerate((forged, graphic, forged))]
    results = Tasks(settings).render_batch(jobs)
    assert [type(result) for result in results] == [DamagedStream, Rendered, DamagedStream]


def test_a_wide_gamut_goes_through(drawing: Image.Image) -> None:
    """As a photograph and as a graphic, whose stored file has no profile of its own."""
    profile = adobe_rgb_profile()
    tasks = Tasks(Settings(device="cpu", gamut="keep").for_worker)
    for image in (photo(96, 64), drawing):
        coded = tasks.upload(Upload("", encoded(image, "PNG", icc_profile=profile), 75, Ladder(())))
        assert coded.profile == profile
        shown = imagefile.read(encoded(image, "PNG", icc_profile=profile), 10**6).rgb
        assert (
            colours_apart(coded.average, average_colour(shown))
            <= 1
            < colours_apart(coded.average, average_colour(image))
        )
        for output in ("png", "webp", "avif", "jpeg"):
            job = rendering(coded.thumbhash, coded.stream, 0, image.size, output)
            body = tasks.render(replace(job, profile=coded.profile)).body
            with Image.open(BytesIO(body)) as answer:
                assert answer.info["icc_profile"] == profile


def colours_apart(one: str, other: str) -> int:
    """The largest difference between the channels of two colours, "#rrggbb"."""
    return max(abs(a - b) for a, b in zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True))


def test_weights_that_are_missing_are_no_damage(settings: WorkerSettings) -> None:
    """The picture is whole, and is shown again when they are installed."""
    unknown = write(b"unknown!", 256, [CodedLayer(64, 43, 75, b"hyper", [b"x" * 9])])
    with pytest.raises(WeightsMissing, match=b"unknown!".hex()) as missing:
        Tasks(settings).render(rendering("key", unknown, 0, (64, 43), "png", 100))
    assert missing.value.status == 503


def _upload(width: int = 160, height: int = 128, seed: int = 0) -> bytes:
    """A picture with enough in it to search for something smaller."""
    out = BytesIO()
    Image.fromarray(picture(width, height, seed)).save(out, "png")
    return out.getvalue()


def test_a_refined_stream_is_smaller_and_no_layer_of_it_worse(
    settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EFFORTS, "fast", 60)
    tasks, data, shares = Tasks(settings), _upload(), list[float]()
    stored = tasks.upload(Upload("", data, 60, Ladder((80,)))).stream
    refined = tasks.refine(Refine("key", data, stored, "fast"), shares.append)
    verify(refined.stream)
    assert len(refined.stream) < len(stored)
    assert refined.seconds > 0
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    headers = read_header(stored), read_header(refined.stream)
    assert headers[0].sizes == headers[1].sizes
    assert headers[0].model_id == headers[1].model_id
    codec = Codec.load(settings.profile, "cpu", 1)
    for layer, size in enumerate(headers[0].sizes):
        original = np.asarray(
            Image.open(BytesIO(data)).resize((size.width, size.height), Image.Resampling.BICUBIC)
        )
        before, after = (
            np.square(codec.decode(stream, layer).astype(float) - original).sum()
            for stream in (stored, refined.stream)
        )
        assert after <= 1.0001 * MOST_ERROR * before


def test_a_stream_that_got_worse_or_no_smaller_is_not_given(
    settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A smaller one of a lower quality is worse; the same one again is no smaller."""
    tasks, data = Tasks(settings), _upload()
    stored = tasks.upload(Upload("", data, 60, Ladder((80,)))).stream
    worse = tasks.upload(Upload("", data, 50, Ladder((80,)))).stream
    assert len(worse) < len(stored)
    for found in (worse, stored):
        monkeypatch.setattr(Codec, "encode", lambda *_, found=found, **__: found)
        assert tasks.refine(Refine("key", data, stored, "fast")).stream == b""


def test_a_picture_that_was_made_smaller_is_refined_at_its_size(
    settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EFFORTS, "fast", 60)
    tasks, data = Tasks(settings), _upload(320, 256)
    stored = tasks.upload(Upload("", data, 60, Ladder((80,)), max_width=150)).stream
    refined = tasks.refine(Refine("key", data, stored, "fast"))
    assert 0 < len(refined.stream) < len(stored)


def test_what_cannot_be_refined(settings: WorkerSettings) -> None:
    tasks, data = Tasks(settings), _upload()
    stored = tasks.upload(Upload("", data, 60, Ladder((80,)))).stream
    with pytest.raises(BadPicture, match="its stream"):
        tasks.refine(Refine("key", _upload(160, 120), stored, "fast"))
    with pytest.raises(BadPicture):
        tasks.refine(Refine("key", data[:-200], stored, "fast"))
    with pytest.raises(DamagedStream):
        tasks.refine(Refine("key", data, stored[:20], "fast"))
    foreign = write(b"no model", 256, [CodedLayer(160, 128, 60, b"hyper", [b"tile"])])
    with pytest.raises(WeightsMissing):
        tasks.refine(Refine("key", data, foreign, "fast"))


def test_a_picture_is_coded_anew_from_its_upload(settings: WorkerSettings) -> None:
    """Whatever weights it was coded with before, and whether they are installed."""
    tasks, data = Tasks(settings), _upload()
    stored = tasks.upload(Upload("", data, 60, Ladder((80,)))).stream
    header = read_header(stored)
    old = [CodedLayer(w.width, w.height, w.quality, b"hyper", [b"tile"]) for w in header.layers]
    found = tasks.recode(Recode("key", data, write(b"no model", 256, old)))
    assert found.stream == stored
    assert found.seconds > 0


def test_a_picture_is_coded_anew_from_what_is_stored(settings: WorkerSettings) -> None:
    tasks = Tasks(settings)
    stored = tasks.upload(Upload("", _upload(), 60, Ladder((80,)))).stream
    found = tasks.recode(Recode("key", b"", stored)).stream
    assert read_header(found).sizes == read_header(stored).sizes
    before, after = (tasks._codec.decode(stream).astype(int) for stream in (stored, found))
    assert np.abs(before - after).mean() < 8


def test_what_cannot_be_coded_anew(settings: WorkerSettings) -> None:
    tasks, data = Tasks(settings), _upload()
    stored = tasks.upload(Upload("", data, 60, Ladder((80,)))).stream
    foreign = write(b"no model", 256, [CodedLayer(160, 128, 60, b"hyper", [b"tile"])])
    with pytest.raises(WeightsMissing):
        tasks.recode(Recode("key", b"", foreign))
    with pytest.raises(BadPicture, match="its stream"):
        tasks.recode(Recode("key", _upload(160, 120), stored))
    with pytest.raises(BadPicture):
        tasks.recode(Recode("key", data[:-200], stored))
    with pytest.raises(DamagedStream):
        tasks.recode(Recode("key", b"", stored[:-1]))
    graphic = write_graphic(Kind.LOSSLESS, Size(2, 3), 100, b"file")
    with pytest.raises(BadParameter):
        tasks.recode(Recode("key", data, graphic))


def test_layers_of_a_picture_that_is_gone_are_not_kept(settings: WorkerSettings, stream: bytes) -> None:
    tasks = Tasks(settings)
    for key in ("one", "two"):
        assert render(tasks, stream, 0, key)[1] == 1
    tasks.forget({"one"})
    assert [render(tasks, stream, 0, key)[1] for key in ("one", "two")] == [1, 0]
    tasks.forget(None)
    assert [render(tasks, stream, 0, key)[1] for key in ("one", "two")] == [1, 1]
