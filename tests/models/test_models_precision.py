"""Models compute in float32, whatever torch's default is; other weights and empty batches are refused in words."""

from __future__ import annotations

import pytest
import torch

import crvae
from crvae.errors import UserError
from crvae.tasks import Search, complete

SEARCH = Search(steps=2, restarts=1, tau=0.0)


@pytest.fixture
def doubled():
    """Torch makes float64 tensors by default, as in a notebook of exact numbers."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def outcomes() -> list[torch.Tensor]:
    """What the built-in model with a learned prior makes, from the seed alone."""
    model = crvae.load("faces")
    x = model.sample(1, seed=0)
    z = model.encode(x).mean
    mask = torch.ones(64, 64)
    mask[32:] = 0
    found = complete(model, x, mask, search=SEARCH)
    first = [crvae.load("faces", prior=prior).decode(z, 2) for prior in ("own", "normal")]
    return [x, z, model.reconstruct(x), *first, model.prior.fill(z, 2), model.prior.potential(z), found.best]


def test_a_default_of_float64_changes_nothing(doubled):
    found = outcomes()
    torch.set_default_dtype(torch.float32)
    for ours, expected in zip(found, outcomes(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_precision_are_refused_in_words(dtype):
    model = crvae.load("emoji")
    x, z = model.sample(1, seed=0), model.prior.sample(1)
    model.to(dtype)
    for work in (lambda: model.sample(1), lambda: model.encode(x), lambda: model.decode(z)):
        with pytest.raises(UserError, match=r"computes in float32: call model\.float\(\)"):
            work()
    assert torch.equal(model.float().prior.sample(1), z)


def test_empty_batches_are_refused_in_words():
    model = crvae.load("emoji")
    x, z = model.sample(1, seed=0), model.prior.sample(1)
    for work in (lambda: model.encode(x[:0]), lambda: model.reconstruct(x[:0]), lambda: model.decode(z[:0])):
        with pytest.raises(UserError, match="must be at least one, got an empty batch 0 "):
            work()
