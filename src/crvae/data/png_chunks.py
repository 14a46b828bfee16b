"""What a PNG carries beside its pixels, and what of it a decoder needs."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_KEPT = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
"""Texts that say how a camera was held."""

_LARGE = 1 << 16
"""A text of more bytes is not for a decoder: a workflow, a thumbnail."""

_PROFILE = 1 << 22
"""Bytes of a colour profile, unpacked, that are looked at."""


def lighten(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG without its texts and its colour profile, and the profile, unpacked up to 4 MiB.

    Decoders refuse files in which these are large; how large they unpack is not known before. Other files are returned
    as they are.
    """
    if not data.startswith(SIGNATURE):
        return data, None
    kept, profile, at = [SIGNATURE], None, len(SIGNATURE)
    start = at
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if kind == b"IDAT":
            break
        if kind == b"iCCP" or (kind in _TEXT and not (length <= _LARGE and data.startswith(_KEPT, at + 8))):
            kept.append(data[start:at])
            start = end
            profile = _profile(data[at + 8 : at + 8 + length]) if kind == b"iCCP" else profile
        at = end
    if len(kept) == 1 and start == len(SIGNATURE):
        return data, None
    return b"".join([*kept, data[start:]]), profile


def _profile(chunk: bytes) -> bytes | None:
    _, _, packed = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], _PROFILE)
    except zlib.error:
        return None


def depth(data: bytes) -> int | None:
    """Bits a sample of a PNG; None for other files."""
    return data[24] if data.startswith(SIGNATURE) and len(data) > 24 else None
