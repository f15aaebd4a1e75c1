"""Every stage of training for a few steps on small pictures: it runs, resumes and keeps to its part."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from model.codec import Codec
from model.config import Config
from model.errors import WeightsError
from model.training import trainer
from model.training.checkpoint import load_checkpoint
from model.training.data import Pictures, load_pictures
from model.training.export import export
from model.training.muon import MuonAdam, orthogonalise
from model.training.network import initialise
from model.training.stages import STAGES, Recipe, loss, trained_modules
from model.training.trainer import schedule, train
from tests.model.tiny import picture

CONFIG = Config(
    channels=16, latents=16, features=4, blocks=1, convs=1, growth=4, hidden=4, hidden_layers=1, levels=3
)
BRIEF = 0.02  # minutes


def pictures(count=6, seed=0):
    made = [torch.from_numpy(picture(80, 72, seed + i)) for i in range(count)]
    return Pictures(made, torch.device("cpu"))


def recipe(stage):
    return Recipe(stage, batch=2, side=64)


def run(stage, folder, start=None, minutes=BRIEF, **options):
    return train(
        CONFIG, recipe(stage), minutes, (pictures(), pictures(2, 50)), folder / "run.safetensors",
        start, folder / "log.jsonl", **options,
    )  # fmt: skip


@pytest.fixture
def few_validations(monkeypatch):
    """Validate on one batch instead of 32."""
    monkeypatch.setattr(trainer, "validate", lambda network, recipe, held_out: {"loss": 0.0})


def by_part(network):
    return {
        part: {name: value.clone() for name, value in getattr(network, part).named_parameters()}
        for part in ("base", "enhancement", "liff")
    }


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stage", STAGES)
def test_losses_are_finite_and_reach_only_their_parts(stage):
    network = initialise(CONFIG)
    losses = loss(network, recipe(stage), pictures(), torch.Generator().manual_seed(0))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert losses.mse > 0
    for module in trained_modules(network, stage):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_changes_only_its_modules(stage, tmp_path):
    start = tmp_path / "start.safetensors"
    first = initialise(CONFIG, 5)
    export(first, start)
    network = run(stage, tmp_path, start)
    saved = load_checkpoint(tmp_path / "run.safetensors")
    assert saved.progress >= 1
    assert saved.step >= 1
    before, after = by_part(first), by_part(network)
    changed = {part for part in before if not same(after[part], _halved(before[part]))}
    assert changed == {
        "base": {"base"}, "liff": {"liff"}, "residual": {"enhancement"}, "joint": {"enhancement", "liff"},
    }[stage]  # fmt: skip
    assert all(torch.isfinite(p).all() for p in network.parameters())
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["final"]
    assert last["stage"] == stage
    assert last["steps"] == saved.step


def _halved(values):
    """Parameters as a weight file keeps them."""
    exact = {name for name in values if "gain" in name or "bottleneck" in name}
    return {name: value if name in exact else value.half().float() for name, value in values.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0)

    class Stopped(Exception):
        pass

    save, saves = trainer.save_checkpoint, []

    def stop_after_three(path, checkpoint):
        save(path, checkpoint)
        saves.append((checkpoint.step, checkpoint.progress))
        if len(saves) == 3:
            raise Stopped

    monkeypatch.setattr(trainer, "save_checkpoint", stop_after_three)
    with pytest.raises(Stopped):
        run("base", tmp_path, minutes=60)
    kept = load_checkpoint(tmp_path / "run.safetensors")
    assert [step for step, _ in saves] == [1, 2, 3]
    assert (kept.step, kept.progress) == saves[-1]
    assert 0 < kept.progress < 0.1
    assert kept.optimiser

    def stop_at_once(path, checkpoint):
        save(path, checkpoint)
        raise Stopped

    monkeypatch.setattr(trainer, "save_checkpoint", stop_at_once)
    with pytest.raises(Stopped):
        run("base", tmp_path, minutes=60)
    again = load_checkpoint(tmp_path / "run.safetensors")
    assert again.step == 4
    assert again.progress > kept.progress
    assert not torch.equal(again.generator, kept.generator)


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
def test_what_was_trained_can_be_used(tmp_path):
    path = tmp_path / "weights.safetensors"
    export(run("base", tmp_path), path)
    codec = Codec.load(str(path))
    pixels = picture(70, 50)
    assert codec.decode(codec.encode(pixels, [(35, 25), (70, 50)], 50)).shape == pixels.shape


def test_the_loss_falls():
    """Forty steps on one batch."""
    torch.manual_seed(0)
    network, made = initialise(CONFIG), pictures()
    optimiser = MuonAdam(network.base.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        total = loss(network, recipe("base"), made, torch.Generator().manual_seed(0)).total
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_learning_rate_rises_and_falls():
    assert schedule(0) == 0.01
    assert schedule(0.03) == 1
    assert schedule(0.5) > schedule(0.9) > schedule(1) == schedule(2) == pytest.approx(0.005)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24)])
def test_orthogonalised_matrices(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    values = torch.linalg.svdvals(orthogonalise(x))
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_crops():
    made = pictures()
    generator = torch.Generator().manual_seed(0)
    for shrink in (1.0, 0.8, 0.1):
        crops = made.crops(5, 64, shrink, generator)
        assert crops.shape == (5, 3, 64, 64)
        assert 0 <= crops.min() <= crops.max() <= 1
    one = Pictures([torch.arange(48, dtype=torch.uint8).view(4, 4, 3)], torch.device("cpu"))
    crop = one.crops(1, 4, 1.0, generator)[0].permute(1, 2, 0) * 255
    original = torch.arange(48.0).view(4, 4, 3)
    assert torch.allclose(crop, original) or torch.allclose(crop, original.flip(1))


def test_pictures_too_small_are_passed_over():
    mixed = Pictures(
        [torch.zeros(8, 200, 3, dtype=torch.uint8), torch.full((80, 80, 3), 255, dtype=torch.uint8)],
        torch.device("cpu"),
    )
    assert mixed.crops(20, 64, 1.0, torch.Generator().manual_seed(0)).min() == 1


def test_folders_of_pictures(tmp_path):
    for i in range(5):
        Image.fromarray(np.full((20, 30, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    training, held_out = load_pictures(tmp_path, torch.device("cpu"), held_out=2)
    assert (len(training), len(held_out)) == (3, 2)
    with pytest.raises(ValueError):
        load_pictures(tmp_path, torch.device("cpu"), held_out=5)
    with pytest.raises(ValueError):
        Pictures([], torch.device("cpu"))


def test_files_that_are_no_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError):
        load_checkpoint(path)
    with pytest.raises(WeightsError):
        load_checkpoint(tmp_path / "none.safetensors")
