"""What a run of training is asked to do, and the weights that it begins with."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from model.installed import model_id
from model.network.compass import Compass, channels_last
from model.network.config import Config
from model.training.begin import begin
from model.training.checkpoint import Checkpoint, load_checkpoint, take_over, take_over_base
from model.training.data import Pictures
from model.training.network import TrainedHyperprior, initialise
from model.training.stages import ENHANCEMENT_STAGES, Recipe


@dataclass(frozen=True)
class Plan:
    """One stage of training: what, with which pictures, for how long, and from which weights.

    ``pictures`` are the training set and the pictures held out for the validation, on one device. The
    stage lasts ``minutes`` or ``steps``, whichever end first. An unfinished run of the same stage in
    ``checkpoint``, begun from the same files if any are given, is continued. Otherwise the weights come
    from ``start``, from ``checkpoint`` or are new, and the base layer's from ``base``, if that is given.
    JSON lines are appended to ``log``.
    """

    config: Config
    recipe: Recipe
    pictures: tuple[Pictures, Pictures]
    checkpoint: Path
    minutes: float = math.inf
    steps: float = math.inf
    start: Path | None = None
    base: Path | None = None
    log: Path | None = None
    seed: int = 0

    @property
    def device(self) -> torch.device:
        """Where the pictures are and the network is trained."""
        return self.pictures[0].buffer.device


@dataclass(frozen=True)
class Beginning:
    """The network that a run begins with.

    ``unfinished`` is the checkpoint of the run that goes on, if one does. ``history`` are the stages
    trained so far and the one to come; ``origin`` are the model ids of ``Plan.start`` and ``Plan.base``,
    "" where there is none.
    """

    network: Compass
    unfinished: Checkpoint | None
    history: tuple[str, ...]
    origin: tuple[str, ...]


def prepare(plan: Plan) -> Beginning:
    """Find or make the weights that a plan begins with. Raises WeightsError for files that are none."""
    network = channels_last(initialise(plan.config, plan.seed).to(plan.device))
    saved = load_checkpoint(plan.checkpoint) if plan.checkpoint.exists() else None
    origin = tuple(model_id(path).hex() if path else "" for path in (plan.start, plan.base))
    if saved is not None and goes_on(plan, saved, origin):
        take_over(network, saved.weights)
        return Beginning(network, saved, saved.history, saved.origin)
    if plan.start is not None:
        saved = load_checkpoint(plan.start)
    history = saved.history if saved else ()
    if saved is not None:
        take_over(network, saved.weights)
    if plan.base is not None:
        take_over_base(network, load_checkpoint(plan.base).weights)
    _begin_parts(network, plan, history)
    return Beginning(network, None, (*history, plan.recipe.stage), origin)


def goes_on(plan: Plan, saved: Checkpoint, origin: tuple[str, ...]) -> bool:
    """Whether a checkpoint is an unfinished run of this plan, begun from files of these model ids."""
    return (
        saved.progress < 1
        and same_recipe(plan.recipe, saved)
        and Config.from_dict(saved.config) == plan.config
        and (origin == saved.origin or not any(origin))
    )


def same_recipe(recipe: Recipe, saved: Checkpoint) -> bool:
    """Whether a checkpoint's recipe is this one; a field that it lacks had the default's meaning."""
    return asdict(Recipe(recipe.stage)) | saved.recipe == asdict(recipe)


def _begin_parts(network: Compass, plan: Plan, history: tuple[str, ...]) -> None:
    """Give parts that have never been trained a better beginning than random numbers."""
    stage = plan.recipe.stage
    if stage in ENHANCEMENT_STAGES and not ENHANCEMENT_STAGES & {*history}:
        take_over(network, {f"enhancement.{name}": w for name, w in network.base.state_dict().items()})
    if stage == "base" and "base" not in history and plan.config.form == "patches":
        assert isinstance(network.base, TrainedHyperprior)
        begin(network.base, plan.config, plan.pictures[0], plan.seed)
