"""Emoji of three vendors, rendered from the SVG drawings of npm's Iconify packages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from PIL import Image

from crvae.data.images import Form
from crvae.data.registry import source
from crvae.data.source import Item, Source
from crvae.data.sources.drawing import render
from crvae.data.sources.npm import install, version
from crvae.errors import UserError

VENDORS = {
    "noto": "Apache-2.0, Google",
    "twemoji": "CC-BY-4.0, Twitter and contributors",
    "fluent-emoji-flat": "MIT, Microsoft",
}
"""Vendor -> licence and author."""

SKIN_TONES = frozenset(f"1f3f{digit}" for digit in "bcdef")

_MAN, _WOMAN, _PERSON = "1f468", "1f469", "1f9d1"
_DROPPED = frozenset(("fe0f", "200d", "2640", "2642"))


def concept(code_points: str) -> str:
    """What a drawing shows, whoever drew it and of whichever gender: code points without selectors, joiners and gender.

    Splits go by it: the same motif by another vendor on the other side would leak.
    """
    parts = [part for part in code_points.lower().split("-") if part not in _DROPPED]
    return "-".join(_PERSON if part in (_MAN, _WOMAN) else part for part in parts)


def split_of(key: str) -> str:
    """`validation` for a tenth of all concepts."""
    return "validation" if int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10 == 0 else "train"


@dataclass(frozen=True, kw_only=True)
class Emoji(Source):
    """Base emoji (no skin tones) that have a code point and a category; the category is the label."""

    folders: dict[str, Path]
    drawings: tuple[Item, ...] = field(repr=False)

    @property
    def description(self) -> dict[str, object]:
        versions = {vendor: version(folder) for vendor, folder in self.folders.items()}
        return {"kind": "emoji", "packages": versions, "split": "by concept"}

    @property
    def count(self) -> int:
        return len(self.drawings)

    def items(self) -> Iterator[Item]:
        return iter(self.drawings)

    def open(self, item: Item) -> Image.Image:
        vendor, name = item.key.split("/", 1)
        return render(_svg(self.folders[vendor], name), self.form, "#ffffff")


@lru_cache(maxsize=len(VENDORS))
def _icons(folder: Path) -> dict[str, Any]:
    return _json(folder / "icons.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: --root must hold npm's @iconify-json packages") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): install the package again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: install the package again")
    return content


def _svg(folder: Path, name: str) -> str:
    """The drawing as a square SVG document."""
    pack = _icons(folder)
    icon = pack["icons"][name]
    left, top = icon.get("left", pack.get("left", 0)), icon.get("top", pack.get("top", 0))
    width, height = icon.get("width", pack.get("width", 16)), icon.get("height", pack.get("height", 16))
    side = max(width, height)
    box = f"{left - (side - width) / 2:g} {top - (side - height) / 2:g} {side:g} {side:g}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}">{icon["body"]}</svg>'


@source("emoji")
def emoji(
    form: Form,
    *,
    root: Annotated[Path | None, "a folder with the npm packages; fetched without it"] = None,
    vendors: Annotated[
        str | None, "whose drawings, separated by commas; all of " + ",".join(VENDORS) + " by default"
    ] = None,
) -> Emoji:
    """Finds the drawings under `root` (installed packages), or installs them with npm into the cache.

    Raises UserError for an unknown vendor, without npm, or if a package's file is missing.
    """
    given = [name.strip() for name in (vendors or "").split(",") if name.strip()]
    chosen = tuple(dict.fromkeys(given)) or tuple(VENDORS)
    for vendor in chosen:
        if vendor not in VENDORS:
            raise UserError(f"--vendors knows {', '.join(VENDORS)}, not {vendor!r}")
    packages = [f"@iconify-json/{vendor}" for vendor in chosen]
    folders = dict(zip(chosen, install(packages, root), strict=True))
    tables = {
        vendor: (_json(folder / "metadata.json"), _json(folder / "chars.json")) for vendor, folder in folders.items()
    }
    categories = tuple(sorted({name for metadata, _ in tables.values() for name in metadata.get("categories", {})}))
    drawings: list[Item] = []
    for vendor, (metadata, chars) in tables.items():
        label = {icon: i for i, name in enumerate(categories) for icon in metadata["categories"].get(name, ())}
        icons = _icons(folders[vendor])["icons"]
        for code_points, icon in chars.items():
            if icon in label and icon in icons and not SKIN_TONES & set(code_points.lower().split("-")):
                labels = {"label": label[icon], "vendor": chosen.index(vendor)}
                drawings.append(Item(f"{vendor}/{icon}", None, split_of(concept(code_points)), labels))
    drawings.sort(key=lambda item: hashlib.sha256(item.key.encode()).digest())
    return Emoji(
        name="emoji",
        folders=folders,
        form=form,
        columns={"label": categories, "vendor": chosen},
        licences={vendor: VENDORS[vendor] for vendor in chosen},
        drawings=tuple(drawings),
    )
