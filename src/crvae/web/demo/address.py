"""Sharing what the page shows: its tab and controls stand in the address behind the #, and an address brings them back.

The browser alone reads and writes that part of an address; the server gets it as one text, and trusts none of it.
"""

# options shared by events are unpacked from one dictionary
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr

SCRIPT = f"<script>{Path(__file__).with_name('address.js').read_text()}</script>"
"""For the page's head."""
LONGEST = 2000
"""Characters of what is read of an address."""
Parser = Callable[[str], Any]
"""From a value in an address to a component's. Raises ValueError."""


class Shared:
    """One tab whose controls stand in the address."""

    def __init__(self, tab: gr.Tab, name: str, names: Sequence[str] = (), components: Sequence[Any] = ()) -> None:
        self.tab = tab
        self.name = name
        self.names = tuple(names)
        self.components = list(components)
        self.parsers: tuple[Parser, ...] = ()
        self.arrived = gr.State(0)
        """Changes when an address has set the controls: what they show must then be made.

        Made inside the tab, as this object is: the tabs count what stands between them."""
        first = [component.value for component in self.components]
        words = json.dumps([name, names, first])
        self.note = f"(...values) => {{ const [tab, names, first] = {words}; crvaeAddress.note(tab, names, first, values); return []; }}"
        self.events = {"js": self.note, "queue": False, "show_progress": "hidden", "api_visibility": "private"}
        seen = [component.change for component in self.components if component.visible is True]
        if seen:
            gr.on(seen, None, self.components, None, **self.events)
        tab.select(None, None, None, **{**self.events, "js": f'() => {{ crvaeAddress.open("{name}"); return []; }}'})

    def noted_after(self, event: Any) -> Any:
        """Writes the address again when an event that changes hidden components has ended."""
        return event.then(None, self.components, None, **self.events)

    def read(self, query: str) -> list[Any]:
        """The values of the components; those that the query does not name stay. Raises ValueError for any that is damaged."""
        found = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=99)) if query else {}
        if not set(found) <= set(self.names):
            raise ValueError("a name is unknown")
        parsers = dict(zip(self.names, self.parsers, strict=True))
        return [parsers[name](found[name]) if name in found else gr.skip() for name in self.names]


def restore_from_address(page: gr.Blocks, tabs: gr.Tabs, shared: Sequence[Shared]) -> None:
    """When the page is opened by an address that says so, it shows that tab with these values."""
    text = gr.Textbox(visible=False)
    wanted = gr.State(shared[0].name)  # tabs as an output of the first event would undo what a quick visitor selects
    outputs: list[Any] = [wanted]
    for one in shared:
        outputs += [*one.components, one.arrived]

    def restore(address: str) -> list:
        name, _, query = address[:LONGEST].partition("?")
        answer: list[Any] = [gr.skip()]
        damaged = name not in ("", *(one.name for one in shared))
        for one in shared:
            values = [gr.skip()] * (len(one.components) + 1)
            if one.name == name:
                try:
                    values = [*one.read(query), 1 if query else gr.skip()]
                    answer[0] = name
                except ValueError:
                    damaged = True
            answer += values
        if damaged:
            gr.Warning("The address of this page is incomplete or damaged: the page shows what it shows first.")
        return answer

    event = page.load(
        restore,
        text,
        outputs,
        js="() => [crvaeAddress.asked]",
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )
    for one in shared:
        event = one.noted_after(event)
    settle = "() => { crvaeAddress.settle(); return []; }"
    event.then(None, None, None, js=settle, queue=False, show_progress="hidden", api_visibility="private")
    selecting = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    wanted.change(lambda name: gr.Tabs(selected=name), wanted, tabs, **selecting)


def whole(least: int, most: int) -> Parser:
    """Parses a whole number within bounds."""

    def parse(text: str) -> int:
        value = int(text) if len(text) < 12 else most + 1
        if not least <= value <= most:
            raise ValueError("a number is out of bounds")
        return value

    return parse


def number(least: float, most: float) -> Parser:
    """Parses a number within bounds."""

    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError("a number is out of bounds")
        return value

    return parse


def one_of(names: Sequence[str]) -> Parser:
    """Parses one of the names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError("a name is unknown")
        return text

    return parse
