"""The training loop: time-boxed, resumable, the same on CPU and CUDA."""

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from model.codec.weights import model_id
from model.network.compass import Compass, channels_last
from model.network.config import Config
from model.training.average import Average
from model.training.begin import begin
from model.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, take_over
from model.training.data import Pictures
from model.training.muon import MuonAdam
from model.training.network import TrainedHyperprior, initialise
from model.training.speed import Speed, matrix_dtype
from model.training.stages import Recipe, loss, trained_modules

WARMUP = 0.03
"""Share of the time box over which the learning rate rises; afterwards it falls as a cosine."""
FLOOR = 0.005
"""The last learning rate as a share of the highest."""
CLIP = 1.0
CODING_STAGES = {"base": {"base"}, "enhancement": {"residual", "joint"}}
"""The stages that train each hyperprior."""
SAVE_SECONDS = 120
REPORT_STEPS = 50
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "muon": MuonAdam}


def schedule(progress: float) -> float:
    """Factor on the learning rate at ``progress`` 0 to 1 of the time box."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.01)
    fall = min((progress - WARMUP) / (1 - WARMUP), 1.0)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * fall))


def train(
    config: Config,
    recipe: Recipe,
    minutes: float,
    pictures: tuple[Pictures, Pictures],
    checkpoint: Path,
    start: Path | None = None,
    log: Path | None = None,
    compile_network: bool = False,
    seed: int = 0,
    steps: float = math.inf,
    base: Path | None = None,
) -> Compass:
    """Train one stage for ``minutes`` or ``steps``, whichever end first; return the network.

    An unfinished run of the same stage in ``checkpoint``, begun from the same files if any are given,
    is continued where it stopped (weights, optimiser, random state, schedule); else the weights come
    from ``start``, from ``checkpoint`` or are new, and those of the base layer from ``base``, if given.
    A new base layer of patches begins as the principal components of the pictures. Prints a progress bar,
    appends JSON lines to ``log``, and ends with the validation loss. The result has the averaged weights,
    if the recipe wants an average.
    """
    device = pictures[0].buffer.device
    network = channels_last(initialise(config, seed).to(device))
    before = load_checkpoint(checkpoint) if checkpoint.exists() else None
    origin = tuple(model_id(path).hex() if path else "" for path in (start, base))
    resumed = (
        before is not None
        and before.progress < 1
        and _same(recipe, before.recipe)
        and Config.from_dict(before.config) == config
        and (origin == before.origin or not any(origin))
    )
    if before is not None and resumed:
        origin = before.origin
    elif start is not None:
        before = load_checkpoint(start)
    history: tuple[str, ...] = before.history if before else ()
    if before is not None:
        take_over(network, before.weights)
    if base is not None and not resumed:
        weights = load_checkpoint(base).weights
        take_over(network, {name: w for name, w in weights.items() if name.startswith("base.")})
    if recipe.stage in CODING_STAGES["enhancement"] and not CODING_STAGES["enhancement"] & {*history}:
        network.enhancement.load_state_dict(network.base.state_dict(), strict=False)
    part = "base" if recipe.stage == "base" else "enhancement"
    if recipe.stage == "base" and "base" not in history and config.form == "patches":
        assert isinstance(network.base, TrainedHyperprior)
        begin(network.base, config, pictures[0], seed)
    history += () if resumed else (recipe.stage,)
    network.requires_grad_(False)
    for module in trained_modules(network, recipe.stage):
        module.requires_grad_(True)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    quantiles = [p for name, p in trained.items() if name.endswith("quantiles")]
    parameters = [p for name, p in trained.items() if not name.endswith("quantiles")]
    optimisers = [OPTIMISERS[recipe.optimiser](parameters, lr=recipe.lr)]
    if quantiles:
        optimisers.append(torch.optim.Adam(quantiles, lr=1e-3))
    average = Average(trained, recipe.average) if recipe.average else None
    generator = torch.Generator(device).manual_seed(seed)
    first, done = 0, 0.0
    if before is not None and resumed:
        first, done = before.step, before.progress
        before.restore(network, average, optimisers, generator)
    compiled: Callable = torch.compile(loss, dynamic=True) if compile_network else loss
    dtype = matrix_dtype(device)
    speed = Speed(device, dtype)
    began = reported = saved = time.monotonic()
    step, progress = first, done
    report = {"bpp": 0.0, "mse": 0.0, "loss": 0.0}

    def save() -> None:
        state = Checkpoint.of(
            network, average, optimisers, generator, config, asdict(recipe), step, progress, history, origin
        )
        save_checkpoint(checkpoint, state)

    network.train()
    with tqdm(total=100.0, initial=100 * done, desc=recipe.stage, unit="%", bar_format=_BAR) as bar:
        while progress < 1:
            for group in optimisers[0].param_groups:
                group["lr"] = recipe.lr * schedule(progress)
            counting = step == first or step % REPORT_STEPS == 0
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator, device=device)))
            with speed.counted() if counting else nullcontext():
                with _autocast(device, dtype):
                    losses = (loss if counting else compiled)(network, recipe, pictures[0], generator)
                optimisers[0].zero_grad()
                losses.total.backward()
                if torch.isfinite(torch.nn.utils.clip_grad_norm_(parameters, CLIP)):
                    optimisers[0].step()
            if quantiles and step % 4 == 0:
                optimisers[1].zero_grad()
                _quantile_loss(network, part).backward()
                optimisers[1].step()
            step += 1
            if average is not None:
                average.update(step)
            now = time.monotonic()
            progress = max(done + (now - began) / (60 * minutes), step / steps)
            for name, value in (
                ("bpp", losses.bpp),
                ("mse", losses.mse),
                ("loss", float(losses.total.detach())),
            ):
                report[name] += value
            if step % REPORT_STEPS == 0:
                count = min(step - first, REPORT_STEPS)
                report = {name: total / count for name, total in report.items()}
                psnr = -10 * math.log10(report["mse"] + 1e-12)
                pace = speed.of(count, now - reported)
                bar.set_postfix_str(
                    f"step {step} loss {report['loss']:.3f} {report['bpp']:.3f} bpp {psnr:.2f} dB "
                    f"{pace['steps_per_second']:.2f} steps/s"
                )
                bar.update(min(100 * progress, 100) - bar.n)
                row = {"stage": recipe.stage, "step": step, "progress": progress, "psnr": psnr}
                _append(log, row | report | pace)
                report, reported = dict.fromkeys(report, 0.0), now
            if progress < 1 and now - saved > SAVE_SECONDS:
                save()
                saved = now
    seconds = time.monotonic() - began
    save()
    if average is not None:
        average.apply()
    summary = {
        "stage": recipe.stage,
        "steps": step,
        "seconds": round(seconds),
        **speed.of(step - first, seconds),
        **validate(network, recipe, pictures[1]),
    }
    _append(log, {"final": summary})
    print(json.dumps(summary))
    return network


def _same(recipe: Recipe, saved: dict[str, Any]) -> bool:
    """Whether a checkpoint's recipe is this one; a field that it lacks had the default's meaning."""
    return asdict(Recipe(recipe.stage)) | saved == asdict(recipe)


_BAR = "{desc}: {percentage:3.1f}% |{bar}| {elapsed}<{remaining} {postfix}"


def validate(network: Compass, recipe: Recipe, pictures: Pictures) -> dict[str, float]:
    """Average losses over 32 fixed batches of the held-out pictures."""
    device = pictures.buffer.device
    generator = torch.Generator(device).manual_seed(1)
    torch.manual_seed(1)
    network.eval()
    with torch.no_grad():
        rows = [loss(network, recipe, pictures, generator) for _ in range(32)]
    network.train()
    return {
        "loss": sum(float(r.total) for r in rows) / len(rows),
        "bpp": sum(r.bpp for r in rows) / len(rows),
        "mse": sum(r.mse for r in rows) / len(rows),
    }


def _quantile_loss(network: Compass, part: str) -> torch.Tensor:
    hyperprior = network.get_submodule(part)
    assert isinstance(hyperprior, TrainedHyperprior)
    auxiliary: torch.Tensor = hyperprior.bottleneck.loss()
    return auxiliary


def _autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _append(log: Path | None, row: dict) -> None:
    if log is not None:
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
