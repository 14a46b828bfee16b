"""Somebody on the demo page: presses, waits, and reads back what is shown."""

from __future__ import annotations

import base64
import io
import time

import httpx
import numpy as np
import torch
from PIL import Image

from crvae.pictures import to_8_bit

BUSY = "e => [...document.querySelectorAll('[data-testid=status-tracker]')].some(t => t.offsetParent && !t.matches('.hide'))"
LISTEN = """() => {
  const seen = () => [...document.querySelectorAll('img')].filter(i => i.checkVisibility({opacityProperty: true})).length;
  window.heard = [];
  window.fewest = seen();
  const note = () => {
    heard.push([...document.querySelectorAll('.status')].map(s => s.innerText).join(' '));
    fewest = Math.min(fewest, seen());
  };
  new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
}"""
PATIENCE = 60_000
"""Milliseconds: a busy machine is slow."""


DESKTOP = {"viewport": {"width": 1440, "height": 900}}


def pixels(image: torch.Tensor) -> np.ndarray:
    """An image `c h w` in [-1, 1] as the page shows it: h w c, 8-bit."""
    return to_8_bit(image).permute(1, 2, 0).numpy()


def each(images: torch.Tensor) -> list[np.ndarray]:
    return [pixels(image) for image in images]


def call(client: httpx.Client, event: dict, data: list, session: str = "forged") -> str:
    """Sends one event past the page; all that the server answers."""
    body = {"data": data, "fn_index": event["id"], "session_hash": session, "event_data": None, "trigger_id": None}
    answer = client.post("/gradio_api/queue/join", json=body)
    if answer.status_code != 200:
        return answer.text
    heard = ""
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            heard += line + "\n"
            if "process_completed" in line or "close_stream" in line:
                break
    return heard


class Visitor:
    """Notes every address that the page asks for, and every error."""

    def __init__(self, browser, url: str, device: dict) -> None:
        self.host = url.split("/")[2]
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
        """Selects a tab; on a phone the last ones are behind the button with three dots."""
        self.page.get_by_role("tab").locator("visible=true").first.wait_for()
        shown = self.page.get_by_role("tab", name=tab, exact=True).locator("visible=true")
        if not shown.count():
            self.page.locator(".overflow-menu > button").click()
            shown = self.page.locator(".overflow-dropdown button").filter(has_text=tab)
        shown.click()

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

    def sheet(self, title: str, kind: str = "sheet") -> list[np.ndarray]:
        """The pictures of the sheet or film with this title: h w 3 each."""
        images = self.page.locator(f'section.{kind}:visible[aria-label="{title}"] img')
        addresses = images.evaluate_all(
            "images => images.map(image => image.src)"
        )  # all at once: a sheet may be replaced
        files = (base64.b64decode(address.partition("base64,")[2]) for address in addresses)
        return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]

    def shows_sheet(self, title: str, expected: list[np.ndarray], kind: str = "sheet") -> None:
        """Waits until the pictures of a sheet or film are, value by value, the expected ones (give or take a rounding)."""

        def same() -> bool:
            shown = self.sheet(title, kind)
            return len(shown) == len(expected) and all(
                one.shape == other.shape and abs(one.astype(int) - other.astype(int)).max() <= 1
                for one, other in zip(shown, expected, strict=True)
            )

        self.wait(same)

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

    def listen(self) -> None:
        """From now on notes every status, and how many pictures are seen at the least."""
        self.page.evaluate(LISTEN)

    def heard(self) -> list[str]:
        """Every status since `listen`."""
        return self.page.evaluate("heard")

    def fewest(self) -> int:
        """The fewest pictures that were to be seen at any moment since `listen`."""
        return self.page.evaluate("fewest")

    def status(self) -> str:
        return self.page.locator(".status.prose:visible").inner_text()

    def said(self) -> str:
        """The message in the corner."""
        return self.page.get_by_test_id("toast-body").first.inner_text()
