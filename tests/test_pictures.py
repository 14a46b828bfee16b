"""Pictures as they leave: grids like torchvision's, files that hold the pixels that they were given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.utils import make_grid

from crvae.errors import UserError
from crvae.pictures import check_size, encoded, lettered, save_image, show, tiled, tiled_size


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.sampled_from((1, 3)), st.integers(1, 5), st.integers(1, 4), st.integers(1, 11))
def test_a_grid_is_torchvisions(count, channels, height, width, columns):
    images = torch.randint(256, (count, channels, height, width), dtype=torch.uint8)
    grid = tiled(images, columns)
    assert torch.equal(grid, make_grid(images, nrow=columns, padding=2, pad_value=255))
    assert tiled_size(count, columns, height, width) == (grid.shape[2], grid.shape[1])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("ending", [".png", ".PNG", ".webp"])
def test_a_file_holds_the_pixels_that_it_was_given(tmp_path, channels, mode, ending):
    image = torch.randint(256, (channels, 7, 5), dtype=torch.uint8)
    save_image(image, tmp_path / f"one{ending}")
    with Image.open(tmp_path / f"one{ending}") as kept:
        assert kept.mode == (mode if ending.lower() == ".png" else "RGB")
        pixels = torch.from_numpy(np.array(kept.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(pixels, image.expand(3, -1, -1))


@pytest.mark.parametrize(
    ("ending", "most"), [(".webp", 16_383), (".WEBP", 16_383), (".jpg", 65_500), (".jpeg", 65_500)]
)
def test_a_side_is_as_long_as_the_format_allows_and_one_pixel_more_is_refused(tmp_path, ending, most):
    for size in ((most, 1), (1, most)):
        assert encoded(Image.new("RGB", size), ending)
    for shape, said in (((1, 1, most + 1), f"{most + 1:,} x 1 "), ((3, most + 1, 1), f"1 x {most + 1:,} ")):
        path = tmp_path / f"long{ending}"
        with pytest.raises(UserError, match=r"Name it \.png") as refusal:
            save_image(torch.zeros(shape, dtype=torch.uint8), path)
        for part in (str(path), said, f"{most:,} a side"):
            assert part in str(refusal.value)
        assert not list(tmp_path.iterdir())
    save_image(torch.zeros(1, most + 1, 1, dtype=torch.uint8), tmp_path / "long.png")
    check_size((1_000_000, 1), ".png")


@pytest.mark.parametrize(("text", "drawn"), [("cat 01", "cat 01"), ("ünï-é", "uni-e"), ("日本-x", "??-x"), ("", "")])
def test_labels_are_drawn_in_letters_that_the_font_has(text, drawn):
    assert lettered(text) == drawn


def test_images_of_numpy_are_shown_as_those_of_torch():
    stored = torch.randint(256, (5, 3, 9, 7), dtype=torch.uint8)
    for images in (stored, stored.float() / 127.5 - 1, stored.double() / 127.5 - 1, stored.half() / 127.5 - 1):
        expected = np.asarray(show(images, 2))
        assert np.array_equal(show(images.numpy(), 2), expected)
        assert np.array_equal(show(images[0].numpy()), show(images[0]))
        assert np.array_equal(show(images.flip(0).numpy()[::-1], 2), expected)
        frozen = images.numpy().copy()
        frozen.flags.writeable = False
        assert np.array_equal(show(frozen, 2), expected)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (torch.full((2, 3, 8, 8), 100), "int64 values"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int8), "int8 values"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.complex64), "complex64 values"),
        (np.zeros((2, 3, 8, 8), np.int64), "int64 values"),
        (np.zeros((2, 3, 8, 8), ">f4"), ">f4 values"),
        (np.zeros((2, 3, 8, 8), object), "object values"),
        ([torch.zeros(3, 8, 8)], "a value of type list"),
        (None, "a value of type NoneType"),
    ],
)
def test_what_is_not_an_image_is_not_shown(wrong, says):
    with pytest.raises(
        UserError, match=f"^cannot show {says}. Give images b c h w, floats in .* or uint8 from 0 to 255$"
    ):
        show(wrong)
