"""URLs of pictures, and what an ``<img>`` makes of them: ``srcset`` and ``sizes``. No request is made.

>>> picture_url("k" * 32, "https://img.example.org", width=640, fit="cover", height=400)
'https://img.example.org/images/kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk?width=640&fit=cover&height=400'
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import urlencode

_PICTURE = re.compile(r"(?P<base>(?:https?://[^?#]*?)?)(?:/images)?/?(?P<id>[a-z2-7]{32})")


class Rendering(TypedDict, total=False):
    """The parameters of ``GET /images/{id}``, as docs/api.md describes them."""

    width: int | None
    height: int | None
    fit: Literal["contain", "cover", "fill", "inside"] | None
    focus: tuple[float, float] | Literal["auto"] | None
    dpr: float | None
    upscale: bool | None
    layer: int | None
    preset: str | None
    format: Literal["avif", "webp", "jpeg", "png"] | None
    q: int | None
    background: str | None


def picture_url(picture: str, base: str = "", **parameters: Unpack[Rendering]) -> str:
    """The URL of a rendering.

    ``picture`` is an id, or a URL of a picture without parameters, and ``base`` the address of the service,
    such as ``https://img.example.org``; unset, it is that of the URL, or nothing. Raises ValueError for what
    names no picture.
    """
    found = _PICTURE.fullmatch(picture)
    if found is None:
        raise ValueError(f"{picture!r} is neither an id nor a URL of a picture")
    query = query_of(parameters)
    return f"{(base or found['base']).rstrip('/')}/images/{found['id']}" + (f"?{query}" if query else "")


def query_of(parameters: Mapping[str, Any]) -> str:
    """Parameters as a query string, in their order; those that are None are left out."""
    given = {name: _text(value) for name, value in parameters.items() if value is not None}
    return urlencode(given)


def srcset(info: Mapping[str, Any], base: str = "", **parameters: Unpack[Rendering]) -> str:
    """The ``srcset`` of a picture, of which ``info`` is the JSON of ``/info``: one candidate for each width
    that the service offers, with further ``parameters``, such as ``format="avif"``.

    Signed URLs of ``info`` are not taken over: sign each, or use ``info["srcset"]`` as it is.
    """
    wishes: list[Rendering] = [{**parameters, "width": width} for width in widths_of(info)]
    return ", ".join(f"{picture_url(info['id'], base, **wish)} {wish['width']}w" for wish in wishes)


def widths_of(info: Mapping[str, Any]) -> list[int]:
    """The widths that the service offers of a picture, in pixels, smallest first."""
    return [int(width) for width in re.findall(r" (\d+)w(?:,|$)", info["srcset"])]


def sizes(widths: Mapping[str, str] | str) -> str:
    """The ``sizes`` of an ``<img>``: widths by media condition, the default one under ``""``.

    >>> sizes({"(max-width: 40rem)": "100vw", "": "40rem"})
    '(max-width: 40rem) 100vw, 40rem'
    """
    if isinstance(widths, str):
        return widths
    conditional = [f"{condition} {width}" for condition, width in widths.items() if condition]
    return ", ".join([*conditional, widths.get("", "100vw")])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(_text, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
