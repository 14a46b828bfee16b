"""Sphinx configuration; writes the table of recipes from the recipes themselves."""

from __future__ import annotations

import re
from pathlib import Path

import crvae
from crvae.recipes import RECIPES

project = "crvae"
author = "The crvae authors"
copyright = "The crvae authors; MIT licence"
release = version = crvae.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "generated"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
highlight_language = "none"
smartquotes_action = "q"  # options keep their two hyphens
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_title = f"crvae {release}"
html_show_sphinx = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"


def _recipes_table() -> str:
    lines = ["| recipe | what | cost | measured |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {recipe.summary} | {recipe.cost} | {recipe.result} |" for name, recipe in RECIPES.items()]
    return "\n".join(lines) + "\n"


def _plain_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: everything else that reStructuredText would take for markup is escaped."""
    for index, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            parts = re.split(r"(`[^`]+`)", line)
            lines[index] = "".join(
                f"`{part}`" if part.startswith("`") else re.sub(r"([*|_`])", r"\\\1", part) for part in parts
            )


def setup(app) -> None:
    """Writes what is generated, and registers the reading of docstrings."""
    generated = Path(__file__).parent / "generated"
    generated.mkdir(exist_ok=True)
    (generated / "recipes.md").write_text(_recipes_table(), encoding="utf-8")
    app.connect("autodoc-process-docstring", _plain_docstring)
