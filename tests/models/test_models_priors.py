"""Priors of every kind over every latent construction: seeds, blocks, counts, and files that are refused."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from crvae.config.prior import AutoregressivePriorConfig, FlowPriorConfig, NormalPriorConfig
from crvae.config.stage1 import ModelConfig
from crvae.errors import UserError
from crvae.models import Autoencoder, Upsampler
from crvae.models.gaussian import DiagonalGaussian, blocks, standard_log_prob
from crvae.models.prior import LearnedPrior, NormalPrior
from crvae.models.priors import PRIORS, build_prior
from crvae.storage.models import load, save, save_upsampler
from reference.toys import Centred, CentredConfig

LATENTS = ("dense", "convolutional", "recurrent")
CONFIGS = {
    "normal": NormalPriorConfig(),
    "flow": FlowPriorConfig(width=16, depth=1, solver_steps=2),
    "autoregressive": AutoregressivePriorConfig(width=8, mixture=3, candidates=8),
}
every = [pytest.param(kind, latent, id=f"{kind}-{latent}") for kind in PRIORS for latent in LATENTS]


def autoencoder(latent: str) -> Autoencoder:
    return Autoencoder(ModelConfig(latent=latent, size=32, width=1, latent_channels=8, steps=4)).eval()


def shaken(kind: str, model: Autoencoder):
    """A prior of a kind with weights, and so draws, that are not those it begins with."""
    torch.manual_seed(1)
    prior = build_prior(CONFIGS[kind], model.latent_shape, 4)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    if isinstance(prior, LearnedPrior):
        means = 3 + 2 * torch.randn(50, *model.latent_shape)
        prior.fit_scale(means, torch.full_like(means, -1.0))
    return prior.eval().requires_grad_(False)


def parts(z: torch.Tensor) -> list[torch.Tensor]:
    """Blocks 1 to 4 by plain slicing of channels."""
    size = z.shape[1] // 4
    return [z[:, t * size : (t + 1) * size] for t in range(4)]


@pytest.mark.parametrize(("kind", "latent"), every)
def test_a_seed_decides_and_the_first_draws_are_the_same_whatever_the_count(kind, latent):
    model = autoencoder(latent)
    prior = shaken(kind, model)
    z = prior.sample(9, seed=5)
    assert z.shape == (9, *model.latent_shape)
    torch.testing.assert_close(prior.sample(3, seed=5), z[:3], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cat(list(prior.draws(9, 5, batch=4))), z, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(prior.sample(9, seed=6), z, atol=0.1)
    assert (z[0] - z[1]).abs().max() > 0.1
    generator = torch.Generator().manual_seed(3)
    like = prior.draw_like(z, generator)
    assert like.shape == z.shape
    assert not torch.allclose(like, prior.draw_like(z, generator), atol=0.1)


@pytest.mark.parametrize(("kind", "latent"), every)
def test_fill_redraw_and_mean_fill_touch_their_blocks_alone(kind, latent):
    model = autoencoder(latent)
    prior = shaken(kind, model)
    z = prior.sample(4, seed=0)
    for t in range(5):
        filled, meant = prior.fill(z, t, seed=1), prior.mean_fill(z, t)
        for s in range(4):
            changed = s >= t
            assert torch.equal(parts(filled)[s], parts(z)[s]) != changed
            mean = parts(prior.mean[None])[s].expand_as(parts(z)[s])
            assert torch.equal(parts(meant)[s], mean if changed else parts(z)[s])
    torch.testing.assert_close(prior.fill(z[:2], 1, seed=1), prior.fill(z, 1, seed=1)[:2], rtol=1e-4, atol=1e-4)
    for t in range(1, 5):
        redrawn = prior.redraw(z, t, seed=1)
        for s in range(4):
            assert torch.equal(parts(redrawn)[s], parts(z)[s]) != (s == t - 1)
        torch.testing.assert_close(prior.redraw(z[:2], t, seed=1), redrawn[:2], rtol=1e-4, atol=1e-4)
    for call, bad in ((prior.fill, -1), (prior.fill, 5), (prior.mean_fill, 5), (prior.redraw, 0), (prior.redraw, 5)):
        with pytest.raises(UserError, match=f"to 4, the model's time steps, got {bad}$"):
            call(z, bad)


@pytest.mark.parametrize(("kind", "latent"), every)
def test_a_model_comes_back_with_its_prior_and_decodes_through_it(kind, latent, tmp_path):
    model = autoencoder(latent)
    without = set(model.state_dict())
    model.prior = shaken(kind, model)
    save(tmp_path, model, recipe="test", images=1)
    assert set(load_file(tmp_path / "model.safetensors")) == without
    assert (tmp_path / "prior.safetensors").exists() == (kind != "normal")
    assert json.loads((tmp_path / "config.json").read_text())["prior"]["kind"] == kind
    loaded = load(tmp_path)
    assert type(loaded.prior) is PRIORS[kind]
    assert torch.equal(loaded.prior.sample(3, 2), model.prior.sample(3, 2))
    alike(loaded.sample(3, 2), model.decode(model.prior.sample(3, 2)))
    z = model.prior.sample(2)
    alike(loaded.decode(z, steps=2), model.decode(model.prior.mean_fill(z, 2)))
    half = model.prior.mean + 0.5 * (model.prior.sample(2, 7) - model.prior.mean)
    alike(loaded.sample(2, 7, truncation=0.5), model.decode(half))
    plain = load(tmp_path, prior="normal")
    assert type(plain.prior) is NormalPrior
    generator = torch.Generator().manual_seed(1)
    alike(
        plain.sample(2, 1), plain.decode(torch.stack([torch.randn(z.shape[1:], generator=generator) for _ in range(2)]))
    )


def alike(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal but for rounding, at whatever scale: the images of untrained networks are tiny."""
    assert (found - wanted).abs().max() < 1e-3 * wanted.std()


def test_a_stage2_model_has_its_stage1s_prior(tmp_path):
    from crvae.config.stage2 import UpsamplerConfig

    stage1 = autoencoder("recurrent")
    stage1.prior = shaken("flow", stage1)
    model = Upsampler(UpsamplerConfig(size=32, output_size=64, width=4, blocks=0), stage1).eval()
    save_upsampler(tmp_path, model, recipe="test", images=1)
    loaded = load(tmp_path)
    assert not any("prior" in name for name in load_file(tmp_path / "model.safetensors"))
    assert torch.equal(loaded.prior.sample(2), stage1.prior.sample(2))
    assert torch.equal(loaded.sample(2), model.sample(2))


def test_what_was_written_before_priors_has_the_normal_one(tmp_path):
    model = autoencoder("recurrent")
    save(tmp_path, model, recipe="test", images=1)
    body = json.loads((tmp_path / "config.json").read_text())
    del body["prior"]
    (tmp_path / "config.json").write_text(json.dumps(body))
    assert type(load(tmp_path).prior) is NormalPrior
    assert torch.equal(load(tmp_path).sample(2), model.sample(2))


@pytest.fixture
def folder(tmp_path):
    model = autoencoder("convolutional")
    model.prior = shaken("flow", model)
    save(tmp_path, model, recipe="test", images=1)
    return tmp_path


def test_a_prior_that_does_not_fit_is_refused(folder):
    weights, text = load_file(folder / "prior.safetensors"), (folder / "config.json").read_text()
    name = next(iter(weights))
    endless = {name: torch.full_like(weights[name], float("inf"))}
    for bad, word in (
        ({key: value for key, value in weights.items() if key != name}, "missing"),
        (weights | {"more": torch.zeros(1)}, "not of this model"),
        (weights | {name: torch.zeros(1, 1)}, "shape"),
        (weights | {name: weights[name].double()}, "F64"),
        (weights | endless, "not finite"),
    ):
        save_file(bad, folder / "prior.safetensors")
        with pytest.raises(UserError, match=f"prior.safetensors.*{word}"):
            load(folder)
    (folder / "prior.safetensors").unlink()
    with pytest.raises(UserError, match=r"prior.safetensors is missing"):
        load(folder)
    save_file(weights, folder / "prior.safetensors")
    body = json.loads(text)
    for part, word in (
        ({"kind": "diffusion"}, "prior.kind must be one of normal, flow, autoregressive"),
        ({}, "prior.kind"),
        (None, "prior.kind"),
        ([], "prior.kind"),
        ({"kind": ["flow"]}, "prior.kind"),
        (body["prior"] | {"width": "16"}, "prior.width"),
        (body["prior"] | {"width": 0}, "prior.width"),
        (body["prior"] | {"colour": 1}, "prior.colour"),
        (body["prior"] | {"width": 2048}, "shape"),
    ):
        (folder / "config.json").write_text(json.dumps(body | {"prior": part}))
        with pytest.raises(UserError, match=word) as found:
            load(folder)
        assert "\n" not in str(found.value)
    (folder / "config.json").write_text(text)
    assert load(folder).prior.config.kind == "flow"


def test_a_normal_prior_takes_the_place_of_a_learned_one(folder):
    model = load(folder)
    model.prior = NormalPrior(NormalPriorConfig(), model.latent_shape, 4)
    save(folder, model, recipe="test", images=1)
    assert not (folder / "prior.safetensors").exists()
    assert type(load(folder).prior) is NormalPrior


def test_the_normal_priors_numbers_are_those_of_the_standard_gaussian():
    prior = NormalPrior(NormalPriorConfig(), (8, 4, 4), 4)
    z = prior.sample(5, 1)
    assert torch.equal(prior.log_prob(z), standard_log_prob(z))
    offset = prior.potential(z) + prior.log_prob(z)
    torch.testing.assert_close(offset, offset[:1].expand(5), rtol=0, atol=1e-3)
    q = DiagonalGaussian(z, 0.1 * z, 4)
    assert torch.equal(prior.kl(q, per_image=True), q.kl(per_step=True, per_image=True))
    assert not list(prior.state_dict())


def test_the_flow_says_that_it_has_no_density_and_pays_for_its_divergence_in_closed_form():
    model = autoencoder("dense")
    prior = shaken("flow", model)
    with pytest.raises(UserError, match="autoregressive"):
        prior.log_prob(prior.sample(2))
    q = DiagonalGaussian(prior.sample(5), torch.full((5, 128), -2.0), 4)
    other = torch.distributions.Normal(prior.mean, prior.scale.flatten())
    wanted = torch.distributions.kl_divergence(torch.distributions.Normal(q.mean, torch.exp(torch.tensor(-1.0))), other)
    torch.testing.assert_close(prior.kl(q, per_image=True), wanted.unflatten(1, (4, 32)).sum(2), rtol=1e-4, atol=1e-4)


def test_under_autocast_the_flows_draws_are_those_of_weights_rounded_at_every_evaluation():
    """`_solved` rounds them once, and describes all levels before it begins."""
    prior = build_prior(FlowPriorConfig(width=32), (8, 2, 2), 4).requires_grad_(False)
    for weight in prior.parameters():
        weight.normal_(std=0.1)
    before = {name: weight.clone() for name, weight in prior.state_dict().items()}
    noise = prior.noise(3, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        found = prior.generate(noise)
        x, count = blocks(noise, 4), prior.config.solver_steps
        for step in range(count):
            middle = x + 0.5 / count * prior(x, torch.full((1, 4), step / count))
            x = x + 1 / count * prior(middle, torch.full((1, 4), (step + 0.5) / count))
    assert torch.equal(found, x.view(noise.shape))
    assert not torch.equal(found, prior.generate(noise)), "fp32 has a result of its own"
    assert all(torch.equal(weight, before[name]) for name, weight in prior.state_dict().items())
    assert {weight.dtype for weight in prior.parameters()} == {torch.float32}


def test_under_autocast_the_flows_potential_has_the_gradient_of_weights_rounded_at_every_evaluation(monkeypatch):
    prior = shaken("flow", autoencoder("recurrent"))
    z = prior.sample(3).requires_grad_()
    gradients = []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            gradients += torch.autograd.grad(prior.potential(z).sum(), z)
        monkeypatch.setattr(prior, "_rounded_once", lambda: prior)
    assert torch.equal(*gradients)
    assert gradients[0].abs().sum() > 0


def test_standardising_takes_means_and_noise_into_account():
    prior = build_prior(CONFIGS["flow"], (8, 4, 4), 4)
    means = 3 + 2 * torch.randn(4000, 8, 4, 4)
    prior.fit_scale(means, torch.full_like(means, 1.0))
    draws = means + torch.exp(torch.tensor(0.5)) * torch.randn_like(means)
    x = prior.standardised(draws)
    assert x.mean().abs() < 0.01
    assert (x.std() - 1).abs() < 0.01
    torch.testing.assert_close(prior.restored(x), draws, rtol=1e-5, atol=1e-5)


def test_a_new_prior_is_a_class_and_an_entry(tmp_path, monkeypatch):
    model = autoencoder("recurrent")
    model.prior = Centred(CentredConfig(begin=3.0), model.latent_shape, 4)
    save(tmp_path, model, recipe="test", images=1)
    with pytest.raises(UserError, match=r"prior.kind must be one of normal"):
        load(tmp_path)
    monkeypatch.setitem(PRIORS, "centred", Centred)
    loaded = load(tmp_path)
    z = NormalPrior(NormalPriorConfig(), model.latent_shape, 4).sample(2, 1) + 3
    assert torch.equal(loaded.prior.sample(2, 1), z)
    alike(loaded.sample(2, 1), model.decode(z).detach())
    assert (loaded.prior.mean_fill(z, 1)[:, 2:] == 3).all()


def test_the_potential_of_a_flow_that_predicts_nothing_by_hand():
    """Velocity 0, as before training: the integral of s^2 |z - noise|^2 over 8 logits from -3 to 3, the noise always the same."""
    prior = build_prior(FlowPriorConfig(width=16, depth=1), (8, 4, 4), 4)
    assert isinstance(prior, LearnedPrior)
    prior.fit_scale(torch.full((2, 8, 4, 4), 3.0), torch.full((2, 8, 4, 4), math.log(4.0)))
    z, generator, expected = prior.sample(3), torch.Generator().manual_seed(0), torch.zeros(3)
    for level in range(8):
        s = 1 / (1 + math.exp(3 - level * 6 / 7))
        noise = torch.randn(4, 32, generator=generator)
        expected += 6 / 7 * s**2 * ((z.view(3, 4, 32) - 3) / 2 - noise).square().sum((1, 2))
    torch.testing.assert_close(prior.potential(z), expected, rtol=1e-4, atol=1e-3)
