"""Empty names are refused by what they stand for, names never steer a terminal, and file names keep their letters."""

from __future__ import annotations

import unicodedata

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crvae.cli import main
from crvae.data import open_data
from crvae.data.accounts import printable
from crvae.errors import UserError
from crvae.tasks.inputs import Images, distinct, read_images
from crvae.tasks.reading import tell_skipped
from fuzzing import many


def test_an_empty_name_is_refused_by_what_it_stands_for(images, prepared, refused, crvae, tmp_path, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user: the model below is none of ours
    monkeypatch.chdir(images)  # which an empty name would mean
    assert "SOURCE is empty" in refused("prepare", "", tmp_path / "out")
    assert "--labels is empty" in refused("prepare", images, tmp_path / "out", "--labels", "")
    monkeypatch.chdir(prepared)
    with pytest.raises(UserError, match=r"--data"):
        open_data("")
    assert open_data(".").fingerprint == open_data(prepared).fingerprint

    class Model:
        image_shape = (3, 8, 1)

    with pytest.raises(UserError, match=r"^--images is empty"):
        read_images("", Model(), option="--images", limit=3)
    with pytest.raises(UserError, match=r"^--images a\0b does not exist"):
        read_images("a\0b", Model(), option="--images", limit=3)
    assert len(read_images(".", Model(), option="--images", limit=3).x) > 0


STEERING = "a\x1b[31mb\x07\udce9.png"


def test_what_was_skipped_does_not_steer_the_terminal(capsys):
    images = Images(torch.zeros(0, 3, 8, 8), [], None, (f"{STEERING} is broken",), (f"1 not looked at ({STEERING})",))
    tell_skipped(images)
    shown = printable(STEERING)
    assert capsys.readouterr().err == f"skipped: {shown} is broken\n1 not looked at ({shown})\n"
    assert shown.isprintable()


def test_refusals_do_not_steer_the_terminal(monkeypatch, capsys):
    from crvae.cli import recipes

    def refuse(args: list[str]) -> int:
        raise UserError(f"{STEERING} is\ntwo lines")

    monkeypatch.setattr(recipes, "run", refuse)
    assert main(["recipes"]) == 2
    assert capsys.readouterr().err == f"crvae: {printable(STEERING)} is\ntwo lines\n"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cafe\u0301.png", "caf\u00e9"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940.png", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        ("\u0e01\u0e34\u0e19.jpg", "\u0e01\u0e34\u0e19"),
        ("q\u0323\u0307.png", "q\u0323\u0307"),
        ("a/b c--d.png", "a-b-c--d"),
        ("\u2764\ufe0f.png", "image"),
        ("x \ufe0fy.png", "x-y"),
    ],
)
def test_names_of_files_keep_letters_with_their_marks(name, kept):
    assert distinct([name]) == [kept]


def test_two_spellings_of_a_name_are_numbered():
    assert distinct(["cafe\u0301.png", "caf\u00e9.jpg"]) == ["000000-caf\u00e9", "000001-caf\u00e9"]


@many(100)
@given(names=st.lists(st.text(max_size=150), max_size=3))
def test_any_names_make_distinct_files(names, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    made = distinct(names)
    assert len({unicodedata.normalize("NFC", name).lower() for name in made}) == len(names)
    for name in made:
        assert name.strip("-")
        (folder / f"{name}.png").write_bytes(b"")
    assert len(list(folder.iterdir())) == len(names)
