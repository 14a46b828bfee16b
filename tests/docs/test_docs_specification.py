"""Every number of the specification that the code cites is a heading or a numbered fact of docs/specification.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "specification.md").read_text()
NUMBER = r"\d+(?:\.\d+)?"
CITATION = re.compile(rf"[Ss]pecification,?\s+\(?(?:sections?\s+)?({NUMBER}(?:(?:,| and| to)\s+{NUMBER})*)")
KNOWN = set(re.findall(rf"^#+ ({NUMBER})\.? ", PAGE, re.M)) | set(re.findall(rf"^\| ({NUMBER}) \|", PAGE, re.M))


def cited(text: str) -> set[str]:
    """Every number after "specification" in `text`; "2 to 5" names both ends."""
    return {number for group in CITATION.findall(text) for number in re.findall(NUMBER, group)}


FILES = [path for name in ("src", "tests", "benchmarks") for path in sorted((ROOT / name).rglob("*.py"))]
CITED = {(path.relative_to(ROOT).as_posix(), number) for path in FILES for number in cited(path.read_text())}


@pytest.mark.parametrize(("path", "number"), sorted(CITED))
def test_a_citation_resolves(path, number):
    assert number in KNOWN, f"{path} cites specification {number}, which docs/specification.md does not have"


def test_citations_are_found():
    assert len({path for path, _ in CITED}) > 10
    assert cited("(specification, sections 2.1, 2.2 and 6)") == {"2.1", "2.2", "6"}
    assert cited("Specification 5.21 ... specification (3.1 to 3.6)") == {"5.21", "3.1", "3.6"}
    assert "99" not in KNOWN
    assert {"1.9", "5.25", "10"} <= KNOWN
