"""Query parameters of the routes, checked and documented."""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from model.stream.container import MAX_EDGE
from service.errors import BadParameter
from service.library import Keeping
from service.planning.hints import Hinted, hinted
from service.planning.plans import Finish
from service.planning.presets import Presets, parse_presets
from service.planning.sizing import Fit, Wanted
from service.storage.records import MOST_NAME, Facts, Point

PictureId = Annotated[str, Path(description="id of a picture", max_length=64)]


def _widths(text: str) -> str:
    for part in text.split(","):
        if not part.strip().isascii() or not part.strip().isdecimal() or not 1 <= int(part) <= MAX_EDGE:
            raise ValueError(f"widths are whole numbers from 1 to {MAX_EDGE}, separated by commas")
    return text


def _focus(text: str) -> str:
    if text != "auto" and not all(0 <= float(share) <= 1 for share in text.split(",")):
        raise ValueError("focus is auto, or two shares of 0 to 1, of the width and of the height")
    return text


_SHARE = r"(?:0|1|0?\.[0-9]{1,4}|[01]\.[0-9]{1,4})"
FocusText = Annotated[
    str, Field(max_length=13, pattern=f"^(?:auto|{_SHARE},{_SHARE})$"), AfterValidator(_focus)
]


def _point(text: str) -> Point:
    across, down = text.split(",")
    return float(across), float(down)


def usual_focus(facts: Facts) -> Point | None:
    """The focus of a picture where none is asked for; None: the middle."""
    return facts.salient if facts.focus == "auto" else facts.focus


class UploadParameters(BaseModel):
    """How an upload is coded and kept."""

    quality: int | None = Field(
        default=None, ge=1, le=100, description="coding quality; unset: COMPASS_QUALITY"
    )
    widths: Annotated[str, AfterValidator(_widths)] | None = Field(
        default=None,
        max_length=200,
        pattern=r"^ *[0-9]{1,5} *(, *[0-9]{1,5} *)*$",
        description="layer widths in pixels, separated by commas; unset: COMPASS_WIDTHS",
        examples=["320,640,1280"],
    )
    max_width: int | None = Field(
        default=None, ge=1, le=MAX_EDGE, description="a picture wider than this is made this wide, in pixels"
    )
    ttl: int | None = Field(default=None, ge=1, description="seconds until it is deleted; unset: never")

    focus: FocusText | None = Field(
        default=None,
        description="what fit=cover keeps in sight, as shares of width and height; auto: where the eye goes; "
        "unset: the middle",
        examples=["0.3,0.6"],
    )
    metadata: Literal["none", "copyright"] = Field(
        default="none", description="copyright: creator, copyright and credit are kept and given back"
    )
    frame: Literal["0"] | None = Field(
        default=None, description="0: the first frame of an animation, which is refused without it"
    )
    name: str | None = Field(
        default=None, max_length=MOST_NAME, description="a name for people, such as the file's"
    )

    def keeping(self) -> Keeping:
        """What is kept beside the pixels."""
        focus: Point | Literal["auto"] | None = None
        if self.focus is not None:
            focus = "auto" if self.focus == "auto" else _point(self.focus)
        return Keeping.wished(focus, self.metadata, self.frame, self.name)

    def layer_widths(self) -> tuple[int, ...] | None:
        """The wanted widths, or None for the default ones."""
        return None if self.widths is None else tuple(int(part) for part in self.widths.split(","))


class PictureParameters(BaseModel):
    """How a picture is given back."""

    width: int | None = Field(default=None, ge=1, le=MAX_EDGE, description="CSS pixels", examples=[640])
    height: int | None = Field(default=None, ge=1, le=MAX_EDGE, description="CSS pixels")
    fit: Fit = Field(
        default=Fit.CONTAIN,
        description="with width and height: contain keeps proportions inside the box, inside does so and "
        "never enlarges, cover fills the box and cuts off the overhang, fill stretches",
    )
    dpr: float = Field(default=1, ge=0.1, le=5, description="device pixels a CSS pixel")
    upscale: bool = Field(default=False, description="allow up to twice the original's size")
    layer: int | None = Field(default=None, ge=0, le=15, description="a layer as it is, 0 the smallest")
    format: Literal["avif", "webp", "jpeg", "jpg", "png"] | None = Field(
        default=None, description="unset: the best one that Accept allows"
    )
    q: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="output quality, not of PNG; unset: what the stored stream is worth",
    )
    background: str = Field(
        default="ffffff", pattern=r"^#?[0-9a-fA-F]{6}$", description="colour under transparency in JPEG"
    )

    focus: FocusText | None = Field(
        default=None,
        description="with fit=cover: what stays in sight, as shares of width and height, or auto; unset: as "
        "the upload said",
    )

    preset: str | None = Field(
        default=None,
        max_length=32,
        description="a name for parameters that the service knows (COMPASS_PRESETS); the URL comes first",
    )

    def with_preset(self, presets: Presets) -> "PictureParameters":
        """The parameters, completed by those of the preset. Raises BadParameter if there is none."""
        if self.preset is None:
            return self
        if self.preset not in presets:
            raise BadParameter(f"preset {self.preset}: there is none of that name")
        given = self.model_dump(exclude_unset=True, exclude={"preset"})
        return PictureParameters.model_validate({**presets[self.preset], **given})

    def is_offered(self, widths: Collection[int]) -> bool:
        """Whether everybody gets this from a service that shows presets and certain ``widths`` alone."""
        size = self.model_fields_set - {"format"}
        return size <= {"preset"} or size == {"layer"} or (size == {"width"} and self.width in widths)

    def wanted(self) -> Wanted:
        """The part that decides the size."""
        return Wanted(self.width, self.height, self.fit, self.dpr, self.upscale, self.layer)

    def hinted(self, headers: Mapping[str, str] | None) -> Hinted:
        """The part that decides the size, with what a request's headers hint at; None: they do not count."""
        if headers is None:
            return Hinted(self.wanted())
        return hinted(self.wanted(), "dpr" in self.model_fields_set, self.q is not None, headers)

    def focus_in(self, facts: Facts) -> Point | None:
        """What stays in sight; None: the middle. Raises BadParameter where nothing is cut off."""
        if self.focus is not None and (self.fit is not Fit.COVER or not (self.width and self.height)):
            raise BadParameter("focus needs fit=cover with a width and a height: else nothing is cut off")
        if self.focus is None:
            return usual_focus(facts)
        return facts.salient if self.focus == "auto" else _point(self.focus)

    def output(self) -> str | None:
        """The wanted format, None to negotiate."""
        return "jpeg" if self.format == "jpg" else self.format

    def finish(self) -> Finish:
        """What is done to the pixels, beside their size."""
        return Finish(background="#" + self.background.lower().removeprefix("#"))


def presets_of(text: str) -> Presets:
    """The presets of the setting, each of which says what :class:`PictureParameters` understands.

    Raises BadParameter.
    """
    presets = parse_presets(text)
    for name, values in presets.items():
        unknown = values.keys() - (PictureParameters.model_fields.keys() - {"preset"})
        if unknown:
            raise BadParameter(f"COMPASS_PRESETS: preset {name}: no parameter {', '.join(sorted(unknown))}")
        try:
            PictureParameters.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadParameter(f"COMPASS_PRESETS: preset {name}: {first['loc'][0]}: {first['msg']}") from None
    return presets


class StreamParameters(BaseModel):
    """How much of a stream is given back."""

    width: int | None = Field(default=None, ge=1, le=MAX_EDGE, description="pixels; unset: the whole stream")
    layer: int | None = Field(
        default=None, ge=0, le=15, description="the last layer wanted, instead of width"
    )


class NewName(BaseModel):
    """What of a picture can be changed."""

    name: str = Field(max_length=MOST_NAME, description="for people; empty: none")


class PageParameters(BaseModel):
    """Which part of the listing is given back."""

    cursor: str | None = Field(
        default=None, pattern=r"^[0-9]{14}:[a-z2-7]{32}$", description="`next` of the page before"
    )
    limit: int = Field(default=50, ge=1, le=500, description="pictures a page")
    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_NAME,
        description="only pictures whose name has this in it, in small or capital letters; a page may "
        "then be empty and have a `next`",
    )
