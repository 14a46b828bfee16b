"""What is in prepared data, for a person: a table, and a contact sheet by split and class."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from crvae.counting import counted
from crvae.data.accounts import describe
from crvae.data.card import Card
from crvae.data.prepared import PreparedData, Split
from crvae.pictures import lettered

COLUMNS = 16
"""Images of a row of the sheet."""

_UNLABELLED = "(none)"
"""What stands in the place of a class that an image has not."""

_CLASSES = 24
"""Classes of a split that get a row of their own."""

_LABEL = 200
"""Width of the text beside a row, in pixels."""


def table(card: Card) -> Group:
    """Counts by split, then by class of every label column with at most 60 classes, then what was skipped."""
    size = " and ".join(f"{size}x{size}" for size in card.sizes)
    head = f"{card.name}: {size} pixels, {'grey' if card.channels == 1 else 'colour'}; " + ", ".join(
        f"{split.count:,} {name}" for name, split in card.splits.items()
    )
    parts: list[object] = [head]
    for column, names in card.columns.items():
        if len(names) > 60:
            parts.append(f"{column}: {len(names):,} classes")
            continue
        counts = Table(escape(column), *card.splits)
        for i, name in enumerate(names):
            counts.add_row(Text(name), *(f"{split.classes[column][i]:,}" for split in card.splits.values()))
        rest = [split.count - sum(split.classes[column]) for split in card.splits.values()]
        if any(rest):
            counts.add_row(Text(_UNLABELLED), *(f"{count:,}" for count in rest))
        parts.append(counts)
    repeated = card.duplicates
    parts.append(f"{repeated.images:,} repeat an earlier image, {repeated.across_splits:,} of them across splits")
    parts.append(f"{counted(len(card.skipped), 'file')} skipped")
    parts += [f"  {skipped.file} {skipped.reason}" for skipped in card.skipped[:20]]
    parts += describe(card.not_looked_at)
    parts += [f"note: {note}" for note in card.notes]
    parts.append(f"fingerprint {card.fingerprint}")
    return Group(*(part if isinstance(part, Table) else Text(str(part)) for part in parts))


def contact_sheet(data: PreparedData) -> Image.Image:
    """Rows of images, one for each split and class (of the first label column with few enough classes)."""
    rows: list[tuple[str, Split, np.ndarray]] = []
    for name in data.card.splits:
        split = data.split(name)
        column = next((c for c, names in data.card.columns.items() if len(names) <= _CLASSES), None)
        if column is None:
            rows += [(name if i == 0 else "", split, part) for i, part in enumerate(_first(len(split)))]
            continue
        # A large split is not read to its end for a picture: its first shards show enough of every class.
        labels = split.labels(range(min(len(split), 20_000)), column).numpy()
        for i, label in [*enumerate(split.classes(column)), (-1, _UNLABELLED)]:
            chosen = np.flatnonzero(labels == i)[:COLUMNS]
            if len(chosen):
                rows.append((f"{name}: {label}", split, chosen))
    side = data.card.sizes[-1] if data.card.sizes[-1] <= 128 else data.card.size
    sheet = Image.new("RGB", (_LABEL + COLUMNS * (side + 2), len(rows) * (side + 2)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (text, split, chosen) in enumerate(rows):
        draw.text((4, y * (side + 2) + side // 2 - 5), lettered(text[:32]), fill="black")
        images = split.images(chosen, size=side).permute(0, 2, 3, 1).numpy()
        for x, image in enumerate(images):
            picture = Image.fromarray(image.squeeze(-1) if data.card.channels == 1 else image)
            sheet.paste(picture, (_LABEL + x * (side + 2), y * (side + 2)))
    return sheet


def _first(count: int) -> list[np.ndarray]:
    shown = np.arange(min(count, 4 * COLUMNS))
    return [shown[i : i + COLUMNS] for i in range(0, len(shown), COLUMNS)]
