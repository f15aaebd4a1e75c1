"""The JSON answers of the service, and how they follow from a stored record."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from model.stream.container import KindWord
from service.client.signing import sign
from service.storage.records import Record


class LayerInfo(BaseModel):
    """One layer of a stored picture."""

    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    bytes: int = Field(description="bytes of this layer alone, alpha included")
    prefix: int = Field(description="bytes of the stream up to the end of this layer")


class RefinedInfo(BaseModel):
    """A search for a smaller stream, after the upload."""

    effort: str = Field(description="how much was searched", examples=["fast", "best"])
    before_bytes: int = Field(description="bytes that were stored before")


class CreditsInfo(BaseModel):
    """Whose a picture is, as its upload said."""

    creator: str
    copyright: str
    credit: str


class PictureInfo(BaseModel):
    """A stored picture."""

    id: str = Field(description="names the upload and the way it was coded")
    url: str = Field(description="where to get it")
    width: int = Field(description="pixels, after orientation")
    height: int = Field(description="pixels, after orientation")
    bytes: int = Field(description="bytes stored: the stream and the alpha planes")
    source_bytes: int = Field(description="bytes of the upload")
    source_format: str = Field(description="format of the upload", examples=["JPEG"])
    source_bits: int = Field(description="bits per channel of the upload; more than 8 are rounded to 8")
    quality: int = Field(description="1-100")
    alpha: bool = Field(description="whether it has transparency")
    kind: KindWord = Field(
        description="what it is kept as: layers of the network, or one file, WebP without loss or AVIF"
    )
    model: str | None = Field(description="id of the weights it was coded with; null where none were needed")
    name: str = Field(default="", description="for people; empty: none")
    created: datetime
    expires: datetime | None = None
    refined: RefinedInfo | None = Field(
        default=None, description="null: nobody has searched for a smaller stream"
    )
    layers: list[LayerInfo] = Field(description="smallest first; the last is the picture's own size")
    thumbhash: str = Field(description="blurred placeholder, base64; see evanw.github.io/thumbhash")
    average: str = Field(description="mean colour", examples=["#8899aa"])
    focus: tuple[float, float] | Literal["auto"] | None = Field(
        default=None, description="what fit=cover keeps in sight; null: the middle"
    )
    salient: tuple[float, float] | None = Field(
        default=None, description="where the eye goes: what auto stands for; null: not known"
    )
    credits: CreditsInfo | None = Field(default=None, description="where the upload wished them kept")
    srcset: str = Field(
        description="ready for <img srcset>: one candidate for each width that the upload asked for, signed "
        "where it must be and a key asked"
    )


class Page(BaseModel):
    """A page of the listing, newest first."""

    images: list[PictureInfo]
    next: str | None = Field(default=None, description="cursor of the next page; null on the last one")


def picture_info(record: Record, public_url: str = "", signing_key: str | None = None) -> PictureInfo:
    """Everything known of a stored picture; ``public_url`` is put before its URLs, and those in ``srcset``
    are signed if there is a key to sign with.
    """
    facts, header = record.facts, record.header
    path = f"/images/{record.id}"
    url = public_url.rstrip("/") + path
    planes = facts.alpha or (0,) * len(header.layers)
    return PictureInfo(
        id=record.id,
        url=url,
        width=header.layers[-1].width,
        height=header.layers[-1].height,
        bytes=record.bytes,
        source_bytes=facts.source_bytes,
        source_format=facts.source_format,
        source_bits=facts.source_bits,
        quality=facts.quality,
        alpha=bool(facts.alpha),
        kind=header.kind.word,
        model=None if header.is_graphic else header.model_id.hex(),
        name=facts.name,
        focus=facts.focus,
        salient=facts.salient,
        credits=CreditsInfo(**asdict(facts.credits)) if facts.credits else None,
        created=datetime.fromtimestamp(facts.created, UTC),
        expires=None if facts.expires is None else datetime.fromtimestamp(facts.expires, UTC),
        refined=None if facts.refined is None else RefinedInfo(**asdict(facts.refined)),
        layers=[
            LayerInfo(width=e.width, height=e.height, bytes=e.length + plane, prefix=e.end)
            for e, plane in zip(header.layers, planes, strict=True)
        ],
        thumbhash=facts.thumbhash,
        average=facts.average,
        srcset=", ".join(f"{url}?{_query(path, width, signing_key)} {width}w" for width in record.widths),
    )


def _query(path: str, width: int, signing_key: str | None) -> str:
    query = f"width={width}"
    return sign(path, query, signing_key) if signing_key else query
