"""How the kinds of values are called in help and in complaints: no names of Python's types."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Union, get_args

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
    if info.type not in READERS:
        return None
    metavar, read = READERS[info.type]
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, info.type),
        str_from_instance=lambda value: [str(value)],
    )


@KINDS.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """`X | None` is typed as an X is. tyro also takes the word None, for which the option is left out here."""
    if info.type_origin not in (Union, types.UnionType) or type(None) not in get_args(info.type):
        return None
    kind = reduce(or_, (part for part in get_args(info.type) if part is not type(None)))
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec):
        return None
    return replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["none"] if value is None else spec.str_from_instance(value),
    )
