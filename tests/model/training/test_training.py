"""Every stage of training for a few steps on small pictures: it runs, resumes and keeps to its part."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from model.codec.codec import Codec
from model.codec.weights import scale_table
from model.errors import WeightsError
from model.geometry import Size
from model.network.config import Config
from model.network.transforms import GREY, analyse_whole, synthesise_whole
from model.training import cli, plan, trainer
from model.training.average import Average
from model.training.begin import begin, fine_log_gain
from model.training.checkpoint import Checkpoint, load_checkpoint, take_over
from model.training.data import Pictures, load_pictures
from model.training.export import export, network_of
from model.training.muon import orthogonalise
from model.training.network import SKIPPED_TABLES, initialise, quantise
from model.training.optimisers import Optimisers
from model.training.plan import Plan, same_recipe
from model.training.screens import EDGE, screens
from model.training.speed import Speed
from model.training.stages import STAGES, Recipe, draw, loss, spread_sizes, trained_modules
from model.training.tables import gaussian_tables
from model.training.trainer import schedule, train, validate
from tests.model.tiny import picture

CONFIG = Config(
    channels=16,
    latents=16,
    hyper_channels=16,
    features=4,
    blocks=1,
    convs=1,
    growth=4,
    hidden=4,
    hidden_layers=1,
    levels=3,
)
PATCHES = replace(CONFIG, form="patches", latents=48, analysis_channels=16, synthesis_channels=16)
BRIEF = 0.02  # minutes
CPU = torch.device("cpu")


def pictures(count=6, seed=0):
    made = [torch.from_numpy(picture(80, 72, seed + i)) for i in range(count)]
    return Pictures(made, CPU)


def recipe(stage, **choices):
    return Recipe(stage, batch=2, side=64, **choices)


def run(stage, folder, start=None, minutes=BRIEF, **options):
    photos, path = (pictures(), pictures(2, 50)), folder / "run.safetensors"
    log = folder / "log.jsonl"
    return train(Plan(CONFIG, recipe(stage), photos, path, minutes, start=start, log=log, **options))


@pytest.fixture
def few_validations(monkeypatch):
    """Validate on one batch instead of 32."""
    monkeypatch.setattr(trainer, "VALIDATION_BATCHES", 1)


def by_part(network):
    return {
        part: {name: value.clone() for name, value in getattr(network, part).named_parameters()}
        for part in ("base", "enhancement", "liff")
    }


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("config", [CONFIG, PATCHES], ids=["convolutions", "patches"])
@pytest.mark.parametrize("stage", STAGES)
def test_losses_are_finite_and_reach_only_their_parts(stage, config):
    network = initialise(config)
    batch = draw(network, recipe(stage), pictures(), torch.Generator().manual_seed(0))
    losses = loss(network, recipe(stage), batch)
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert losses.mse > 0
    for module in trained_modules(network, stage):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
        module.zero_grad()
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
@pytest.mark.parametrize("config", [CONFIG, PATCHES], ids=["convolutions", "patches"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_on_cuda(stage, config, tmp_path):
    """It trains there, and validates as the same weights do on the CPU."""
    path, made = tmp_path / "run.safetensors", (pictures(), pictures(2, 50))
    on_cuda = tuple(Pictures([p.buffer.view(-1, 72, 3)], torch.device("cuda")) for p in made)
    network = train(Plan(config, recipe(stage), on_cuda, path, steps=5)).eval()
    assert all(torch.isfinite(p).all() for p in network.parameters())
    there, here = (validate(n, recipe(stage), p)["loss"] for n, p in (
        (network, on_cuda[1]),
        (network_of(load_checkpoint(path), "lite"), Pictures([made[1].buffer.view(-1, 72, 3)], CPU)),
    ))  # fmt: skip
    assert there == pytest.approx(here, rel=0.01)


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
        "base": {"base"}, "liff": {"liff"}, "residual": {"enhancement"}, "enhancement": {"enhancement"},
        "joint": {"enhancement", "liff"},
    }[stage]  # fmt: skip
    assert all(torch.isfinite(p).all() for p in network.parameters())
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["final"]
    assert last["stage"] == stage
    assert last["steps"] == saved.step
    assert last["steps_per_second"] > 0
    assert 0 < last["share_of_peak"] < 1.5


def _halved(values):
    """Parameters as a weight file keeps them."""
    exact = {name for name in values if "gain" in name or "bottleneck" in name}
    return {name: value if name in exact else value.half().float() for name, value in values.items()}


class Stopped(Exception):
    pass


def stop_after(monkeypatch, count):
    """Save after every step; the ``count``-th save from now on ends the run. Returns what was saved."""
    save, saves = trainer.save_checkpoint, []

    def save_and_stop(path, checkpoint):
        save(path, checkpoint)
        saves.append((checkpoint.step, checkpoint.progress))
        if len(saves) == count:
            raise Stopped

    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0)
    monkeypatch.setattr(trainer, "save_checkpoint", save_and_stop)
    return saves


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        saves = stop_after(patch, 3)
        with pytest.raises(Stopped):
            run("base", tmp_path, minutes=60)
    kept = load_checkpoint(tmp_path / "run.safetensors")
    assert [step for step, _ in saves] == [1, 2, 3]
    assert (kept.step, kept.progress) == saves[-1]
    assert 0 < kept.progress < 0.1
    assert kept.optimiser
    stop_after(monkeypatch, 1)
    with pytest.raises(Stopped):
        run("base", tmp_path, minutes=60)
    again = load_checkpoint(tmp_path / "run.safetensors")
    assert again.step == 4
    assert again.progress > kept.progress
    assert not torch.equal(again.generator, kept.generator)


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
@pytest.mark.parametrize("choices", [{"average": 0.9}, {"optimiser": "adam"}])
def test_a_stopped_run_ends_as_one_in_one_go(choices, tmp_path, monkeypatch):
    """To the last bit: weights, average, optimisers and noise."""
    made = pictures(), pictures(2, 50)

    def train_six(path):
        return train(Plan(CONFIG, recipe("base", **choices), made, path, steps=6))

    whole = train_six(tmp_path / "whole.safetensors")
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            train_six(tmp_path / "parts.safetensors")
    parts = train_six(tmp_path / "parts.safetensors")
    assert same(dict(whole.named_parameters()), dict(parts.named_parameters()))
    a, b = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert a.step == b.step == 6
    assert a.optimiser.keys() == b.optimiser.keys()
    for kind in ("weights", "latest", "optimiser"):
        assert same(getattr(a, kind), getattr(b, kind))


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
def test_a_stopped_run_from_given_weights_goes_on_with_the_same_ones_only(tmp_path, monkeypatch):
    first, other = tmp_path / "first.safetensors", tmp_path / "other.safetensors"
    for seed, path in enumerate((first, other)):
        export(initialise(CONFIG, seed), path, ("base",))
    steps = []
    for start in (first, first, None, other):
        with monkeypatch.context() as patch:
            saves = stop_after(patch, 2)
            with pytest.raises(Stopped):
                run("base", tmp_path, start, minutes=60)
        steps.append([step for step, _ in saves])
    assert steps == [[1, 2], [3, 4], [5, 6], [1, 2]]


@pytest.mark.usefixtures("few_validations")
def test_the_log_tells_means_of_the_steps_since_the_run_went_on(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "REPORT_STEPS", 10)
    log, made = tmp_path / "log", (pictures(), pictures(2, 50))
    with monkeypatch.context() as patch:
        stop_after(patch, 8)
        with pytest.raises(Stopped):
            train(Plan(CONFIG, recipe("base"), made, tmp_path / "run.safetensors", steps=30))
    train(Plan(CONFIG, recipe("base"), made, tmp_path / "run.safetensors", log=log, steps=30))
    after_two, after_ten = (json.loads(line)["loss"] for line in log.read_text().splitlines()[:2])
    assert after_two == pytest.approx(after_ten, rel=0.5)


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
def test_the_averaged_weights_are_the_ones_used(tmp_path):
    path = tmp_path / "run.safetensors"
    photos = pictures(), pictures(2, 50)
    network = train(Plan(CONFIG, recipe("base", average=0.9), photos, path, steps=3))
    saved, used = load_checkpoint(path), dict(network.named_parameters())
    assert same(used, saved.weights)
    assert same(dict(network_of(load_checkpoint(path), "lite").named_parameters()), used)
    assert saved.latest.keys() == {f"base.{name}" for name, _ in network.base.named_parameters()}
    assert not same(saved.latest, used)


def as_tensor(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float() / 255


def test_patches_begin_as_principal_components(monkeypatch):
    """Orthonormal, the strongest first, near the best that so few numbers can give."""
    monkeypatch.setattr("model.training.begin.SIDE", 64)
    network = initialise(PATCHES, 1)
    begin(network.base, PATCHES, pictures(), seed=0)
    part = network.base.transforms
    assert torch.allclose(part.linear_analysis @ part.linear_synthesis, torch.eye(48), atol=1e-4)
    x = as_tensor(picture(80, 72, 30))[..., :64, :64]
    with torch.no_grad():
        y = analyse_whole(part, x)
        error = (synthesise_whole(part, y, Size(64, 64)) - x).square().mean()
    energy = y.square().mean((0, 2, 3))
    assert energy[0] > energy[5:].max()
    assert error < 0.2 * (x - x.mean()).square().mean()


def test_gains_begin_best_at_fine_steps():
    multiplier = torch.tensor([0.0018, 0.05])
    step = torch.exp(-fine_log_gain(multiplier))

    def cost(step):  # of one latent, per pixel of its patch: bits and weighted error
        return -torch.log2(step) / 256 + multiplier * 255**2 * step.square() / 12 / 768

    assert (cost(step) < cost(step * 1.1)).all()
    assert (cost(step) < cost(step / 1.1)).all()


@pytest.mark.usefixtures("few_validations")
def test_only_a_new_base_layer_begins_as_components(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(plan, "begin", lambda *arguments: begun.append(arguments))
    photos = pictures(), pictures(2, 50)
    train(Plan(PATCHES, recipe("base"), photos, tmp_path / "new.safetensors", steps=1))
    assert len(begun) == 1
    for stage in ("base", "liff", "joint"):
        path = tmp_path / f"{stage}.safetensors"
        train(Plan(PATCHES, recipe(stage), photos, path, steps=1, start=tmp_path / "new.safetensors"))
    assert len(begun) == 1


@pytest.mark.usefixtures("few_validations")
def test_a_wider_enhancement_layer_begins_as_the_base_layer(tmp_path):
    config = replace(PATCHES, enhancement_synthesis_channels=24)
    photos, path = (pictures(), pictures(2, 50)), tmp_path / "run.safetensors"
    train(Plan(config, recipe("base"), photos, path, steps=1))
    network = plan.prepare(Plan(config, recipe("joint"), photos, path, steps=1)).network.eval()
    y, size = 3 * torch.randn(1, PATCHES.latents, 4, 5), Size(64, 80)
    with torch.no_grad():
        base = synthesise_whole(network.base.transforms, y, size)
        enhancement = synthesise_whole(network.enhancement.transforms, y, size, torch.rand(1, 3, *size))
    assert enhancement.std() > 0
    assert torch.allclose(enhancement + GREY, base, atol=1e-5)


def test_further_blocks_begin_as_the_identity():
    """So training goes on with a larger analysis where a smaller one ended."""
    small = initialise(PATCHES, 1)
    for name, weight in small.named_parameters():
        if name.endswith(("back.weight", "a_out.weight")):
            torch.nn.init.normal_(weight, std=0.1)
    more = {
        "analysis_blocks": PATCHES.analysis_blocks + 2,
        "analysis_deep_blocks": PATCHES.analysis_deep_blocks + 1,
    }
    large = initialise(replace(PATCHES, **more), 2)
    take_over(large, small.state_dict())
    x = as_tensor(picture(80, 72))
    latents = [analyse_whole(network.base.transforms, x) for network in (small, large)]
    assert torch.equal(*latents)
    assert latents[0].std() > 0


def test_screens_are_sharp_and_reproducible():
    made, again = screens(10, seed=3), screens(10, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
    assert len({screen.numpy().tobytes() for screen in made}) == 10
    for screen in made:
        assert screen.shape == (EDGE, EDGE, 3)
        steps = (screen[:, 1:].int() - screen[:, :-1].int()).abs().amax(2)
        assert (steps == 0).float().mean() > 0.3
        assert steps.max() > 100


def test_checkpoints_of_older_versions_go_on():
    """Their recipes lack the newer choices, whose defaults are what was done then."""
    old = {"stage": "base", "batch": 2, "side": 64, "lr": 2e-3, "layers": 3, "noisy": False}
    saved = Checkpoint({}, {}, {}, None, {}, old, 1, 0.5)
    assert same_recipe(recipe("base"), saved)
    assert not same_recipe(recipe("base", average=0.9), saved)
    assert not same_recipe(recipe("base", optimiser="adam"), saved)


def test_the_state_of_the_adam_before_torchs_goes_on():
    """A checkpoint of 2026-11-24 named the means otherwise; they are what torch's Adam goes on from."""
    network = initialise(CONFIG)
    optimisers = Optimisers(network, recipe("base"))
    name, parameter = next((n, p) for n, p in optimisers.trained.items() if n.endswith("log_gain"))
    mean, square = torch.full_like(parameter, 0.5), torch.full_like(parameter, 0.25)
    state = {f"{name}|step": torch.tensor(7.0), f"{name}|mean": mean, f"{name}|square": square}
    saved = Checkpoint({}, {}, state, None, {}, {}, 7, 0.5)
    saved.restore(network, None, optimisers.all, torch.Generator())
    before = parameter.detach().clone()
    optimisers.set_rate(1.0)
    for p in optimisers.trained.values():
        p.grad = torch.zeros_like(p)
    for optimiser in optimisers.all[:-1]:
        optimiser.step()
    expected = 0.45 / (1 - 0.9**8) / ((0.2475 / (1 - 0.99**8)) ** 0.5 + 1e-8)
    rate = 0.5 * recipe("base").lr
    torch.testing.assert_close(before - parameter.detach(), torch.full_like(parameter, rate * expected))


def test_latents_are_quantised_as_the_decoder_has_them():
    scales = torch.from_numpy(scale_table()).float()
    tables = gaussian_tables(scales, SKIPPED_TABLES)
    y = torch.full_like(scales, 5.4).requires_grad_()
    known = quantise(y, torch.full_like(scales, 0.25), scales.log())
    assert known.tolist() == [0.25] * tables.skip + [5.25] * (len(scales) - tables.skip)
    known.sum().backward()
    assert (y.grad == 1).all()


def test_a_scale_far_too_small_is_mended():
    base = initialise(CONFIG).base
    last, M = base.hyper_synthesis[-1], CONFIG.latents
    base.log_gain.data.fill_(math.log(100))  # latents of 5 and more
    last.weight.data.zero_()
    last.bias.data[:M] = -8  # the logarithms of the scales; those below the table's lowest count as that
    _, bits = base(torch.rand(2, 3, 64, 64), torch.full((2,), 2.0))
    bits.sum().backward()
    assert (last.bias.grad[:M] < -1).all()


def test_a_moving_average():
    weight = torch.tensor([0.0])
    average = Average({"w": weight}, 0.5)
    for step, value in enumerate((1.0, 2.0, 4.0), 1):
        weight.fill_(value)
        average.update(step)
    first = 1 * 9 / 11  # the decay is 2/11, 3/12, 4/13 ...
    second = first * 3 / 12 + 2 * 9 / 12
    assert average.values["w"].item() == pytest.approx(second * 4 / 13 + 4 * 9 / 13)
    average.update(1000)
    assert average.values["w"].item() == pytest.approx((second * 4 / 13 + 4 * 9 / 13) / 2 + 4 / 2)
    average.apply()
    assert weight.item() == average.values["w"].item()
    with pytest.raises(ValueError):
        Average({"w": weight}, 1.0)


def test_operations_are_counted():
    """A convolution of 3 to 16 channels, 5 x 5, on 10 x 10 outputs: two operations a multiplication."""
    speed = Speed(CPU, torch.float32)
    conv = torch.nn.Conv2d(3, 16, 5)
    with speed.counted(), torch.no_grad():
        conv(torch.zeros(2, 3, 14, 14))
    figures = speed.of(10, 4.0)
    assert figures["steps_per_second"] == 2.5
    assert speed._counts == [2 * 2 * 10 * 10 * 16 * 3 * 25]
    assert speed.of(1, 1e-6)["share_of_peak"] == pytest.approx(1e6 * speed._counts[0] / speed._peak, rel=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
def test_what_was_trained_can_be_used(tmp_path):
    path = tmp_path / "weights.safetensors"
    export(run("base", tmp_path), path)
    codec = Codec.load(str(path))
    pixels = picture(70, 50)
    assert codec.decode(codec.encode(pixels, [Size(25, 35), Size(50, 70)], 50)).shape == pixels.shape


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
def test_the_base_layer_can_come_from_other_weights(tmp_path):
    start, base, other = tmp_path / "start.safetensors", tmp_path / "base.safetensors", initialise(CONFIG, 6)
    export(initialise(CONFIG, 5), start, ("base", "joint"))
    export(other, base)
    network = run("joint", tmp_path, start, base=base)
    assert same(by_part(network)["base"], _halved(by_part(other)["base"]))
    assert load_checkpoint(tmp_path / "run.safetensors").history == ("base", "joint", "joint")


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
@pytest.mark.parametrize(("history", "copied"), [((), True), (("base", "liff", "joint"), False)])
def test_only_the_first_joint_training_begins_with_a_copy_of_the_base_layer(history, copied, tmp_path):
    start = tmp_path / "start.safetensors"
    export(initialise(CONFIG, 5), start, history)
    assert load_checkpoint(start).history == history
    network = run("joint", tmp_path, start)
    distances = [
        sum(
            float((a - b).detach().abs().sum())
            for a, b in zip(layer.parameters(), origin.parameters(), strict=True)
        )
        for layer in (network.enhancement,)
        for origin in (initialise(CONFIG, 5).base, initialise(CONFIG, 5).enhancement)
    ]
    assert (distances[0] < distances[1]) == copied
    assert load_checkpoint(tmp_path / "run.safetensors").history == (*history, "joint")


def test_the_loss_falls():
    """Forty steps on one batch."""
    torch.manual_seed(0)
    network, made = initialise(CONFIG), pictures()
    optimisers = Optimisers(network, recipe("base"))
    losses = []
    for _ in range(40):
        batch = draw(network, recipe("base"), made, torch.Generator().manual_seed(0))
        total = loss(network, recipe("base"), batch).total
        optimisers.step(total)
        losses.append(float(total.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_learning_rate_rises_and_falls():
    assert schedule(0) == 0.01
    assert schedule(0.03) == 1
    assert schedule(0.5) > schedule(0.9) > schedule(1) == schedule(2) == pytest.approx(0.005)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24)])
def test_orthogonalised_matrices(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    values = torch.linalg.svdvals(orthogonalise(x[None])[0])
    assert values.min() > 0.5
    assert values.max() < 1.4


@pytest.mark.parametrize("stage", STAGES)
def test_recorded_sizes_cover_the_trained_range(stage):
    """Layers that lie close together, or far apart, are as common as all others."""
    sizes = spread_sizes(Recipe(stage, side=320), 32, seed=0)
    assert all(some[-1] == Size(320, 320) for some in sizes)
    assert len({len(some) for some in sizes}) == 1
    factors = sorted(small.width / large.width for some in sizes for small, large in pairwise(some))
    if stage == "base":
        assert sizes == [(Size(320, 320),)]
        return
    low, high = (0.25, 0.9) if stage == "liff" else (0.36, 0.85)
    assert low - 0.01 <= factors[0] < low + 0.03
    assert high - 0.03 < factors[-1] <= high + 0.01
    assert max(b - a for a, b in pairwise(factors)) < 0.05


def test_crops():
    made = pictures()
    generator = torch.Generator().manual_seed(0)
    for shrink in (1.0, 0.8, 0.1):
        crops = made.crops(5, 64, shrink, generator)
        assert crops.shape == (5, 3, 64, 64)
        assert 0 <= crops.min() <= crops.max() <= 1
    one = Pictures([torch.arange(48, dtype=torch.uint8).view(4, 4, 3)], CPU)
    crop = one.crops(1, 4, 1.0, generator)[0].permute(1, 2, 0) * 255
    original = torch.arange(48.0).view(4, 4, 3)
    assert torch.allclose(crop, original) or torch.allclose(crop, original.flip(1))


def test_pictures_too_small_are_passed_over():
    mixed = Pictures(
        [torch.zeros(8, 200, 3, dtype=torch.uint8), torch.full((80, 80, 3), 255, dtype=torch.uint8)],
        CPU,
    )
    assert mixed.crops(20, 64, 1.0, torch.Generator().manual_seed(0)).min() == 1


@pytest.mark.slow
@pytest.mark.usefixtures("few_validations")
@pytest.mark.parametrize("started", [False, True])
def test_all_stages_in_one_command_go_on_where_they_were(started, tmp_path, monkeypatch):
    """Broken off in every stage, then run again; and once more from the first stage when all is done."""
    monkeypatch.setitem(cli.PROFILES, "lite", CONFIG)
    photos, runs = tmp_path / "photos", tmp_path / "runs"
    photos.mkdir()
    for i in range(18):
        Image.fromarray(picture(80, 72, i)).save(photos / f"{i}.png")
    command = [
        "all",
        "--data",
        str(photos),
        "--runs",
        str(runs),
        "--steps",
        "6",
        "--batch",
        "2",
        "--side",
        "64",
    ]
    if started:
        export(initialise(CONFIG, 5), tmp_path / "start.safetensors", ("base",))
        command += ["--start", str(tmp_path / "start.safetensors")]
    before = ("base",) if started else ()
    checkpoint = runs / "lite.safetensors"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stopped):
            cli.main(command)
    assert cli.remaining_stages(checkpoint) == ["base", "liff", "joint"]
    with monkeypatch.context() as patch:
        saves = stop_after(patch, 6)
        with pytest.raises(Stopped):
            cli.main(command)
    assert [step for step, _ in saves] == [3, 4, 1, 1, 2, 3]
    assert cli.remaining_stages(checkpoint) == list(cli.SHARES)
    assert load_checkpoint(checkpoint).history == (*before, "base", "liff", "joint")
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        with pytest.raises(Stopped):
            cli.main(command)
    assert cli.remaining_stages(checkpoint) == ["joint"]
    with monkeypatch.context() as patch:
        saves = stop_after(patch, 1)
        with pytest.raises(Stopped):
            cli.main(command)
    assert saves[0][0] == 2
    again = before if started else ("base", "liff", "joint")
    assert load_checkpoint(checkpoint).history == (*again, "base", "liff", "joint")


def test_folders_of_pictures(tmp_path):
    for i in range(5):
        Image.fromarray(np.full((20, 30, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    training, held_out = load_pictures(tmp_path, CPU, held_out=2, screen_share=0)
    assert (len(training), len(held_out)) == (3, 2)
    assert len(load_pictures(tmp_path, CPU, held_out=2, screen_share=0.5)[0]) == 6
    with pytest.raises(ValueError):
        load_pictures(tmp_path, CPU, held_out=5)
    with pytest.raises(ValueError):
        Pictures([], CPU)


def test_files_that_are_no_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError):
        load_checkpoint(path)
    with pytest.raises(WeightsError):
        load_checkpoint(tmp_path / "none.safetensors")
