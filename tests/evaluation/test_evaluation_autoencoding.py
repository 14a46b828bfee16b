"""Reconstruction errors, KL and active units against formulas; the LPIPS-style distance against what a distance must be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from crvae.binarisation import binarised
from crvae.config.stage1 import ModelConfig
from crvae.data import open_data
from crvae.evaluation.autoencoding import active_units, held_out, latent_scores, reconstruction_scores, reconstructions
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.features import spaced
from crvae.models import Autoencoder
from crvae.pictures import from_8_bit, to_8_bit
from crvae.storage.models import load


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance(torch.device("cpu"))


@pytest.fixture(scope="module")
def images(colour) -> torch.Tensor:
    return open_data(colour).split("train").everything()[:24]


def test_reconstruction_scores_are_those_of_the_saved_images(trained, images, distance):
    model = load(trained)
    scores = reconstruction_scores(model, images, 0, distance)
    rebuilt = reconstructions(model, images)
    assert rebuilt.dtype == torch.uint8
    apart = ((rebuilt.double() - images.double()) / 127.5) ** 2
    assert scores["mse"].value == pytest.approx(float(apart.mean()), rel=1e-5)
    decibels = 10 * torch.log10(4 / apart.flatten(1).mean(1))
    assert scores["psnr"].value == pytest.approx(float(decibels.mean()), rel=1e-5)
    assert scores["lpips"].features_sha256 == distance.sha256
    assert "LPIPS-style" in scores["lpips"].name


def test_kl_and_its_steps_add_up(trained, images):
    model = load(trained)
    scores = latent_scores(model, images, 0)
    posterior = model.encode(from_8_bit(images))
    normal = Normal(posterior.mean.double(), (0.5 * posterior.log_variance.double()).exp())
    expected = kl_divergence(normal, Normal(torch.zeros(1).double(), torch.ones(1).double())).flatten(1).sum(1)
    assert scores["kl"].value == pytest.approx(float(expected.mean()), rel=1e-5)
    assert sum(scores["kl"].details["per_step"]) == pytest.approx(scores["kl"].value, rel=1e-6)
    assert len(scores["kl"].details["per_step"]) == model.config.steps
    assert sum(scores["active_units"].details["per_step"]) == scores["active_units"].value


def test_active_units_are_those_that_vary():
    means = torch.zeros(50, 4, 1, 1)
    means[:, 0] = torch.linspace(-1, 1, 50)[:, None, None]
    means[:, 1] = 7.0  # large, but the same for every image
    means[:, 3] = 0.05 * torch.linspace(-1, 1, 50)[:, None, None]
    assert active_units(means, steps=2).tolist() == [1, 0]


def test_the_distance_is_zero_for_equals_and_grows_with_noise(distance, images):
    torch.manual_seed(0)
    noise = torch.randn(images.shape)
    at = [distance(images, (images + s * noise).clamp(0, 255).round().to(torch.uint8)).mean() for s in (0, 10, 40, 100)]
    assert at[0] == 0
    assert at == sorted(at)
    assert at[1] > 0.001
    other = images.flip(0)
    torch.testing.assert_close(distance(images, other), distance(other, images))
    grey = images[:, :1]
    torch.testing.assert_close(distance(grey, grey.flip(0)), distance(grey.expand(-1, 3, -1, -1), grey.flip(0)))


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_a_bernoulli_decoder_is_held_to_black_and_white_images(grey, kind):
    model = Autoencoder(ModelConfig(size=28, channels=1, width=1, latent_channels=8, likelihood=kind))
    split = open_data(grey).split("train")
    request = SimpleNamespace(seed=3)
    evidence: Any = SimpleNamespace(subject=SimpleNamespace(autoencoder=model), split=split, count=20, request=request)
    _, stored = held_out(evidence)
    original = split.images(spaced(len(split), 20))
    expected = to_8_bit(binarised(from_8_bit(original), 3)) if kind == "bernoulli" else original
    assert len(original.unique()) > 2
    assert torch.equal(stored, expected)
