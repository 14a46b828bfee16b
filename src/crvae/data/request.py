"""One call from the name of a source to prepared data: what the command `crvae prepare` and `crvae.prepare` do."""

from __future__ import annotations

import os
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from crvae.data.card import Card
from crvae.data.images import PIXELS, Crop, Form, Resample, Square, pixels
from crvae.data.preparation import must_not_exist, write_prepared
from crvae.data.registry import named
from crvae.errors import UserError, check_word
from crvae.progress import Progress, progress, silent

if TYPE_CHECKING:
    from crvae.data.prepared import PreparedData

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

LIMITS: dict[str, tuple[float, float]] = {
    "size": (8, 512),
    "pair": (9, 1024),
    "workers": (1, 256),
    "margin": (0, 2),
}
"""Option -> least and most."""

WORDS: dict[str, tuple[str, ...]] = {"crop": get_args(Crop), "square": get_args(Square), "resample": get_args(Resample)}
"""Option -> its words."""

WHOLE = ("size", "pair", "workers")
"""Options that are whole numbers."""

MAY_BE_NONE = ("pair", "margin", "crop")
"""Options that may be None."""


def prepare_source(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: int = 64,
    pair: int | None = None,
    channels: Literal[1, 3] | None = None,
    crop: Crop | None = None,
    margin: float | None = None,
    square: Square = "longer",
    resample: Resample = "bicubic",
    pixel_limit: float = PIXELS / 1e6,
    workers: int = CORES,
    progress: Progress = silent,
    **options: Any,
) -> Card:
    """Prepares `source` (a path or a name) into the new folder `out`, and returns its card.

    `options` are the source's own, by name; `crvae prepare --help` documents all of them.
    Raises UserError if one of them is wrong.
    """
    given = {"size": size, "pair": pair, "workers": workers, "margin": margin}
    given = {name: _number(name, value) for name, value in given.items()}
    for name, (least, most) in LIMITS.items():
        least = given["size"] + 1 if name == "pair" else least
        value = given[name]
        if value is not None and not least <= value <= most:
            raise UserError(f"--{name} must lie between {least} and {most}, got {value}")
    size, pair, workers, margin = given.values()
    pixel_limit = _number("pixel-limit", pixel_limit)
    channels = _channels(channels)
    for name, value in {"crop": crop, "square": square, "resample": resample}.items():
        if not (value is None and name in MAY_BE_NONE):
            check_word(f"--{name}", value, WORDS[name])
    if source == "":
        raise UserError("SOURCE is empty: give a folder, an archive, a table or the name of a set")
    for name, value in options.items():
        if value == "":
            raise UserError(f"--{name.replace('_', '-')} is empty: give it a value, or leave it out")
    target = Path(out).expanduser()
    must_not_exist(target)
    sizes = (size,) if pair is None else (size, pair)
    form = Form(sizes=sizes, square=square, resample=resample, pixel_limit=pixels(pixel_limit))
    options = {name: value.expanduser() if isinstance(value, Path) else value for name, value in options.items()}
    found = named(os.path.expanduser(source), form, options, channels=channels, crop=crop, margin=margin)
    done = 0

    def report(items: int) -> None:
        nonlocal done
        done += items
        progress(f"preparing {found.name}", done, found.count)

    return write_prepared(found, target, workers=workers, report=report)


def _number(name: str, value: object) -> Any:
    """The value of an option as Python's own number. Raises UserError if it is of another kind."""
    if value is None and name in MAY_BE_NONE:
        return None
    if name in WHOLE and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if name not in WHOLE and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise UserError(f"--{name} must be {'a whole number' if name in WHOLE else 'a number'}, got {value!r}")


def _channels(value: object) -> Literal[1, 3] | None:
    """Raises UserError if the channels are neither 1, 3 nor None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) not in (1, 3):
        raise UserError(f"--channels must be 1 or 3, got {value!r}")
    return 1 if int(value) == 1 else 3


def prepare(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: int = 64,
    pair: int | None = None,
    channels: Literal[1, 3] | None = None,
    crop: Crop | None = None,
    workers: int = 1,
    **options: Any,
) -> PreparedData:
    """Prepares `source` (a folder, an archive, a table, or the name of a set) into the new folder `out`, and opens it.

    `size`: height and width of the images, in pixels. `pair`: height and width of a second, larger image of each row,
    for Stage2. `channels`: 1 for grey, 3 for colour. `crop`: "center", "box" or "none". `workers`: processes; in a script,
    more than one needs `if __name__ == "__main__":` around the call. The other options are those of `crvae prepare --help`,
    with an underscore for each hyphen. Shows a bar. A call that was interrupted continues when it is repeated.

    Raises UserError if `out` exists, the source cannot be read, or an option is wrong.

    >>> data = crvae.prepare("photos", "data/photos", size=64)
    >>> images = data.split("validation")[:16]       # b c h w in [-1, 1]
    """
    from crvae.data.prepared import open_data

    with progress() as advance:
        prepare_source(
            source,
            out,
            size=size,
            pair=pair,
            channels=channels,
            crop=crop,
            workers=workers,
            progress=advance,
            **options,
        )
    return open_data(os.path.expanduser(out))
