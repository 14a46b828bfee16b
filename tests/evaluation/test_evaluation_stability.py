"""Figure 6 from the grids that training writes."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from crvae.errors import UserError
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.stability import SNAPSHOTS, cut, stability
from crvae.intervals import mean
from crvae.pictures import from_8_bit, save_grid


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance(torch.device("cpu"))


def pictures(channels: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (16, channels, size, size), generator=generator).to(torch.uint8)


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (3, 64)])
def test_cutting_undoes_the_grid(tmp_path, channels, size):
    images = pictures(channels, size)
    save_grid(from_8_bit(images), tmp_path / "000000000001.png")
    assert torch.equal(cut(tmp_path / "000000000001.png", (channels, size, size)), images)


def test_the_same_images_do_not_move_and_only_the_last_snapshots_count(tmp_path, distance):
    (tmp_path / "samples").mkdir()
    for number in range(SNAPSHOTS + 2):
        images = pictures(3, 32, seed=9 if number < 2 else 1)
        save_grid(from_8_bit(images), tmp_path / "samples" / f"{number:012d}.png")
    found = stability(str(tmp_path), (3, 32, 32), distance)
    assert found is not None
    assert found.seen == list(range(2, SNAPSHOTS + 2))
    assert found.scores["movement"].value == 0
    assert found.scores["variety"].value > 0.05


def test_a_snapshot_of_a_learned_prior_is_no_moment_of_training(tmp_path, distance):
    (tmp_path / "samples").mkdir()
    for images in (1, 2, 3):
        save_grid(from_8_bit(pictures(3, 32, seed=int(images > 2))), tmp_path / "samples" / f"{images:012d}.png")
    found = stability(str(tmp_path), (3, 32, 32), distance, until=2)
    assert found is not None
    assert found.seen == [1, 2]
    assert found.scores["movement"].value == 0


def test_a_collapsed_model_has_no_variety_and_a_swinging_one_moves(tmp_path, distance):
    (tmp_path / "samples").mkdir()
    for number in range(3):
        images = pictures(3, 32, seed=number)[:1].repeat(16, 1, 1, 1)
        save_grid(from_8_bit(images), tmp_path / "samples" / f"{number:012d}.png")
    found = stability(str(tmp_path), (3, 32, 32), distance)
    assert found is not None
    assert found.scores["variety"].value == 0
    assert found.scores["movement"].value > 0.05


def test_one_snapshot_tells_nothing_and_a_strange_one_is_named(tmp_path, trained, distance):
    (tmp_path / "samples").mkdir()
    save_grid(from_8_bit(pictures(3, 32)), tmp_path / "samples" / "000000000001.png")
    assert stability(str(tmp_path), (3, 32, 32), distance) is None
    save_grid(from_8_bit(pictures(3, 28)), tmp_path / "samples" / "000000000002.png")
    with pytest.raises(UserError, match=r"000000000002\.png is not a grid"):
        stability(str(tmp_path), (3, 32, 32), distance)
    found = stability(str(trained), (3, 32, 32), distance)
    assert found is not None
    assert len(found.images) == len(list((trained / "samples").glob("*.png")))


def test_movement_is_of_each_latent_over_its_snapshots_and_variety_of_the_last(tmp_path):
    """By the mean difference of colours: latents move by 10 or 30 from the first to the second, and no further."""
    plain = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    moved = plain + torch.tensor([10, 30, 30, 10], dtype=torch.uint8).view(4, 1, 1, 1)
    (tmp_path / "samples").mkdir()
    for number, images in enumerate((plain, moved, moved)):
        save_grid(from_8_bit(images), tmp_path / "samples" / f"{number:012d}.png")

    class Difference:
        about: ClassVar = {"implementation": "test", "version": "1"}

        def __call__(self, one, other):
            return (one.float() - other.float()).abs().mean((1, 2, 3))

    found = stability(str(tmp_path), (3, 32, 32), Difference())  # type: ignore[arg-type]
    assert found is not None
    each = mean(torch.tensor([5.0, 15.0, 15.0, 5.0]))
    for end in ("value", "low", "high"):
        assert getattr(found.scores["movement"], end) == pytest.approx(each[end])
    assert found.scores["movement"].images == 8
    assert found.scores["variety"].value == pytest.approx(20)
    assert found.scores["variety"].images == 4
