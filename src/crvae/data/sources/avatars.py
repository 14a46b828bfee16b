"""Faces by named artists, drawn by Node.js from numbered seeds, with every attribute of every face known."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, ImageChops

from crvae.data.images import Form
from crvae.data.registry import source
from crvae.data.source import Item, Source
from crvae.data.sources.drawing import render
from crvae.data.sources.npm import install, version
from crvae.data.sources.scratch import no_room, scratch
from crvae.errors import UserError, near

VERSION = "9.4.3"
"""Of @dicebear/core and @dicebear/collection: another one may draw other faces from the same seeds."""

GROUND = "d1d4f9"
"""The colour behind every face, hexadecimal: a pale lavender that no style wears, so that white shirts and beards show."""

ABSENT = "none"
"""The value of an attribute whose part a face does not show."""

NAMES = {"top": "hair", "facialHair": "beard", "clothing": "clothes", "clothingGraphic": "graphic", "baseColor": "skin"}
NAMES |= {"skinColor": "skin", "facialHairColor": "beard_color", "earringColor": "earrings_color", "shirt": "clothes"}
NAMES |= {"shirtColor": "clothes_color", "clothingColor": "clothes_color", "rearHair": "rear_hair", "body": "clothes"}
"""What the package calls a part or colour -> the attribute; others keep their name, in lower case with underscores."""


@dataclass(frozen=True)
class Style:
    """One artist's set of parts."""

    designer: str
    licence: str
    names: dict[str, str] = field(default_factory=dict)
    """Attributes that this style alone names otherwise."""
    hides: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(part or colour, its value) -> parts that lie wholly under it, or have its colour: measured in the pixels."""
    parts: dict[str, tuple[str, float, float]] = field(
        default_factory=lambda: {"eyes": ("eyes", 0.0, 1.0), "mouth": ("mouth", 0.0, 1.0)}
    )
    """Eyes and mouth: the part that draws them, and from where to where in its height, as shares of it."""


_CC_BY, _CC0 = "CC BY 4.0", "CC0 1.0"
STYLES = {
    "avataaars": Style(
        "Pablo Stanley",
        "free for personal and commercial use",
        {"accessories": "glasses", "accessoriesColor": "glasses_color"},
        {
            ("accessories", "kurt"): ("eyes",),
            ("clothesColor", "ffffff"): ("clothingGraphic",),
            ("top", "hijab"): ("clothingGraphic",),
        },
    ),
    "adventurer": Style("Lisa Wischofsky", _CC_BY, hides={("glasses", "variant01"): ("eyes",)}),
    "micah": Style("Micah Lanier", _CC_BY),
    "open-peeps": Style(
        "Pablo Stanley",
        _CC0,
        {"head": "hair", "accessories": "glasses", "headContrastColor": "hair_color"},
        parts={"eyes": ("face", 0.0, 0.48), "mouth": ("face", 0.57, 1.0)},
    ),
    "personas": Style("Draftbit", _CC_BY, hides={("facialHair", "beardMustache"): ("mouth",)}),
    "lorelei": Style("Lisa Wischofsky", _CC0, hides={("glasses", "variant02"): ("eyes",)}),
    "big-smile": Style(
        "Ashley Seo",
        _CC_BY,
        hides={("accessories", "sleepMask"): ("eyes",), ("accessories", "faceMask"): ("mouth",)},
    ),
    "toon-head": Style("Johan Melin", _CC_BY),
}


@dataclass(frozen=True, kw_only=True)
class Avatars(Source):
    """Drawn faces; every attribute is a label column."""

    style: str
    drawings: Path
    """Where the SVG documents lie, one after the other, while they are prepared."""
    faces: tuple[Item, ...] = field(repr=False)

    @property
    def count(self) -> int:
        return len(self.faces)

    @property
    def description(self) -> dict[str, object]:
        packages = {f"@dicebear/{name}": VERSION for name in ("core", self.style)}
        seeds = len(self.faces) + self.left_out
        return {"kind": "avatars", "style": self.style, "packages": packages, "seeds": seeds, "ground": f"#{GROUND}"}

    def items(self) -> Iterator[Item]:
        return iter(self.faces)

    def open(self, item: Item) -> Image.Image:
        first, length = item.at  # type: ignore[misc]
        with self.drawings.open("rb") as file:
            file.seek(first)
            return render(file.read(length).decode(), self.form, f"#{GROUND}")


@source("avatars")
def avatars(
    form: Form,
    *,
    root: Annotated[Path | None, "a folder with the npm packages; fetched without it"] = None,
    style: Annotated[str | None, "whose drawings: avataaars by default, or " + ", ".join(list(STYLES)[1:])] = None,
    count: Annotated[int | None, "how many faces to draw, 12000 by default"] = None,
) -> Avatars:
    """Draws the faces of seeds 0..count - 1, with packages from `root` or fetched by npm.

    Raises UserError for an unknown style, without Node.js or npm, or where drawing fails.
    """
    style, count = style or "avataaars", 12_000 if count is None else count
    if style not in STYLES:
        raise UserError(f"--style knows {', '.join(STYLES)}, not {style!r}{near(style, STYLES)}")
    if not 12 <= count <= 1_000_000:
        raise UserError(f"--count must lie between 12 and 1000000, got {count}")
    place = scratch() / "drawings"
    faces, shown, repeated, layers = [], [], [], {}
    seen: dict[bytes, int] = {}
    with place.open("wb") as drawings:
        for line in _draw(style, count, root):
            if "part" in line:
                layers.setdefault(line["part"], []).append((line["with"], line["without"]))
                continue
            svg = line["svg"].encode()
            if seen.setdefault(hashlib.sha256(svg).digest(), line["seed"]) != line["seed"]:
                repeated.append(line["seed"])
                continue
            faces.append((line["seed"], (drawings.tell(), len(svg))))
            shown.append(_seen(style, line["shown"]))
            try:
                drawings.write(svg)
            except OSError as error:
                raise no_room(error) from None
    columns = _columns(shown)
    index = {name: {value: i for i, value in enumerate(values)} for name, values in columns.items()}
    items = [
        Item(str(seed), at, split_of(seed), {name: index[name][own.get(name, ABSENT)] for name in columns})
        for (seed, at), own in zip(faces, shown, strict=True)
    ]
    items.sort(key=lambda item: hashlib.sha256(f"order of {item.key}".encode()).digest())
    first = ", ".join(map(str, repeated[:10])) + ", …" * (len(repeated) > 10)
    note = f"{len(repeated)} seeds drew a face that a smaller one had drawn, and are left out: {first}"
    return Avatars(
        name="avatars" if style == "avataaars" else f"avatars-{style}",
        form=form,
        columns=columns,
        notes=(note,) * bool(repeated),
        licences={style: f"{STYLES[style].licence}, {STYLES[style].designer}", "@dicebear/core": "MIT, Florian Körner"},
        left_out=len(repeated),
        boxes=_boxes(style, layers),
        style=style,
        drawings=place,
        faces=tuple(items),
    )


def _seen(style: str, drawn: dict[str, str]) -> dict[str, str]:
    """Attribute -> value, of what is drawn and not wholly hidden."""
    hidden = {part for cover, parts in STYLES[style].hides.items() if drawn.get(cover[0]) == cover[1] for part in parts}
    return {attribute_of(style, name): value for name, value in drawn.items() if name not in hidden}


def attribute_of(style: str, name: str) -> str:
    """The attribute that an option of the package sets: `facialHairColor` -> `beard_color`."""
    name = STYLES[style].names.get(name) or NAMES.get(name, name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def split_of(seed: int) -> str:
    """Of every six consecutive seeds, the one with the smallest SHA-256 validates, however many are drawn."""
    six = seed - seed % 6
    return "validation" if seed == min(range(six, six + 6), key=_hash) else "train"


def _hash(seed: int) -> bytes:
    return hashlib.sha256(str(seed).encode()).digest()


def _columns(shown: list[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """The attributes that vary, each with its values; what some faces lack has the value `none`, first."""
    columns = {}
    for name in sorted({name for own in shown for name in own}):
        values = {own.get(name, ABSENT) for own in shown}
        if len(values) > 1:
            columns[name] = (*(ABSENT,) * (ABSENT in values), *sorted(values - {ABSENT}))
    return columns


def _draw(style: str, count: int, root: Path | None) -> Iterator[dict]:
    """What avatars.mjs says, line by line."""
    node = shutil.which("node")
    if node is None:
        raise UserError(
            "avatars are drawn by Node.js, which is missing: install it with its npm (nodejs.org, or your system's package)"
        )
    core = install([f"@dicebear/core@{VERSION}", f"@dicebear/collection@{VERSION}"], root)[0]
    folder = core.parent / style
    if version(folder) != VERSION:
        raise UserError(f"{folder} is not @dicebear/{style} {VERSION}: install @dicebear/collection@{VERSION} again")
    script = Path(__file__).with_suffix(".mjs")
    parts = ",".join(dict.fromkeys(part for part, _, _ in STYLES[style].parts.values()))
    command = [node, str(script), str(core), str(folder), str(count), GROUND, parts]
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            yield from map(json.loads, process.stdout)
        if process.returncode:
            errors.seek(0)
            said = [line for line in errors.read().decode(errors="replace").splitlines() if "Error" in line] or [
                "no message"
            ]
            raise UserError(
                f"Node.js could not draw the avatars ({said[0][:200]}): install @dicebear/core@{VERSION} again"
            )


def _boxes(style: str, layers: dict[str, list[tuple[str, str]]]) -> dict[str, tuple[float, float, float, float]]:
    """Where eyes and mouth lie in any of their forms, measured: top, left, bottom, right, as fractions of the image."""
    return {name: _extent(layers[part], *share) for name, (part, *share) in STYLES[style].parts.items()}


def _extent(pairs: list[tuple[str, str]], upper: float, lower: float) -> tuple[float, float, float, float]:
    """The smallest rectangle around all pixels in which the first drawing of a pair differs from the second.

    Of it, what lies between the shares `upper` and `lower` of its height.
    """
    form, touched = Form(sizes=(64,)), np.zeros((256, 256), dtype=bool)
    for both in pairs:
        drawn, bare = (render(svg, form, f"#{GROUND}") for svg in both)
        touched |= np.asarray(ImageChops.difference(drawn, bare)).max(-1) > 16
    rows = np.flatnonzero(touched.any(1))
    first, height = rows[0], rows[-1] + 1 - rows[0]
    touched[: first + round(upper * height)] = touched[first + round(lower * height) :] = False
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    edges = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    top, left, bottom, right = (round(float(edge) / 256, 4) for edge in edges)
    return top, left, bottom, right
