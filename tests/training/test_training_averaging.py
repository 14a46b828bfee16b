"""The averaged weights, and the batch statistics that are made anew for them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from crvae.cli import main
from crvae.data import open_data
from crvae.models import Autoencoder
from crvae.storage.models import load
from crvae.training import averaging, stage1
from crvae.training.images import calibration
from crvae.training.stage1 import Stage1

LATENTS = ("dense", "convolutional", "recurrent")


def pictures(count: int, size: int = 32) -> torch.Tensor:
    """Plain grounds with a square: what a tiny autoencoder can learn."""
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1).repeat(1, 1, size, size)
    for image in images:
        y, x = torch.randint(0, size // 2, (2,), generator=generator).tolist()
        image[:, y : y + 12, x : x + 12] = torch.rand(3, 1, 1, generator=generator) * 2 - 1
    return images


def taught(config, images: torch.Tensor, steps: int) -> Autoencoder:
    """An autoencoder after some steps on mixed [posterior; prior] batches, as training shows them."""
    torch.manual_seed(0)
    model = Autoencoder(config)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        posterior = model.encode(images)
        z = posterior.sample()
        out = model.decode(torch.cat([z, torch.randn_like(z)]))[: len(images)]
        loss = ((out - images) ** 2).mean() + 1e-4 * posterior.kl()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.mark.parametrize("latent", LATENTS)
def test_samples_in_evaluation_look_as_in_a_mixed_training_pass(small, latent: str):
    """After recalibration the rms difference is below 5% of the images' contrast; before, the posterior's statistics rule."""
    images = pictures(256)
    model = taught(small(latent, model={"width": 2}).model, images[:64], 60)
    averaging.recalibrate(model, images.split(64), seed=1)
    assert not any(module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    torch.manual_seed(5)
    noise = torch.randn(256, *model.latent_shape)
    with torch.no_grad():
        evaluated = model.decode(noise)
        model.train()
        mixed = model.decode(torch.cat([model.encode(images).sample(), noise]))[256:]
    contrast = mixed.std().item()
    rms = (evaluated - mixed).square().mean().sqrt().item()
    assert contrast > 0.02
    assert rms < 0.05 * contrast, f"{rms / contrast:.3f} of the contrast"


def test_statistics_are_plain_means_over_mixed_batches(small):
    """Running mean and variance of the decoder's first batch norm, re-derived by hooks."""
    torch.manual_seed(0)
    model = Autoencoder(small("convolutional").model).eval()
    norm = model.latent.project[-1]
    norm.running_mean.fill_(99)
    seen: list[torch.Tensor] = []
    handle = norm.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0]))
    averaging.recalibrate(model, pictures(24).split(8), seed=3)
    handle.remove()
    assert [len(features) for features in seen] == [16] * 3  # posterior and prior together
    torch.testing.assert_close(norm.running_mean, torch.stack([f.mean((0, 2, 3)) for f in seen]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([f.var((0, 2, 3)) for f in seen]).mean(0))
    assert norm.momentum == 0.1


@pytest.mark.parametrize(
    ("beta", "objective", "images"),
    [
        (0.0, {}, 16),
        (0.0125, {}, 16),
        (0.0125, {"adversarial_on": "reconstructions"}, 16),
        (0.0125, {"adversarial_after_images": 16}, 16),
        (0.0125, {"adversarial_after_images": 16}, 24),
    ],
)
def test_statistics_are_of_what_training_decodes(small, monkeypatch, tmp_path, colour, beta, objective, images):
    """Samples are among it only if a discriminator that sees them has begun."""
    config = small(beta=beta, kappa=0.0, objective=objective, train={"images": 64})
    stage = Stage1(config)
    x = pictures(8)
    stage.begin(images - len(x))
    decoded = []
    handle = stage.model.decoder.register_forward_hook(lambda _module, inputs, _out: decoded.append(len(inputs[0])))
    stage.sides[0].step(x)
    handle.remove()
    asked = []
    monkeypatch.setattr(stage1, "recalibrate", lambda *_, samples, **__: asked.append(samples))
    stage.publish(tmp_path / "model", images, open_data(colour))
    assert asked == [decoded[0] == 2 * len(x)]


def test_the_images_of_recalibration_lie_all_over_the_split(colour):
    data, device = open_data(colour), torch.device("cpu")
    train = data.split("train")
    seen = [stored for (stored,) in calibration(data, 4, (32,), device, 12)]
    assert [len(stored) for stored in seen] == [4, 4, 4]
    rows = [row for image in torch.cat(seen) for row in range(len(train)) if torch.equal(train.images([row])[0], image)]
    assert rows[0] == 0
    assert rows[-1] == len(train) - 1
    assert {later - earlier for earlier, later in itertools.pairwise(rows)} <= {4, 5}
    assert sum(len(stored) for (stored,) in calibration(data, 16, (32,), device, 1000)) == len(train) // 16 * 16


def test_recalibration_depends_on_its_seed_alone(small):
    torch.manual_seed(0)
    model = Autoencoder(small().model)
    found = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        state = torch.get_rng_state()
        averaging.recalibrate(model, pictures(16).split(8), seed=4)
        assert torch.equal(torch.get_rng_state(), state)
        found.append({name: buffer.clone() for name, buffer in model.named_buffers()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_the_average_follows_its_half_life():
    """Weights that jump from 0 to 1: after a half-life of images the average is half-way, whatever the batch."""
    for batch in (10, 50, 100):
        module = nn.Linear(1, 1)
        nn.init.zeros_(module.weight)
        average = averaging.average_of(module)
        assert not any(p.requires_grad for p in average.parameters())
        nn.init.ones_(module.weight)
        for images in range(100_000 + batch, 100_000 + 1000 + batch, batch):
            averaging.update(average, module, images=images, batch=batch, half_life=1000)
        assert average.weight.item() == pytest.approx(0.5, abs=1e-4)


def test_the_first_weights_are_soon_forgotten():
    """Early on the half-life is 5% of the images seen: of the random start nothing is left after 1,000 batches."""
    module = nn.Linear(1, 1)
    nn.init.constant_(module.weight, 1000.0)
    average = averaging.average_of(module)
    nn.init.zeros_(module.weight)
    for step in range(1, 1001):
        averaging.update(average, module, images=64 * step, batch=64, half_life=10**9)
    assert abs(average.weight.item()) < 1e-3
    averaging.update(average, module, images=64, batch=64, half_life=0)  # no averaging: the weights themselves
    assert average.weight.item() == 0


def test_batch_norm_momentum_moves_nothing_that_is_published(tmp_path, colour, tiny):
    """Training normalises by the batch and publishing by plain means: a search over the momentum would search noise."""
    published = []
    for momentum in ("0.01", "0.9"):
        run = tmp_path / momentum
        options = [*tiny, "--train.images", "64", "--model.batch-norm-momentum", momentum]
        assert main(["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(run), *options]) == 0
        published.append(load(run).state_dict())
    ours, theirs = published
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
