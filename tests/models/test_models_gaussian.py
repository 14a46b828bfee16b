"""The diagonal Gaussian against torch.distributions and against Monte Carlo."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from crvae.errors import UserError
from crvae.models import DiagonalGaussian
from crvae.models.gaussian import blocks, standard_log_prob


def posterior(steps: int = 4) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(3, 8, 2, 2, generator=generator)
    return DiagonalGaussian(mean, torch.randn(3, 8, 2, 2, generator=generator) * 0.7 - 0.5, steps)


def test_kl_is_the_closed_form():
    q = posterior()
    closed = kl_divergence(Normal(q.mean, (q.log_variance / 2).exp()), Normal(0.0, 1.0))  # b c h w
    torch.testing.assert_close(q.kl(per_image=True), closed.flatten(1).sum(1))
    torch.testing.assert_close(q.kl(), closed.flatten(1).sum(1).mean())
    by_block = torch.stack([closed[:, 2 * t : 2 * t + 2].flatten(1).sum(1) for t in range(4)], 1)
    torch.testing.assert_close(q.kl(per_step=True, per_image=True), by_block)
    torch.testing.assert_close(q.kl(per_step=True), by_block.mean(0))


def test_kl_is_what_sampling_says():
    q = posterior()
    torch.manual_seed(0)
    draws = []
    for _ in range(4000):
        z = q.sample()
        draws.append(q.log_prob(z) - standard_log_prob(z))
    estimates = torch.stack(draws)  # s b
    error = estimates.std(0) / len(draws) ** 0.5
    assert ((estimates.mean(0) - q.kl(per_image=True)).abs() < 4 * error).all()


def test_densities():
    q = posterior()
    z = torch.randn(3, 8, 2, 2)
    expected = Independent(Normal(q.mean, (q.log_variance / 2).exp()), 3).log_prob(z)
    torch.testing.assert_close(q.log_prob(z), expected)
    torch.testing.assert_close(standard_log_prob(z), Independent(Normal(torch.zeros_like(z), 1.0), 3).log_prob(z))


def test_samples_have_the_stated_moments_and_gradients():
    q = DiagonalGaussian(torch.full((1, 2), 3.0, requires_grad=True), torch.full((1, 2), -1.0, requires_grad=True))
    torch.manual_seed(0)
    draws = torch.cat([q.sample() for _ in range(5000)])
    assert abs(draws.mean().item() - 3) < 0.03
    assert abs(draws.var().item() - torch.tensor(-1.0).exp().item()) < 0.02
    torch.manual_seed(0)
    z = q.sample()
    mean_gradient, variance_gradient = torch.autograd.grad(z.sum(), (q.mean, q.log_variance))
    torch.testing.assert_close(mean_gradient, torch.ones(1, 2))
    torch.testing.assert_close(variance_gradient, (z - q.mean).detach() / 2)  # d sigma eps / d log sigma^2


def test_the_prior_costs_nothing_and_its_generator_decides():
    q = DiagonalGaussian(torch.zeros(2, 4, 4, 4), torch.zeros(2, 4, 4, 4), 2)
    assert q.kl().item() == 0
    assert q.kl(per_step=True).tolist() == [0, 0]
    one, other = (q.sample(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, other)


def test_blocks_are_consecutive_channels():
    z = torch.arange(2 * 6 * 4).view(2, 6, 2, 2).float()
    assert torch.equal(blocks(z, 3)[1, 2], z[1, 4:6].flatten())
    assert torch.equal(blocks(z.flatten(1), 3), blocks(z, 3))


def test_a_truncated_posterior_says_nothing_of_the_blocks_behind():
    q = posterior()
    for t in range(5):
        cut = q.truncate(t)
        expected = q.mean.clone()
        expected[:, 2 * t :] = 0
        assert torch.equal(cut.mean, expected)
        kl = cut.kl(per_step=True)
        assert torch.equal(kl[:t], q.kl(per_step=True)[:t])
        assert (kl[t:] == 0).all()
    for t in (-1, 5):
        with pytest.raises(UserError, match="steps must be a whole number from 0 to 4"):
            q.truncate(t)
