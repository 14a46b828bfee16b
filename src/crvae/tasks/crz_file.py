"""The bytes of a .crz file: a header that names the model, then a frame for each block, each with its checksum (docs/codec.md)."""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from crvae.errors import UserError

MAGIC, VERSION = b"crz", 1
NAME = 6
"""Bytes of the model's name."""
CHECK = 2
"""Bytes of a checksum: CRC-16 (CCITT), high byte first, of everything before it but the other checksums."""
HEADER = len(MAGIC) + 1 + NAME + CHECK
LARGEST = 1 << 24
"""Of a file, in bytes."""
MOST = 4096
"""Blocks: the most time steps that a model can have."""


@dataclass(frozen=True)
class Frame:
    """One block: how it is quantised (6 bits of step, 2 bits of width), and what the range coder wrote."""

    scale: int
    payload: bytes


@dataclass(frozen=True)
class Crz:
    """The model's name and the first blocks of one image, in order."""

    model: bytes
    frames: tuple[Frame, ...]

    def sizes(self) -> list[int]:
        """Bytes of the file cut after 0, 1, 2 .. blocks."""
        sizes = [HEADER]
        for frame in self.frames:
            sizes.append(sizes[-1] + frame_size(len(frame.payload)))
        return sizes


def frame_size(payload: int) -> int:
    """Bytes of a frame around so many."""
    return len(_length(payload)) + 1 + payload + CHECK


def pack(file: Crz) -> bytes:
    """The file's bytes. Cut after any frame, they are still a file."""
    content = MAGIC + bytes([VERSION]) + file.model
    check = binascii.crc_hqx(content, 0)
    out = content + check.to_bytes(CHECK, "big")
    for frame in file.frames:
        content = _length(len(frame.payload)) + bytes([frame.scale]) + frame.payload
        check = binascii.crc_hqx(content, check)  # continues the one before: no frame can change its place
        out += content + check.to_bytes(CHECK, "big")
    return out


def unpack(data: bytes, name: str, steps: int | None = None) -> Crz:
    """The file in `data`; with `steps` no more than its first frames, whatever follows them.

    Raises UserError, naming the file by `name`, if it is not one, is of another version, damaged, or cut inside a block.
    """
    content = data[: HEADER - CHECK]
    if not content.startswith(MAGIC):
        raise UserError(f"{name} is not a .crz file: make one with `crvae encode --format crz`")
    if len(content) > len(MAGIC) and content[len(MAGIC)] != VERSION:
        raise UserError(f"{name} is a .crz file of version {content[len(MAGIC)]}, this crvae reads {VERSION}: upgrade")
    check = binascii.crc_hqx(content, 0)
    if len(data) < HEADER or int.from_bytes(data[HEADER - CHECK : HEADER], "big") != check:
        raise UserError(f"{name} is cut or damaged in its first {HEADER} bytes: encode the image again")
    frames: list[Frame] = []
    position = HEADER
    while position < len(data) and len(frames) != steps:
        frame, end = _frame(data, position)
        if frame is not None:
            check = binascii.crc_hqx(data[position : end - CHECK], check)
        if frame is None or int.from_bytes(data[end - CHECK : end], "big") != check:
            raise UserError(_broken(name, len(frames)))
        frames.append(frame)
        if len(frames) > MOST:
            raise UserError(f"{name} has more than {MOST:,} blocks, as no model has: encode the image again")
        position = end
    return Crz(content[len(MAGIC) + 1 :], tuple(frames))


def _frame(data: bytes, position: int) -> tuple[Frame | None, int]:
    """The frame that starts at `position` and where it ends; None where the data end before."""
    length = shift = 0
    while True:
        if position >= len(data) or shift > 21:
            return None, position
        byte = data[position]
        length |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            break
    end = position + 1 + length + CHECK
    if length > LARGEST or end > len(data):
        return None, position
    return Frame(data[position], data[position + 1 : position + 1 + length]), end


def _length(value: int) -> bytes:
    """Seven bits a byte, lowest first; the highest bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _broken(name: str, good: int) -> str:
    before = f"add --steps {good} to decode those before it" if good else "encode the image again"
    return f"{name} is cut or damaged in block {good + 1}: {before}"
