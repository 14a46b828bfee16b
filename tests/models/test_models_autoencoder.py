"""Every size, colour, likelihood and construction: shapes, ranges, what samples depend on."""

from __future__ import annotations

import itertools

import pytest
import torch
from jaxtyping import TypeCheckError

from crvae import objectives
from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.errors import UserError
from crvae.models import Autoencoder, PaperDiscriminator

LATENTS = ("dense", "convolutional", "recurrent")


def made(**options) -> Autoencoder:
    """A small model whose batch statistics are those of its own features, so that its images have contrast."""
    torch.manual_seed(0)
    model = Autoencoder(ModelConfig(**({"width": 1, "latent_channels": 8, "size": 32} | options)))
    for norm in model.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            norm.momentum = 1.0
    with torch.no_grad():
        model(torch.rand(4, *model.image_shape) * 2 - 1)
    return model.eval()


@pytest.mark.parametrize(("size", "channels"), itertools.product((28, 32, 64, 128, 256), (1, 3)))
def test_every_size(size: int, channels: int):
    for latent in LATENTS:
        model = made(latent=latent, size=size, channels=channels)
        x = torch.rand(2, channels, size, size) * 2 - 1
        posterior = model.encode(x)
        assert posterior.mean.shape == posterior.log_variance.shape == (2, *model.latent_shape)
        assert model.latent_shape == ((128,) if latent == "dense" else (8, 4, 4))
        assert posterior.kl(per_step=True).shape == (8,)
        assert model.image_shape == (channels, size, size)
        for images in (model.decode(posterior.sample()), model.reconstruct(x), model.sample(2)):
            assert images.shape == x.shape
            assert images.abs().max() <= 1
        discriminator = PaperDiscriminator(DiscriminatorConfig(kernels=2), model.config, model.latent.transformed_shape)
        realism, estimate = discriminator(x)
        assert realism.shape == (2,)
        assert estimate is not None
        assert estimate.shape == (2, *model.latent.transformed_shape)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_any_number_of_steps(steps: int):
    for latent in LATENTS:
        model = made(latent=latent, steps=steps)
        assert model.encode(torch.zeros(2, 3, 32, 32)).kl(per_step=True).shape == (steps,)


@pytest.mark.parametrize("latent", LATENTS)
def test_decoding_the_first_blocks_puts_the_rest_at_the_priors_mean(latent: str):
    model = made(latent=latent, steps=4)
    z = model.prior.sample(2, seed=3)
    for t in range(5):
        kept = z.flatten(1).clone()
        kept[:, t * 32 :] = 0
        torch.testing.assert_close(model.decode(z, steps=t), model.decode(kept.view(z.shape)), rtol=0, atol=1e-6)
    for bad in (-1, 5):
        with pytest.raises(UserError, match="steps must be a whole number from 0 to 4"):
            model.decode(z, steps=bad)


def test_samples_are_a_function_of_the_seed_whatever_the_count():
    model = made()
    torch.manual_seed(99)
    many = model.sample(5, seed=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    torch.testing.assert_close(model.sample(2, seed=1), many[:2], rtol=0, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)
    assert (model.sample(2, seed=2) - many[:2]).abs().max() > 0.01
    torch.testing.assert_close(model.sample(2, truncation=0.0), model.decode(torch.zeros(2, 8, 4, 4)))


def test_reconstruction_is_from_the_mean():
    model = made()
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    images = model.decode(model.encode(x).mean)
    assert images.std() > 0.01
    torch.testing.assert_close(model.reconstruct(x), images, rtol=0, atol=1e-5)


def test_bernoulli_images_are_probabilities_mapped():
    model = made(size=28, channels=1, likelihood="bernoulli")
    z = model.prior.sample(3)
    probability = torch.sigmoid(model.outputs(model.transform(z)))
    torch.testing.assert_close(model.decode(z), 2 * probability - 1)
    x = torch.rand(2, 1, 28, 28) * 2 - 1  # the encoder sees [0, 1]
    torch.testing.assert_close(model.encode(x).mean, model.latent.posterior(model.encoder((x + 1) / 2)).mean)


@pytest.mark.parametrize("latent", LATENTS)
def test_overrides_of_the_recurrence_work_in_a_model(latent: str):
    for mixing, permute in itertools.product(("lstm", "perceptron"), (False, True)):
        model = made(latent=latent, mixing=mixing, permute=permute, residual=True)
        assert torch.isfinite(model.sample(2)).all()


def test_a_narrow_discriminator_is_narrower():
    config = ModelConfig(width=2, size=32)
    wide, narrow = (
        PaperDiscriminator(DiscriminatorConfig(narrow=narrow, kernels=2), config) for narrow in (False, True)
    )
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in wide.parameters())


def test_shapes_are_checked_in_the_tests():
    with pytest.raises(TypeCheckError):
        objectives.weighted_kl(torch.zeros(2), torch.zeros(3))
    with pytest.raises(TypeCheckError):
        made().encode(torch.zeros(3, 32, 32))


@pytest.mark.parametrize("latent", LATENTS)
def test_every_batch_norm_of_maps_has_the_configurations_numbers(latent: str):
    model = Autoencoder(ModelConfig(latent=latent, size=32, width=1, batch_norm_eps=0.01, batch_norm_momentum=0.3))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.01, 0.3)}
