"""The rarer ways in which a file says how its camera was held."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from crvae.data.images import Form, decode
from fuzzing import many

FORM = Form(sizes=(16,))
LYING = Image.new("RGB", (24, 16), "white")
EXIF = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
XMP = b"<x:xmpmeta><rdf:Description tiff:Orientation='6'/></x:xmpmeta>"


def stands(text: PngImagePlugin.PngInfo | None = None, xmp: bytes | None = None) -> bool:
    """Whether a lying picture comes out standing; orientation 6 turns it."""
    buffer = io.BytesIO()
    if xmp is None:
        LYING.save(buffer, "PNG", pnginfo=text)
        data = buffer.getvalue()
    else:
        LYING.save(buffer, "JPEG")
        part = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        data = buffer.getvalue()[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + buffer.getvalue()[2:]
    return decode(data, FORM).size == (16, 24)


def raw_profile(kind: str, content: bytes) -> PngImagePlugin.PngInfo:
    """What ImageMagick writes into PNGs."""
    text = PngImagePlugin.PngInfo()
    lines = [content.hex()[i : i + 72] for i in range(0, 2 * len(content), 72)]
    text.add_text(f"Raw profile type {kind}", "\n".join(["", kind, f"{len(content):8d}", *lines, ""]), zip=True)
    return text


@pytest.mark.parametrize("content", [EXIF, b"http://ns.adobe.com/xap/1.0/\0" + XMP])
def test_imagemagicks_profile_of_a_jpegs_head_is_read(content):
    assert stands(raw_profile("APP1", content))
    assert not stands(raw_profile("APP1", content.replace(b"\x06\0\0\0", b"\x01\0\0\0").replace(b"'6'", b"'1'")))
    assert not stands(raw_profile("APP1", content[:-40]))


def test_a_profile_of_exif_is_read():
    assert stands(raw_profile("exif", EXIF))


@many(100)
@given(
    space=st.tuples(*[st.sampled_from(["", " ", "\n", "\t "])] * 3),
    quote=st.sampled_from("\"'"),
    element=st.booleans(),
    value=st.sampled_from("16"),
)
def test_xmp_in_any_spelling_is_read(space, quote, element, value):
    before, inside, after = space
    said = (
        f"<tiff:Orientation>{inside}{value}{after}</tiff:Orientation>"
        if element
        else f"<rdf:Description tiff:Orientation{before}={inside}{quote}{value}{quote}{after}/>"
    )
    assert stands(xmp=f"<x:xmpmeta>{said}</x:xmpmeta>".encode()) == (value == "6")


def test_xmp_without_a_value_that_has_a_meaning_turns_nothing():
    for said in (b"tiff:Orientation='9'", b"tiff:Orientation='66'", b"tiff:Orientation=6", b"tiff:OrientationX='6'"):
        assert not stands(xmp=b"<rdf:Description " + said + b"/>")
