"""Pictures as HTML that fits every width: a sheet of samples, a film of time steps, a table of facts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image


@dataclass(frozen=True)
class FilmFrame:
    """One picture of a film and the lines below it; without a picture, the place where it will be."""

    picture: Image.Image | None
    title: str
    lines: tuple[str, ...] = ()


def address_of(picture: Image.Image) -> str:
    """The picture as a data: address, PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def sheet(title: str, pictures: Sequence[Image.Image], captions: Sequence[str] = (), wide: int = 4) -> str:
    """Pictures under a title, `wide` in a row, fewer on a phone; a click on one saves it."""
    name, cells = escape(title, quote=True), ""
    for place, picture in enumerate(pictures):
        what = f"{name}, {place + 1}"
        address = address_of(picture)
        cells += f'<a href="{address}" download="{what}.png" title="Save this image"><img src="{address}" alt="{what}">'
        cells += f"<span>{escape(captions[place])}</span></a>" if captions else "</a>"
    size = f"--wide: {min(len(pictures), wide)}; --narrow: {min(len(pictures), 4)}"
    return f'<section class="sheet" aria-label="{name}"><h3>{name}</h3><div class="cells" style="{size}">{cells}</div></section>'


def film(title: str, frames: Sequence[FilmFrame]) -> str:
    """Frames in one row that fills from left to right; it scrolls inside itself where it is wider than the page."""
    name = escape(title, quote=True)
    return f'<section class="film" aria-label="{name}"><h3>{name}</h3><ol tabindex="0">{"".join(map(_item, frames))}</ol></section>'


def _item(frame: FilmFrame) -> str:
    title = escape(frame.title, quote=True)
    shown = f'<img src="{address_of(frame.picture)}" alt="{title}">' if frame.picture else '<div class="empty"></div>'
    lines = "".join(f"<span>{escape(line)}</span>" for line in frame.lines)
    return f"<li>{shown}<b>{title}</b>{lines}</li>"


def facts(columns: Mapping[str, Mapping[str, str]]) -> str:
    """A table: a column for each name, a row for each fact."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    body = "".join(
        f'<tr><th scope="row">{escape(row)}</th>'
        + "".join(f"<td>{escape(column.get(row, ''))}</td>" for column in columns.values())
        + "</tr>"
        for row in rows
    )
    return f'<div class="facts"><table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>'
