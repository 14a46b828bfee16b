"""How the kinds of values are called in help and in complaints: no names of Python's types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

KINDS = ConstructorRegistry()
"""What `crvae.cli.parsing.parse` gives to tyro."""


def _number(kind: type, what: str) -> Callable[[list[str]], Any]:
    def read(words: list[str]) -> Any:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"must be {what}, got {words[0]!r}") from None

    return read


READERS: dict[type, tuple[str, Callable[[list[str]], Any]]] = {
    int: ("N", _number(int, "a whole number")),
    float: ("X", _number(float, "a number")),
    str: ("TEXT", lambda words: words[0]),
    Path: ("FILE", lambda words: Path(words[0])),
}
"""Type -> the word for a value in the help, and how one is read."""


@KINDS.primitive_rule
def _plain(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    optional = info.type in [kind | None for kind in READERS]
    kind = next(k for k in READERS if info.type == k | None) if optional else info.type
    if kind not in READERS:
        return None
    metavar, read = READERS[kind]
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, kind) or (optional and value is None),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )
