"""Rate-distortion of the codec's single layer: `make bench-rd DATA=folder PROFILE=lite ANCHORS=folder`.

Every figure comes from the bytes of real streams, headers counted, and from decoded 8-bit pictures.
"""

from collections.abc import Iterator, Mapping, Sequence

from tqdm import tqdm

from benchmarks.measure import command
from benchmarks.measure.cache import Measurement
from benchmarks.measure.classic import CLASSIC_CODECS, ClassicCodec
from benchmarks.measure.curves import Curve, curve_points
from benchmarks.measure.pictures import Picture
from benchmarks.measure.report import compare, finish, plot_curves, shared_range, table

QUALITIES = tuple(range(10, 101, 10))


def falls(pictures: Sequence[Picture], rows: Mapping[int, Sequence[Measurement]]) -> Iterator[str]:
    """Where bytes or PSNR do not rise from one quality to the next, one sentence each.

    ``rows`` holds, for each quality, one measurement per picture.
    """
    for low, high in zip(sorted(rows), sorted(rows)[1:], strict=False):
        for picture, before, after in zip(pictures, rows[low], rows[high], strict=True):
            for what, a, b in zip(("bytes", "PSNR"), before[-1], after[-1], strict=True):
                if b <= a:
                    yield f"{picture.name}, quality {low} to {high}: {what} {a:g} to {b:g}"


def with_distinct_names(live: Sequence[Curve], anchors: Sequence[Curve]) -> list[Curve]:
    """All curves; an anchor with the name of a curve measured here becomes "published …"."""
    taken = {curve.name for curve in live}
    return [
        *live,
        *(Curve(f"published {c.name}" if c.name in taken else c.name, c.points) for c in anchors),
    ]


def classic_curve(codec: ClassicCodec, inputs: command.Inputs) -> Curve:
    """The curve of a classic codec over its ladder of qualities."""
    rows = [
        [codec.measure(picture, quality, inputs.classic_cache) for picture in inputs.pictures]
        for quality in tqdm(codec.ladder, desc=codec.name, unit="quality")
    ]
    return Curve(codec.name, curve_points(inputs.pictures, rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compare, report; ``arguments`` instead of the command line's."""
    parser = command.parser("bench-rd", __doc__)
    command.add_anchors(parser)
    inputs = command.load(parser.parse_args(arguments))
    pictures = inputs.pictures
    rows: dict[int, list[Measurement]] = {quality: [] for quality in QUALITIES}
    for quality, picture in tqdm(
        [(q, p) for q in QUALITIES for p in pictures], inputs.profile, unit="picture"
    ):
        rows[quality].append(inputs.meter.layers(picture, [picture.size], quality))
    ours = Curve(f"COMPASS {inputs.profile}, one layer", curve_points(pictures, list(rows.values())))
    others = with_distinct_names([classic_curve(codec, inputs) for codec in CLASSIC_CODECS], inputs.anchors)

    bd_rates = {curve.name: compare(curve.points, ours.points) for curve in others}
    not_rising = list(falls(pictures, rows))
    plot_curves(inputs.out / "rd.png", f"{len(pictures)} pictures of {inputs.data}", ours, others)
    text = [
        f"# Rate and distortion: {inputs.profile}, one layer, {len(pictures)} pictures of {inputs.data}",
        f"Model {inputs.model_id}.",
        table(
            ["quality", "bits per pixel", "PSNR, dB"],
            [(q, f"{bpp:.4f}", psnr) for q, (bpp, psnr) in zip(QUALITIES, ours.points, strict=True)],
        ),
        table(
            ["bits at equal PSNR, against", "BD-rate, %", "over, dB"],
            [(c.name, bd_rates[c.name], shared_range(c.points, ours.points)) for c in others],
        ),
        "Published curves are means of the whole set they were measured on; compare like with like.",
        "Not monotone:\n\n" + "\n".join(f"- {line}" for line in not_rising)
        if not_rising
        else "Bytes and PSNR rise with every quality on every picture.",
    ]
    result = {
        "bd_rate": bd_rates,
        "curve": [[round(bpp, 5), round(psnr, 4)] for bpp, psnr in ours.points],
        "monotone": not not_rising,
        "profile": inputs.profile,
        "model_id": inputs.model_id,
        "pictures": len(pictures),
    }
    finish(inputs.out, "rd", text, result)


if __name__ == "__main__":
    main()
