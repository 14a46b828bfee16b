"""Likelihood against a model whose marginal is known, and against densities summed by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from crvae.binarisation import binarised
from crvae.cli import main
from crvae.config.prior import NormalPriorConfig
from crvae.config.stage1 import ModelConfig
from crvae.data import open_data
from crvae.evaluation import likelihood
from crvae.evaluation.likelihood import BernoulliDecoder, GaussianDecoder, bounds, observation_variance
from crvae.models.autoencoder import Autoencoder
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.prior import NormalPrior


class LinearGaussian:
    """z ~ N(0, I), x = W z + N(0, s^2): p(x) = N(0, W W' + s^2 I). W has orthogonal columns: q(z|x) can be exact."""

    def __init__(self, worse: float):
        torch.manual_seed(0)
        self.w = torch.linalg.qr(torch.randn(6, 3)).Q * torch.tensor([1.5, 1.0, 0.5])
        self.variance = 0.3
        self.worse = worse
        self.passes: list[int] = []
        self.prior = NormalPrior(NormalPriorConfig(), (3,), 1)

    def encode(self, x):
        precision = 1 + self.w.square().sum(0) / self.variance
        mean = x @ self.w / self.variance / precision
        return DiagonalGaussian(mean + 0.2 * self.worse, (-precision.log() + self.worse).expand_as(mean).contiguous())

    def log_likelihood(self, x, z):
        self.passes.append(len(z))
        return Normal(z @ self.w.T, math.sqrt(self.variance)).log_prob(x).sum(1)

    def marginal(self, x):
        covariance = self.w @ self.w.T + self.variance * torch.eye(6)
        return MultivariateNormal(torch.zeros(6), covariance).log_prob(x).double()


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


def test_with_the_exact_posterior_every_bound_is_the_likelihood():
    model, x = LinearGaussian(worse=0), images(7)
    for samples in (1, 5):
        _, iwae = bounds(model, x, samples, torch.Generator().manual_seed(0))
        torch.testing.assert_close(iwae, model.marginal(x), rtol=0, atol=1e-4)
    elbo, _ = bounds(model, x, 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(elbo, model.marginal(x), rtol=0, atol=0.05)


def test_iwae_rises_with_the_samples_from_the_elbo_to_the_likelihood():
    model, x = LinearGaussian(worse=0.7), images(40).repeat(20, 1)
    truth = float(model.marginal(x).mean())
    generator = torch.Generator().manual_seed(0)
    found = [float(bounds(model, x, samples, generator)[1].mean()) for samples in (1, 4, 16, 64, 1024)]
    elbo = float(bounds(model, x, 64, generator)[0].mean())
    assert elbo < truth - 0.3
    assert found == sorted(found)
    assert found[0] == pytest.approx(elbo, abs=0.1)  # IWAE-1 is the ELBO in expectation
    assert found[-1] == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize(("batch", "samples"), [(7, 100), (1, 1000), (300, 3), (256, 1)])
def test_exactly_so_many_samples_in_bounded_memory(batch, samples):
    model = LinearGaussian(worse=0.5)
    bounds(model, images(batch), samples, torch.Generator().manual_seed(0))
    assert sum(model.passes) == batch * samples
    assert max(model.passes) <= max(likelihood.PASS, batch)


def autoencoder(kind: str, size: int = 28) -> Autoencoder:
    torch.manual_seed(0)
    config = ModelConfig(size=size, channels=1, width=1, latent_channels=8, likelihood=kind)  # type: ignore[arg-type]
    return Autoencoder(config).eval().requires_grad_(False)


def test_bernoulli_density_is_summed_over_pixels_and_never_clamped():
    model = autoencoder("bernoulli")
    x = torch.where(torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.5, 1.0, -1.0)
    z = torch.randn(3, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    logits = model.outputs(model.transform(z)).double()
    expected = Bernoulli(logits=logits).log_prob((x.double() + 1) / 2).sum((1, 2, 3))
    torch.testing.assert_close(BernoulliDecoder(model).log_likelihood(x, z), expected)

    last = [part for part in model.decoder.modules() if isinstance(part, torch.nn.Conv2d)][-1]
    last.bias.fill_(1000.0)  # type: ignore[union-attr]  # certain of white: black pixels cost about 1000 nats each
    found = BernoulliDecoder(model).log_likelihood(-torch.ones_like(x), z)
    assert torch.isfinite(found).all()
    assert (found < -500 * 784).all()


def test_gaussian_density_has_its_constant():
    model = autoencoder("gaussian", 32)
    x = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = torch.randn(3, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    expected = Normal(model.decode(z).double(), math.sqrt(0.05)).log_prob(x.double()).sum((1, 2, 3))
    torch.testing.assert_close(GaussianDecoder(model, 0.05).log_likelihood(x, z), expected)


def test_the_validation_error_is_the_variance_that_suits_best():
    model = autoencoder("gaussian", 32)
    x = torch.rand(40, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    best = observation_variance(model, x, 0)

    def elbo(variance):
        return float(bounds(GaussianDecoder(model, variance), x, 1, torch.Generator().manual_seed(0))[0].mean())

    assert elbo(best) > elbo(0.9 * best)
    assert elbo(best) > elbo(1.1 * best)


def test_binarisation_depends_on_seed_and_place_alone():
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = binarised(x, 5)
    assert set(found.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(binarised(x[:7], 5), found[:7])
    assert not torch.equal(binarised(x, 6), found)
    assert abs(float((found - x).mean())) < 0.02  # its expectation is the grey image
    assert torch.equal(binarised(torch.ones(1, 1, 4, 4), 0), torch.ones(1, 1, 4, 4))
    assert torch.equal(binarised(-torch.ones(1, 1, 4, 4), 0), -torch.ones(1, 1, 4, 4))


def test_the_command_on_a_bernoulli_and_a_gaussian_run(tmp_path, grey, colour, trained, capsys):
    small = ["--model.width", "1", "--model.latent-channels", "8", "--train.batch", "16", "--train.images", "32"]
    assert main(["train", "mnist-crvae", "--data", str(grey), "--out", str(tmp_path / "run"), *small]) == 0
    options = ["--scores", "elbo,nll", "--split", "train", "--images", "20", "--json"]
    capsys.readouterr()
    found = {}
    for samples in ("1", "20"):
        assert main(["evaluate", str(tmp_path / "run"), "--data", str(grey), *options, "--samples", samples]) == 0
        found[samples] = json.loads(capsys.readouterr().out)["scores"]
    assert found["20"]["nll"]["value"] < found["1"]["nll"]["value"]
    assert found["20"]["nll"]["value"] < -found["20"]["elbo"]["value"]
    assert found["20"]["nll"]["details"]["binarisation"] == "one Bernoulli draw a pixel, seed 0"
    assert found["20"]["nll"]["images"] == 20

    assert main(["evaluate", str(trained), "--data", str(colour), *options, "--samples", "2"]) == 0
    details = json.loads(capsys.readouterr().out)["scores"]["elbo"]["details"]
    assert details["observation_variance"] > 0
    assert details["observation_variance_from"].startswith("squared error on")
    chosen = ["--observation-variance", "0.25", "--samples", "2"]
    assert main(["evaluate", str(trained), "--data", str(colour), *options, *chosen]) == 0
    details = json.loads(capsys.readouterr().out)["scores"]["elbo"]["details"]
    assert details["observation_variance"] == 0.25


def test_the_variance_is_that_of_images_decoded_from_draws():
    """Of a model that knows every image but for noise of variance 0.25, it is the noise's."""
    model: Any = SimpleNamespace(
        device=torch.device("cpu"),
        encode=lambda x: DiagonalGaussian(x, torch.full_like(x, math.log(0.25))),
        decode=lambda z: z,
    )
    assert observation_variance(model, torch.rand(40, 3, 32, 32), 0) == pytest.approx(0.25, rel=0.02)


def test_the_variance_is_found_on_validation_images_where_there_are_some(colour, monkeypatch):
    data, seen = open_data(colour), []
    monkeypatch.setattr(likelihood, "observation_variance", lambda model, x, seed: seen.append(x) or 0.5)
    evidence: Any = SimpleNamespace(
        split=data.split("train"), request=SimpleNamespace(observation_variance=0.0, seed=0)
    )
    model: Any = SimpleNamespace(config=SimpleNamespace(likelihood="gaussian"), image_shape=(3, 32, 32))
    validation = data.split("validation")
    expected = (0.5, f"squared error on {len(validation)} images of validation")
    assert likelihood._variance(model, evidence) == expected
    assert torch.equal(seen[0], validation[:])
