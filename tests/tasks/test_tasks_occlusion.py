"""Masks from names, rectangles and PNGs; blending."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crvae.errors import UserError
from crvae.tasks.occlusion import NAMED, blend, masks, occlude


@pytest.mark.parametrize("size", [28, 32, 64, 128])
def test_named_masks_hide_what_they_say_at_every_size(size):
    found = masks(",".join(NAMED), size)
    half = size // 2
    assert found["right-half"][:, :half].all()
    assert not found["right-half"][:, half:].any()
    assert not found["upper"][:half].any()
    assert found["upper"][half:].all()
    assert torch.equal(found["lower"], 1 - found["upper"])
    assert not found["center"][size // 4 : half, size // 4 : half].any()
    assert (1 - found["center"]).mean().item() == pytest.approx(0.25, abs=0.01)
    assert found["mouth"].sum() > found["center"].sum()
    assert (found["mouth"] + found["eyes"] >= 1).all()  # they do not overlap


@given(st.lists(st.floats(-0.5, 1.5) | st.integers(-1, 2), min_size=1, max_size=6), st.sampled_from([28, 64]))
def test_any_rectangle_is_a_mask_or_one_sentence(values, size):
    text = ":".join(map(repr, values))
    try:
        (mask,) = masks(text, size).values()
    except UserError:
        return
    top, left, bottom, right = values
    expected = [
        [float(not (top < (y + 0.5) / size < bottom and left < (x + 0.5) / size < right)) for x in range(size)]
        for y in range(size)
    ]
    assert mask.tolist() == expected
    assert 0 < mask.mean() < 1


@given(st.text(max_size=30))
def test_any_text_is_a_mask_or_one_sentence(text):
    try:
        found = masks(text, 32)
    except UserError:
        return
    assert all(0 < mask.mean() < 1 for mask in found.values())


def test_a_drawn_mask_fits_every_size(tmp_path):
    drawn = np.full((100, 100), 255, np.uint8)
    drawn[50:] = 0
    path = tmp_path / "my mask.png"
    Image.fromarray(drawn).save(path)
    for size in (28, 64, 128):
        ((name, mask),) = masks(str(path), size).items()
        assert name == "my-mask"
        assert torch.equal(mask, masks("lower", size)["lower"])


@pytest.mark.parametrize("name", ["a, b.png", "0:0:1:1.png", "a,b/upper,c.PNG", "[x].png"])
def test_a_masks_path_may_hold_what_separates_masks(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = np.full((32, 32), 255, np.uint8)
    drawn[16:] = 0
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(drawn).save(path)
    for place in (name, str(path)):
        upper, lower, center = masks(f"upper,{place}, center", 32).values()
        assert torch.equal(upper, masks("upper", 32)["upper"])
        assert torch.equal(lower, masks("lower", 32)["lower"])
        assert torch.equal(center, masks("center", 32)["center"])


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.zeros((64, 32), np.uint8), "square"),
        (np.zeros((64, 64), np.uint8), "every pixel"),
        (np.full((64, 64), 255, np.uint8), "nothing"),
        (b"not an image", "not an image"),
        (None, "cannot be read"),
    ],
    ids=["oblong", "full", "empty", "text", "missing"],
)
def test_bad_pictures_are_refused(tmp_path, picture, says):
    path = tmp_path / "mask.png"
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    elif picture is not None:
        Image.fromarray(picture).save(path)
    with pytest.raises(UserError, match=says):
        masks(str(path), 64)


@pytest.mark.parametrize("text", ["", "nose", "upper,upper", "0:0:1:1", "0.5:0.5:0.5:0.6", "0:0:1:nan", "0:0:0.001:1"])
def test_bad_names_are_refused(text):
    with pytest.raises(UserError, match="--mask"):
        masks(text, 64)


@pytest.mark.parametrize("feather", [0.0, 2.0, 6.0])
def test_blending_keeps_visible_pixels_and_a_feather_closes_the_seam(feather):
    x = torch.rand(2, 3, 32, 32) * 0.5
    mask = masks("right-half", 32)["right-half"][None, None].expand(2, 1, 32, 32)
    completed = x - 0.4  # right but for its brightness
    blended = blend(completed, x, mask, feather)
    assert torch.equal(blended[..., :16], x[..., :16])
    assert blended.abs().max() <= 1
    seam = (blended - x)[..., 16].abs().mean()
    far = (blended - completed)[..., -1].abs().mean()
    if feather:
        assert seam < 0.1
        assert far < 0.4 * np.exp(-((16 / feather) ** 2) / 8) + 0.05
    else:
        assert torch.equal(blended[..., 16:], completed[..., 16:])


@pytest.mark.parametrize("feather", [0.0, 2.0])
def test_every_shape_and_kind_of_a_mask_hides_the_same(feather):
    x, completed = torch.rand(3, 3, 32, 32) - 0.5, torch.rand(3, 3, 32, 32) - 0.5
    mask = masks("right-half", 32)["right-half"]
    blended = blend(completed, x, mask.expand(3, 1, 32, 32), feather)
    occluded = occlude(x, mask.expand(3, 1, 32, 32))
    for shaped in (mask, mask[None], mask[None, None]):
        for same in (shaped, shaped.bool(), shaped.long(), shaped.double()):
            assert torch.allclose(blend(completed, x, same, feather), blended, atol=1e-6)
            assert torch.equal(occlude(x, same), occluded)
            assert occlude(x, same).dtype == x.dtype
    several = torch.stack([mask, 1 - mask, mask])[:, None]
    assert torch.allclose(blend(completed, x, several, feather)[::2], blended[::2], atol=1e-6)
    assert torch.equal(blend(completed, x, several.bool(), feather)[1, :, :, 16:], x[1, :, :, 16:])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            torch.ones(3, 32, 32),
            r"is \(3, 32, 32\), the images need \(32, 32\) or \(3, 1, 32, 32\). Pass mask\[:, None",
        ),
        (torch.ones(3, 3, 32, 32), "the images need"),
        (torch.ones(2, 1, 32, 32), "the images need"),
        (torch.ones(1, 1, 1, 32, 32), "the images need"),
        (torch.ones(16, 16), "the images need"),
        (torch.ones(1, 1), "the images need"),
        (torch.tensor(1.0), "the images need"),
        (torch.full((32, 32), 0.5), "nothing else"),
        (torch.full((32, 32), torch.nan), "nothing else"),
        (np.ones((32, 32)), "must be a tensor .* got ndarray"),
    ],
    ids=["b h w", "b c h w", "count", "five", "size", "one", "number", "half", "nan", "numpy"],
)
def test_other_masks_are_refused(wrong, says):
    x = torch.rand(3, 3, 32, 32)
    for work in (
        lambda: occlude(x, wrong),
        lambda: blend(x, x, wrong),
        lambda: blend(x, x, wrong, 2.0),
    ):
        with pytest.raises(UserError, match=says):
            work()


def test_images_of_other_shapes_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    mask = masks("upper", 32)["upper"]
    with pytest.raises(UserError, match=r"images must be a tensor b c h w, got \(3, 32, 32\)"):
        occlude(torch.rand(3, 32, 32), mask)


def test_occluded_pixels_are_grey():
    x = torch.ones(1, 3, 32, 32)
    mask = masks("upper", 32)["upper"][None, None]
    assert (occlude(x, mask)[:, :, :16] == 0).all()
    assert (occlude(x, mask)[:, :, 16:] == 1).all()


def test_boxes_of_the_data_take_the_place_of_the_named_ones_and_of_nothing_else():
    boxes = {"eyes": (0.0, 0.0, 0.25, 0.5), "a hat/": (0.5, 0.5, 1.0, 1.0), "dot": (0.1, 0.1, 0.1, 0.1)}
    found = masks("eyes,upper,a hat/", 8, boxes)
    assert list(found) == ["eyes", "upper", "a-hat"]
    assert found["eyes"][:2, :4].sum() == 0
    assert found["eyes"].sum() == 64 - 8
    assert torch.equal(found["upper"], masks("upper", 8)["upper"])
    assert not torch.equal(found["eyes"], masks("eyes", 8)["eyes"])
    with pytest.raises(UserError, match="hides nothing"):
        masks("dot", 8, boxes)
    with pytest.raises(UserError, match=r"unknown: use .*a hat/"):
        masks("nose", 8, boxes)
