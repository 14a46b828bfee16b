"""Turns of phrase that docs/style.md rules out are in no page; its own examples and the list of sentences quote them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
QUOTING = {DOCS / "style.md", DOCS / "research" / "sentences.md"}
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [page for page in sorted(DOCS.rglob("*.md")) if not {"generated", "results", "_build"} & set(page.parts)]
RULED_OUT = re.compile(
    r"\bmend(s|ed)?\b|\b(can|could) ?not be had\b|\bgo(es|ne)? on with\b|\bjoins? in\b|\bfalls? short\b|so-manieth"
    r"|(?<!there )\bis no (model|file|folder|image|mask|number|rectangle|classifier|better)\b"
)


def found(text: str) -> list[str]:
    """What is ruled out in `text`, across line breaks."""
    return [match[0] for match in RULED_OUT.finditer(" ".join(text.split()))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_plain(page):
    if page in QUOTING:
        assert found(page.read_text()), "this page is excused because it quotes what it rules out"
    else:
        assert not found(page.read_text())


def test_it_finds_them():
    assert found("cannot\nbe had, so go on with it or mend it; it is no model") == [
        "cannot be had",
        "go on with",
        "mend",
        "is no model",
    ]
    assert not found("this is not a model, and there is no model")
