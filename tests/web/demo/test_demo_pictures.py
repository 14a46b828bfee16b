"""Pictures that several visitors ask for while the page writes them again."""

from __future__ import annotations

import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
from PIL import Image
from visitor import call

ROUNDS = 60
"""Pictures that one visitor has made: enough to break some where they are written in place."""


def load(site: str, visitor: int) -> None:
    """Has the picture of the first image made again and again, as every load of the page does."""
    with httpx.Client(base_url=site, timeout=120) as client:
        events = {event["api_name"]: event for event in client.get("/config").json()["dependencies"]}
        for number in range(ROUNDS):
            heard = call(client, events["look"], [None, None, "only what is painted"], f"visitor{visitor}-{number}")
            assert '"success":true' in heard.replace(" ", "")


def fetch(address: str, done: threading.Event) -> int:
    """Asks for a picture until `done`: how often. Every answer is as long as it says, and is the whole picture."""
    asked = 0
    with httpx.Client(timeout=120) as client:
        while not done.is_set():
            answer = client.get(address)
            assert len(answer.content) == int(answer.headers["content-length"])
            Image.open(io.BytesIO(answer.content)).load()
            asked += 1
    return asked


def test_pictures_are_whole_while_other_visitors_load_the_page(site, log):
    said, done = len(log.read_text()), threading.Event()
    config = httpx.get(f"{site}/config", timeout=120).text
    addresses = re.findall(rf'"({site}/gradio_api/file=[^"]+\.png)"', config)
    first = max(addresses, key=addresses.count)  # picked at first on every tab, and shown there
    with ThreadPoolExecutor() as pool:
        fetched = [pool.submit(fetch, first, done) for _ in range(3)]
        try:
            for loaded in [pool.submit(load, site, visitor) for visitor in range(2)]:
                loaded.result()
        finally:
            done.set()
        assert all(asked.result() for asked in fetched)
    assert "Traceback" not in log.read_text()[said:]
