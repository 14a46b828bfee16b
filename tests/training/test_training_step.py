"""One step of all sides: parts of a batch count as its mean, and every step draws numbers of its own."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from crvae.pictures import from_8_bit
from crvae.training.loop import Training
from crvae.training.stage import seeded
from crvae.training.stage1 import GeneratorStep, Stage1
from crvae.training.step import TrainingStep


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def made(config) -> TrainingStep:
    torch.manual_seed(0)
    return TrainingStep(Stage1(config), Fabric(accelerator="cpu", devices=1))


def test_an_accumulated_batch_is_the_mean_of_its_parts(small, images):
    """In the terms that are told and in the gradients, which Adam's first moment is a tenth of."""
    config = small(beta=0, kappa=0, train={"accumulate": 2})
    step = made(config)
    alone = GeneratorStep(config, copy.deepcopy(step.stage.networks["model"]), None)
    told, _ = step((images,), 0)
    expected: dict[str, torch.Tensor] = {}
    for slot, part in enumerate(images.chunk(2)):
        seeded(config.train.seed, 0, slot, 0)
        loss, terms, _ = alone(from_8_bit(part))
        (loss / 2).backward()
        expected = {name: expected.get(name, 0) + term.detach() / 2 for name, term in terms.items()}
    for name, term in expected.items():
        torch.testing.assert_close(told[name], term, rtol=1e-4, atol=1e-5)
    moments = step.sides[0].optimiser.state
    for ours, theirs in zip(step.stage.networks["model"].parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(moments[ours]["exp_avg"], 0.1 * theirs.grad, rtol=1e-3, atol=1e-6)


def test_every_step_draws_numbers_of_its_own(small, images, monkeypatch):
    """Weights that stay: the same count of images seen gives the same draw, another count and another side another one."""
    step = made(small())
    for side in step.sides:
        monkeypatch.setattr(side, "rates", lambda images, side=side: dict.fromkeys((g.name for g in side.groups), 0.0))
    first, again, later = (step((images,), seen)[0]["reconstruction"].item() for seen in (0, 0, 8))
    assert again == pytest.approx(first, rel=1e-5)
    assert later != pytest.approx(first, rel=1e-5)


def test_a_grey_pixel_is_the_probability_of_white_and_drawn_anew_at_every_visit(small):
    config = small(beta=0, kappa=0)
    stage = Stage1(config.model_copy(update={"input": config.input.model_copy(update={"binarise": True})}))
    stored = torch.full((8, 3, 32, 32), 51, dtype=torch.uint8)  # a fifth of 255
    torch.manual_seed(0)
    (one,), (other,) = stage.inputs((stored,)), stage.inputs((stored,))
    assert set(one.unique().tolist()) == {-1.0, 1.0}
    assert (one > 0).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert not torch.equal(one, other)


def test_a_moment_within_a_batch_comes_after_it():
    """Every 40 images in batches of 16: no moment is lost because no batch ends on it."""
    seen = range(16, 161, 16)
    stub: Any = [SimpleNamespace(images=images) for images in seen]
    found = [one.images for one in stub if Training._passed(one, one.images - 16, 40)]
    assert found == [48, 80, 128, 160]
