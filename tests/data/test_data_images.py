"""Whatever a file holds, it becomes a correct image or a reason; never an accident."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from crvae.data.images import Form, Unusable, decode, encode, region, scale
from fuzzing import many

FORM = Form(sizes=(16,), pixel_limit=16_000_000)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _grey16(values: np.ndarray) -> bytes:
    return _encoded(Image.fromarray(values.astype(np.uint16)), "PNG")


def test_sixteen_bits_keep_black_white_and_order():
    values = np.linspace(0, 65535, 256).reshape(16, 16).round()
    pixels = np.asarray(decode(_grey16(values), Form(sizes=(16,), channels=1)), dtype=float)
    assert np.abs(pixels - values / 257).max() <= 0.5 + 1e-9
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((255, 0, 0, 128), (0, 0, 4, 8))
    pixels = np.asarray(decode(_encoded(image, "PNG"), FORM))
    assert tuple(pixels[0, 7]) == (255, 255, 255)
    assert np.abs(pixels[0, 0].astype(int) - (255, 127, 127)).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "PA"])
def test_other_modes_with_transparency(mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    pixels = np.asarray(decode(_encoded(image.convert(mode), "TIFF" if mode == "PA" else "PNG"), FORM))
    assert pixels[0, 0].max() == 0
    assert pixels[1:].min() == 255


def test_palette_with_a_transparent_entry():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.putpixel((1, 1), 1)
    pixels = np.asarray(decode(_encoded(image, "PNG", transparency=0), FORM))
    assert tuple(pixels[0, 0]) == (255, 255, 255)
    assert tuple(pixels[1, 1]) == (0, 0, 255)


def test_cmyk_and_one_bit():
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    pixels = np.asarray(decode(_encoded(cyan, "JPEG", quality=95), FORM)).astype(int)
    assert pixels[..., 0].max() < 40
    assert pixels[..., 1:].min() > 150
    assert np.asarray(decode(_encoded(Image.new("1", (8, 8), 1), "PNG"), FORM)).min() == 255


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = _encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(np.asarray(decode(data, FORM)).astype(int)[4, 4] - (255, 0, 0)).max() <= 6, kind


def test_orientation_is_applied_unless_a_box_refers_to_the_file():
    image = Image.new("RGB", (20, 10), "white")
    image.paste("black", (0, 0, 5, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = _encoded(image, "JPEG", exif=exif, quality=95)
    assert decode(data, FORM).size == (10, 20)
    assert decode(data, FORM, upright=False).size == (20, 10)


def test_content_decides_and_not_the_name_of_the_format():
    image = Image.new("RGB", (8, 8), "red")
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        assert decode(_encoded(image, kind), FORM).mode == "RGB"
    for kind in ("PPM", "PCX", "ICO", "EPS"):
        with pytest.raises(Unusable, match="known format"):
            decode(_encoded(image, kind), FORM)


def _bomb(width: int, height: int) -> bytes:
    """A small PNG whose header promises a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(4001, 4000), (12_000, 12_000), (1_000_000, 1_000_000)])
def test_the_pixel_limit_is_checked_before_decoding(width, height):
    with pytest.raises(Unusable, match="megapixels"):
        decode(_bomb(width, height), FORM)


def test_an_image_at_the_limit_passes_and_one_above_does_not():
    form = Form(sizes=(16,), pixel_limit=64)
    assert decode(_encoded(Image.new("RGB", (8, 8)), "PNG"), form).size == (8, 8)
    with pytest.raises(Unusable, match="megapixels"):
        decode(_encoded(Image.new("RGB", (8, 9)), "PNG"), form)


def test_what_cannot_be_used_says_why():
    whole = _encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")
    for data, reason in (
        (b"", "empty"),
        (whole[: len(whole) // 2], "truncated"),
        (b"\x00" * 500, "known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "known format"),
        (_encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point"),
        (_encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"), "16 bits"),
    ):
        with pytest.raises(Unusable, match=reason):
            decode(data, FORM)


def test_a_text_bomb_in_a_png_is_not_unpacked():
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "x" * (80 << 20), zip=True)
    data = _encoded(Image.new("RGB", (4, 4), "red"), "PNG", pnginfo=text)
    code = (
        "import resource, sys; from crvae.data.images import *; data = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert decode(data, Form(sizes=(16,))).getpixel((0, 0)) == (255, 0, 0)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert int(grown.stdout) < 20 << 10  # KiB


SEEDS = [
    _encoded(Image.effect_noise((24, 20), 90).convert(mode), kind)
    for kind, mode in (
        ("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"), ("BMP", "RGB"),
        ("WEBP", "RGB"), ("TIFF", "RGB"), ("TIFF", "L"),
    )
]  # fmt: skip


def _mutated(seed: int) -> bytes:
    """A valid file with bytes changed, cut out, repeated or exchanged with another file's."""
    draw = random.Random(seed)
    data = bytearray(draw.choice(SEEDS))
    for _ in range(draw.randint(1, 8)):
        at, length = draw.randrange(len(data)), draw.randint(1, 12)
        change = draw.randrange(4)
        if change == 0:
            data[at : at + length] = draw.randbytes(length)
        elif change == 1 and len(data) > 40:
            del data[at : at + length]
        elif change == 2:
            data[at:at] = data[at : at + length]
        else:
            data[at : at + 4] = draw.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
    return bytes(data)


def _survives(data: bytes) -> bool:
    try:
        image = decode(data, FORM)
        stored = scale(image, FORM)
    except Unusable as error:
        reason = str(error)
    else:
        assert [part.size for part in stored] == [(16, 16)]
        assert Image.open(io.BytesIO(encode(stored[0]))).mode == "RGB"
        return True
    assert reason.split()[0] in ("is", "has")
    return False


@many(400)
@given(st.one_of(st.binary(max_size=300), st.integers(0, 2**32).map(_mutated)))
def test_any_bytes_give_an_image_or_a_reason(data):
    _survives(data)


@pytest.mark.fuzz
def test_ten_thousand_damaged_files_give_an_image_or_a_reason():
    """Within 1 GiB, in a fresh process as `prepare` has; a good part still is an image, so that decoders are reached."""
    code = (
        "import importlib.util, resource, sys\n"
        "spec = importlib.util.spec_from_file_location('damaged', sys.argv[1])\n"
        "damaged = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(damaged)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "usable = sum(damaged._survives(damaged._mutated(seed)) for seed in range(10_000))\n"
        "print(usable, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, check=True, env=here)
    usable, grown = map(int, done.stdout.split())
    assert 500 < usable < 9_500
    assert grown < 1 << 20  # KiB


@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from(["center", "none"]))
def test_regions_lie_inside_and_centred(width, height, crop):
    left, top, right, bottom = region((width, height), Form(sizes=(8,), crop=crop))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert left == pytest.approx(width - right)
    assert top == pytest.approx(height - bottom)
    assert crop == "none" or right - left == bottom - top == min(width, height)


@given(
    st.tuples(st.integers(4, 300), st.integers(4, 300)),
    st.lists(st.floats(-50, 350, allow_nan=False), min_size=4, max_size=4),
    st.floats(0, 2),
    st.sampled_from(["longer", "shorter"]),
)
def test_boxes_become_squares_inside(size, box, margin, square):
    form = Form(sizes=(8,), crop="box", margin=margin, square=square)
    left, top, right, bottom = box
    if max(left, 0) >= min(right, size[0]) or max(top, 0) >= min(bottom, size[1]):
        with pytest.raises(Unusable, match="bounding box"):
            region(size, form, (left, top, right, bottom))
        return
    a, b, c, d = region(size, form, (left, top, right, bottom))
    side = (max if square == "longer" else min)(right - left, bottom - top) * (1 + 2 * margin)
    assert c - a == pytest.approx(min(side, *size))
    assert d - b == pytest.approx(min(side, *size))
    assert a >= 0
    assert b >= 0
    assert c <= size[0] + 1e-6
    assert d <= size[1] + 1e-6
    if (left + right - side) / 2 >= 0 and (left + right + side) / 2 <= size[0]:
        assert a + c == pytest.approx(left + right)


def test_scaling_is_antialiased_and_both_sizes_show_the_same_region():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small, large = scale(Image.fromarray(stripes), Form(sizes=(16, 64)))
    assert np.abs(np.asarray(small).astype(int) - 127).max() <= 3
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3)).copy()
    small, large = scale(Image.fromarray(ramp), Form(sizes=(16, 64), resample="area"))
    pooled = np.asarray(large, dtype=float).reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert np.abs(pooled - np.asarray(small)).max() <= 1
