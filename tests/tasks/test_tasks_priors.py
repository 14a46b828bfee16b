"""Every task under a learned prior: what it draws comes from that prior, and given the other blocks."""

from __future__ import annotations

import math

import pytest
import torch

from crvae.cli import main
from crvae.config.prior import AutoregressivePriorConfig, FlowPriorConfig
from crvae.errors import UserError
from crvae.evaluation.autoencoding import latent_scores
from crvae.evaluation.likelihood import GaussianDecoder, bounds
from crvae.models import Autoencoder
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior
from crvae.pictures import to_8_bit
from crvae.storage.models import load, save
from crvae.tasks.completion import Search, complete, weighed
from crvae.tasks.profiling import profile
from crvae.tasks.sampling import sample_images, samples
from crvae.tasks.search import GAMMA
from crvae.tasks.traversal import progression, styles
from crvae.tasks.traversal_grid import walk
from crvae.web.demo.walking import walk_latent

CONFIGS = {
    "flow": FlowPriorConfig(width=16, depth=1, solver_steps=2),
    "autoregressive": AutoregressivePriorConfig(width=8, mixture=3, candidates=8),
}


@pytest.fixture(params=CONFIGS)
def learned(request, make) -> Autoencoder:
    """A model of its own with a learned prior whose weights say something."""
    model = make[0]("recurrent")
    torch.manual_seed(1)
    prior = build_prior(CONFIGS[request.param], model.latent_shape, 4)
    assert isinstance(prior, LearnedPrior)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    means = 1 + torch.randn(50, *model.latent_shape)
    prior.fit_scale(means, torch.full_like(means, -1.0))
    model.prior = prior.eval().requires_grad_(False)
    return model


def test_samples_come_from_the_learned_prior(learned, tmp_path):
    z = learned.prior.sample(130, 3)
    expected = to_8_bit(torch.cat([learned.decode(part) for part in z.split(128)]))
    stored = torch.cat(list(samples(learned, 130, 3)))
    assert (stored.int() - expected.int()).abs().max() <= 1
    save(tmp_path / "model", learned, recipe="test", images=1)
    assert (sample_images(str(tmp_path / "model"), 5, 3).int() - stored[:5].int()).abs().max() <= 1
    plain = load(tmp_path / "model", prior="normal").sample(5, 3)
    assert (to_8_bit(plain).int() - stored[:5].int()).abs().max() > 8


def test_every_command_takes_the_normal_prior_where_it_is_asked_to(learned, tmp_path):
    """With --prior normal the files are, byte for byte, those of the same model saved without its learned prior."""
    save(tmp_path / "learned", learned, recipe="test", images=1)
    plain = load(tmp_path / "learned", prior="normal")
    save(tmp_path / "plain", plain, recipe="test", images=1)
    image = tmp_path / "image.png"
    assert main(["sample", str(tmp_path / "plain"), "--count", "1", "--out", str(image)]) == 0
    search = ["--images", str(image), "--mask", "upper", "--steps", "2", "--restarts", "1"]
    for name, words, made in (
        ("sample", ["--count", "4"], "4.png"),
        ("traverse", ["progressive", "--count", "2"], "walk.png"),
        ("complete", search, "done"),
    ):

        def written(run: str, *prior: str, name=name, words=words, made=made) -> bytes:
            out = tmp_path / f"{run}-{len(prior)}-{made}"
            assert main([name, str(tmp_path / run), *words, "--out", str(out), *prior]) == 0
            return next((out / "upper").glob("*.png")).read_bytes() if out.is_dir() else out.read_bytes()

        asked = written("learned", "--prior", "normal")
        assert asked == written("plain") == written("plain", "--prior", "normal") != written("learned"), name


def test_walks_redraw_given_the_other_blocks_and_start_at_the_priors_mean(learned):
    prior, z = learned.prior, learned.prior.sample(3, 0)
    first = progression(learned, z)[:, 0]
    torch.testing.assert_close(first[0], learned.decode(prior.mean[None])[0], rtol=0, atol=1e-4)
    noise = prior.noise(2, 5)
    columns = styles(learned, z, noise, 2)
    for k in range(2):
        alone = [prior.replace(z[row : row + 1], 2, noise[k : k + 1]) for row in range(3)]
        torch.testing.assert_close(columns[:, k + 1], learned.decode(torch.cat(alone)), rtol=0, atol=1e-3)
    for kind, step in (("progressive", None), ("interpolate", None), ("style", None), ("interpolate", 3), ("style", 4)):
        shown = walk(learned, kind, images=None, step=step, count=2, columns=3, seed=0)
        assert len(shown.rows) == len(shown.images)
        assert len(shown.columns) == shown.images.shape[1]


def test_a_profile_redraws_given_the_other_blocks_and_counts_nats_against_the_prior(learned):
    x = learned.sample(6, 3)
    found = profile(learned, x, seed=0)
    z = learned.prior.sample(6, 0)
    change = (learned.decode(learned.prior.redraw(z, 2, 1)) - learned.decode(z)).square().mean().item()
    assert found["resampled"]["change"][1]["mean"] == pytest.approx(change, rel=1e-2)
    kl = learned.prior.kl(learned.encode(x), generator=torch.Generator().manual_seed(0))
    assert found["kl"] == pytest.approx(kl.tolist(), rel=1e-3)
    score = latent_scores(learned, to_8_bit(x), 0)["kl"]
    assert score.details["prior"] == (learned.prior.kl_from or learned.prior.title)


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_completion_pays_the_priors_potential_and_starts_from_its_draws(learned, start):
    x = learned.sample(2, 9)
    mask = torch.ones(32, 32)
    mask[:, 16:] = 0
    found = complete(learned, x, mask, search=Search(tau=0.0, steps=12, restarts=2, start=start))
    potential = learned.prior.potential(found.z[:, 0])
    torch.testing.assert_close(found.losses["prior"][:, 0], potential, rtol=1e-3, atol=1e-2)
    once = complete(learned, x, mask, search=Search(tau=0.0, steps=1, restarts=2, start=start))
    assert (found.losses["total"][:, 0] < once.losses["total"][:, 0]).all()
    assert found.images.isfinite().all()


def test_bounds_use_the_density_where_there_is_one(learned):
    x = learned.sample(3, 9)
    decoder = GaussianDecoder(learned, 0.5)
    if not learned.prior.has_density:
        with pytest.raises(UserError, match="autoregressive"):
            bounds(decoder, x, 4, torch.Generator().manual_seed(0))
        return
    elbo, iwae = bounds(decoder, x, 4, torch.Generator().manual_seed(0))
    posterior = learned.encode(x)
    generator, weights = torch.Generator().manual_seed(0), []
    noise = torch.empty(3, 4, *learned.latent_shape)
    noise.flatten(0, 1).normal_(generator=generator)
    for s in range(4):
        z = posterior.mean + torch.exp(0.5 * posterior.log_variance) * noise[:, s]
        weights.append(decoder.log_likelihood(x, z) + learned.prior.log_prob(z) - posterior.log_prob(z))
    every = torch.stack(weights).double()
    torch.testing.assert_close(elbo, every.mean(0), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(iwae, every.logsumexp(0) - math.log(4), rtol=1e-4, atol=1e-2)


def test_a_demos_walk_moves_the_noise(learned):
    prior = learned.prior
    noise = prior.noise(1, 0).flatten(1).unflatten(1, (4, -1)).clone()
    noise[:, 1] = prior.noise(1, 3).flatten(1).unflatten(1, (4, -1))[:, 1]
    wanted = prior.generate(noise.view(1, *prior.noise_shape))
    torch.testing.assert_close(walk_latent(learned, [0, 2, 0, 0], [0.0, 1.0, 0.0, 0.0]), wanted)


def test_the_commands_work_on_a_folder_with_a_learned_prior(learned, tmp_path):
    save(tmp_path / "model", learned, recipe="test", images=1)
    run = str(tmp_path / "model")
    assert main(["sample", run, "--count", "3", "--out", str(tmp_path / "grid.png")]) == 0
    assert main(["traverse", run, "style", "--count", "2", "--columns", "2", "--out", str(tmp_path / "walk.png")]) == 0
    assert main(["export", run, str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "prior.safetensors").read_bytes() == (tmp_path / "model/prior.safetensors").read_bytes()
    assert learned.prior.title in (tmp_path / "out" / "README.md").read_text()


def test_samples_are_decoded_without_gradients(model):
    """In these tests types are checked by a decorator around each function, which hides that it is a generator."""
    recorded = []
    handle = model.decoder.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    try:
        assert len(next(samples(model, 3))) == 3
    finally:
        handle.remove()
    assert recorded == [False]


def test_a_prior_weighs_by_its_kind_where_no_weight_is_given(learned, model):
    assert weighed(Search(), learned).gamma == GAMMA["learned"]
    assert weighed(Search(), model).gamma == GAMMA["normal"]
    assert weighed(Search(gamma=0.0), learned).gamma == 0
