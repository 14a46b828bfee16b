"""Recorded steps: on a GPU they do what the same steps do without; on a CPU nothing that cannot be recorded is done."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning_fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode

from crvae.config.prior import PriorConfig
from crvae.errors import UserError
from crvae.recipes import RECIPES
from crvae.training import recording
from crvae.training.launch import devices
from crvae.training.prior_stage import PriorStage
from crvae.training.stage1 import Stage1
from crvae.training.step import TrainingStep
from training.test_training_recipes import STAGE1, shrunk

RECORDED = (
    "fast-vae-gan",
    "fast-cvae-gan",
    "fast-crvae-gan-mi",
    "fast-crvae-gan-mi-nested",
    "birds-crvae-gan-mi",
    "birds-vae-gan",
    "mnist-crvae",
)

READS = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "equal.default")
"""Operations whose result depends on values that the host would have to wait for, or that bring the host's numbers in."""


class Reads(TorchDispatchMode):
    """Collects what a recording cannot hold."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        masked = "index.Tensor" in name and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masked or any(read in name for read in READS):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def images(config, count: int = 1) -> list[torch.Tensor]:
    shape = (config.train.batch, config.model.channels, config.model.size, config.model.size)
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("name", STAGE1)
def test_no_step_reads_values(name: str):
    config = shrunk(RECIPES[name].config)
    if config.discriminator.kind == "projected":
        pytest.skip("reads a counter until it has settled: below")
    torch.manual_seed(0)
    step = TrainingStep(Stage1(config), Fabric(accelerator="cpu", devices=1))
    (batch,) = images(config)
    step((batch,), step.complete)
    with Reads() as reads:
        step((batch,), step.complete)
    assert not reads.found


@pytest.mark.parametrize("name", ["fast-vae-gan", "fast-crvae-gan-mi-nested"])
def test_a_projected_discriminator_has_settled_when_it_is_recorded(name: str):
    config = shrunk(RECIPES[name].config)
    torch.manual_seed(0)
    step = TrainingStep(Stage1(config), Fabric(accelerator="cpu", devices=1))
    (batch,) = images(config)
    for projection in step.stage.adversary.discriminator.projections:
        projection.batches.fill_(recording.WARM_UP - 1)
    step((batch,), step.complete)
    with Reads() as reads:
        step((batch,), step.complete)
    assert not reads.found


def test_without_a_gpu_nothing_is_recorded():
    config = shrunk(RECIPES["fast-vae"].config)
    step = TrainingStep(Stage1(config), Fabric(accelerator="cpu", devices=1))
    step(tuple(images(config)), 0)
    assert not step._recordings


def test_what_cannot_be_recorded_says_what_to_type(monkeypatch):
    monkeypatch.setattr(recording, "WARM_UP", 2)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)

    def refuse(graph, **options):
        raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    made = recording.Recording(lambda stored, carry: (stored, carry))
    stored = (torch.zeros(2),)
    for _ in range(2):
        assert made(stored, ()) == (stored, ())
    with pytest.raises(
        UserError, match=r"cannot be recorded on this GPU \(operation not permitted.*--train.deterministic"
    ) as told:
        made(stored, ())
    assert "Compile" not in str(told.value)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def steps(make, batches, start: int, *, recorded: bool):
    """Terms and weights after a step on each batch."""
    fabric, _ = devices("fp32", deterministic=False)
    torch.manual_seed(0)
    step = TrainingStep(make(), fabric)
    step._recorded = recorded
    told = []
    for i, batch in enumerate(batches):
        terms, finite = step(batch, start + i * step.config.batch)
        assert finite
        told.append({name: term.tolist() for name, term in terms.items()})
    if recorded:
        assert all(made._graph is not None for made in step._recordings.values())
    return told, [p.detach().cpu() for side in step.sides for p in side.parameters]


def alike(weights, other) -> None:
    for a, b in zip(weights, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0.02, atol=2e-3)


def recorded_step(name: str):
    """A small step on the GPU, and a batch for it."""
    config = shrunk(RECIPES[name].config)
    fabric, _ = devices("fp32", deterministic=False)
    return TrainingStep(Stage1(config), fabric), tuple(images(config))


@needs_gpu
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_is_the_run(name: str, monkeypatch):
    """From before the discriminator begins until well after: the same draws, rates and weights, but for the order of sums."""
    monkeypatch.setattr(recording, "WARM_UP", 3)
    base = RECIPES[name].config
    objective = base.objective.model_copy(update={"adversarial_after_images": 64})
    train = base.train.model_copy(update={"batch": max(8, base.discriminator.group), "rate": 1e-4, "precision": "fp32"})
    model = base.model.model_copy(update={"width": 4})
    config = type(base)(**(dict(base) | {"objective": objective, "train": train, "model": model}))
    batches = [(batch,) for batch in images(config, 20)]

    def make():
        stage = Stage1(config)
        if config.discriminator.kind == "projected" and stage.adversary:
            for projection in stage.adversary.discriminator.projections:
                projection.batches.fill_(100)
        return stage

    plain, weights = steps(make, batches, 0, recorded=False)
    again, other = steps(make, batches, 0, recorded=True)
    for one, two in zip(plain, again, strict=True):
        assert one.keys() == two.keys()
        for term, value in one.items():
            torch.testing.assert_close(torch.tensor(two[term]), torch.tensor(value), rtol=0.03, atol=3e-3)
    alike(weights, other)


@needs_gpu
def test_a_recorded_step_follows_its_rate_and_its_seed(monkeypatch):
    """At a rate of 0 nothing moves any more. Other images seen, other draws."""
    monkeypatch.setattr(recording, "WARM_UP", 2)
    step, batch = recorded_step("fast-vae")
    told = [step(batch, 80_000_000 + i * step.config.batch)[0]["kl"].item() for i in range(6)]
    still = copy.deepcopy([p.detach() for p in step.sides[0].parameters])
    monkeypatch.setattr(step.sides[0], "rates", lambda images: {group.name: 0.0 for group in step.sides[0].groups})
    first = step(batch, 0)[0]["reconstruction"].item()
    for a, b in zip(still, step.sides[0].parameters, strict=True):
        assert torch.equal(a, b)
    assert step(batch, 0)[0]["reconstruction"].item() == pytest.approx(first, rel=1e-5)  # the same seed
    assert step(batch, 8)[0]["reconstruction"].item() != first
    assert len(set(told)) > 1


@needs_gpu
def test_a_step_that_is_not_finite_changes_nothing(monkeypatch):
    monkeypatch.setattr(recording, "WARM_UP", 2)
    step, batch = recorded_step("fast-crvae")
    for i in range(5):
        _, finite = step(batch, i * 8)
        assert finite
    with torch.no_grad():
        step.sides[0].parameters[0].fill_(float("nan"))
    before = [p.detach().clone() for p in step.sides[0].parameters]
    _, finite = step(batch, 48)
    assert not finite
    for a, b in zip(before, step.sides[0].parameters, strict=True):
        assert torch.equal(a.nan_to_num(7), b.nan_to_num(7))


@needs_gpu
def test_the_priors_steps_are_recorded_too(monkeypatch):
    monkeypatch.setattr(recording, "WARM_UP", 2)
    base = RECIPES["fast-crvae"].config
    config = shrunk(base).model_copy(update={"prior": PriorConfig(kind="flow", images=10_000)})
    model = Stage1(config).model
    batches = [
        (torch.randn(64, *model.latent_shape).cuda(), torch.randn(64, *model.latent_shape).cuda()) for _ in range(8)
    ]
    plain, weights = steps(lambda: PriorStage(config, model, None), batches, 0, recorded=False)
    again, other = steps(lambda: PriorStage(config, model, None), batches, 0, recorded=True)
    for one, two in zip(plain, again, strict=True):
        assert two["prior"] == pytest.approx(one["prior"], rel=0.02)
    alike(weights, other)
