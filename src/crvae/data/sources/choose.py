"""From what a user names to the source that it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from crvae.data.images import Crop, Form
from crvae.data.source import Source
from crvae.data.sources import archive, avatars, birds, celeba, digits, emoji, folder, hub, lsun, tree
from crvae.errors import UserError


@dataclass(frozen=True)
class Options:
    """What only some sources understand; None where it was not given."""

    root: Path | None = None
    cub: Path | None = None
    nabirds: Path | None = None
    birdsnap: Path | None = None
    vendors: str | None = None
    style: str | None = None
    count: int | None = None
    labels: str | None = None
    channels: int | None = None
    crop: Crop | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Named:
    """A source with a name of its own."""

    make: Callable[[Form, Options], Source]
    understands: frozenset[str]
    grey: bool = False
    boxes: bool = False
    margin: float = 0.0


def _emoji(form: Form, options: Options) -> Source:
    vendors = tuple(dict.fromkeys(name.strip() for name in (options.vendors or "").split(",") if name.strip()))
    return emoji.emoji(form, root=options.root, vendors=vendors or tuple(emoji.VENDORS))


def _avatars(form: Form, options: Options) -> Source:
    given = {"style": options.style, "count": options.count}
    return avatars.avatars(
        form, root=options.root, **{name: value for name, value in given.items() if value is not None}
    )


def _birds(form: Form, options: Options) -> Source:
    return birds.birds(form, cub=options.cub, nabirds=options.nabirds, birdsnap=options.birdsnap)


_ROOT = frozenset({"root"})

NAMED = {
    "avatars": Named(_avatars, _ROOT | {"style", "count"}),
    "emoji": Named(_emoji, _ROOT | {"vendors"}),
    "mnist": Named(lambda form, options: digits.mnist(form, options.root), _ROOT, grey=True),
    "fashion-mnist": Named(lambda form, options: digits.fashion_mnist(form, options.root), _ROOT, grey=True),
    "binarised-mnist": Named(lambda form, options: digits.binarised_mnist(form, options.root), _ROOT, grey=True),
    "birds": Named(_birds, frozenset({"cub", "nabirds", "birdsnap", "margin"}), boxes=True, margin=0.25),
    "celeba": Named(lambda form, options: celeba.celeba(form, options.root), _ROOT | {"margin"}, boxes=True),
    "lsun-bedroom": Named(lambda form, options: lsun.lsun(form, options.root), _ROOT),
}
"""The margin of birds makes the square 1.5 times as wide as the box, as StackGAN's Birds are cropped."""


def choose(name: str, form: Form, options: Options) -> Source:
    """The source that `name` means. Raises UserError where there is none, or for an option that it does not understand."""
    named = NAMED.get(name)
    kind = named or Named(lambda form, options: _unnamed(name, form, options), frozenset({"labels"}))
    for option in ("root", "cub", "nabirds", "birdsnap", "vendors", "style", "count", "labels", "margin"):
        if getattr(options, option) is not None and option not in kind.understands:
            raise UserError(f"--{option} means nothing for {name}: leave it out")
    if options.crop == "box" and not kind.boxes:
        raise UserError(f"--crop box means nothing for {name}, which has no boxes: use center or none")
    form = replace(
        form,
        channels=options.channels or (1 if kind.grey else 3),
        crop=options.crop or ("box" if kind.boxes else "center"),
        margin=kind.margin if options.margin is None else options.margin,
    )
    return kind.make(form, options)


def _unnamed(name: str, form: Form, options: Options) -> Source:
    """A hub dataset, an archive, local tables, or a folder."""
    if name.startswith("hub:"):
        return hub.hub(name.removeprefix("hub:"), form, options.labels)
    path = Path(name)
    if path.is_file():
        if path.name.lower().endswith(archive.ENDINGS):
            return archive.archive(path, form, options.labels)
        tables = hub.local_tables(path, form, options.labels)
        if tables is None:
            raise UserError(f"SOURCE {name} is a file, but no .zip, .tar, .tar.gz, .parquet or .arrow: give a folder")
        return tables
    if path.is_dir() and not any(tree.is_image(file) for file in folder.files_below(path)):
        tables = hub.local_tables(path, form, options.labels)
        if tables is not None:
            return tables
    return folder.folder(path, form, options.labels)
