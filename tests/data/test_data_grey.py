"""Grey pictures with a profile, with and without transparency."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from crvae.data.images import Form, decode

FORM = Form(sizes=(16,))
LINEAR = 1.0
"""A gamma that sRGB has not."""


def grey_profile(gamma: float) -> bytes:
    """An ICC profile (version 2) of grey by its gamma alone."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text + bytes(-len(text) % 4), b"wtpt": white, b"kTRC": curve}
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I", 128 + len(table) + len(body)) + bytes(4) + struct.pack(">I", 0x02400000) + b"mntrGRAYXYZ "
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def stored(image: Image.Image, **options: object) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return np.asarray(decode(buffer.getvalue(), FORM)).astype(int)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_is_converted_by_its_profile_with_and_without_transparency(mode):
    image = Image.new("L", (8, 8), 55).convert(mode)
    assert (stored(image) == 55).all()
    assert (stored(image, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()) == 55).all()
    expected = 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055)  # linear light in sRGB
    assert np.abs(stored(image, icc_profile=grey_profile(LINEAR)) - expected).max() <= 2


def test_transparent_grey_is_laid_on_white_after_its_profile():
    image = Image.merge("LA", (Image.new("L", (8, 8), 55), Image.linear_gradient("L").resize((8, 8))))
    alpha = np.asarray(image.getchannel("A"))[..., None] / 255
    for options, grey in (({}, 55), ({"icc_profile": grey_profile(LINEAR)}, 128)):
        assert np.abs(stored(image, **options) - (alpha * grey + (1 - alpha) * 255)).max() <= 2.5
