"""A stored PNG gives its pixels or a ValueError: also one that is made to end a decoder's process."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from crvae.data.stored import pixels
from fuzzing import many

SIDE = 8
BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Kind of colour -> samples a pixel."""


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(depth: int, colour: int, interlaced: int, extra: bytes = b"", cut: int | None = None) -> bytes:
    """A file of noise with right sums; its compressed pixels end after `cut` bytes."""
    row = (SIDE * BANDS[colour] * depth + 7) // 8
    head = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, interlaced)
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, 3 * (row + 1)), np.uint8)
    noise[:, :: row + 1] = 0  # no filter
    data = zlib.compress(noise.tobytes())[:cut]
    parts = chunk(b"IHDR", head), extra, chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_torchvision(mode, channels, picture):
    buffer = io.BytesIO()
    picture(0, 9, 7).convert(mode).save(buffer, "PNG")
    found = pixels(buffer.getvalue(), channels, (9, 7))
    assert found.equal(pixels(buffer.getvalue(), channels))
    assert found.shape == (channels, 7, 9)
    assert found.dtype == torch.uint8
    kind = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    wanted = decode_image(torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8), kind)
    assert (found.int() - wanted.int()).abs().max() <= (mode != "L" and channels == 1)  # grey of colours is rounded


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("colour", BANDS)
def test_a_cut_file_with_right_sums_is_refused(depth, colour):
    """torchvision's decoder ends the process at most of them."""
    palettes = b"", chunk(b"PLTE", b"abc"), chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(200))
    for interlaced, extra, cut in itertools.product((0, 1), palettes, (0, 3, 10)):
        for channels in (1, 3):
            with pytest.raises(ValueError, match="not a whole PNG"):
                pixels(png(depth, colour, interlaced, extra, cut), channels)


@pytest.mark.parametrize("depth", [0, 9, 16, 255])
def test_more_than_eight_bits_are_refused(depth):
    with pytest.raises(ValueError, match="not a PNG of 8 bits"):
        pixels(png(depth, 0, 0), 1)


def test_another_format_is_refused():
    for kind in ("BMP", "JPEG", "GIF"):
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, kind)
        with pytest.raises(ValueError, match="not a PNG"):
            pixels(buffer.getvalue(), 3)


@pytest.mark.parametrize("size", [(7, 8), (8, 9), (0, 0)])
def test_another_size_is_refused_before_it_is_decoded(size):
    with pytest.raises(ValueError, match="of that size"):
        pixels(png(8, 2, 0), 3, size)
    large = struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)
    with pytest.raises(ValueError, match="of that size"):
        pixels(png(8, 2, 0, chunk(b"IHDR", large)), 3, (SIDE, SIDE))  # the second head is the one that counts


@pytest.mark.parametrize("file", [b"", b"\x89PNG\r\n\x1a\n", png(8, 2, 0)[:20], png(8, 2, 0)[:25]])
def test_a_file_that_ends_in_its_head_is_refused(file):
    with pytest.raises(ValueError, match="not a"):
        pixels(file, 3)


WHOLE = png(8, 2, 0), png(8, 3, 0, chunk(b"PLTE", bytes(768))), png(4, 0, 1)


@many(300)
@given(
    whole=st.sampled_from(WHOLE),
    edits=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=4),
    end=st.integers(0, 900),
    channels=st.sampled_from([1, 3]),
)
def test_any_bytes_are_pixels_or_a_value_error(whole, edits, end, channels):
    damaged = bytearray(whole)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    for file in (bytes(damaged), bytes(damaged[:end]), whole[:end]):
        try:
            found = pixels(file, channels, (SIDE, SIDE))
        except ValueError:
            continue
        assert found.shape == (channels, SIDE, SIDE)
