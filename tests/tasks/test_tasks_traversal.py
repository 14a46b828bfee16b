"""Walks through time steps: which blocks move, and that nothing else does."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from crvae.errors import UserError
from crvae.tasks.inputs import Images
from crvae.tasks.sampling import sample_images, samples
from crvae.tasks.traversal import interpolation, progression, redrawn, replace_block, styles
from crvae.tasks.traversal_grid import walk

LATENTS = ("dense", "convolutional", "recurrent")


def slices(z: torch.Tensor, t: int) -> torch.Tensor:
    """Block t of 4, from 1, by plain slicing of channels."""
    part = z.shape[1] // 4
    return z[:, (t - 1) * part : t * part]


@pytest.mark.parametrize("latent", LATENTS)
def test_progression_starts_at_zero_and_ends_at_z(make, latent):
    model = make[0](latent)
    z = model.prior.sample(3, seed=1)
    images = progression(model, z)
    assert images.shape == (3, 5, 3, 32, 32)
    zero = model.decode(torch.zeros_like(z))
    assert torch.allclose(images[:, 0], zero, atol=1e-5)
    assert torch.allclose(images[:, 4], model.decode(z), atol=1e-5)
    first_two = torch.cat([slices(z, 1), slices(z, 2), torch.zeros_like(z[:, z.shape[1] // 2 :])], 1)
    assert torch.allclose(images[:, 2], model.decode(first_two), atol=1e-5)


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("step", [1, 3, 4])
def test_only_the_chosen_block_is_replaced(make, latent, step):
    model = make[0](latent)
    z, other = model.prior.sample(4, seed=0), model.prior.sample(4, seed=1)
    mixed = replace_block(model, z, other, step)
    for t in range(1, 5):
        assert torch.equal(slices(mixed, t), slices(other if t == step else z, t))


def test_interpolation_goes_from_z_to_the_target_in_equal_parts(model):
    z, target = model.prior.sample(2, seed=0), model.prior.sample(1, seed=1)
    images = interpolation(model, z, target, 2, points=3)
    half = z.clone()
    half[:, 2:4] = (z[:, 2:4] + target[:, 2:4]) / 2
    end = z.clone()
    end[:, 2:4] = target[:, 2:4]
    for point, latent in enumerate((z, half, end)):
        assert torch.allclose(images[:, point], model.decode(latent), atol=1e-5)


def test_noise_and_targets_of_another_shape_are_refused_in_words(model, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    z = model.prior.sample(3, seed=0)
    for noise in (z[0], z[:, :1], z.flatten(1)):
        with pytest.raises(UserError, match=r"as model\.prior\.noise draws it"):
            styles(model, z, noise, 1)
    for target in (z[:2], z[0], z[:, :1]):
        with pytest.raises(UserError, match="target must have the shape of z"):
            interpolation(model, z, target, 1)


def test_an_interpolation_has_a_point_at_least(model, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    z = model.prior.sample(2, seed=0)
    assert interpolation(model, z, z, 1, points=1).shape[:2] == (2, 1)
    for points in (0, -1, 2.5):
        with pytest.raises(UserError, match="points must be"):
            interpolation(model, z, z, 1, points=points)  # type: ignore[arg-type]


def test_styles_keep_the_first_column_and_give_every_row_the_same_draws(model):
    z, draws = model.prior.sample(2, seed=0), model.prior.sample(3, seed=1)
    images = styles(model, z, draws, 4)
    assert images.shape == (2, 4, 3, 32, 32)
    assert torch.allclose(images[:, 0], model.decode(z), atol=1e-5)
    for k in range(3):
        styled = z.clone()
        styled[:, 6:] = draws[k, 6:]
        assert torch.allclose(images[:, k + 1], model.decode(styled), atol=1e-5)


@pytest.mark.parametrize("step", [0, 5, -1])
def test_there_is_no_such_step(model, step):
    z = model.prior.sample(1)
    for call in (replace_block, redrawn, interpolation, styles):
        with pytest.raises(
            UserError, match=f"step must be a whole number from 1 to 4, the model's time steps, got {step}"
        ):
            call(model, z, z, step)
    with pytest.raises(UserError, match="--step"):
        walk(model, "style", images=None, step=step, count=2, columns=2, seed=0)


def test_walks_name_their_rows_and_columns(model):
    own = Images(model.sample(3, seed=4), ["a", "b", "c"])
    options = {"count": 3, "columns": 4, "seed": 0}
    grown = walk(model, "progressive", images=own, step=None, **options)
    assert grown.images.shape[:2] == (3, 6)
    assert (grown.rows, grown.columns[:3]) == (["a", "b", "c"], ["image", "t = 0", "t = 1"])
    assert (grown.images[:, 0].float() / 127.5 - 1 - own.x).abs().max() < 0.01
    by_step = walk(model, "interpolate", images=own, step=None, **options)
    assert by_step.rows == ["t = 1", "t = 2", "t = 3", "t = 4"]
    assert by_step.columns == ["image", "0%", "33%", "67%", "100%"]
    assert (by_step.images[:, 0] == by_step.images[:1, 0]).all()
    styled = walk(model, "style", images=None, step=2, **options)
    assert styled.images.shape[:2] == (3, 5)
    assert len(styled.frames()) == 5
    grid = styled.grid()
    assert grid.height > 3 * 64
    with pytest.raises(UserError, match="Leave --step out"):
        walk(model, "progressive", images=None, step=1, **options)


def test_a_single_image_walks_too(model):
    own = Images(model.sample(1, seed=4), ["a"])
    grown = walk(model, "progressive", images=own, step=None, count=1, columns=2, seed=0)
    assert grown.images.shape[:2] == (1, 6)
    assert len(grown.frames()) == 6


def test_sampling_in_batches_is_the_models_own_sampling(model, exported):
    stored = torch.cat(list(samples(model, 300, seed=7)))
    expected = ((model.sample(300, seed=7).clamp(-1, 1) + 1) * 127.5).round()
    assert (stored.float() - expected).abs().max() <= 1  # rounding of one value
    assert torch.equal(sample_images(str(exported), 5, 7), stored[:5])
    assert [len(batch) for batch in samples(model, 300)] == [128, 128, 44]


def test_what_a_walk_draws_anew_is_not_what_its_samples_are_made_of(model):
    """Else the first style of the first sample would be that sample."""
    styled = walk(model, "style", images=None, step=2, count=1, columns=1, seed=0)
    assert not torch.equal(styled.images[0, 1], styled.images[0, 0])
