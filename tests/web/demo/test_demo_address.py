"""What an address may say, how pictures become HTML, and that abandoned work ends."""

from __future__ import annotations

import base64
import io
import threading

import gradio as gr
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crvae.web.demo.address import Shared, number, one_of, whole
from crvae.web.demo.following import Result, Step, follow
from crvae.web.demo.sheets import FilmFrame, facts, film, sheet
from crvae.web.demo.walking import seeds_of


@pytest.fixture(scope="module")
def shared() -> Shared:
    with gr.Blocks(), gr.Tabs(), gr.Tab("Sample", id="sample") as tab:
        components = [gr.Slider(1, 64, 16), gr.Number(0), gr.Radio(["a", "b c"])]
        shared = Shared(tab, "sample", ("images", "seed", "hide"), components)
    shared.parsers = (whole(1, 64), number(0, 1), one_of(["a", "b c"]))
    return shared


def test_an_address_gives_the_values_that_it_names(shared):
    assert shared.read("images=4&seed=0.5&hide=b+c") == [4, 0.5, "b c"]
    skipped = shared.read("seed=1")
    assert skipped[1] == 1
    assert skipped[0] == skipped[2] == gr.skip()
    assert shared.read("") == [gr.skip()] * 3


@pytest.mark.parametrize(
    "query",
    ["images=0", "images=65", "images=4.5", "images=", "images", "seed=nan", "seed=1e999", "seed=-0.1", "hide=c", "x=1",
     "images=99999999999999999999", "images=4&", "=", "&&&", "images=4;hide=c", "&".join(["images=4"] * 200)],
)  # fmt: skip
def test_a_damaged_address_is_refused(shared, query):
    with pytest.raises(ValueError, match=r"."):
        shared.read(query)


@given(st.text(max_size=80))
def test_no_address_does_more_than_be_refused(shared, query):
    try:
        images, seed, hide = shared.read(query)
    except ValueError:
        return
    assert images == gr.skip() or 1 <= images <= 64
    assert seed == gr.skip() or 0 <= seed <= 1
    assert hide == gr.skip() or hide in ("a", "b c")


@given(st.text(alphabet="0123456789.-² ", max_size=24), st.integers(1, 4))
def test_draws_of_a_walk_are_that_many_seeds(text, count):
    try:
        seeds = seeds_of(text, count)
    except ValueError:
        return
    assert ".".join(map(str, seeds)) == ".".join(str(int(part)) for part in text.split("."))
    assert len(seeds) == count
    assert all(0 <= seed <= 2**31 for seed in seeds)


def test_pictures_come_back_from_their_html_and_names_are_text():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    picture = Image.fromarray(pixels)
    for html in (
        sheet('<b>"x"', [picture]),
        film('<b>"x"', [FilmFrame(picture, "<i>", ("<u>",)), FilmFrame(None, "2")]),
    ):
        data = html.split("base64,")[1].split('"')[0]
        assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == pixels).all()
        for tag in ('<b>"x', "<i>", "<u>"):
            assert tag not in html
    assert "<script>" not in facts({"<script>": {"<script>": "<script>"}})


def test_work_is_followed_step_by_step():
    def work(tell):
        tell(1, 2)
        tell(2, 2)
        return "done"

    assert list(follow(work)) == [Step(1, 2), Step(2, 2), Result("done")]


def test_an_error_of_the_work_is_raised():
    def work(tell):
        tell(1, 2)
        raise KeyError("broken")

    steps = follow(work)
    assert next(steps) == Step(1, 2)
    with pytest.raises(KeyError, match="broken"):
        next(steps)


def test_abandoned_work_ends_at_its_next_step():
    ended, begun = threading.Event(), threading.active_count()

    def work(tell):
        try:
            for step in range(10**9):
                tell(step, 10**9)
        finally:
            ended.set()

    steps = follow(work)
    next(steps)
    steps.close()
    assert ended.is_set()
    assert threading.active_count() == begun
