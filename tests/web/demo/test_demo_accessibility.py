"""axe-core finds nothing serious on any tab, light or dark, on a desktop or a phone."""

from __future__ import annotations

import shutil

import pytest
from axe import serious
from visitor import DESKTOP

from chromium import PHONE, needs_chromium

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm fetches axe-core: install Node.js"),
]
TABS = ("Sample", "Walk", "Complete", "Reconstruct", "Blocks", "Compare")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE])
@pytest.mark.parametrize("tab", TABS)
def test_nothing_serious(site, visit, device, scheme, tab):
    visitor = visit(site, {**device, "color_scheme": scheme}, tab)
    visitor.settle()
    if tab == "Complete":
        visitor.page.get_by_label("lower", exact=True).check()
        visitor.wait(lambda: "Ready." in visitor.status())
    assert serious(visitor.page) == []
