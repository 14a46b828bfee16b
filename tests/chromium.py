"""Debian's Chromium, and a phone for it to be."""

from __future__ import annotations

from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"viewport": {"width": 375, "height": 720}, "has_touch": True, "is_mobile": True}
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")
