"""Optimisers of many independent small problems at once: no problem's steps depend on another's.

Both hold the points `b *d`, take `step(evaluate)` with `evaluate(points) -> losses b`, and `keep(which)` to drop finished ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Evaluate = Callable[[Tensor], Tensor]


class Adam:
    """torch's Adam: element by element, so its problems are independent already."""

    def __init__(self, points: Float[Tensor, " b *d"], rate: float):
        self.rate = rate
        self.points = points.clone().requires_grad_()
        self._adam = torch.optim.Adam([self.points], lr=rate)

    def step(self, evaluate: Evaluate) -> tuple[Float[Tensor, " b"], Float[Tensor, " b *d"]]:
        """One step. Returns the losses before it, and where they were taken."""
        losses = evaluate(self.points)
        (self.points.grad,) = torch.autograd.grad(losses.sum(), self.points)
        before = self.points.detach().clone()
        self._adam.step()
        return losses.detach(), before

    def keep(self, which: Bool[Tensor, " b"]) -> None:
        state = self._adam.state.pop(self.points)
        self.points = self.points.detach()[which].requires_grad_()
        self._adam = torch.optim.Adam([self.points], lr=self.rate)
        self._adam.state[self.points] = {
            name: value[which] if value.shape == which.shape[:1] + self.points.shape[1:] else value
            for name, value in state.items()
        }


class LBFGS:
    """L-BFGS of each problem with a history, a curvature and a backtracking (Armijo) line search of its own.

    A step costs one evaluation, and one more for each halving that any problem needs.
    """

    HISTORY = 10
    HALVINGS = 8
    DECREASE = 1e-4

    def __init__(self, points: Float[Tensor, " b *d"], rate: float):
        self.points = points.clone()
        self.rate = rate
        self._moves: list[Tensor] = []
        self._changes: list[Tensor] = []
        self._here: tuple[Tensor, Tensor] | None = None

    def step(self, evaluate: Evaluate) -> tuple[Float[Tensor, " b"], Float[Tensor, " b *d"]]:
        """One step. Returns the losses after it, and where they were taken; no loss ever rises."""
        losses, gradient = self._here or self._measure(evaluate, self.points)
        direction = -self._curved(gradient)
        slope = _dot(direction, gradient)
        uphill = slope >= 0
        direction = torch.where(_wide(uphill, direction), -gradient, direction)
        slope = torch.where(uphill, -_dot(gradient, gradient), slope)
        length = torch.ones_like(losses)
        points, new_losses, new_gradient = self.points, losses, gradient
        todo = torch.ones_like(uphill)
        for _ in range(self.HALVINGS):
            trial = torch.where(_wide(todo, points), self.points + _wide(length, direction) * direction, points)
            trial_losses, trial_gradient = self._measure(evaluate, trial)
            good = todo & (trial_losses <= losses + self.DECREASE * length * slope)
            points = torch.where(_wide(good, points), trial, points)
            new_losses = torch.where(good, trial_losses, new_losses)
            new_gradient = torch.where(_wide(good, points), trial_gradient, new_gradient)
            todo = todo & ~good
            if not todo.any():
                break
            length = torch.where(todo, length / 2, length)
        self._moves.append(points - self.points)
        self._changes.append(new_gradient - gradient)
        del self._moves[: -self.HISTORY], self._changes[: -self.HISTORY]
        self.points, self._here = points, (new_losses, new_gradient)
        return new_losses, points

    def keep(self, which: Bool[Tensor, " b"]) -> None:
        self.points = self.points[which]
        self._moves = [move[which] for move in self._moves]
        self._changes = [change[which] for change in self._changes]
        if self._here is not None:
            self._here = (self._here[0][which], self._here[1][which])

    def _measure(self, evaluate: Evaluate, points: Tensor) -> tuple[Tensor, Tensor]:
        points = points.detach().requires_grad_()
        losses = evaluate(points)
        return losses.detach(), torch.autograd.grad(losses.sum(), points)[0]

    def _curved(self, gradient: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        """The two-loop recursion; a pair without positive curvature counts for nothing.

        Where none counts yet, the move is `rate` a value on average.
        """
        pairs = []
        for move, change in zip(self._moves, self._changes, strict=True):
            curvature = _dot(move, change)
            useful = curvature > 1e-10 * _dot(change, change)
            pairs.append((move, change, torch.where(useful, 1 / curvature.clamp_min(1e-30), 0)))
        q = gradient
        shares = []
        for move, change, weight in reversed(pairs):
            share = weight * _dot(move, q)
            q = q - _wide(share, q) * change
            shares.append(share)
        scale = self.rate / gradient.flatten(1).abs().mean(1).clamp_min(1e-12)
        for move, change, weight in pairs:
            scale = torch.where(weight > 0, _dot(move, change) / _dot(change, change).clamp_min(1e-30), scale)
        q = _wide(scale, q) * q
        for (move, change, weight), share in zip(pairs, reversed(shares), strict=True):
            q = q + _wide(share - weight * _dot(change, q), q) * move
        return q


OPTIMISERS = {"adam": Adam, "lbfgs": LBFGS}


def _dot(a: Float[Tensor, " b *d"], b_: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
    return (a * b_).flatten(1).sum(1)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """One value a problem, shaped to multiply `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
