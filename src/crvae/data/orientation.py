"""How a camera was held: one tag among many, read alone, so that no odd neighbour of it loses a photograph."""

from __future__ import annotations

import re
import struct

from PIL import Image

_TAG = 0x0112
_SIZES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF type of a whole number -> its format."""

_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")

_UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF has it, else XMP; 1 where neither says anything that has a meaning.

    TIFF files come upright from Pillow.
    """
    if image.format == "TIFF":
        return 1
    app1 = _raw_profile(image.info.get("Raw profile type APP1"))  # EXIF or XMP
    exif = image.info.get("exif") or _raw_profile(image.info.get("Raw profile type exif")) or app1
    found = from_exif(exif) if isinstance(exif, bytes) else None
    if found is not None:
        return found
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or app1
    match = _XMP.search(xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp) if xmp else None
    return int(match[1]) if match else 1


def upright(image: Image.Image, value: int) -> Image.Image:
    """The image as its camera saw it."""
    return image.transpose(_UNDO[value]) if value in _UNDO else image


def from_exif(exif: bytes) -> int | None:
    """The orientation in the first directory of an EXIF block, 1 to 8; None where there is none, or no sense in it."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return None
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    for i in range(entries):
        at = start + 2 + 12 * i
        if at + 12 > len(exif):
            return None
        tag, kind = struct.unpack_from(f"{order}HH", exif, at)
        if tag != _TAG:
            continue
        if kind == 2:  # text
            value = exif[at + 8] - ord("0")
        elif kind in _SIZES:
            (value,) = struct.unpack_from(order + _SIZES[kind], exif, at + 8)
        else:
            return None
        return value if 1 <= value <= 8 else None
    return None


def _raw_profile(text: object) -> bytes | None:
    """The EXIF block that ImageMagick writes into PNGs, as hexadecimal text after three lines of head."""
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None
