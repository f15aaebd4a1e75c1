"""Opening uploads safely and writing answers, with Pillow. No torch."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from model.codec.graphics import BROKEN
from model.stream.container import MAX_EDGE
from service.errors import BadPicture, PictureTooLarge, UnsupportedPicture
from service.messages.credits import NOBODY, Credits
from service.planning.formats import ALPHA_FORMATS, readable_formats
from service.worker.credits import credits_of, written
from service.worker.transparency import fill_hidden, flattened

MAX_PROFILE_BYTES = 4096
"""Larger ICC profiles are not kept: those of Display P3 and Adobe RGB have some 550 bytes."""
_SEVERAL = ("GIF", "WEBP", "AVIF", "PNG", "TIFF")
"""Formats whose files may be animations, or have several pages."""
PLACEHOLDER_EDGE = 200
"""Placeholders are made from pictures of about so many pixels on the longer side."""

LARGE = 2**20
"""Pixels from which on two threads code an AVIF answer, on any machine: the bytes hang on the number."""

PngImagePlugin.MAX_TEXT_CHUNK = 32 * 2**20  # of its limit for all texts, 64 MiB; by itself 1 MiB


@dataclass(frozen=True)
class Picture:
    """An opened upload: ``rgb`` is upright, ``alpha`` a grey picture or None if opaque. Where it is 0, the
    colours are those of what is visible nearby. ``profile`` is the ICC profile of its colours, nothing for
    sRGB; ``bits`` are those of a channel before it was read."""

    rgb: Image.Image
    alpha: Image.Image | None
    format: str
    profile: bytes = b""
    bits: int = 8
    credits: Credits = NOBODY


def read(
    data: bytes,
    max_pixels: int,
    max_width: int | None = None,
    keep_gamut: bool = False,
    first_frame: bool = True,
) -> Picture:
    """Decode an upload: first frame, upright, in sRGB, 8 bits; at most ``max_width`` wide.

    Without ``first_frame`` animations, and files of several pages, are refused.
    With ``keep_gamut`` RGB pictures with a usable profile of another display stay in its colours.

    What is too large is refused by its header, before any pixel is decoded. Even so a small file can take
    gigabytes and half a minute to parse: for workers only, which are watched and can be ended.

    Raises UnsupportedPicture, BadPicture or PictureTooLarge.
    """
    with _open(data, max_pixels) as image:
        name, bits = image.format or "", _bits(image)
        try:
            if not first_frame and name in _SEVERAL and getattr(image, "is_animated", False):
                raise UnsupportedPicture(f"this {name} has several frames; frame=0 takes the first of them")
            _scale_key(image)
            makers = credits_of(image)
            image.load()
            upright = ImageOps.exif_transpose(image)
            alpha = _alpha(upright)
            profile = _kept_profile(upright) if keep_gamut else b""
            rgb = upright.convert("RGB") if profile else _srgb(upright)
            rgb.info.pop("transparency", None)  # else Pillow would look for that colour again
        except Image.DecompressionBombError as error:  # a frame larger than the header said
            raise PictureTooLarge(f"the limit is {max_pixels} pixels") from error
        except BROKEN as error:
            raise BadPicture(f"the {name} picture is damaged or truncated: {error}") from error
    if max_width and rgb.width > max_width:
        size = (max_width, max(1, round(rgb.height * max_width / rgb.width)))
        if alpha is not None:
            rgb.putalpha(alpha)  # Pillow weights colours by their opacity
        small = rgb.resize(size, Image.Resampling.LANCZOS)
        rgb, alpha = small.convert("RGB"), alpha and small.getchannel("A")
    if alpha is not None:
        fill_hidden(rgb, alpha)
    return Picture(rgb, alpha, name, profile, bits, makers)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    formats = readable_formats()
    if "HEIF" in formats:
        import pillow_heif

        pillow_heif.register_heif_opener()
    try:
        image = Image.open(BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(f"the limit is {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(formats)
        raise UnsupportedPicture(f"not a picture of a kind that is read here: {kinds}") from error
    except BROKEN as error:
        raise BadPicture(f"the picture's header is damaged: {error}") from error
    if image.width * image.height > max_pixels:
        raise PictureTooLarge(f"{image.width} x {image.height} pixels; the limit is {max_pixels} pixels")
    if max(image.size) > MAX_EDGE:
        raise PictureTooLarge(f"{image.width} x {image.height}; the limit is {MAX_EDGE} pixels a side")
    if image.mode in ("F", "LAB"):
        raise UnsupportedPicture(f"pictures of mode {image.mode} are not read here")
    return image


def _bits(image: Image.Image) -> int:
    """Bits per channel of a picture before it is loaded: 16 if its samples are wider than a byte, else 8."""
    wide = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    return 16 if wide or image.mode.startswith("I") else 8


def _scale_key(image: Image.Image) -> None:
    """Bring the transparent grey or colour of a PNG that is not yet loaded from the file's depth, in which
    Pillow keeps it, to that of the samples which Pillow will give.

    Of colours of 16 bits Pillow gives the upper 8, so that all that agree in these become transparent.
    """
    if not isinstance(image, PngImagePlugin.PngImageFile) or not image.tile:
        return
    key, depth = image.info.get("transparency"), str(image.tile[0][3])
    if depth in ("L;2", "L;4") and isinstance(key, int):
        most = 2 ** int(depth[2:]) - 1
        image.info["transparency"] = (key & most) * 255 // most
    elif depth == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _alpha(image: Image.Image) -> Image.Image | None:
    if not image.has_transparency_data:
        return None
    if image.mode.startswith("I"):
        alpha = _where_not(image, image.info["transparency"])
    else:
        alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema() == (255, 255) else alpha


def _where_not(image: Image.Image, key: int) -> Image.Image:
    """255 where the samples of a grey picture are not ``key``, else 0."""
    import numpy as np

    return Image.fromarray(np.where(np.asarray(image) == key, 0, 255).astype(np.uint8))


def _srgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _from_16_bits(image)
    elif image.mode == "LA":
        image = image.convert("L")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    return _by_profile(image) or image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    import numpy as np

    samples = np.asarray(image).astype(np.int64).clip(0, 65535)
    grey = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
    if "icc_profile" in image.info:
        grey.info["icc_profile"] = image.info["icc_profile"]
    return grey


def _kept_profile(image: Image.Image) -> bytes:
    """The picture's ICC profile where it is a small one of an RGB display that is not sRGB, else nothing."""
    icc = image.info.get("icc_profile") or b""
    if image.mode not in ("RGB", "RGBA") or not 128 < len(icc) <= MAX_PROFILE_BYTES:
        return b""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        facts = profile.profile
        if (facts.device_class.strip(), facts.xcolor_space.strip()) != ("mntr", "RGB"):
            return b""
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return b""
        srgb = ImageCms.createProfile("sRGB")
        ImageCms.buildTransform(profile, srgb, "RGB", "RGB")  # it can be used
    except (ImageCms.PyCMSError, OSError, ValueError):
        return b""
    return bytes(icc)


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An RGB picture with that ICC profile in sRGB, reduced to some 200 pixels: for placeholders.

    A picture without a profile is in sRGB already, and is given back as it is.
    """
    if not profile:
        return image
    small = image.reduce(max(1, max(image.size) // PLACEHOLDER_EDGE))
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    shown = ImageCms.profileToProfile(small, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert shown is not None  # only a conversion in place gives nothing back
    return shown


def _by_profile(image: Image.Image) -> Image.Image | None:
    """The picture in sRGB by its embedded ICC profile; None without a usable one."""
    icc = image.info.get("icc_profile")
    if not icc:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        space = profile.profile.xcolor_space.strip()
        if {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}.get(space) != image.mode:
            return None
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return None
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def write(
    image: Image.Image,
    name: str,
    quality: int,
    background: str = "#ffffff",
    sharp: bool = False,
    profile: bytes = b"",
    makers: Credits = NOBODY,
) -> bytes:
    """Write a picture without metadata but the ICC ``profile`` of its colours and its ``makers``, if any;
    these not in PNG.

    ``name`` is one of :data:`service.planning.formats.MEDIA_TYPES`.
    ``quality`` is 1-100. Transparency is flattened on ``background`` where the format has none. ``sharp``
    keeps colours as sharp as brightness where the format can: letters and lines need it.
    """
    if name not in ALPHA_FORMATS:
        image = flattened(image, background)
    threads = 2 if image.width * image.height >= LARGE else 1
    options: dict[str, Any] = {
        "jpeg": {"quality": quality, "progressive": True, "subsampling": 0 if sharp or quality >= 90 else 2},
        "webp": {"quality": quality, "method": 3},
        "avif": {"quality": quality, "speed": 8, "max_threads": threads},
        "png": {"compress_level": 6},
    }[name]
    if profile and image.mode in ("RGB", "RGBA"):
        options["icc_profile"] = profile
    if name != "png":
        options |= written(makers)
    if sharp and name == "avif" and image.mode != "L":
        options["subsampling"] = "4:4:4"
    out = BytesIO()
    try:
        image.save(out, name, **options)
    except OSError:
        if not options.pop("progressive", False):
            raise
        out = BytesIO()  # Pillow guesses how many bytes a progressive JPEG takes; noise takes more
        image.save(out, name, **options)
    return out.getvalue()


def write_alpha(alpha: Image.Image, size: tuple[int, int]) -> bytes:
    """One layer's alpha plane, resized to (width, height), as a lossless grey picture."""
    out = BytesIO()
    if alpha.size != size:
        alpha = alpha.resize(size, Image.Resampling.LANCZOS)
    alpha.save(out, "png", compress_level=9)
    return out.getvalue()
