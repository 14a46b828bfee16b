"""Faces by named artists, drawn by Node.js from numbered seeds, with every attribute of every face known."""

from __future__ import annotations

import atexit
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from crvae.data.images import Form
from crvae.data.source import UNKNOWN, Item
from crvae.data.sources.drawing import render
from crvae.data.sources.npm import install, version
from crvae.errors import UserError

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
    ),
    "adventurer": Style("Lisa Wischofsky", _CC_BY),
    "micah": Style("Micah Lanier", _CC_BY),
    "open-peeps": Style(
        "Pablo Stanley",
        _CC0,
        {"head": "hair", "accessories": "glasses", "headContrastColor": "hair_color"},
        {"eyes": ("face", 0.0, 0.48), "mouth": ("face", 0.57, 1.0)},
    ),
    "personas": Style("Draftbit", _CC_BY),
    "lorelei": Style("Lisa Wischofsky", _CC0),
    "big-smile": Style("Ashley Seo", _CC_BY),
    "toon-head": Style("Johan Melin", _CC_BY),
}


@dataclass(frozen=True)
class Avatars:
    """Drawn faces; every attribute is a label column."""

    style: str
    form: Form
    columns: dict[str, tuple[str, ...]]
    boxes: dict[str, tuple[float, float, float, float]]
    drawings: Path
    """Where the SVG documents lie, one after the other, while they are prepared."""
    faces: tuple[Item, ...] = field(repr=False)
    repeated: tuple[int, ...] = ()
    """Seeds whose face another seed had drawn."""

    @property
    def name(self) -> str:
        return "avatars" if self.style == "avataaars" else f"avatars-{self.style}"

    @property
    def count(self) -> int:
        return len(self.faces)

    @property
    def description(self) -> dict[str, object]:
        packages = {f"@dicebear/{name}": VERSION for name in ("core", self.style)}
        seeds = len(self.faces) + len(self.repeated)
        return {"kind": "avatars", "style": self.style, "packages": packages, "seeds": seeds, "ground": f"#{GROUND}"}

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.repeated:
            return ()
        first = ", ".join(map(str, self.repeated[:10])) + ", …" * (len(self.repeated) > 10)
        return (f"{len(self.repeated)} seeds drew a face that a smaller one had drawn, and are left out: {first}",)

    @property
    def licences(self) -> dict[str, str]:
        style = STYLES[self.style]
        return {self.style: f"{style.licence}, {style.designer}", "@dicebear/core": "MIT, Florian Körner"}

    def items(self) -> Iterator[Item]:
        return iter(self.faces)

    def open(self, item: Item) -> Image.Image:
        first, length = item.at  # type: ignore[misc]
        with self.drawings.open("rb") as file:
            file.seek(first)
            return render(file.read(length).decode(), self.form, f"#{GROUND}")


def avatars(form: Form, *, root: Path | None = None, style: str = "avataaars", count: int = 12_000) -> Avatars:
    """Draws the faces of seeds 0..count - 1, with packages from `root` or fetched by npm.

    Raises UserError for an unknown style, without Node.js or npm, or where drawing fails.
    """
    if style not in STYLES:
        raise UserError(f"--style knows {', '.join(STYLES)}, not {style!r}")
    if not 12 <= count <= 1_000_000:
        raise UserError(f"--count must lie between 12 and 1000000, got {count}")
    folder = Path(tempfile.mkdtemp(prefix="crvae-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    faces, shown, repeated, layers = [], [], [], {}
    seen: dict[bytes, int] = {}
    with (folder / "drawings").open("wb") as drawings:
        for line in _draw(style, count, root):
            if "part" in line:
                layers.setdefault(line["part"], []).append((line["with"], line["without"]))
                continue
            svg = line["svg"].encode()
            if seen.setdefault(hashlib.sha256(svg).digest(), line["seed"]) != line["seed"]:
                repeated.append(line["seed"])
                continue
            faces.append((line["seed"], (drawings.tell(), len(svg))))
            shown.append({attribute_of(style, name): value for name, value in line["shown"].items()})
            drawings.write(svg)
    columns = _columns(shown)
    index = {name: {value: i for i, value in enumerate(values)} for name, values in columns.items()}
    items = [
        Item(str(seed), at, split_of(seed), {name: index[name].get(own.get(name, ABSENT), UNKNOWN) for name in columns})
        for (seed, at), own in zip(faces, shown, strict=True)
    ]
    items.sort(key=lambda item: _hash(int(item.key)))
    return Avatars(style, form, columns, _boxes(style, layers), folder / "drawings", tuple(items), tuple(repeated))


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
