"""What can be read from latents by a straight cut: a regularised linear discriminant of every attribute."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

SHRINKAGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Added to the covariance of standardised values; each attribute takes the one that reads the images left out best."""

LEFT_OUT = 5
"""One training image in so many chooses the shrinkage."""

LEAST_DEVIATION = 1e-6


def probe(
    train: Float[Tensor, "n d"], values: Int64[Tensor, "n a"], test: Float[Tensor, "m d"]
) -> Int64[Tensor, "m a"]:
    """The values of each attribute that a linear probe, fitted to `train` and its `values` (-1: unknown), reads from `test`.

    The probe is Fisher's linear discriminant: every value a Gaussian of its own mean and frequency, one covariance for all,
    which is shrunk towards the identity. A value that no training image has is never read.
    """
    train, test = train.double(), test.double()
    apart = torch.arange(len(train)) % LEFT_OUT == LEFT_OUT - 1
    tried = _readings(train[~apart], values[~apart], train[apart])
    right = (tried == values[apart]) & (values[apart] >= 0)
    best = right.sum(1).argmax(0)  # a
    readings = _readings(train, values, test)
    return torch.stack([readings[choice, :, place] for place, choice in enumerate(best.tolist())], 1)


class _Values(NamedTuple):
    """The values of one attribute that occur."""

    present: Int64[Tensor, " k"]
    means: Float[Tensor, "k d"]
    shares: Float[Tensor, " k"]
    """Of all images, those without a known value included."""


def _readings(train: Tensor, values: Int64[Tensor, "n a"], test: Tensor) -> Int64[Tensor, "s m a"]:
    """What is read at each shrinkage. One factorisation serves all attributes."""
    mean, deviation = train.mean(0), train.std(0).clamp_min(LEAST_DEVIATION)
    x, y = (train - mean) / deviation, (test - mean) / deviation
    scatter, one = x.T @ x / len(x), torch.eye(x.shape[1], dtype=x.dtype)
    found = [_values(x, column) for column in values.T]
    stacked = torch.cat([part.means for part in found]).T
    sizes = [len(part.present) for part in found]
    readings = []
    for shrinkage in SHRINKAGES:
        solved = torch.cholesky_solve(stacked, torch.linalg.cholesky(scatter + shrinkage * one))
        parts = zip(found, solved.split(sizes, 1), strict=True)
        readings.append(torch.stack([_read(part, direction, y) for part, direction in parts], 1))
    return torch.stack(readings)


def _values(x: Tensor, column: Int64[Tensor, " n"]) -> _Values:
    present = column[column >= 0].unique()
    member: Bool[Tensor, "k n"] = column == present[:, None]
    return _Values(present, (member / member.sum(1, keepdim=True)).to(x) @ x, member.sum(1).to(x) / len(x))


def _read(part: _Values, solved: Float[Tensor, "d k"], y: Float[Tensor, "m d"]) -> Int64[Tensor, " m"]:
    """The likeliest value of each row, -1 where no value is known.

    `solved` is S^-1 M of the whole covariance S; that within the values is S - M P M' (P: their shares), whose inverse is
    S^-1 + S^-1 M (P^-1 - M' S^-1 M)^-1 M' S^-1 (Woodbury).
    """
    if not len(part.present):
        return torch.full((len(y),), -1)
    inner, inverse = part.means @ solved, part.shares.reciprocal().diag()
    directions = torch.linalg.solve(inverse - inner, inverse)  # k k: from S^-1 M to that within the values
    offsets = 0.5 * (inner @ directions).diagonal() - part.shares.log()
    return part.present[(y @ solved @ directions - offsets).argmax(1)]
