"""The ten questions of docs/contributing.md are answered from the front page in one click, at headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
QUESTIONS = re.findall(r"^\| (.+\?) \| \[.+?\]\((\S+\.md)#(\S+)\) \|$", (DOCS / "contributing.md").read_text(), re.M)


def anchors(page: Path) -> set[str]:
    """Headings as their links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("question", "page", "anchor"), QUESTIONS, ids=[question for question, *_ in QUESTIONS])
def test_a_question_is_one_click_away(question, page, anchor):
    assert f"]({page}" in (DOCS / "index.md").read_text(), f"{question} the front page does not link {page}"
    assert anchor in anchors(DOCS / page), f"{question} {page} has no heading {anchor}"


def test_there_are_ten_questions():
    assert len(QUESTIONS) == 10
    assert "no-such-heading" not in anchors(DOCS / "training.md")
