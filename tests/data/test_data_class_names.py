"""Names of every language, as they are stored and shown."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from making import contents, made

from crvae.data.accounts import printable
from fuzzing import many


def steers(text: str) -> bool:
    """Whether a terminal would obey it, or show it as several lines or turned around."""
    turning = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return any(unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in turning for c in text)


def test_classes_whose_names_look_alike_stay_apart(fill, tmp_path):
    names = ["a\u200cb", "a\u200db", "no\u00a0break", "soft\u00adhyphen", "\u72ac\u3000\u732b", "x?y"]
    names += ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469\u200d\U0001f467"]
    odd = {"x\ny": r"x\x0ay", "x\x1b[31my": r"x\x1b[31my", "x\u202ey": r"x\u202ey", "x\u2028y": r"x\u2028y"}
    for i, name in enumerate([*names, *odd]):
        fill(tmp_path / "set" / name, 2, 10 * i)
    data = made(tmp_path / "set", tmp_path / "out")
    assert data.card.columns == {"label": tuple(sorted([*names, *odd.values()]))}
    rows = [row for part in contents(data).values() for row in part]
    assert len({key for key, _ in rows}) == 2 * len([*names, *odd])
    assert all(key.split("/")[0] == label for key, label in rows)


@many(300)
@given(st.lists(st.text(st.characters(exclude_characters="\\"), max_size=6), max_size=6, unique=True))
def test_no_two_names_are_shown_alike(names):
    shown = [printable(name) for name in names]
    assert len(set(shown)) == len(names)
    for name, text in zip(names, shown, strict=True):
        text.encode()
        assert not steers(text)
        assert text == name or not name.isprintable()
