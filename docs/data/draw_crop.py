"""Draws `crop.png`: how a bounding box becomes a square, by the code that `crvae prepare birds` runs.

    python docs/data/draw_crop.py DATA

DATA: emoji prepared with `--pair 128`; its first bird stands for a photograph.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from crvae.data import open_data
from crvae.data.images import Form, region, scale

BOX = (130.0, 60.0, 258.0, 148.0)
CHOICES = (
    ("margin 0.25, longer side (default)", 0.25, "longer"),
    ("margin 0", 0.0, "longer"),
    ("margin 0, shorter side", 0.0, "shorter"),
)

split = open_data(sys.argv[1]).split("train")
bird = next(i for i, key in enumerate(split.keys(range(len(split)))) if key.endswith(("/eagle", "/parrot")))
drawing = Image.fromarray(split.images([bird], size=128)[0].permute(1, 2, 0).numpy()).resize((128, 88))
photograph = Image.new("RGB", (330, 220), "white")
photograph.paste(drawing, (130, 60))
sheet = Image.new("RGB", (330 + 3 * 150, 220), "white")
framed = photograph.copy()
draw = ImageDraw.Draw(framed)
draw.rectangle(BOX, outline="black", width=2)
for (text, margin, square), colour, x in zip(CHOICES, ("red", "green", "blue"), (340, 490, 640), strict=True):
    form = Form(sizes=(128,), crop="box", margin=margin, square=square)  # type: ignore[arg-type]
    draw.rectangle(region(photograph.size, form, BOX), outline=colour, width=2)
    sheet.paste(scale(photograph, form, BOX)[0], (x, 46))
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((x - 2, 44, x + 129, 175), outline=colour, width=2)
    pen.text((x, 180), text.replace(", ", "\n", 1), fill=colour)
sheet.paste(framed, (0, 0))
sheet.save(Path(__file__).with_name("crop.png"), optimize=True)
