"""TIFF files that Pillow opens and reads wrongly, beside their like that it reads rightly."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from crvae.data.images import Form, Unusable, decode

FORM = Form(sizes=(16,))
RED = np.zeros((16, 16, 3), np.uint8)
RED[:8, :, 0], RED[8:] = 255, (10, 117, 255)


def tiff(samples: np.ndarray, *, planes: bool = False, deflate: bool = False, extra: tuple[int, ...] = ()) -> bytes:
    """A little-endian TIFF of `h w c` samples, unsigned or signed as they are; `extra` says what its bands from the fourth on are."""
    height, width, count = samples.shape
    strips = [samples[..., i].tobytes() for i in range(count)] if planes else [samples.tobytes()]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    bits, sign = 8 * samples.itemsize, 2 if samples.dtype.kind == "i" else 1
    tags = {256: [width], 257: [height], 258: [bits] * count, 259: [8 if deflate else 1], 262: [2 if count > 2 else 1]}
    tags |= {
        273: [0] * len(strips),
        277: [count],
        278: [height],
        279: list(map(len, strips)),
        284: [2 if planes else 1],
    }
    tags |= {338: list(extra)} if extra else {}
    tags |= {339: [sign] * count}
    first = 8 + 2 + 12 * len(tags) + 4 + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [first + sum(map(len, strips[:i])) for i in range(len(strips))]
    table, rest = struct.pack("<H", len(tags)), b""
    for tag, values in tags.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        at = 8 + 2 + 12 * len(tags) + 4 + len(rest)
        table += struct.pack("<HHI", tag, 4, len(values)) + (packed if len(values) == 1 else struct.pack("<I", at))
        rest += b"" if len(values) == 1 else packed
    return b"II*\0" + struct.pack("<I", 8) + table + bytes(4) + rest + b"".join(strips)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colours_in_planes_are_right_or_refused(planes, deflate, kind):
    samples = RED.astype(kind) * (257 if kind is np.uint16 else 1)
    data = tiff(samples, planes=planes, deflate=deflate)
    if planes and not deflate and kind is np.uint16:
        with pytest.raises(Unusable, match=r"planar 16-bit TIFF without compression.*save it interleaved"):
            decode(data, FORM)
    else:
        assert np.array_equal(np.asarray(decode(data, FORM)), RED)


def test_signed_bytes_are_refused_and_unsigned_ones_are_not():
    grey = RED[..., :1]
    assert np.array_equal(np.asarray(decode(tiff(grey), FORM))[..., :1], grey)
    with pytest.raises(Unusable, match="signed 8-bit"):
        decode(tiff(grey.astype(np.int8)), FORM)


def test_more_bands_than_colours_are_refused_and_transparency_is_none():
    opaque, other = np.full((16, 16, 1), 255, np.uint8), np.full((16, 16, 1), 7, np.uint8)
    for bands, extra in (((opaque,), (2,)), ((other,), (0,)), ((opaque, other), (2, 0))):
        assert np.array_equal(np.asarray(decode(tiff(np.concatenate([RED, *bands], -1), extra=extra), FORM)), RED)
    with pytest.raises(Unusable, match="5 bands, of which only three"):
        decode(tiff(np.concatenate([RED, other, other], -1), extra=(0, 0)), FORM)
