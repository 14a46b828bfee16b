"""Who owns which gradient: per loss and per part, for every latent construction."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from crvae import objectives
from crvae.training.stage1 import GeneratorStep, adversary, build

LATENTS = ("dense", "convolutional", "recurrent")
GENERATING = {"transform", "project", "decoder"}
INFERRING = {"encoder", "mean", "log_variance"}


@pytest.fixture
def wide(small):
    """`small`, wide enough that no layer of rectifiers is dead."""
    return lambda *latent, **options: small(*latent, model={"width": 4}, **options)


def parts(model) -> dict[str, list[nn.Parameter]]:
    """The autoencoder's parameters by what they are for; a construction without a part leaves it out."""
    latent = model.latent
    modules = {
        "encoder": model.encoder,
        "mean": latent.mean,
        "log_variance": latent.log_variance,
        "transform": latent.generate if hasattr(latent, "generate") else latent.transform,
        "project": latent.project,
        "decoder": model.decoder,
    }
    found = {name: list(m.parameters()) for name, m in modules.items() if isinstance(m, nn.Module)}
    assert sum(map(len, found.values())) == len(list(model.parameters()))
    return found


def reached(loss: Tensor, groups: dict[str, list[nn.Parameter]]) -> set[str]:
    """Names of the groups of which some parameter gets a gradient that is not zero."""
    names = [name for name, parameters in groups.items() for _ in parameters]
    flat = [p for parameters in groups.values() for p in parameters]
    gradients = torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True)
    return {name for name, g in zip(names, gradients, strict=True) if g is not None and g.abs().max() > 0}


def setting(config, training: bool = False):
    """Networks of a configuration and a batch. In evaluation mode images do not meet in batch statistics."""
    torch.manual_seed(0)
    model, discriminator = build(config)
    assert discriminator is not None
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.momentum = 1.0
    with torch.no_grad():
        model(x)  # batch statistics to evaluate with
    model.train(training)
    discriminator.train(training)
    return model, discriminator, x


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("on", ["u", "z"])
def test_which_term_moves_what(wide, latent: str, on: str):
    config = wide(latent, objective={"mutual_information_on": on})
    model, discriminator, x = setting(config)
    _, terms, _ = GeneratorStep(config, model, adversary(config, discriminator))(x)
    groups = parts(model)
    everything = {name for name, parameters in groups.items() if parameters}
    assert reached(terms["kl"], groups) == INFERRING
    assert reached(terms["reconstruction"], groups) == everything
    assert reached(terms["adversarial_reconstruction"], groups) == everything
    assert reached(terms["adversarial_sample"], groups) == everything & GENERATING
    assert reached(terms["mutual_information"], groups) == everything
    theirs = {name: list(m.parameters()) for name, m in discriminator.named_children()}
    for name in ("kl", "reconstruction", "adversarial_reconstruction", "adversarial_sample", "mutual_information"):
        assert not reached(terms[name], theirs), name


@pytest.mark.parametrize("latent", LATENTS)
def test_which_term_moves_what_of_the_discriminator(wide, latent: str):
    config = wide(latent)
    model, discriminator, x = setting(config)
    judge = adversary(config, discriminator)
    _, _, (_, fakes) = GeneratorStep(config, model, judge)(x)
    assert not any(part.requires_grad for part in fakes)
    loss, terms, carry = judge(x, fakes)
    theirs = {name: list(m.parameters()) for name, m in discriminator.named_children()}
    assert carry == ()
    assert reached(terms["discriminator"], theirs) == {"features", "adversarial_head"}
    assert reached(loss, theirs) == {"features", "adversarial_head", "latent_head"}
    assert not reached(loss, parts(model))


@pytest.mark.parametrize("latent", LATENTS)
def test_no_step_writes_to_the_other_side(wide, latent: str):
    config = wide(latent)
    model, discriminator, x = setting(config, training=True)
    judge = adversary(config, discriminator)
    loss, _, (_, fakes) = GeneratorStep(config, model, judge)(x)
    loss.backward()
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.grad is not None for p in model.parameters())
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    loss, _, _ = judge(x, fakes)
    loss.backward()
    assert all(torch.equal(before[name], p.grad) for name, p in model.named_parameters())
    assert all(p.grad is not None for p in discriminator.parameters())


@pytest.mark.parametrize("latent", LATENTS)
def test_the_adversaries_pull_the_same_images_apart(wide, latent: str):
    """Image by image the generator's gradient is a negative multiple of the discriminator's."""
    config = wide(latent, discriminator={"kernels": 0})
    model, discriminator, x = setting(config)
    images = model.decode(model.encode(x).sample()).detach().requires_grad_()
    realism, _ = discriminator(images)
    ours, theirs = (
        torch.autograd.grad(loss, images, retain_graph=True)[0].flatten(1).double()
        for loss in (objectives.fool(realism), objectives.recognise_fake(realism))
    )
    assert (theirs.norm(dim=1) > 0).all()
    torch.testing.assert_close(nn.functional.cosine_similarity(ours, theirs), -torch.ones(8).double())


@pytest.mark.parametrize("latent", LATENTS)
def test_a_step_that_fools_costs_the_discriminator(wide, latent: str):
    """Through the real steps: walking down the generator's adversarial terms raises the discriminator's loss on fakes."""
    config = wide(latent, kappa=0)
    model, discriminator, x = setting(config)
    judge = adversary(config, discriminator)
    generator = GeneratorStep(config, model, judge)

    def both() -> tuple[Tensor, Tensor]:
        torch.manual_seed(7)
        _, terms, (_, fakes) = generator(x)
        _, judged, _ = judge(x, fakes)
        return terms["adversarial_reconstruction"] + terms["adversarial_sample"], judged["discriminator"]

    fooling, judged = both()
    gradients = torch.autograd.grad(fooling, list(model.parameters()), allow_unused=True)
    length = torch.sqrt(sum((g**2).sum() for g in gradients if g is not None))
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            if gradient is not None:
                parameter -= 1e-2 * gradient / length
    fooling_after, judged_after = both()
    assert fooling_after < fooling
    assert judged_after > judged


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("on", ["u", "z"])
@pytest.mark.parametrize("normalise", [False, True])
def test_the_recovered_latent_is_a_constant(wide, latent: str, on: str, normalise: bool):
    """The term's gradient equals that of a re-derivation with the target detached, and not that of one without."""
    options = {"mutual_information_on": on, "mutual_information_normalise": normalise}
    config = wide(latent, objective=options)
    model, discriminator, x = setting(config)
    parameters = list(model.parameters())

    def gradient(loss: Tensor) -> Tensor:
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        return torch.cat(
            [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, gradients, strict=True)]
        )

    torch.manual_seed(1)
    _, terms, _ = GeneratorStep(config, model, adversary(config, discriminator))(x)
    found = gradient(terms["mutual_information"])

    def derived(detach: bool) -> Tensor:
        torch.manual_seed(1)
        z = model.encode(x).sample()
        z = torch.cat([z, torch.randn_like(z)])
        u = model.transform(z)
        estimate = discriminator(model.outputs(u))[1]
        target = u if on == "u" else z
        if normalise:
            target = (target - target.mean(0)) / (target.std(0, unbiased=False) + 1e-5)
        target = target.detach() if detach else target
        errors = ((estimate - target) ** 2).chunk(2)  # of reconstructions and of samples
        return gradient(errors[0].mean() + errors[1].mean())

    scale = found.abs().max().item()
    torch.testing.assert_close(found, derived(True), rtol=1e-3, atol=1e-4 * scale)
    assert (found - derived(False)).abs().max() > 0.01 * scale


@pytest.mark.parametrize("latent", LATENTS)
def test_the_encoder_can_be_spared_the_adversary(wide, latent: str):
    """In training mode too, where images meet in batch statistics; nothing else changes."""
    results = {}
    for reaches in (True, False):
        config = wide(latent, kappa=0, objective={"encoder_adversarial": reaches})
        model, discriminator, x = setting(config, training=True)
        torch.manual_seed(3)
        _, terms, (_, fakes) = GeneratorStep(config, model, adversary(config, discriminator))(x)
        adversarial = terms["adversarial_reconstruction"] + terms["adversarial_sample"]
        groups = parts(model)
        results[reaches] = (fakes, terms, groups, adversarial)
        found = reached(adversarial, groups)
        assert found & INFERRING == (INFERRING if reaches else set())
        assert found >= {name for name in GENERATING if groups.get(name)}
        assert reached(terms["reconstruction"], groups) >= INFERRING
    for name in ("transform", "project", "decoder"):
        if not results[True][2].get(name):
            continue
        with_it, without = (
            torch.cat([g.flatten() for g in torch.autograd.grad(r[3], r[2][name], retain_graph=True)])
            for r in (results[True], results[False])
        )
        torch.testing.assert_close(with_it, without, rtol=1e-3, atol=1e-3 * with_it.abs().max().item())
    for one, other in zip(results[True][0][:2], results[False][0][:2], strict=True):
        torch.testing.assert_close(one, other)
    for name, term in results[True][1].items():
        torch.testing.assert_close(term, results[False][1][name])


def test_a_resting_discriminator_gets_no_adversarial_gradient(wide):
    config = wide(objective={"margin": 0.99})
    model, discriminator, x = setting(config)
    judge = adversary(config, discriminator)
    _, _, (_, fakes) = GeneratorStep(config, model, judge)(x)
    loss, terms, _ = judge(x, fakes)
    assert terms["discriminator_error"] < 0.99
    theirs = {name: list(m.parameters()) for name, m in discriminator.named_children()}
    assert reached(loss, theirs) == {"features", "latent_head"}  # mutual information goes on


def test_the_release_discriminates_one_mixed_batch(wide):
    """Of every four images two real, then a sample, then a reconstruction (specification 4)."""
    config = wide(kappa=0, discriminator={"mixed_batch": True, "group": 0, "dropout": 0.0})
    model, discriminator, x = setting(config)
    judge = adversary(config, discriminator)
    _, _, (_, fakes) = GeneratorStep(config, model, judge)(x)
    _, terms, _ = judge(x, fakes)
    mixed = torch.stack([(x, x, fakes.samples, fakes.reconstructions)[i % 4][i] for i in range(8)])
    realism = discriminator(mixed)[0]
    is_real = torch.tensor([i % 4 < 2 for i in range(8)])
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(realism, is_real.float())
    torch.testing.assert_close(terms["discriminator"], 2 * cross_entropy)
    wrong = ((realism > 0) != is_real).float().mean()
    torch.testing.assert_close(terms["discriminator_error"], wrong)
