"""What a prior is fitted to: draws of the posteriors of the training images, mirror images too; and what of it is published."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from crvae.config.prior import PriorConfig
from crvae.data import open_data
from crvae.models import Autoencoder
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior, prior_config
from crvae.pictures import from_8_bit
from crvae.storage.models import load
from crvae.training import prior_stage
from crvae.training.prior_stage import PriorStage, PriorStep


@pytest.fixture
def made(small, monkeypatch):
    """made(flip=.., nested=..): the prior's stage of a small autoencoder whose means tell images apart, in fp32 on any machine."""
    monkeypatch.setattr(prior_stage, "quick_arithmetic", lambda device: nullcontext())

    def make(flip: bool = False, nested: float = 0.0) -> PriorStage:
        prior = PriorConfig(kind="flow", batch=8)
        config = small(objective={"nested": nested}).model_copy(update={"prior": prior})
        config = config.model_copy(update={"input": config.input.model_copy(update={"flip": flip})})
        torch.manual_seed(0)
        return PriorStage(config, Autoencoder(config.model).eval().requires_grad_(False), None)

    return make


def test_a_mirrored_recipe_fits_every_image_and_its_mirror_image(made, colour):
    stage, split = made(flip=True), open_data(colour).split("train")
    x = from_8_bit(split.images(range(len(split))))
    means, log_variances = stage._posteriors(open_data(colour))
    plain, mirrored = stage.model.encode(x), stage.model.encode(x.flip(3))
    assert (plain.mean - mirrored.mean).abs().max() > 1e-4, "else this test shows nothing"
    torch.testing.assert_close(means, torch.cat([plain.mean, mirrored.mean]))
    torch.testing.assert_close(log_variances, torch.cat([plain.log_variance, mirrored.log_variance]))


def test_of_a_set_that_does_not_fit_evenly_spaced_images_are_kept(made, colour, monkeypatch):
    stage, split = made(), open_data(colour).split("train")
    monkeypatch.setattr(prior_stage, "LIMIT", 5 * 128)
    x = from_8_bit(split.images(torch.linspace(0, len(split) - 1, 5).long()))
    torch.testing.assert_close(stage._posteriors(open_data(colour))[0], stage.model.encode(x).mean)


def test_every_visit_draws_from_the_posterior(monkeypatch):
    prior = build_prior(prior_config(PriorConfig(kind="flow")), (8, 4, 4), 4)
    assert isinstance(prior, LearnedPrior)
    seen = []
    monkeypatch.setattr(prior, "loss", lambda z: seen.append(z) or z.sum())
    means, log_variances = torch.full((2000, 8, 4, 4), 3.0), torch.full((2000, 8, 4, 4), -2.0)
    for _ in range(2):
        PriorStep(prior)(means, log_variances)
    assert seen[0].mean().item() == pytest.approx(3, abs=0.01)
    assert seen[0].var().item() == pytest.approx(torch.tensor(-2.0).exp().item(), rel=0.02)
    assert not torch.equal(*seen)


@pytest.mark.parametrize("nested", [0.0, 0.5])
def test_both_the_prior_and_its_average_know_the_scale_and_a_nested_one_is_centred_at_0(made, colour, nested):
    stage = made(nested=nested)
    means, log_variances = stage._posteriors(open_data(colour))
    stage.batches(open_data(colour), 0, 0, 1)
    second = means.square() if nested else (means - means.mean(0)).square()
    scale = (second.mean(0) + log_variances.exp().mean(0)).sqrt()
    for prior in (stage.prior, stage.averaged):
        torch.testing.assert_close(prior.mean, 0 * means[0] if nested else means.mean(0))
        torch.testing.assert_close(prior.scale.flatten(), scale.flatten(), rtol=1e-3, atol=1e-5)


def test_its_averaged_weights_are_published(made, colour, tmp_path):
    stage = made()
    with torch.no_grad():
        for parameter in stage.prior.parameters():
            parameter.add_(1.0)
    stage.publish(tmp_path / "model", 64, open_data(colour))
    for (name, ours), theirs in zip(
        load(tmp_path / "model").prior.named_parameters(), stage.averaged.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_ranks_share_a_batch_of_latents(made, colour):
    stage, data = made(), open_data(colour)
    whole, *parts = (stage.batches(data, 8, rank, world) for rank, world in ((0, 1), (0, 2), (1, 2)))
    for _ in range(3):
        shared = [torch.cat(both) for both in zip(*map(next, parts), strict=True)]
        assert all(map(torch.equal, next(whole), shared))
