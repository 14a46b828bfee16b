"""What one Stage2 step moves, and what it must never move."""

from __future__ import annotations

import pytest
import torch

from crvae import objectives
from crvae.config.stage1 import ModelConfig
from crvae.config.stage2 import Stage2Config, Stage2DiscriminatorConfig, Stage2ObjectiveConfig, UpsamplerConfig
from crvae.frozen.pyramids import feature_pyramid
from crvae.models import Autoencoder
from crvae.models.upsampler import Stage2Discriminator, Upsampler
from crvae.storage.models import save
from crvae.training.adoption import adopt
from crvae.training.adversary import Fakes
from crvae.training.perceptual import Perceptual
from crvae.training.stage2 import UpsamplerStep, adversary, small_fakes


@pytest.fixture
def setting():
    torch.manual_seed(0)
    stage1 = Autoencoder(ModelConfig(size=32, width=2, latent_channels=8, residual=True))
    for _ in range(20):
        stage1(torch.rand(16, 3, 32, 32) * 2 - 1)  # batch statistics to evaluate with
    config = Stage2Config(
        recipe="test",
        model=UpsamplerConfig(size=32, output_size=64, width=4, blocks=1),
        discriminator=Stage2DiscriminatorConfig(width=4),
        objective=Stage2ObjectiveConfig(perceptual=1.0, perceptual_network="squeezenet", pixel=1.0),
    )
    model = Upsampler(config.model, stage1)
    discriminator = Stage2Discriminator(config.discriminator, 64, 3)
    pyramid = feature_pyramid("squeezenet", pretrained=False)
    small = torch.rand(8, 3, 32, 32) * 2 - 1
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bicubic").clamp(-1, 1)
    return config, model, discriminator, pyramid, small, large


def touched(module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


@pytest.mark.parametrize(
    "term",
    [
        "loss",
        "reconstruction",
        "perceptual",
        "sample",
        "consistency",
        "adversarial_reconstruction",
        "adversarial_sample",
    ],
)
def test_the_upsamplers_terms_move_its_network_alone(setting, term: str):
    config, model, discriminator, pyramid, small, large = setting
    loss, terms, _ = UpsamplerStep(config, model, adversary(config, discriminator), Perceptual(pyramid))(small, large)
    (loss if term == "loss" else terms[term]).backward()
    assert touched(model.network) == {name for name, _ in model.network.named_parameters()}
    assert not touched(model.stage1)
    assert not touched(discriminator)
    assert not touched(pyramid)


def test_the_loss_is_the_weighted_sum_of_its_terms(setting):
    config, model, discriminator, pyramid, small, large = setting
    weights = Stage2ObjectiveConfig(
        adversarial=0.3,
        perceptual=2.0,
        perceptual_network="squeezenet",
        pixel=5.0,
        sample_pixel=11.0,
        consistency=7.0,
    )
    step = UpsamplerStep(
        config.model_copy(update={"objective": weights}), model, adversary(config, discriminator), Perceptual(pyramid)
    )
    loss, terms, _ = step(small, large)
    adversarial = terms["adversarial_reconstruction"] + terms["adversarial_sample"]
    expected = 0.3 * adversarial + 2 * terms["perceptual"] + 5 * terms["reconstruction"]
    expected = expected + 11 * terms["sample"] + 7 * terms["consistency"]
    assert torch.allclose(loss, expected)


def test_consistency_holds_both_kinds_to_stage1_at_its_size(setting):
    """Means over 2x2 pixels of the large images beside the small ones."""
    config, model, discriminator, _, small, large = setting
    torch.manual_seed(3)
    _, terms, (_, fakes) = UpsamplerStep(config, model, adversary(config, discriminator), None)(small, large)
    torch.manual_seed(3)
    sources = small_fakes(model.stage1, small)
    found = torch.cat(fakes[:2]).unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    assert found.shape == sources.shape == (16, 3, 32, 32)
    assert terms["consistency"].item() == pytest.approx((found - sources).square().mean().item(), rel=1e-4)


def test_samples_are_held_to_their_own_enlargement(setting):
    config, model, discriminator, _, small, large = setting
    torch.manual_seed(3)
    _, terms, (_, fakes) = UpsamplerStep(config, model, adversary(config, discriminator), None)(small, large)
    torch.manual_seed(3)
    sources = small_fakes(model.stage1, small)[8:]
    enlarged = torch.nn.functional.interpolate(sources, scale_factor=2, mode="bilinear")
    assert terms["sample"].item() == pytest.approx((fakes.samples - enlarged).square().mean().item(), rel=1e-4)


def test_the_perceptual_network_sees_the_same_window_of_both_and_not_always_the_same_one(setting):
    config, model, discriminator, _, small, large = setting
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return [x]

    step = UpsamplerStep(config, model, adversary(config, discriminator), Perceptual(Spy()))  # type: ignore[arg-type]
    places = set()
    for _ in range(8):
        seen.clear()
        _, _, (_, fakes) = step(small, large)
        original, reconstruction = seen
        assert original.shape == reconstruction.shape == (8, 3, 57, 57)
        (place,) = [(r, c) for r in range(8) for c in range(8) if torch.equal(original, window(large, r, c))]
        assert torch.equal(reconstruction, window(fakes.reconstructions, *place))
        places.add(place)
    assert len(places) > 1


def window(images, row: int, column: int):
    return images[..., row : row + 57, column : column + 57]


def test_without_a_perceptual_network_there_is_no_such_term(setting):
    config, model, discriminator, _, small, large = setting
    _, terms, _ = UpsamplerStep(config, model, adversary(config, discriminator), None)(small, large)
    assert "perceptual" not in terms


def test_the_discriminators_loss_moves_the_discriminator_alone(setting):
    config, model, discriminator, pyramid, small, large = setting
    _, _, (_, fakes) = UpsamplerStep(config, model, adversary(config, discriminator), Perceptual(pyramid))(small, large)
    assert not any(images.requires_grad for images in fakes[:2])
    loss, terms, carry = adversary(config, discriminator)(large, fakes)
    loss.backward()
    assert touched(discriminator) == {name for name, _ in discriminator.named_parameters()}
    assert not touched(model)
    assert carry == ()
    assert fakes.latent is None
    assert 0 <= terms["discriminator_error"] <= 1


def test_the_discriminators_loss_against_a_plain_derivation(setting):
    """Section 4.3: both kinds are fakes, together as heavy as the real ones; all moved alike."""
    config, _, discriminator, _, _, large = setting
    fakes = Fakes(torch.rand_like(large), -torch.rand_like(large), None)
    torch.manual_seed(2)
    loss, terms, _ = adversary(config, discriminator)(large, fakes)
    torch.manual_seed(2)
    down, right = torch.randint(8, (2,)).tolist()
    assert down or right
    moved = [torch.cat([x[..., -right:], x[..., :-right]], 3) for x in (large, *fakes[:2])]
    moved = [torch.cat([x[..., -down:, :], x[..., :-down, :]], 2) for x in moved]
    d = [torch.sigmoid(discriminator(x)[0].double()) for x in moved]
    expected = -d[0].log().mean() - 0.5 * (1 - d[1]).log().mean() - 0.5 * (1 - d[2]).log().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    wrong = 0.5 * (d[0] < 0.5).double().mean() + 0.25 * ((d[1] > 0.5).double().mean() + (d[2] > 0.5).double().mean())
    assert terms["discriminator_error"].item() == pytest.approx(wrong.item())


def test_the_two_sides_pull_the_images_in_opposite_directions(setting):
    config, model, discriminator, pyramid, small, large = setting
    _, _, (_, fakes) = UpsamplerStep(config, model, adversary(config, discriminator), Perceptual(pyramid))(small, large)
    for images in fakes[:2]:
        x = images.clone().requires_grad_()
        (generator,) = torch.autograd.grad(objectives.fool(discriminator(x)[0]), x)
        (theirs,) = torch.autograd.grad(objectives.recognise_fake(discriminator(x)[0]), x)
        assert torch.nn.functional.cosine_similarity(generator.flatten(), theirs.flatten(), dim=0) < 0


def test_fakes_are_stage1s_reconstructions_and_samples_in_evaluation_mode(setting):
    _, model, _, _, small, _ = setting
    model.train()
    stage1 = model.stage1
    before = {name: buffer.clone() for name, buffer in stage1.named_buffers()}
    fakes = small_fakes(stage1, small, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    posterior = stage1.encode(small)
    z = posterior.mean + (0.5 * posterior.log_variance).exp() * torch.randn(posterior.mean.shape, generator=generator)
    noise = torch.randn(z.shape, generator=generator)
    expected = torch.cat([stage1.decode(z), stage1.decode(noise)])
    assert torch.allclose(fakes, expected, atol=1e-5)
    assert not fakes.requires_grad
    assert all(torch.equal(buffer, before[name]) for name, buffer in stage1.named_buffers())


def test_steps_bring_reconstructions_nearer_to_the_originals(setting):
    config, model, discriminator, pyramid, small, large = setting
    weights = Stage2ObjectiveConfig(adversarial=1e-6, perceptual=1.0, perceptual_network="squeezenet", pixel=1.0)
    large = torch.tensor([0.6, -0.3, 0.1])[:, None, None].expand(large.shape)  # to be had from any reconstruction
    step = UpsamplerStep(
        config.model_copy(update={"objective": weights}), model, adversary(config, discriminator), Perceptual(pyramid)
    )
    optimiser = torch.optim.Adam(model.network.parameters(), lr=5e-3)
    history = []
    for number in range(40):
        torch.manual_seed(number)
        loss, terms, _ = step(small, large)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append({name: term.item() for name, term in terms.items()})
    for name in ("reconstruction", "perceptual"):
        assert history[-1][name] < 0.8 * history[0][name], name


def test_a_stage1_model_is_known_by_its_weights_and_its_configuration(setting, tmp_path):
    config, model, *_ = setting
    save(tmp_path, model.stage1, recipe="test", images=0)
    first = adopt(config, str(tmp_path)).stage1
    assert len(first) == 64
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"residual": true', '"residual": false'))
    assert adopt(config, str(tmp_path)).stage1 != first
    (tmp_path / "config.json").write_text(text)
    assert adopt(config, str(tmp_path)).stage1 == first
    with torch.no_grad():
        next(model.stage1.parameters()).add_(1e-3)
    save(tmp_path, model.stage1, recipe="test", images=0)
    assert adopt(config, str(tmp_path)).stage1 != first
