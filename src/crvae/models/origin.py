"""Where a loaded model comes from, and how a notebook shows it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from crvae.pictures import encoded, show

if TYPE_CHECKING:
    from crvae.models.model import Model

SHOWN = 8
"""Samples in the row that a notebook shows."""


@dataclass(frozen=True)
class Origin:
    """What a model was loaded from."""

    name: str
    """A run, a folder, a built-in name, or hub:OWNER/NAME."""
    recipe: str
    images: int
    """Images seen in training."""


def as_html(model: Model, kind: str, facts: dict[str, str]) -> str:
    """A table of what `model` is, and a row of its samples, seed 0, if it is in evaluation mode (samples then change nothing)."""
    origin = model.origin
    known = {"recipe": origin.recipe, "trained on": f"{origin.images:,} images"} if origin else {}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    rows = known | facts | {"prior": model.prior.title, "parameters": f"{parameters:,}"}
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    title = f"{kind} <b>{escape(origin.name)}</b>" if origin else kind
    return f"<div>{title}<table>{cells}</table>{'' if model.training else _samples(model)}</div>"


def _samples(model: Model) -> str:
    picture = base64.b64encode(encoded(show(model.sample(SHOWN), columns=SHOWN), ".png")).decode()
    return f'<img alt="{SHOWN} samples, seed 0" title="{SHOWN} samples, seed 0" src="data:image/png;base64,{picture}">'
