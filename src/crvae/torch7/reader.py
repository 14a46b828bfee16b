"""Torch7's binary serialisation (what `torch.save` of Lua writes), read without running anything that it holds.

A value begins with its kind, an int32. Numbers are float64, lengths int32; tables, classes and functions carry an index by
which later occurrences refer to them. A tensor is sizes, strides and an offset into a storage. Everything is little endian,
`long` has 8 bytes. Functions are passed over.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crvae.errors import UserError

DEPTH = 100
"""Values nested deeper are refused."""

OBJECTS = 100_000
"""A file with more values is refused: a released model has some thousands."""

DIMENSIONS = 8
"""A tensor of more dimensions is refused."""

NIL, NUMBER, STRING, TABLE, CLASS, BOOLEAN, FUNCTION, OLD_FUNCTION, NEW_FUNCTION = range(9)

ELEMENTS = {
    "Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8", "Half": "<f2", "Float": "<f4", "Double": "<f8"
}  # fmt: skip
KINDS = {prefix + name: kind for name, kind in ELEMENTS.items() for prefix in ("", "Cuda")} | {"Cuda": "<f4"}
"""Torch's names of element types, on the processor and on the GPU -> NumPy's."""


@dataclass(frozen=True)
class Instance:
    """An object of a Lua class: its class's name and its fields."""

    name: str
    fields: dict[Any, Any]


class Malformed(Exception):
    """What is wrong with a file."""


def read_torch7(path: Path) -> Any:
    """The value in the file at `path`: dict for a table, Instance for an object, ndarray for a tensor or storage.

    Whole numbers become int, strings str. Memory stays a small multiple of the file's size. Raises UserError if the file
    cannot be read, or is not of this format.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(content).value()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:  # an empty file cannot be mapped
        raise UserError(f"{path} is empty: give a Torch7 file") from None
    except Malformed as error:
        raise UserError(f"{path} is not a whole Torch7 file in binary format: {error}") from None


class _Reader:
    def __init__(self, content: mmap.mmap):
        self._content = content
        self._at = 0
        self._depth = 0
        self._count = 0
        self._seen: dict[int, Any] = {}

    def value(self) -> Any:
        self._count += 1
        self._depth += 1
        if self._count > OBJECTS:
            raise Malformed(f"it holds over {OBJECTS:,} values")
        if self._depth > DEPTH:
            raise Malformed(f"its values are nested deeper than {DEPTH}")
        result = self._of_kind(self._int())
        self._depth -= 1
        return result

    def _of_kind(self, kind: int) -> Any:
        if kind == NIL:
            return None
        if kind == NUMBER:
            number = self._unpack("<d")
            return int(number) if number.is_integer() else number
        if kind == BOOLEAN:
            return self._int() == 1
        if kind == STRING:
            return self._string()
        if kind == FUNCTION:
            return self._function()
        if kind not in (TABLE, CLASS, OLD_FUNCTION, NEW_FUNCTION):
            raise Malformed(f"there is no kind {kind} of value (byte {self._at - 4:,})")
        index = self._int()
        if index in self._seen:
            return self._seen[index]
        if kind == TABLE:
            return self._table(index)
        if kind == CLASS:
            return self._class(index)
        self._seen[index] = None
        return self._function()

    def _table(self, index: int) -> dict[Any, Any]:
        table: dict[Any, Any] = {}
        self._seen[index] = table  # before its content: it may refer to itself
        for _ in range(self._length(8)):
            key, value = self.value(), self.value()
            if not isinstance(key, str | int | float | bool):
                raise Malformed("a table's key is neither text nor number")
            table[key] = value
        return table

    def _class(self, index: int) -> Any:
        name = self._string()
        if name.startswith("V "):
            name = self._string()
        package, _, short = name.partition(".")
        if package == "torch" and short.endswith("Storage") and short.removesuffix("Storage") in KINDS:
            result = self._storage(KINDS[short.removesuffix("Storage")])
        elif package == "torch" and short.endswith("Tensor") and short.removesuffix("Tensor") in KINDS:
            result = self._tensor(KINDS[short.removesuffix("Tensor")])
        else:
            result = Instance(name, {})
            self._seen[index] = result
            fields = self.value()
            if not isinstance(fields, dict):
                raise Malformed(f"the class {name!r} is none of nn's or cudnn's")
            result.fields.update(fields)
        self._seen[index] = result
        return result

    def _storage(self, kind: str) -> np.ndarray:
        count = self._long()
        dtype = np.dtype(kind)
        if count < 0:
            raise Malformed("a storage has a negative size")
        return np.frombuffer(self._take(count * dtype.itemsize), dtype)

    def _tensor(self, kind: str) -> np.ndarray:
        dimensions = self._int()
        if not 0 <= dimensions <= DIMENSIONS:
            raise Malformed(f"a tensor has {dimensions} dimensions")
        sizes = [self._long() for _ in range(dimensions)]
        strides = [self._long() for _ in range(dimensions)]
        offset = self._long() - 1
        storage = self.value()
        if storage is None or not dimensions:
            return np.empty(0, kind)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.dtype != np.dtype(kind):
            raise Malformed("a tensor's storage is of another type")
        if min(sizes) < 0 or min(strides) < 0 or offset < 0:
            raise Malformed("a tensor has a negative size, stride or offset")
        count, last = 1, offset
        for size, stride in zip(sizes, strides, strict=True):
            count *= size
            last += (size - 1) * stride
        if count and (count > len(storage) or last >= len(storage)):
            raise Malformed("a tensor reaches beyond its storage")
        width = storage.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            storage[offset:], sizes, [stride * width for stride in strides], writeable=False
        )

    def _function(self) -> None:
        self._take(self._length(1))  # byte code of Lua: never looked at
        self.value()

    def _string(self) -> str:
        return self._take(self._length(1)).decode("latin-1")

    def _length(self, each: int) -> int:
        """A count of things that take at least `each` bytes of the rest."""
        length = self._int()
        if not 0 <= length <= (len(self._content) - self._at) // each:
            raise Malformed("it ends too early")
        return length

    def _int(self) -> int:
        return self._unpack("<i")

    def _long(self) -> int:
        return self._unpack("<q")

    def _unpack(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, count: int) -> bytes:
        if count > len(self._content) - self._at:
            raise Malformed("it ends too early")
        self._at += count
        return self._content[self._at - count : self._at]
