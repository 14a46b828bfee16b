"""A loaded model in a notebook and in `crvae.evaluate`: what it says of itself, how it is scored, and that it is left as it was."""

from __future__ import annotations

import base64
import io
import re
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

import crvae
from crvae.errors import UserError
from crvae.models.origin import Origin
from crvae.progress import progress


def test_a_model_says_what_it_is(trained):
    model = crvae.load(trained)
    page = model._repr_html_()
    for words in (
        str(trained),
        "emoji-crvae-gan-mi",
        "160 images",
        "32 x 32, colour",
        "recurrent, 8 x 4 x 4, 8 time steps",
    ):
        assert words in page
    assert "N(0, I)" in page
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    shown = Image.open(io.BytesIO(base64.b64decode(picture)))
    assert np.array_equal(shown, crvae.show(model.sample(8)))


def test_a_model_in_training_is_not_disturbed(trained):
    model = crvae.load(trained)
    model.origin = Origin("<b>x</b>", "&", 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    page = model.train()._repr_html_()
    assert "<img" not in page
    assert "&lt;b&gt;x" in page
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    state = torch.get_rng_state()
    assert "<img" in model.eval()._repr_html_()
    assert torch.equal(state, torch.get_rng_state())
    model.origin = None
    assert "recipe" not in model._repr_html_()


def test_a_notebook_gets_one_bar_for_each_thing(monkeypatch, capsys):
    """What IPython is asked to display, by a stand-in for it: the real one is used by `make notebook`."""
    shown: list[list[str]] = []

    def display(page: str, display_id: bool):
        bar = [page]
        shown.append(bar)
        return types.SimpleNamespace(update=bar.append)

    kernel = types.SimpleNamespace(kernel=object())
    inner = types.SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel, display=inner))
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    with progress() as advance:
        for done in range(101):
            advance("<photos>", done, 100)
        advance("empty", 0, 0)
    assert len(shown) == 2
    photos, empty = shown
    assert len(photos) < 20, "a fast loop is not drawn a hundred times"
    assert "&lt;photos&gt;" in photos[0]
    assert 'value="0" max="100"' in photos[0]
    assert 'value="100" max="100"' in photos[-1]
    assert "100 of 100" in photos[-1]
    assert 'max="1"' in empty[0]
    assert capsys.readouterr() == ("", "")


def test_a_model_is_scored_in_evaluation_mode_and_left_as_it_was(trained, colour):
    model = crvae.load(trained)
    options = {"scores": ["kl", "reconstruction"], "images": 4, "split": "train"}
    expected = crvae.evaluate(model, colour, **options)
    model.train()
    model.latent.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    found = crvae.evaluate(model, colour, **options)
    drawn = torch.rand(2)
    assert {name: score.value for name, score in found.items()} == {name: s.value for name, s in expected.items()}
    assert model.training
    assert model.encoder.training
    assert not model.latent.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(2)), "what is measured draws nothing from the caller"


def test_the_word_for_a_prior_is_one_of_two(trained, colour):
    for word in ("learned", "Own", ""):
        with pytest.raises(UserError, match="--prior must be own or normal"):
            crvae.load(trained, prior=word)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="--prior must be own or normal"):
            crvae.evaluate(trained, colour, prior=word)  # type: ignore[arg-type]
