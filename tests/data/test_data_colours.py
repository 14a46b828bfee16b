"""What pixels mean: colour profiles, every way of saying transparent, min-is-white, large and turned photographs."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from crvae.data.images import Form, Unusable, decode
from crvae.data.orientation import from_exif
from fuzzing import many

FORM = Form(sizes=(16,))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def profile_of(red, green, blue, gamma: float) -> bytes:
    """An ICC matrix profile (version 2) from the chromaticities of its primaries, D65, and a gamma."""
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    columns = np.stack([np.array([x / y, 1, (1 - x - y) / y]) for x, y in (red, green, blue)], 1)
    matrix = columns * np.linalg.solve(columns, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50 = np.array([0.9642, 1.0, 0.8249])
    matrix = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white)) @ bradford @ matrix

    def xyz(values) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text + bytes(-len(text) % 4), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(d50)}
    tags |= {name: xyz(matrix[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I", 128 + len(table) + len(body)) + bytes(4) + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(struct.pack(">i", round(v * 65536)) for v in d50)
    return head.ljust(128, b"\0") + table + body


WIDE = {
    "display p3": profile_of((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), 2.2),
    "adobe rgb": profile_of((0.640, 0.330), (0.210, 0.710), (0.150, 0.060), 2.2),
    "prophoto": profile_of((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), 1.8),
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SEEN = (200, 60, 40)
"""One colour to the eye, in sRGB."""


def in_numbers_of(profile: bytes, colour=SEEN) -> tuple[int, int, int]:
    embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    to = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), embedded, "RGB", "RGB")
    return ImageCms.applyTransform(Image.new("RGB", (1, 1), colour), to).getpixel((0, 0))


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_profile_is_converted_to_srgb(name, kind, mode):
    if (kind, mode) == ("JPEG", "RGBA"):
        return
    numbers = in_numbers_of(WIDE[name])
    assert max(abs(a - b) for a, b in zip(numbers, SEEN, strict=True)) > 10
    options = {"PNG": {}, "TIFF": {}, "JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}[kind]
    data = encoded(Image.new("RGB", (16, 16), numbers).convert(mode), kind, icc_profile=WIDE[name], **options)
    assert np.abs(np.asarray(decode(data, FORM)).astype(int) - SEEN).max() <= 3


def test_no_profile_srgb_and_a_broken_one_leave_the_numbers():
    image = Image.effect_noise((16, 16), 90).convert("RGB")
    for profile in (None, SRGB, b"", b"broken", SRGB[:200], WIDE["prophoto"][:150]):
        options = {} if profile is None else {"icc_profile": profile}
        assert np.array_equal(np.asarray(decode(encoded(image, **options), FORM)), np.asarray(image))
    grey = encoded(image.convert("L"), icc_profile=WIDE["adobe rgb"])  # of another kind of image
    assert np.array_equal(np.asarray(decode(grey, FORM))[..., 0], np.asarray(image.convert("L")))


def test_a_profile_of_more_than_a_megabyte_and_long_texts_are_no_damage():
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", '{"node": 1} ' * 200_000, zip=True)
    info.add_itxt("prompt", "{}" * 900_000, zip=True)
    info.add_text("plain", "x" * 2_000_000)
    image = Image.new("RGB", (16, 16), in_numbers_of(WIDE["display p3"]))
    data = encoded(image, pnginfo=info, icc_profile=WIDE["display p3"] + bytes(1 << 21))
    assert np.abs(np.asarray(decode(data, FORM)).astype(int) - SEEN).max() <= 3


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(depth: int, colour: int, samples: np.ndarray, transparent: bytes) -> bytes:
    """A PNG of any depth, its samples given one by one: `h w` or `h w c`."""
    height, width = samples.shape[:2]
    rows = b""
    for row in samples.reshape(height, -1):
        bits = "".join(format(int(value), f"0{depth}b") for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = (
        chunk(b"IHDR", head) + chunk(b"tRNS", transparent) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_colour_is_white_at_every_depth(depth):
    most = 2**depth - 1
    samples = np.array([[0, most], [most // 2, 0]])
    pixels = np.asarray(decode(raw_png(depth, 0, samples, struct.pack(">H", 0)), FORM))[..., 0]
    assert pixels[0, 0] == pixels[1, 1] == 255
    assert pixels[0, 1] == 255
    assert abs(int(pixels[1, 0]) - round(255 * (most // 2) / most)) <= (255 if depth == 1 else 1)
    other = np.asarray(decode(raw_png(depth, 0, samples, struct.pack(">H", most)), FORM))[..., 0]
    assert other[0, 0] == 0
    assert other[0, 1] == 255


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_of_colour(depth):
    most = 2**depth - 1
    samples = np.array([[[0, 0, most], [most, 0, 0]]])
    pixels = np.asarray(decode(raw_png(depth, 2, samples, struct.pack(">HHH", 0, 0, most)), FORM))
    assert pixels[0].tolist() == [[255, 255, 255], [255, 0, 0]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "I;16"])
def test_a_picture_that_shows_nothing_is_skipped_with_that_reason(mode):
    if mode in ("RGBA", "LA"):
        data = encoded(Image.new("RGBA", (8, 8), (10, 20, 30, 0)).convert(mode))
    elif mode == "I;16":
        data = raw_png(16, 0, np.full((4, 4), 77), struct.pack(">H", 77))
    else:
        data = encoded(Image.new(mode, (8, 8), 0), transparency=(0, 0, 0) if mode == "RGB" else 0)
    with pytest.raises(Unusable, match="wholly transparent"):
        decode(data, FORM)


@pytest.mark.parametrize(("mode", "depth"), [("1", 1), ("L", 8), ("I;16", 16)])
def test_min_is_white_at_every_depth(mode, depth):
    most = 2**depth - 1
    values = np.array([[0, most], [most, 0]])
    image = Image.fromarray(values.astype({1: bool, 8: np.uint8, 16: np.uint16}[depth]))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    data = bytearray(encoded(image, "TIFF", tiffinfo=tags))
    data = bytes(_photometric_zero(data))
    pixels = np.asarray(decode(data, FORM))[..., 0]
    assert pixels.tolist() == [[255, 0], [0, 255]]


def _photometric_zero(data: bytearray) -> bytearray:
    """Says WhiteIsZero in a little-endian TIFF; the samples stay."""
    (start,) = struct.unpack_from("<I", data, 4)
    for i in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", data, at)[0] == 262:
            struct.pack_into("<H", data, at + 8, 0)
    return data


def test_lab_and_cmyk_become_srgb():
    lab = Image.new("LAB", (8, 8), (128, 128, 128))
    grey = np.asarray(decode(encoded(lab, "TIFF"), FORM)).astype(int)
    assert np.ptp(grey[0, 0]) <= 4
    assert 100 < grey.mean() < 140
    assert decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), FORM).getpixel((4, 4))[0] > 200


def test_large_photographs_are_used_and_memory_stays_small():
    """108 megapixels as JPEG, which decodes at an eighth; 196 as PNG, which is reduced at once."""
    code = """
import io, resource, sys
from PIL import Image
from crvae.data.images import Form, decode, scale
kind, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = decode(data, Form(sizes=(64,), pixel_limit=200_000_000), shrink=True)
stored = scale(image, Form(sizes=(64,)))[0]
left, right = stored.getpixel((5, 32)), stored.getpixel((58, 32))
print(min(image.size) >= 256, left[0] < 60, right[0] > 200, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    for kind, size, most in (("JPEG", (12_000, 9_000), 150 << 10), ("PNG", (14_000, 14_000), 500 << 10)):
        image = Image.new("L", size, 20)
        image.paste(240, (size[0] // 2, 0, *size))
        data = encoded(image, kind, **({"quality": 30} if kind == "JPEG" else {"compress_level": 1}))
        command = [sys.executable, "-c", code, kind, *map(str, size)]
        done = subprocess.run(command, input=data, capture_output=True, check=True)
        *right, grown = done.stdout.decode().split()
        assert right == ["True"] * 3
        assert int(grown) < most, f"{kind}: {int(grown) >> 10} MiB"


def block(entries: list[tuple[int, int, int, bytes]], order: str = "<", rest: bytes = b"") -> bytes:
    """An EXIF block of one directory: tag, type, count and the four bytes of each entry."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    body = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0" + head + body + struct.pack(f"{order}I", 0) + rest


def odd_entry(draw: random.Random) -> tuple[int, int, int, bytes]:
    """A tag with a type, a count or an offset that makes no sense."""
    tag = draw.choice((0x0100, 0x010F, 0x0110, 0x011A, 0x0132, 0x8769, 0x8825, 0x927C, 0x9999, draw.randrange(65536)))
    return (
        tag if tag != 0x0112 else 0x0113,
        draw.choice((1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 99)),
        draw.choice((0, 1, 2, 2**31)),
        draw.randbytes(4),
    )


ARROW = Image.new("RGB", (24, 16), "white")
ARROW.paste("red", (0, 0, 8, 6))
TURNED = {
    1: ARROW, 2: ARROW.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 3: ARROW.transpose(Image.Transpose.ROTATE_180),
    4: ARROW.transpose(Image.Transpose.FLIP_TOP_BOTTOM), 5: ARROW.transpose(Image.Transpose.TRANSPOSE),
    6: ARROW.transpose(Image.Transpose.ROTATE_90), 7: ARROW.transpose(Image.Transpose.TRANSVERSE),
    8: ARROW.transpose(Image.Transpose.ROTATE_270),
}  # fmt: skip
JPEGS = {value: encoded(image, "JPEG", quality=97, subsampling=0) for value, image in TURNED.items()}


def with_exif(jpeg: bytes, exif: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def is_upright(data: bytes) -> bool:
    image = decode(data, FORM)
    return image.size == ARROW.size and np.abs(np.asarray(image).astype(int) - np.asarray(ARROW)).mean() < 8


def test_three_thousand_photographs_with_odd_tags_all_come_upright():
    draw = random.Random(0)
    for _ in range(3000):
        value = draw.randint(1, 8)
        order = draw.choice("<>")
        kind, said = draw.choice(((3, f"{order}HH"), (4, f"{order}I")))
        entry = (0x0112, kind, 1, struct.pack(said, value, *([0] if kind == 3 else [])))
        entries = [entry, *(odd_entry(draw) for _ in range(draw.randint(1, 3)))]
        draw.shuffle(entries)
        exif = block(entries, order, draw.randbytes(draw.randint(0, 40)))
        assert is_upright(with_exif(JPEGS[value], exif)), exif


@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_of_every_format(value):
    exif = Image.Exif()
    exif[0x0112] = value
    image = TURNED[value]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("JPEG", {"quality": 97})):
        assert is_upright(encoded(image, kind, exif=exif, **options)), kind
    second = image.resize((4, 4))
    assert is_upright(encoded(image, "MPO", save_all=True, append_images=[second], exif=exif, quality=97))
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % value
    assert is_upright(with_exif(JPEGS[value], xmp))


@many(300)
@given(st.binary(max_size=60))
def test_no_exif_block_is_an_accident(exif):
    assert from_exif(exif) in (None, 1, 2, 3, 4, 5, 6, 7, 8)


@pytest.mark.fuzz
def test_ten_thousand_cut_and_odd_exif_blocks():
    draw = random.Random(1)
    for _ in range(10_000):
        exif = block([odd_entry(draw) for _ in range(draw.randint(0, 3))], draw.choice("<>"))
        exif = bytearray(exif[: draw.randint(0, len(exif))])
        if exif:
            exif[draw.randrange(len(exif))] = draw.randrange(256)
        assert from_exif(bytes(exif)) in (None, 1, 2, 3, 4, 5, 6, 7, 8)


def test_a_doubled_prefix_and_two_values_are_read():
    six = struct.pack("<HH", 6, 6)
    assert from_exif(b"Exif\0\0" + block([(0x0112, 3, 2, six)])) == 6
    assert from_exif(block([(0x0112, 2, 2, b"6\0\0\0")])) == 6
    assert from_exif(block([(0x0112, 3, 1, struct.pack("<HH", 9, 0))])) is None
