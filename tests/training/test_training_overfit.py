"""Every model can learn eight images by heart: nothing between encoder and decoder is cut."""

from __future__ import annotations

import pytest
import torch

from crvae.training.stage1 import GeneratorStep, build

CASES = [
    ("dense", {}),
    ("convolutional", {}),
    ("recurrent", {}),
    ("recurrent", {"residual": True}),
    ("recurrent", {"mixing": "perceptron", "permute": True}),
]


@pytest.mark.parametrize(("latent", "options"), CASES)
def test_eight_images_by_heart(small, latent: str, options: dict):
    """Reconstruction error from about 0.3 (the images' variance) to below 0.01."""
    config = small(
        latent, beta=0, kappa=0, model={"width": 4, "latent_channels": 16, **options},
        objective={"kl_early": 1e-6, "kl_late": 1e-6},
    )  # fmt: skip
    torch.manual_seed(0)
    model, _ = build(config)
    x = torch.nn.functional.interpolate(torch.rand(8, 3, 4, 4) * 2 - 1, 32, mode="bilinear")
    step = GeneratorStep(config, model, None)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    error = torch.inf
    for number in range(400):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * (1 - number / 400)
        loss, terms, _ = step(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        error = terms["reconstruction"].item()
        if error < 0.005:
            break
    assert error < 0.01


def test_bernoulli_digits_by_heart(small):
    config = small(
        "recurrent", beta=0, kappa=0, objective={"kl_early": 1e-6, "kl_late": 1e-6},
        model={"width": 4, "latent_channels": 16, "size": 28, "channels": 1, "likelihood": "bernoulli"},
    )  # fmt: skip
    torch.manual_seed(0)
    model, _ = build(config)
    coarse = torch.nn.functional.interpolate(torch.rand(8, 1, 4, 4), 28, mode="bilinear")
    x = (coarse > 0.5).float() * 2 - 1
    step = GeneratorStep(config, model, None)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    error = torch.inf
    for _ in range(400):
        loss, terms, _ = step(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        error = terms["reconstruction"].item()
        if error < 0.02:
            break
    assert error < 0.03  # nats a pixel; log 2 to begin with
