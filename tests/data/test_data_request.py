"""A preparation from Python: options of other kinds are refused in the command's words before anything is made."""

from __future__ import annotations

import numpy as np
import pytest

from crvae.data import open_data, prepare_source
from crvae.data.images import Form
from crvae.data.rows import chunk_items
from crvae.errors import UserError

OTHERS = [
    ("size", 16.5, "a whole number"),
    ("size", "64", "a whole number"),
    ("size", None, "a whole number"),
    ("size", True, "a whole number"),
    ("size", np.float64(16), "a whole number"),
    ("pair", 32.5, "a whole number"),
    ("pair", "32", "a whole number"),
    ("workers", 1.0, "a whole number"),
    ("workers", None, "a whole number"),
    ("workers", True, "a whole number"),
    ("margin", "0.5", "a number"),
    ("pixel_limit", None, "a number"),
    ("crop", "circle", "center or none or box"),
    ("crop", 3, "center or none or box"),
    ("square", "long", "longer or shorter"),
    ("square", None, "longer or shorter"),
    ("resample", "bicubical", "bicubic or bilinear or lanczos or area"),
    ("channels", 2, "1 or 3"),
    ("channels", True, "1 or 3"),
    ("channels", 3.0, "1 or 3"),
    ("channels", "3", "1 or 3"),
]


@pytest.mark.parametrize(("option", "value", "says"), OTHERS)
def test_options_of_other_kinds_are_refused_before_anything_is_made(option, value, says, images, tmp_path):
    with pytest.raises(UserError) as refused:
        prepare_source(images, tmp_path / "out", **({"size": 8, "workers": 1} | {option: value}))
    assert str(refused.value).startswith(f"--{option.replace('_', '-')} must be {says}, got {value!r}")
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [images]


@pytest.mark.parametrize(
    ("option", "value", "typed"),
    [("size", 16.5, "16.5"), ("workers", "two", "two"), ("square", "long", "long"), ("channels", "2", "2")],
)
def test_the_command_says_the_same(option, value, typed, images, refused, tmp_path):
    with pytest.raises(UserError) as python:
        prepare_source(images, tmp_path / "out", **{option: value})
    command = refused("prepare", images, tmp_path / "out", f"--{option}", typed)
    assert str(python.value).replace(repr(value), repr(typed)) in command


def test_numbers_outside_the_limits_are_refused_and_numpys_inside_are_taken(images, tmp_path):
    for options, says in (
        ({"size": np.int64(7)}, "--size must lie between 8 and 512, got 7"),
        ({"size": np.int64(8), "pair": np.int64(8)}, "--pair must lie between 9 and 1024, got 8"),
        ({"workers": 0}, "--workers must lie between 1 and 256, got 0"),
        ({"margin": float("nan")}, "--margin must lie between 0 and 2, got nan"),
    ):
        with pytest.raises(UserError, match=f"^{says}$"):
            prepare_source(images, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == [images]
    plain = {"size": 8, "pair": 16, "channels": 1, "workers": 1, "pixel_limit": 2.0}
    kinds = {"pixel_limit": np.float32}
    prepare_source(images, tmp_path / "plain", **plain)
    prepare_source(images, tmp_path / "numpy", **{name: kinds.get(name, np.int64)(v) for name, v in plain.items()})
    assert open_data(tmp_path / "numpy").card == open_data(tmp_path / "plain").card


def test_a_chunk_of_large_images_has_fewer_items_so_that_a_column_holds_them():
    def most(*sizes: int, channels: int = 3) -> int:
        return chunk_items(Form(sizes=sizes, channels=channels))

    assert most(64) == most(64, 512) == most(512) == 2048
    assert most(64, 1024) < 2048
    assert most(64, 1024) * 3 * 1024**2 < 2**31
    assert most(64, 1024, channels=1) > most(64, 1024)
