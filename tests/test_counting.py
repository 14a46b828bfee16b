"""Numbers in messages."""

from __future__ import annotations

import pytest

from crvae.counting import counted


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (12_345, "12,345 images")]
)
def test_a_noun_is_singular_for_one(count: int, expected: str):
    assert counted(count, "image") == expected
