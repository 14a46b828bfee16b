"""Somebody on the demo page: presses, waits, and reads back what is shown."""

from __future__ import annotations

import io
import time

import httpx
import numpy as np
from PIL import Image

BUSY = "e => [...document.querySelectorAll('[data-testid=status-tracker]')].some(t => t.offsetParent && !t.matches('.hide'))"
PATIENCE = 60_000
"""Milliseconds: a busy machine is slow."""


class Visitor:
    """Notes every address that the page asks for, and every error."""

    def __init__(self, browser, url: str, device: dict) -> None:
        self.url = url
        self.addresses: list[str] = []
        self.complaints: list[str] = []
        self.expected: dict[str, np.ndarray] = {}
        self.page = browser.new_context(**device).new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self.addresses.append(request.url))
        self.page.on("console", lambda message: self._complain(message) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def _complain(self, message) -> None:
        self.complaints.append(message.text)

    def open(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def wait(self, condition) -> None:
        """Until `condition()` holds. (Not wait_for_function, so that the page may forbid evaluated strings.)"""
        deadline = time.monotonic() + PATIENCE / 1000
        while not condition():
            if time.monotonic() > deadline:
                break
            self.page.wait_for_timeout(50)
        else:
            return
        raise AssertionError(f"it did not happen; the page says: {self.page.inner_text('body')}")

    def settle(self) -> None:
        self.page.wait_for_timeout(100)
        self.wait(lambda: not self.page.evaluate(BUSY))

    def address(self, title: str) -> str:
        """Where the picture under a title comes from; '' where there is none yet."""
        image = self.page.locator(".pixels:visible").filter(has_text=title).locator(".image-container img")
        return (image.first.get_attribute("src") or "") if image.count() else ""

    def picture(self, title: str) -> np.ndarray:
        """The picture under a title, as it was sent: h w 3."""
        return np.asarray(Image.open(io.BytesIO(httpx.get(self.address(title)).content)).convert("RGB"))

    def shows(self, title: str, expected: np.ndarray) -> None:
        """Waits until the picture under a title is, value by value, the expected one (give or take a rounding).

        What it is must differ from what was expected of this title before, or nothing would be seen.
        """
        before = self.expected.get(title)
        assert before is None or before.shape != expected.shape or abs(before.astype(int) - expected).max() > 4
        self.expected[title] = expected

        def same() -> bool:
            if not self.address(title):
                return False
            shown = self.picture(title)
            return shown.shape == expected.shape and int(abs(shown.astype(int) - expected.astype(int)).max()) <= 1

        self.wait(same)

    def status(self) -> str:
        return self.page.locator(".status.prose:visible").inner_text()

    def said(self) -> str:
        """The message in the corner."""
        return self.page.get_by_test_id("toast-body").first.inner_text()
