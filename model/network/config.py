"""The network's sizes: one dataclass, three profiles."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from model.errors import WeightsError

FORMS = ("convolutions", "patches")
MAY_BE_ZERO = {"enhancement_synthesis_channels", "bicubic_skip"}
"""The fields for which 0, or False, has a meaning."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the shape of the network. Letters in parentheses are the paper's.

    Both hyperpriors have ``latents`` (M) channels of latents and ``channels`` (N) of hyper-latents;
    ``hyper_channels`` (J; M in the paper) is the width of the hyper-synthesis. Their transforms have one of
    two forms (:mod:`model.network.transforms`):

    - ``convolutions``, the paper's, with N channels;
    - ``patches``: linear principal components plus residual networks. ``analysis_blocks`` residual blocks
      of ``analysis_channels`` at 1/8 of the picture's width and ``analysis_deep_blocks`` at 1/16, and the
      same for the synthesis. An enhancement layer's synthesis may have a width of its own,
      ``enhancement_synthesis_channels``; 0 stands for the base layer's.

    LIFF has a residual dense network of ``features`` (C) channels, ``blocks``, ``convs`` and ``growth``, at
    1/``feature_step`` of the smaller picture's width (1 in the paper), and a filter MLP of ``hidden`` units
    and ``hidden_layers``. ``bicubic_skip`` adds the bicubic enlargement to its prediction (off in the paper).

    ``levels`` gain vectors cover the Lagrange multipliers ``lambda_low`` to ``lambda_high`` geometrically.
    """

    form: str = "convolutions"
    channels: int = 128
    latents: int = 192
    hyper_channels: int = 192
    analysis_channels: int = 128
    analysis_blocks: int = 6
    analysis_deep_blocks: int = 4
    synthesis_channels: int = 96
    enhancement_synthesis_channels: int = 0
    synthesis_blocks: int = 3
    synthesis_deep_blocks: int = 2
    features: int = 64
    feature_step: int = 1
    blocks: int = 4
    convs: int = 4
    growth: int = 32
    hidden: int = 256
    hidden_layers: int = 4
    bicubic_skip: bool = True
    levels: int = 6
    lambda_low: float = 0.0018
    lambda_high: float = 0.05

    def synthesis_width(self, enhancement: bool) -> int:
        """Channels of the residual networks in the base layer's, or an enhancement layer's, synthesis."""
        return (enhancement and self.enhancement_synthesis_channels) or self.synthesis_channels

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        """The inverse of :meth:`to_dict`; raises WeightsError on unknown, mistyped or impossible fields."""
        types = {f.name: f.type for f in fields(cls)}
        if not isinstance(values, dict):
            raise WeightsError(f"no configuration: {values!r}")
        values = _of_older_files(values)
        for name, value in values.items():
            fits = type(value) is types.get(name) or (type(value) is int and types.get(name) is float)
            if name == "form":
                possible = value in FORMS
            else:
                possible = fits and (value > 0 or (value == 0 and name in MAY_BE_ZERO))
            if not possible:
                raise WeightsError(f"configuration field {name!r} = {value!r}")
        return cls(**values)


def _of_older_files(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a file written before 2026-11-25, which may say that it has no details."""
    values = {name: value for name, value in values.items() if name != "details" or value != 0}
    if "latents" in values:
        values = {"hyper_channels": values["latents"], **values}
    return values


PROFILES = {
    "paper": Config(),
    "lite": Config(
        form="patches",
        channels=48,
        latents=256,
        hyper_channels=64,
        analysis_channels=96,
        analysis_blocks=6,
        analysis_deep_blocks=3,
        enhancement_synthesis_channels=128,
        synthesis_blocks=6,
        synthesis_deep_blocks=4,
        features=32,
        feature_step=2,
        blocks=1,
        convs=2,
        growth=16,
        hidden=16,
        hidden_layers=2,
        levels=7,
        lambda_high=0.15,
    ),
    "large": Config(
        form="patches",
        channels=64,
        latents=256,
        hyper_channels=128,
        analysis_channels=192,
        analysis_blocks=6,
        analysis_deep_blocks=4,
        synthesis_channels=192,
        synthesis_blocks=6,
        synthesis_deep_blocks=4,
        features=48,
        feature_step=2,
        blocks=2,
        convs=3,
        growth=24,
        hidden=32,
        hidden_layers=2,
        levels=7,
        lambda_high=0.15,
    ),
}
"""``paper``: the widths of the publication, for GPUs. ``lite``: for CPUs. ``large``: the form of ``lite``
with the widths that a GPU trains in the time that a CPU needs for ``lite``."""
