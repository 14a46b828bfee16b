"""Steps for a number of bytes: the tables once more from the files, and no step that another would better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from crvae.cli import main
from crvae.errors import UserError
from crvae.models.gaussian import DiagonalGaussian
from crvae.storage.models import save
from crvae.tasks.codec import STEPS, Codec
from crvae.tasks.crz_file import HEADER
from crvae.tasks.quantisation import choose, measure


@pytest.fixture
def measured(make):
    """A codec, six posteriors, the first block of which says most and the last little, and their tables."""
    model = make[0]("recurrent")
    torch.manual_seed(3)
    mean = torch.randn(6, *model.latent_shape) * torch.linspace(2, 0.1, model.latent_shape[0])[:, None, None]
    posterior = DiagonalGaussian(mean, torch.full_like(mean, -4), 4)
    codec = Codec(model)
    return codec, posterior, measure(codec, posterior)


def average(codec, posterior, indices) -> float:
    return float(np.mean([len(data) for data in codec.compress(posterior, indices=indices)]))


@torch.no_grad()
def test_the_tables_are_what_files_and_pixels_say(measured):
    codec, posterior, tables = measured
    first = np.isinf(tables.errors).sum(1)
    for indices in (
        first,
        first + 3,
        first + np.array([8, 0, 4, 12]),
        np.full(4, STEPS - 1),
        np.array([STEPS - 1, 0, 0, 0]) + first % STEPS,
    ):
        indices = np.clip(indices, 0, STEPS - 1)
        assert tables.average(indices) == pytest.approx(average(codec, posterior, indices), abs=4)
    original = codec.model.decode(posterior.mean)
    for t, index in enumerate(first + 4):  # measured ones
        z = posterior.mean.clone()
        step = 2 ** ((index - 40) / 4)
        block = z.flatten(1).unflatten(1, (4, -1))[:, t]
        block.copy_((block / step).round() * step)
        error = (codec.model.decode(z) - original).square().mean().item()
        assert tables.errors[t, index] == pytest.approx(error, rel=2e-2)


def test_chosen_steps_meet_the_bytes_and_no_block_has_a_better_step(measured):
    codec, posterior, tables = measured
    errors, sizes = [], tables.sizes.mean(2)
    for wanted in (HEADER, 40, 60, 90, 150, 5000):
        chosen = choose(tables, wanted)
        assert average(codec, posterior, chosen) <= wanted + 4
        for t, index in enumerate(chosen):
            better = (tables.errors[t] < tables.errors[t, index]) & (sizes[t] <= sizes[t, index])
            assert not better.any()
        errors.append(sum(tables.errors[t, index] for t, index in enumerate(chosen)))
    assert errors == sorted(errors, reverse=True)
    assert (tables.errors[range(4), chosen] == tables.errors.min(1)).all()
    assert codec.compress(posterior, indices=choose(tables, HEADER)) == codec.compress(posterior, HEADER)
    with pytest.raises(UserError, match="--bytes must be 12 or more"):
        choose(tables, HEADER - 1)


def test_the_command(make, tmp_path):
    model = make[0]("recurrent")
    with torch.no_grad():
        for parameter in model.latent.mean.parameters():
            parameter.mul_(30)
    save(tmp_path / "model", model, recipe="test", images=0)
    for place, count in (("in", 3), ("others", 4)):
        (tmp_path / place).mkdir()
        for number in range(count):
            pixels = np.random.default_rng([count, number]).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / place / f"{number}.png")
    sizes = {}
    for name, options in {
        "finest": [],
        "own": ["--bytes", "90"],
        "others": ["--bytes", "90", "--data", str(tmp_path / "others")],
        "both": ["--bytes", "90", "--limit", "70"],
    }.items():
        out = tmp_path / f"out-{name}"
        command = ["encode", str(tmp_path / "model"), "--images", str(tmp_path / "in"), str(out), "--format", "crz"]
        assert main([*command, *options]) == 0
        sizes[name] = [file.stat().st_size for file in sorted(out.iterdir())]
    assert np.mean(sizes["finest"]) > 100
    assert 70 < np.mean(sizes["own"]) < 94
    assert 60 < np.mean(sizes["others"]) < 120
    assert max(sizes["both"]) <= 70
