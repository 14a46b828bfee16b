"""Learned priors on blocks whose joint and conditional distributions are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from crvae.config.prior import AutoregressivePriorConfig, FlowPriorConfig
from crvae.models.autoregressive import AutoregressivePrior
from crvae.models.flow import FlowPrior, draw_levels
from crvae.models.gaussian import DiagonalGaussian, blocks
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior

T, K = 3, 2
MEAN, SCALE = 2.0, 3.0
"""Of every value, so that standardising has something to do."""
LINK = 0.9
"""Correlation of a block's values with those of the block before it."""


def truth() -> MultivariateNormal:
    """z_1 ~ N, z_t+1 = LINK * z_t + noise: a chain over T blocks of K values, each value a chain of its own."""
    order = torch.arange(T)
    chain = LINK ** (order[:, None] - order).abs().float()
    covariance = SCALE**2 * torch.kron(chain, torch.eye(K))
    return MultivariateNormal(torch.full((T * K,), MEAN), covariance)


def draws(count: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return truth().sample((count,))


def fitted(config, steps: int, rate: float) -> LearnedPrior:
    torch.manual_seed(0)
    prior = build_prior(config, (T * K,), T)
    assert isinstance(prior, LearnedPrior)
    z = draws(20_000, 1)
    prior.fit_scale(z, torch.full_like(z, -30.0))
    optimiser = torch.optim.Adam(prior.parameters(), rate)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = prior.loss(z[torch.randint(len(z), (512,))])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return prior.requires_grad_(False)


@pytest.fixture(scope="module")
def flow() -> LearnedPrior:
    return fitted(FlowPriorConfig(width=64, depth=2, solver_steps=8), 1000, 3e-3)


@pytest.fixture(scope="module")
def autoregressive() -> LearnedPrior:
    return fitted(AutoregressivePriorConfig(width=16, mixture=2, candidates=128), 500, 1e-2)


@pytest.fixture(params=["flow", "autoregressive"])
def prior(request) -> LearnedPrior:
    return request.getfixturevalue(request.param)


def energy(a: torch.Tensor, b: torch.Tensor) -> float:
    """Energy distance of two samples (Szekely and Rizzo 2004): 0 where both are from one distribution."""
    count = len(a)
    within = sum(torch.cdist(x, x).sum() / (count * (count - 1)) for x in (a, b))
    return (2 * torch.cdist(a, b).mean() - within).item()


def differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether a permutation test at 1% tells two samples apart."""
    torch.manual_seed(0)
    found, both = energy(a, b), torch.cat([a, b])
    shuffled = [both[torch.randperm(len(both))] for _ in range(200)]
    return sum(energy(*one.chunk(2)) >= found for one in shuffled) < 2


def test_draws_are_distributed_as_the_latents(prior):
    z = prior.sample(4000, 3)
    wanted = truth()
    assert (z.mean(0) - MEAN).abs().max() < 0.1 * SCALE
    assert (z.T.cov() - wanted.covariance_matrix).abs().max() < 0.12 * SCALE**2


def one_by_one(flow: FlowPrior, count: int, seed: int) -> torch.Tensor:
    """Block after block, each given those before it while those behind it are noise."""
    x, order = blocks(flow.noise(count, seed), flow.steps).clone(), torch.arange(flow.steps)
    for t in range(flow.steps):
        x = flow._solved(x, order == t, (order < t).to(x.dtype))
    return flow.restored(x)


def test_block_after_block_and_all_at_once_agree_in_distribution(flow):
    with torch.no_grad():
        at_once, in_turn = flow.sample(600, 3), one_by_one(flow, 600, 4)
    assert not differ(at_once, in_turn)
    assert not differ(in_turn, draws(600, 5))
    apart = in_turn.clone()
    apart[:, K:] = apart[torch.randperm(600), K:]  # the same blocks, of different images: the test can fail
    assert differ(at_once, apart)
    assert differ(at_once, in_turn + 0.3 * SCALE)


def test_filling_draws_the_blocks_behind_from_their_conditional(prior):
    z = draws(4000, 7)
    filled = prior.fill(z, 1, seed=2)
    noise = (filled[:, K : 2 * K] - MEAN) - LINK * (z[:, :K] - MEAN)
    deviation = SCALE * math.sqrt(1 - LINK**2)
    assert noise.mean().abs() < 0.1 * deviation
    assert abs(noise.std() / deviation - 1) < 0.1
    assert abs(torch.corrcoef(torch.stack([noise.flatten(), z[:, :K].flatten()]))[0, 1]) < 0.15
    assert not differ(filled[:600], draws(600, 8))  # a true first block, then the conditional: the joint again
    far = torch.full((2000, T * K), MEAN + 2 * SCALE)
    assert (prior.fill(far, 1, seed=3)[:, K : 2 * K].mean() - MEAN - 2 * LINK * SCALE).abs() < 0.2 * SCALE


def test_redrawing_draws_one_block_from_its_conditional_given_both_neighbours(prior):
    z = draws(2000, 9)
    redrawn = prior.redraw(z, 2, seed=4)
    first, last = z[:, :K] - MEAN, z[:, 2 * K :] - MEAN
    noise = redrawn[:, K : 2 * K] - MEAN - LINK / (1 + LINK**2) * (first + last)
    deviation = SCALE * math.sqrt((1 - LINK**2) / (1 + LINK**2))
    assert noise.mean().abs() < 0.15 * deviation
    assert abs(noise.std() / deviation - 1) < 0.15
    one_sided = redrawn[:, K : 2 * K] - MEAN - LINK * first
    assert one_sided.std() > 1.1 * noise.std()  # it looked at the block behind too
    assert not torch.allclose(redrawn, prior.redraw(z, 2, seed=5))
    last = prior.redraw(z, 3, seed=4)[:, 2 * K :] - MEAN - LINK * (z[:, K : 2 * K] - MEAN)
    assert abs(last.std() / (SCALE * math.sqrt(1 - LINK**2)) - 1) < 0.1


def test_the_fitted_density_is_the_true_one(autoregressive):
    z = draws(4000, 11)
    true, found = truth().log_prob(z), autoregressive.log_prob(z)
    assert (true - found).mean().abs() < 0.05
    assert (true - found).abs().mean() < 0.15
    assert torch.equal(autoregressive.potential(z), -found)
    q = DiagonalGaussian(draws(3000, 12), torch.full((3000, T * K), 2 * math.log(0.5)), T)
    estimate = autoregressive.kl(q, generator=torch.Generator().manual_seed(0))
    assert estimate.shape == (T,)
    smaller = 0.5 * torch.randn_like(q.mean)
    exact = (q.log_prob(q.mean + smaller) - truth().log_prob(q.mean + smaller)).mean()
    assert estimate.sum().item() == pytest.approx(exact.item(), abs=0.15)


def test_the_flows_potential_ranks_latents_as_their_density_does(flow):
    z = draws(300, 13)
    z = MEAN + (z - MEAN) * torch.linspace(0, 2, 300)[:, None]
    pairs = torch.stack([flow.potential(z), -truth().log_prob(z)])
    assert torch.corrcoef(pairs)[0, 1] > 0.9


def random_mixtures(steps: int, size: int) -> AutoregressivePrior:
    torch.manual_seed(2)
    config = AutoregressivePriorConfig(width=8, mixture=3)
    prior = AutoregressivePrior(config, (steps * size,), steps)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
        prior.shift.fill_(0.5)
        prior.scale.copy_(torch.rand_like(prior.scale) + 0.7)
    return prior.requires_grad_(False)


def test_the_density_of_two_blocks_integrates_to_one_and_to_the_share_of_draws_in_any_region():
    prior = random_mixtures(2, 1)
    axis = torch.linspace(-20, 20, 801, dtype=torch.float64)
    cell = (axis[1] - axis[0]).item() ** 2
    grid = torch.cartesian_prod(axis, axis).float()
    density = torch.cat([prior.log_prob(part) for part in grid.split(200_000)]).double().exp()
    assert (density.sum() * cell).item() == pytest.approx(1, abs=2e-3)
    z = prior.sample(20_000, 1)
    mean = (density[:, None] * grid.double()).sum(0) * cell
    torch.testing.assert_close(z.double().mean(0), mean, rtol=0, atol=0.05)
    for region in (lambda a: a[:, 1] > a[:, 0], lambda a: (a[:, 0] > mean[0]) & (a[:, 1] < mean[1])):
        share = (density * region(grid)).sum().item() * cell
        assert region(z).double().mean().item() == pytest.approx(share, abs=0.015)
        assert 0.02 < share < 0.98


def test_block_densities_add_up_and_condition_on_the_blocks_before_alone():
    prior = random_mixtures(4, 3)
    z = prior.sample(5, 1)
    terms = prior.log_probs(z)
    torch.testing.assert_close(terms.sum(1), prior.log_prob(z))
    changed = z.clone()
    changed[:, 6:] += 1  # blocks 3 and 4
    assert torch.equal(prior.log_probs(changed)[:, :2], terms[:, :2])
    assert (prior.log_probs(changed)[:, 2:] != terms[:, 2:]).all()


@pytest.mark.parametrize(("steps", "joint"), [(1, 0.5), (2, 0.0), (8, 0.0), (8, 0.5), (8, 1.0)])
def test_levels_in_training(steps, joint):
    torch.manual_seed(0)
    levels, counts = draw_levels(3000, steps, joint, torch.device("cpu"))
    assert counts.any(1).all()
    assert ((levels == 1) <= ~counts).all()
    assert ((levels > 0) & (levels < 1))[counts].all()
    same = (levels == levels[:, :1]).all(1).float().mean()
    if joint == 1:
        assert same == 1
    elif steps == 8:
        assert abs(same - joint) < 0.1 + 0.1 * (1 - joint)
        alone = counts.sum(1) == 1
        redraw = alone & ((levels == 1).sum(1) == 7)
        assert redraw.any()  # one block given all others
        assert (alone & (levels == 0).any(1)).any()  # one block given those before it, noise behind
