"""The objectives against formulas written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crvae import objectives
from crvae.config.stage1 import ObjectiveConfig
from crvae.training.stage1 import GeneratorStep, adversary, build


def test_reconstruction_errors():
    x, x_hat = torch.rand(3, 2, 4, 4) * 2 - 1, torch.randn(3, 2, 4, 4)
    assert objectives.gaussian_error(x_hat, x).item() == pytest.approx(((x_hat - x) ** 2).sum().item() / 96, rel=1e-5)
    p, logits = (x.double() + 1) / 2, x_hat.double()
    q = 1 / (1 + torch.exp(-logits))
    expected = -(p * q.log() + (1 - p) * (1 - q).log()).mean().item()
    assert objectives.bernoulli_error(x_hat, x).item() == pytest.approx(expected, rel=1e-5)


def test_adversarial_terms():
    logits = torch.tensor([-3.0, 0.5, 2.0])
    d = 1 / (1 + np.exp(-logits.numpy()))
    assert objectives.fool(logits).item() == pytest.approx(-np.log(d).mean(), rel=1e-5)
    assert objectives.recognise_real(logits).item() == pytest.approx(-np.log(d).mean(), rel=1e-5)
    assert objectives.recognise_fake(logits).item() == pytest.approx(-np.log(1 - d).mean(), rel=1e-5)
    assert torch.isfinite(objectives.fool(torch.tensor([-1e4]))).all()  # from logits: no log(0)


def test_recovery_weights_blocks():
    estimate, target = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    squared = (estimate - target) ** 2
    weights = torch.tensor([0.5, 3.0])
    expected = (0.5 * squared[:, :2].sum() + 3.0 * squared[:, 2:].sum()) / squared.numel()
    torch.testing.assert_close(objectives.recover(estimate, target, weights), expected)
    torch.testing.assert_close(objectives.recover(estimate, target, torch.ones(4)), squared.mean())


def test_explained_is_one_for_perfect_and_zero_for_the_mean():
    target = torch.randn(50, 6)
    assert objectives.explained(target, target).item() == 1
    assert objectives.explained(target.mean(0).expand(50, 6), target).item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(objectives.explained(target, torch.ones(50, 6)))  # a latent that never varies


def test_normalised_latent():
    latent = objectives.normalised(torch.randn(64, 3, 2, 2) * 7 + 4)
    torch.testing.assert_close(latent.mean(0), torch.zeros(3, 2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(latent.std(0, unbiased=False), torch.ones(3, 2, 2), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("steps", "early"), [(1, 1), (2, 1), (4, 2), (8, 3), (16, 6)])
def test_two_levels_of_kl_weights(steps: int, early: int):
    weights = ObjectiveConfig(kl_early=3.0, kl_late=2.0).kl_per_step(steps)
    assert weights == (3.0,) * early + (2.0,) * (steps - early)


def test_the_generators_whole_objective(small):
    """Reconstruction + sum_t w_t KL_t + beta (fool + fool) + kappa MI, from the terms alone."""
    objective = {"kl_weights": "1e-3,2e-3,3e-3,4e-3", "mutual_information_weights": "1,2,0,4"}
    config = small(beta=0.3, kappa=0.7, model={"steps": 4}, objective=objective)
    torch.manual_seed(0)
    model, discriminator = build(config)
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    assert discriminator is not None
    loss, terms, (_, fakes) = GeneratorStep(config, model, adversary(config, discriminator))(x)
    assert terms["kl_per_step"].shape == (4,)
    expected = (
        terms["reconstruction"]
        + (terms["kl_per_step"] * torch.tensor([1e-3, 2e-3, 3e-3, 4e-3])).sum()
        + 0.3 * (terms["adversarial_reconstruction"] + terms["adversarial_sample"])
        + 0.7 * terms["mutual_information"]
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(terms["kl"], terms["kl_per_step"].sum())
    torch.testing.assert_close(terms["reconstruction"], ((fakes.reconstructions - x) ** 2).mean())


def test_each_kind_of_images_has_its_own_mutual_information(small):
    """Equation 2 under the expectation over both: kappa weights the error of reconstructions and that of samples, not their mean."""
    for on, kinds in (("both", 2), ("reconstructions", 1)):
        objective = {"mutual_information_weights": "1,2,0,4", "adversarial_on": on}
        config = small(beta=0.3, kappa=0.7, model={"steps": 4}, discriminator={"dropout": 0.0}, objective=objective)
        torch.manual_seed(0)
        model, discriminator = build(config)
        assert discriminator is not None
        discriminator.eval()
        _, terms, (_, fakes) = GeneratorStep(config, model, adversary(config, discriminator))(torch.rand(8, 3, 32, 32))
        assert len(fakes.images) == kinds
        expected = torch.zeros(())
        for images, latent in zip(fakes.images, fakes.latent.chunk(kinds), strict=True):
            error = (discriminator(images)[1] - latent) ** 2
            part = error.shape[1] // 4
            expected += sum(w * error[:, t * part : (t + 1) * part].mean() / 4 for t, w in enumerate((1, 2, 0, 4)))
        torch.testing.assert_close(terms["mutual_information"], expected)


def test_the_discriminators_whole_objective(small):
    """Real at full weight, reconstructions and samples at half; the latent head's error with its own weight."""
    config = small(discriminator={"dropout": 0.0}, objective={"mutual_information_head": 0.6})
    torch.manual_seed(0)
    model, discriminator = build(config)
    assert discriminator is not None
    discriminator.eval()
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    judge = adversary(config, discriminator)
    _, _, (_, fakes) = GeneratorStep(config, model, judge)(x)
    loss, terms, _ = judge(x, fakes)
    real, reconstruction, sample = (discriminator(images)[0] for images in (x, fakes.reconstructions, fakes.samples))
    log_sigmoid = torch.nn.functional.logsigmoid
    adversarial = (
        -log_sigmoid(real).mean() - 0.5 * log_sigmoid(-reconstruction).mean() - 0.5 * log_sigmoid(-sample).mean()
    )
    torch.testing.assert_close(terms["discriminator"], adversarial)
    error = (discriminator(torch.cat([fakes.reconstructions, fakes.samples]))[1] - fakes.latent) ** 2
    torch.testing.assert_close(loss, adversarial + 0.6 * (error[:8].mean() + error[8:].mean()))
    wrong = [(real < 0).float().mean(), (reconstruction > 0).float().mean(), (sample > 0).float().mean()]
    torch.testing.assert_close(terms["discriminator_error"], 0.5 * wrong[0] + 0.25 * (wrong[1] + wrong[2]))


def test_bernoulli_objective(small):
    config = small("convolutional", beta=0, kappa=0, model={"size": 28, "channels": 1, "likelihood": "bernoulli"})
    torch.manual_seed(0)
    model, discriminator = build(config)
    assert discriminator is None
    x = torch.randint(0, 2, (8, 1, 28, 28)).float() * 2 - 1
    loss, terms, carry = GeneratorStep(config, model, None)(x)
    assert carry == ()
    assert set(terms) == {"kl", "kl_per_step", "posterior_deviation", "reconstruction"}
    assert terms["reconstruction"].item() == pytest.approx(math.log(2), abs=0.2)  # an untrained decoder says one half
    weights = torch.tensor(config.objective.kl_per_step(8))
    torch.testing.assert_close(loss, terms["reconstruction"] + (weights * terms["kl_per_step"]).sum())


def test_the_deviation_that_is_told_is_the_posteriors(small):
    config = small("convolutional", beta=0, kappa=0)
    model, _ = build(config)
    with torch.no_grad():
        model.latent.log_variance.weight.zero_()
        model.latent.log_variance.bias.fill_(-2.0)
    _, terms, _ = GeneratorStep(config, model, None)(torch.rand(8, 3, 32, 32))
    assert terms["posterior_deviation"].item() == pytest.approx(math.exp(-1))
