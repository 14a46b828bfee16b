"""The nested objective: some images are decoded from a prefix of their blocks; off, nothing is drawn and nothing changes."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from crvae.config.prior import FlowPriorConfig
from crvae.data import open_data
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior
from crvae.recipes import RECIPES
from crvae.training.nesting import prefixes
from crvae.training.stage1 import GeneratorStep, Stage1, build

COUNT = 4000


def step(small, nested: float, latent: str = "recurrent") -> GeneratorStep:
    config = small(latent, beta=0.0, kappa=0.0, objective={"nested": nested})
    return GeneratorStep(config, build(config)[0], None)


@pytest.mark.parametrize("latent", ["dense", "convolutional", "recurrent"])
def test_blocks_behind_a_random_step_are_at_the_mean(small, latent):
    torch.manual_seed(0)
    generator = step(small, 0.5, latent)
    z = torch.rand(COUNT, *generator.model.latent_shape) + 0.5  # never 0
    kept = prefixes(generator.model, z, 0.5).flatten(1).unflatten(1, (8, -1))
    there = (kept != 0).all(2)
    assert ((kept == 0).all(2) ^ there).all()  # a block is whole or not there
    assert (there.int().diff(dim=1) <= 0).all()  # a prefix
    assert torch.equal(kept[there], z.flatten(1).unflatten(1, (8, -1))[there])
    counts = torch.bincount(there.sum(1), minlength=9)
    assert counts[0] == 0
    expected = torch.tensor([COUNT / 14] * 7 + [COUNT / 2])
    assert ((counts[1:] - expected).abs() < 5 * expected.sqrt()).all()


def test_off_it_draws_no_random_number(small):
    generator = step(small, 0.0)
    z = torch.randn(4, *generator.model.latent_shape)
    before = torch.get_rng_state()
    assert prefixes(generator.model, z, 0.0) is z
    assert torch.equal(torch.get_rng_state(), before)


def test_always_on_the_last_block_reaches_no_reconstruction(small):
    torch.manual_seed(0)
    generator = step(small, 1.0)
    loss, terms, _ = generator(torch.rand(8, 3, 32, 32) * 2 - 1)
    assert torch.isfinite(loss)
    z = torch.randn(8, *generator.model.latent_shape, requires_grad=True)
    generator.model.outputs(generator.model.transform(prefixes(generator.model, z, 1.0))).square().sum().backward()
    last = z.grad.flatten(1).unflatten(1, (8, -1))[:, -1]
    assert (last == 0).all()
    assert "reconstruction" in terms


@pytest.mark.parametrize("nested", [0.0, 0.5, 1.0])
def test_the_published_statistics_are_of_prefixes_as_in_training(small, colour, tmp_path, monkeypatch, nested):
    stage = Stage1(small("convolutional", beta=0.0, kappa=0.0, objective={"nested": nested}))
    decoded: list[torch.Tensor] = []
    monkeypatch.setattr(stage.averaged, "decode", decoded.append)
    stage.publish(tmp_path / "model", 16, open_data(colour))
    last = torch.cat(decoded).flatten(1).unflatten(1, (8, -1))[:, -1]
    whole = (last != 0).any(1).double().mean()
    assert abs(whole - (1 - nested)) < (0.2 if nested == 0.5 else 1e-9)


def test_it_needs_blocks(small):
    with pytest.raises(ValidationError, match="blocks to leave out"):
        small("convolutional", model={"steps": 1}, objective={"nested": 0.5})
    with pytest.raises(ValidationError):
        small(objective={"nested": 1.5})


def test_only_the_nested_recipes_have_it_and_nothing_else_sets_them_apart():
    nested = {name for name, recipe in RECIPES.items() if recipe.config.stage == 1 and recipe.config.objective.nested}
    assert nested == {"fast-crvae-gan-mi-nested", "fast-cvae-gan-nested", "fast-vae-gan-nested"}
    for name in nested:
        own, plain = (RECIPES[n].config.model_dump() for n in (name, name.removesuffix("-nested")))
        own["objective"]["nested"], own["recipe"] = 0.0, plain["recipe"]
        assert own == plain


def test_a_prior_learned_behind_it_keeps_the_mean_that_the_decoder_knows(small):
    z = 3 + torch.randn(200, 8, 4, 4)
    for nested, mean in ((0.0, z.mean(0)), (0.5, torch.zeros(8, 4, 4))):
        prior = build_prior(FlowPriorConfig(width=8, depth=1), (8, 4, 4), 8)
        assert isinstance(prior, LearnedPrior)
        prior.fit_scale(z, torch.full_like(z, -20.0), centred=not nested)
        torch.testing.assert_close(prior.mean, mean)
        squared = prior.standardised(z).square().mean(0)
        torch.testing.assert_close(squared, torch.ones_like(squared), rtol=1e-3, atol=1e-3)
