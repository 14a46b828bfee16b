"""The sources by name. Each declares here what it is called, and by its own signature which options it understands.

A source of your own is one class and one decorated function, in a module that is imported before `crvae prepare` runs:

    @source("tiles")
    def tiles(form: Form, *, root: Annotated[Path | None, "the folder with the tiles"] = None) -> Tiles: ...
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from crvae.data.images import Crop, Form
from crvae.data.source import Source
from crvae.errors import UserError, near


@dataclass(frozen=True)
class Option:
    """What one source understands by an option of its own."""

    kind: Any
    """Its type: `Path | None`, `str | None` …"""
    help: str


@dataclass(frozen=True)
class Registered:
    """A function that makes a source, and what it declared."""

    make: Callable[..., Source]
    takes: Callable[[str], bool] | None
    """For sources without a fixed name: whether they are meant by SOURCE, which `make` then gets as its first argument."""
    grey: bool
    boxes: bool
    margin: float

    @property
    def options(self) -> dict[str, Option]:
        """The keyword-only parameters, annotated with type and help."""
        hints = get_type_hints(self.make, include_extras=True)
        names = [p.name for p in inspect.signature(self.make).parameters.values() if p.kind is p.KEYWORD_ONLY]
        found = {}
        for name in names:
            if get_origin(hints[name]) is not Annotated:
                raise TypeError(f"{self.make.__name__} must annotate {name} as Annotated[TYPE, HELP]")
            kind, text, *_ = get_args(hints[name])
            found[name] = Option(kind, text)
        return found


SOURCES: dict[str, Registered] = {}
"""Name -> source, in the order in which those without a fixed name are asked."""


def source(
    name: str,
    *,
    takes: Callable[[str], bool] | None = None,
    grey: bool = False,
    boxes: bool = False,
    margin: float = 0.0,
) -> Callable[[Callable[..., Source]], Callable[..., Source]]:
    """Registers a function that makes a source.

    Its keyword-only parameters are its options on the command line, None where not given. `grey`: one channel by
    default. `boxes`: its items have boxes, which crop by default, with `margin` on every side, as a share of the side.
    """

    def register(make: Callable[..., Source]) -> Callable[..., Source]:
        SOURCES[name] = Registered(make, takes, grey, boxes, margin)
        return make

    return register


def all_sources() -> dict[str, Registered]:
    """All sources, this package's included."""
    importlib.import_module("crvae.data.sources")
    return SOURCES


def named(
    name: str,
    form: Form,
    options: Mapping[str, Any],
    *,
    channels: int | None = None,
    crop: Crop | None = None,
    margin: float | None = None,
) -> Source:
    """The source that `name` means, with `options` by name.

    None stands for the source's own default. Raises UserError if there is no such source, or for an option that it
    does not understand.
    """
    known = all_sources()
    kind = known.get(name)
    if kind is None or kind.takes is not None:
        kind = next((kind for kind in known.values() if kind.takes is not None and kind.takes(name)), None)
    if kind is None:
        names = [name for name, kind in known.items() if kind.takes is None]
        if os.path.isfile(name):
            raise UserError(
                f"SOURCE {name} is a file, and neither an archive nor a table: give the folder that holds the pictures"
            )
        raise UserError(
            f"SOURCE {name} is neither a folder, an archive, a table nor a named set ({', '.join(names)}){near(name, names)}:"
            " check the spelling"
        )
    given = {option: value for option, value in options.items() if value is not None}
    for option in [*given, *(["margin"] if margin is not None and not kind.boxes else [])]:
        if option not in kind.options:
            raise UserError(f"--{option.replace('_', '-')} does not apply to {name}: leave it out")
    if crop == "box" and not kind.boxes:
        raise UserError(f"--crop box does not apply to {name}, which has no boxes: use center or none")
    form = replace(
        form,
        channels=channels or (1 if kind.grey else 3),
        crop=crop or ("box" if kind.boxes else "center"),
        margin=kind.margin if margin is None else margin,
    )
    return kind.make(*([name] if kind.takes else []), form, **given)
