"""Turns of phrase that docs/style.md rules out are in no page and in no source; its examples and the list of sentences quote them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
QUOTING = {DOCS / "style.md", DOCS / "research" / "sentences.md"}
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
SOURCES = [path for name in ("src", "experiments", "benchmarks") for path in sorted((ROOT / name).rglob("*.py"))]
PAGES += [page for page in sorted(DOCS.rglob("*.md")) if not {"generated", "results", "_build"} & set(page.parts)]
RULED_OUT = re.compile(
    r"\bmend(s|ed)?\b|\b(can|could) ?not be had\b|\b[Gg]o(es|ne|ing)? on with\b|\bjoins? in\b|\bfalls? short\b|so-manieth"
    r"|\b(run|runs|command|training|stream) goes? on\b|Raises \w+ where\b"
    r"|(?<!there )\b(is|are) no (model|file|folder|directory|image|mask|number|multiple|integer|rectangle|classifier|candidate)s?\b"
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


def test_messages_docstrings_and_comments_are_plain():
    wrong = {path.relative_to(ROOT).as_posix(): found(path.read_text()) for path in SOURCES}
    assert len(wrong) > 150
    assert {path: turns for path, turns in wrong.items() if turns} == {}


def test_it_finds_them():
    assert found("cannot\nbe had, so go on with it or mend it; it is no model") == [
        "cannot be had",
        "go on with",
        "mend",
        "is no model",
    ]
    assert not found("this is not a model, and there is no model")
