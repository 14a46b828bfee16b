"""Completion: the objective and its signs, independence of images and restarts, and what is refused."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import norm

import crvae
from crvae.cli import main
from crvae.errors import UserError
from crvae.tasks.completion import PATIENCE, complete, starts
from crvae.tasks.occlusion import rectangle
from crvae.tasks.realism import Realism
from crvae.tasks.search import LIMITS, Search

EXACT = {"optimiser": "lbfgs", "steps": 8}
"""L-BFGS runs in fp32 everywhere; Adam's steps are bf16 where the processor has it."""


@pytest.fixture(scope="module")
def x(model):
    return model.sample(6, seed=5)


@pytest.fixture(scope="module")
def mask():
    return rectangle((0.0, 0.5, 1.0, 1.0), 32)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_the_reported_losses_are_the_papers_objective_with_the_right_sign(model, discriminator, x, mask, optimiser):
    """Re-derived in NumPy and scipy; D through the real discriminator, on the group written out."""
    search = Search(gamma=0.7, tau=3.0, steps=5, restarts=2, optimiser=optimiser)
    found = complete(model, x, mask, discriminator, search)
    companions = model.sample(3, seed=0)
    for image in range(len(x)):
        for restart in range(2):
            x_hat, z = found.images[image, restart].numpy().astype(float), found.z[image, restart].numpy()
            error = ((x_hat - x[image].numpy()) ** 2 * mask.numpy()).sum()
            logit = discriminator(torch.cat([found.images[image, restart][None], companions]))[0][0].item()
            log_density = norm.logpdf(z).sum() + 0.5 * z.size * np.log(2 * np.pi)
            objective = error - 0.7 * log_density + 3.0 * np.log(1 - 1 / (1 + np.exp(-logit)))
            assert found.losses["total"][image, restart].item() == pytest.approx(objective, rel=1e-4)
            decoded = model.decode(found.z[image, restart][None])[0]
            assert torch.allclose(decoded, found.images[image, restart], atol=1e-5)


def test_gamma_pulls_towards_the_prior_and_tau_towards_being_taken_for_real(model, discriminator, x, mask):
    def best(**weights):
        return complete(
            model,
            x,
            mask,
            discriminator,
            Search(**({"gamma": 0.0, "tau": 0.0} | EXACT | {"steps": 20, "restarts": 2} | weights)),
        )

    loose, tight = best(), best(gamma=50.0)
    assert tight.z.norm() < 0.5 * loose.z.norm()
    realism = Realism(discriminator, model)
    fooled = best(tau=2000.0)
    assert realism(fooled.best).mean() > realism(loose.best).mean()


def test_a_model_in_training_mode_is_put_in_evaluation_mode_first(model, discriminator, x, mask):
    trained, search = copy.deepcopy(model), Search(tau=3.0, restarts=1, **EXACT)
    found = complete(trained.train(), x[:2], mask, discriminator, search)
    assert torch.equal(found.z, complete(model, x[:2], mask, discriminator, search).z)
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in model.state_dict().items())


def test_an_image_that_the_model_can_make_is_found_from_its_visible_half(model, mask):
    x = model.decode(model.prior.sample(4, seed=9))
    begin = complete(model, x, mask, search=Search(gamma=1e-4, tau=0.0, steps=1, optimiser="lbfgs"))
    end = complete(model, x, mask, search=Search(gamma=1e-4, tau=0.0, steps=40, optimiser="lbfgs"))
    assert (end.losses["reconstruction"][:, 0] < 0.1 * begin.losses["reconstruction"][:, 0]).all()
    assert complete(model, x, mask).losses["total"].shape == (4, Search().restarts)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_neither_other_images_nor_other_restarts_matter(model, discriminator, x, mask, optimiser, start):
    options = {"gamma": 0.01, "steps": 8, "optimiser": optimiser, "start": start}
    search = Search(restarts=3, **options)
    together = complete(model, x, mask, discriminator, search)
    alone = complete(model, x[4:5], mask, discriminator, search, first=4)
    close = 1e-6 if optimiser == "lbfgs" else 2e-2
    assert torch.allclose(together.z[4:5], alone.z, atol=close, rtol=close)
    single = complete(model, x, mask, discriminator, Search(restarts=1, **options))
    distance = (together.z - single.z).flatten(2).norm(dim=2).min(1).values  # its restart is among the three
    assert (distance < close * single.z.flatten(1).norm(dim=1).clamp_min(1)).all()


def test_restarts_are_ranked_and_every_loss_keeps_to_its_restart(model, x, mask):
    found = complete(model, x, mask, search=Search(tau=0.0, restarts=5, **EXACT))
    total = found.losses["total"]
    assert (total[:, 1:] >= total[:, :-1]).all()
    again = ((found.images - x[:, None]) * mask).square().flatten(2).sum(2)
    assert torch.allclose(again, found.losses["reconstruction"], rtol=1e-3)
    assert torch.allclose(0.5 * found.z.square().flatten(2).sum(2), found.losses["prior"], rtol=1e-5)
    assert torch.equal(found.best, found.images[:, 0])


def test_finished_restarts_stop_and_others_go_on(model, x, mask):
    hard = rectangle((0.0, 0.0, 0.1, 0.1), 32)
    both = torch.stack([mask, hard])[:, None]
    found = complete(model, x[:2], both, search=Search(gamma=1e6, tau=0.0, steps=400, rate=0.5))
    assert (found.steps < 400).all()  # the prior alone decides: z = 0 is soon reached
    assert (found.steps >= 10 * PATIENCE).all()
    assert found.z.abs().max() < 0.5


def test_what_a_search_ends_with_is_the_best_that_it_passed(model, x, mask):
    """Steps this large leave a good start behind: the first step's losses are those of the starts."""
    begun, wild = (
        complete(model, x, mask, search=Search(tau=0.0, steps=steps, rate=5.0, restarts=1)) for steps in (1, 12)
    )
    assert (wild.losses["total"] <= 1.001 * begun.losses["total"]).all()


def test_starting_from_the_posterior_means_its_mean_and_draws_around_it(model, x, mask):
    wide = mask.expand(len(x), 1, 32, 32)
    begun = starts(model, x, wide, Search(start="posterior", restarts=3))
    grey = x.clone()
    for image, shown in zip(grey, x, strict=True):
        for channel in range(3):
            image[channel][mask == 0] = shown[channel][mask == 1].mean()
    posterior = model.encode(grey)
    assert torch.allclose(begun[0], posterior.mean, atol=1e-5)
    assert not torch.allclose(begun[1], begun[2])
    spread = (begun[1:] - posterior.mean) / torch.exp(0.5 * posterior.log_variance)
    assert spread.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("group", [4, 0])
def test_realism_is_the_discriminator_in_evaluation_mode_on_a_whole_group(model, make, group, x):
    _, judge = make
    discriminator = judge(model, group=group)
    discriminator.train()
    realism = Realism(discriminator, model, seed=3)
    others = model.sample((group or 64) - 1, seed=3)
    expected = torch.stack([discriminator(torch.cat([one[None], others]))[0][0] for one in x])
    assert not discriminator.training
    assert torch.allclose(realism(x), expected, atol=1e-5)
    assert torch.equal(realism(x), realism(x))  # no dropout
    plain = judge(model, kernels=0)
    assert torch.allclose(Realism(plain, model)(x), plain(x)[0], atol=1e-6)


def test_networks_are_left_as_they_were(model, discriminator, x, mask):
    before = [p.clone() for p in (*model.state_dict().values(), *discriminator.state_dict().values())]
    state = torch.get_rng_state()
    complete(model, x, mask, discriminator, Search(steps=3))
    after = [*model.state_dict().values(), *discriminator.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("latent", ["dense", "convolutional"])
def test_every_latent_construction_completes(make, mask, latent):
    build, _ = make
    model = build(latent)
    found = complete(model, model.sample(2), mask, search=Search(tau=0.0, restarts=2, **EXACT))
    assert found.z.shape == (2, 2, *model.latent_shape)
    assert found.images.isfinite().all()


def test_digits_complete_too(make):
    build, _ = make
    model = build(size=28, channels=1, likelihood="bernoulli")
    found = complete(model, model.sample(2), rectangle((0.5, 0.0, 1.0, 1.0), 28), search=Search(tau=0.0, **EXACT))
    assert found.best.shape == (2, 1, 28, 28)
    assert found.best.abs().max() <= 1


def test_python_users_find_it_where_the_interface_says(model, x, mask):
    found = crvae.tasks.complete(model, x[:1], mask, search=crvae.tasks.Search(tau=0.0, steps=2))
    assert found.losses["total"].isfinite().all()


def grid(size: int) -> torch.Tensor:
    return rectangle((0.25, 0.25, 0.75, 0.75), size)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (torch.ones(32, 32), "hide some"),
        (torch.zeros(32, 32), "visible"),
        (grid(16), "the images need"),
        (grid(32) * 0.5, "nothing else"),
        (torch.stack([grid(32)] * 4)[:, None], "the images need"),
        (torch.stack([grid(32)] * 3)[None], "the images need"),
    ],
    ids=["full", "empty", "size", "values", "count", "channels"],
)
def test_bad_masks_are_refused(model, x, wrong, says):
    with pytest.raises(UserError, match=says):
        complete(model, x, wrong, search=Search(tau=0.0, steps=1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("column", [0, 31], ids=["visible", "hidden"])
def test_images_that_are_not_numbers_are_refused(model, x, mask, value, column):
    broken = x.clone()
    broken[2, 1, 4, column] = value
    with pytest.raises(UserError, match="image 2 has NaN or infinity") as refused:
        complete(model, broken, mask, search=Search(tau=0.0, steps=1))
    assert "\n" not in str(refused.value)


def test_a_mask_of_bools_is_one_of_numbers(model, x, mask):
    search = Search(tau=0.0, restarts=1, **EXACT)
    numbers = complete(model, x[:2], mask, search=search)
    for given in (mask.bool(), mask[None].bool(), mask.expand(2, 1, 32, 32).bool()):
        assert torch.equal(complete(model, x[:2], given, search=search).z, numbers.z)


def test_images_of_another_size_and_tau_without_a_discriminator_are_refused(model, x, mask):
    with pytest.raises(UserError, match="images must be b 3 32 32"):
        complete(model, x[..., :16, :16], mask[:16, :16], search=Search(tau=0.0))
    with pytest.raises(UserError, match=r"Search\(tau=20\).*Search\(tau=0\)"):
        complete(model, x, mask, None, Search(steps=5))


OUTSIDE = [
    ("restarts", 0, "from 1 to 1,000"),
    ("steps", 0, "from 1 to 100,000"),
    ("steps", -1, "from 1 to 100,000"),
    ("rate", 0.0, "from 1e-09 to 1,000.0"),
    ("rate", float("nan"), "from 1e-09 to 1,000.0"),
    ("gamma", -0.1, "from 0 to 1,000,000,000.0"),
    ("tau", float("inf"), "from 0 to 1,000,000,000.0"),
    ("seed", -1, "from 0 to 4,611,686,018,427,387,904"),
]
OTHERS = [
    ("restarts", 2.5, "a whole number"),
    ("steps", "many", "a whole number"),
    ("rate", "fast", "a number"),
    ("start", "posteriors", "prior or posterior"),
    ("optimiser", "sgd", "adam or lbfgs"),
]
"""Values of other kinds."""


def command_says(field: str, value: object, capsys) -> str:
    """The sentence of `crvae complete` where an option has this value."""
    words = ["--images", "x", "--mask", "center", "--out", "no-such-folder", f"--{field}", str(value)]
    assert main(["complete", "no-such-run", *words]) == 2
    return capsys.readouterr().err.removeprefix("crvae: ").partition(" (crvae complete --help")[0].strip()


@pytest.mark.parametrize(("field", "value", "says"), OUTSIDE)
def test_a_search_that_cannot_work_is_refused_in_the_commands_words(field, value, says, capsys):
    with pytest.raises(UserError, match=f"^--{field} must be {says}, got ") as refused:
        Search(**{field: value})
    assert command_says(field, value, capsys) == str(refused.value)


def test_a_search_takes_no_values_of_other_kinds(capsys):
    """In another process: in this one kinds are also checked by jaxtyping, as a user's never are."""
    good = "Search(steps=numpy.int64(3), tau=numpy.float32(0), gamma=0, start='posterior', optimiser='lbfgs')"
    lines = ["import numpy, sys", "from crvae.errors import UserError", "from crvae.tasks import Search", good]
    lines += ["for line in sys.argv[1:]:", "    try: eval(line); print('nothing')"]
    lines += ["    except UserError as error: print(error)"]
    wrong = [f"Search({field}={value!r})" for field, value, _ in OTHERS]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines), *wrong], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for (field, value, says), said in zip(OTHERS, done.stdout.splitlines(), strict=True):
        assert said.startswith(f"--{field} must be {says}, got {value!r}")
        assert said.replace(repr(value), repr(str(value))) == command_says(field, value, capsys)


def test_a_search_at_its_limits_is_taken():
    for field, (_, least, most) in LIMITS.items():
        kind = float if field == "gamma" else type(getattr(Search, field))
        assert getattr(Search(**{field: kind(least)}), field) == least
        assert getattr(Search(**{field: kind(most)}), field) == most
