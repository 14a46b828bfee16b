"""What `crvae prepare --help` says of the sources' own options."""

from __future__ import annotations

import re


def test_no_default_is_called_none_where_none_is_a_value(crvae, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = crvae("prepare", "--help")
    assert code == 0
    text = re.sub(r"[\s│]+", " ", out)
    own = text[text.index(" --labels ") :]
    assert "in place of class folders" in own
    assert "default: none" not in own
