"""The optimisers of many problems at once, against torch's own on one, and on problems with known answers."""

from __future__ import annotations

import pytest
import torch

from crvae.tasks.descent import LBFGS, Adam


def quadratics(count: int = 5, size: int = 6):
    """Badly scaled bowls with known lowest points."""
    generator = torch.Generator().manual_seed(0)
    lowest = torch.randn(count, size, generator=generator)
    scales = torch.logspace(0, 3, size)
    turn = torch.linalg.qr(torch.randn(size, size, generator=generator)).Q
    return lowest, lambda points: (((points - lowest[: len(points)]) @ turn) ** 2 * scales).sum(1)


def rosenbrock(points):
    return (100 * (points[:, 1:] - points[:, :-1] ** 2) ** 2 + (1 - points[:, :-1]) ** 2).sum(1)


def test_lbfgs_finds_the_bottom_of_bowls_and_of_the_banana():
    lowest, evaluate = quadratics()
    optimiser = LBFGS(torch.zeros_like(lowest), 0.1)
    for _ in range(60):
        optimiser.step(evaluate)
    assert torch.allclose(optimiser.points, lowest, atol=1e-3)
    start = torch.tensor([[-1.2, 1.0], [0.5, -0.5], [2.0, 2.0]])
    optimiser = LBFGS(start, 0.1)
    for _ in range(100):
        optimiser.step(rosenbrock)
    assert torch.allclose(optimiser.points, torch.ones_like(start), atol=1e-2)


def test_no_loss_of_lbfgs_ever_rises_and_losses_belong_to_points():
    optimiser = LBFGS(torch.randn(8, 4, generator=torch.Generator().manual_seed(1)) * 3, 0.1)
    before = torch.full((8,), torch.inf)
    for _ in range(30):
        losses, points = optimiser.step(rosenbrock)
        assert (losses <= before).all()
        assert torch.equal(losses, rosenbrock(points))
        before = losses


def test_lbfgs_survives_a_cliff():
    optimiser = LBFGS(torch.tensor([[3.0], [0.4]]), 5.0)
    for _ in range(20):
        losses, _ = optimiser.step(lambda p: torch.where(p[:, 0] < 0, torch.nan, p[:, 0].abs().sqrt() + p[:, 0] ** 2))
    assert losses.isfinite().all()


@pytest.mark.parametrize("kind", [Adam, LBFGS])
def test_a_problem_does_not_know_of_the_others_even_when_they_leave(kind):
    start = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    alone = kind(start[2:3], 0.05)
    together = kind(start, 0.05)
    which = torch.tensor([True, False, True, True, False, True])
    for step in range(25):
        if step == 7:
            together.keep(which)
        together.step(rosenbrock)
        alone.step(rosenbrock)
    assert len(together.points) == 4
    assert torch.allclose(together.points[1], alone.points[0], atol=1e-5)


def test_adam_is_torchs():
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    ours = Adam(start, 0.02)
    theirs = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.02)
    for _ in range(10):
        optimiser.zero_grad()
        rosenbrock(theirs).sum().backward()
        optimiser.step()
        losses, points = ours.step(rosenbrock)
        assert torch.allclose(losses, rosenbrock(points))
    assert torch.allclose(ours.points, theirs)
