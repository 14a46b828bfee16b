"""Draws the sheet of avatars: the first faces of each style, a row a style.

    python docs/data/draw_styles.py OUT.png

Needs Node.js and npm; each style is drawn as `crvae prepare avatars` draws it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from crvae.data.images import Form, scale
from crvae.data.sources.avatars import STYLES, avatars

FACES, SIDE = 8, 64


def main(out: Path) -> None:
    form = Form(sizes=(SIDE,))
    sheet = Image.new("RGB", (FACES * SIDE, len(STYLES) * SIDE))
    for row, style in enumerate(STYLES):
        source = avatars(form, style=style, count=12)
        faces = sorted(source.items(), key=lambda item: int(item.key))
        for column, item in enumerate(faces[:FACES]):
            sheet.paste(scale(source.open(item), form)[0], (column * SIDE, row * SIDE))
    sheet.quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
