"""What goes in and comes out as files: the user's images, latents, grids, animations, new folders."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from crvae.config.prior import FlowPriorConfig
from crvae.errors import UserError
from crvae.files import new_folder
from crvae.models.priors import build_prior
from crvae.storage.models import load
from crvae.tasks.grids import columns_size, labelled_grid, save_animation
from crvae.tasks.inputs import distinct, read_images
from crvae.tasks.latents import Latents, load_latents, save_latents
from crvae.tasks.naming import weights_name

LONG = st.builds(lambda text, count: text * count, st.text(min_size=1, max_size=3), st.integers(1, 150))


@given(st.lists(st.text(max_size=12) | LONG, min_size=1, max_size=20))
def test_names_differ_and_are_fit_for_files(names):
    found = distinct(names)
    assert all(len(f"{name}.safetensors".encode()) <= 255 for name in found)
    assert len({name.lower() for name in found}) == len(names)
    assert all(name and "/" not in name and "\0" not in name and not name.startswith(".") for name in found)


def test_long_names_are_cut_by_bytes_and_stay_apart(tmp_path):
    long = f"{'あ' * 60}/{'い' * 60}"
    assert distinct([f"{long}.png"]) == ["あ" * 60 + "-" + "い" * 6]
    assert distinct(["é" * 200]) == ["é" * 100]
    assert distinct(["a" * 150 + ".png"]) == ["a" * 100]
    found = distinct([f"{long}1.png", f"{long}2.png", "🙂一" * 99])
    assert len(set(found)) == 3
    for name in found:
        (tmp_path / f"{name}.crz").touch()


def test_image_files_are_read_in_order_and_cut_as_prepare_does(model, tmp_path):
    (tmp_path / "b").mkdir()
    red = np.zeros((60, 90, 3), np.uint8)
    red[:, 5:85, 0] = 255  # the centred square is red, some of what is cut away black
    Image.fromarray(red).save(tmp_path / "b" / "wide.png")
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    clear.putpixel((0, 0), (255, 255, 255, 255))  # where nothing is opaque there is no image
    clear.save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    images = read_images(str(tmp_path), model, option="--images", limit=10)
    assert images.names == ["a", "b-wide"]
    assert images.not_looked_at == (
        "1 not looked at: ending .txt (notes.txt)",
        "1 not looked at: hidden (.hidden.png)",
    )
    assert (images.x[0] == 1).all()  # transparency lies on white
    assert torch.equal(images.x[1].mean((1, 2)), torch.tensor([1.0, -1.0, -1.0]))
    assert read_images(str(tmp_path), model, option="--images", limit=1).names == ["a"]
    one = read_images(str(tmp_path / "b" / "wide.png"), model, option="--images", limit=5)
    assert one.names == ["wide"]
    assert torch.equal(one.x[0], images.x[1])


def test_prepared_data_give_their_validation_images(model, colour):
    from crvae.data import open_data

    images = read_images(str(colour), model, option="--data", limit=3)
    split = open_data(colour).split("validation")
    assert torch.allclose((images.x + 1) * 127.5, split.images(range(len(images.x))).float(), atol=1e-3)


def test_what_gives_no_images_is_refused(model, grey, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"GIF8 but not really")
    for source, says in (
        (tmp_path / "empty", "--images .* holds neither"),
        (tmp_path / "nothing", "--images .* does not exist"),
        (tmp_path / "bad.png", "bad.png is"),
        (grey, "grey images of 28 pixels"),
    ):
        with pytest.raises(UserError, match=says):
            read_images(str(source), model, option="--images", limit=4)


@pytest.mark.parametrize("kept", [1, 3, 4])
def test_latents_come_back_as_they_were(model, tmp_path, kept):
    z = model.prior.sample(3, seed=2)
    blocks = z.flatten(1).unflatten(1, (4, -1))
    path = tmp_path / "z.safetensors"
    save_latents(Latents(blocks[:, :kept], ["a", "b", "c/d"], "runs/x"), path)
    latents = load_latents(path)
    assert (latents.names, latents.recorded, latents.model) == (["a", "b", "c/d"], "runs/x", "")
    back = latents.z(model)
    assert torch.equal(back[:, : 2 * kept], z[:, : 2 * kept])
    assert (back[:, 2 * kept :] == 0).all()
    assert torch.allclose(model.decode(back), model.decode(z, steps=kept), atol=1e-5)
    assert torch.equal(latents.z(model, steps=1)[:, :2], z[:, :2])
    with pytest.raises(UserError, match="--steps"):
        latents.z(model, steps=kept + 1)


def test_latents_of_another_model_or_no_latents_are_refused(model, make, tmp_path):
    path = tmp_path / "z.safetensors"
    save_latents(Latents(torch.zeros(2, 4, 32), ["a", "b"], ""), path)
    with pytest.raises(UserError, match="--run"):
        load_latents(path).z(make[0](latent_channels=16))
    with pytest.raises(UserError, match="does not exist"):
        load_latents(tmp_path / "nothing")
    (tmp_path / "text").write_text("no latents")
    save_file({"blocks": torch.zeros(2, 4, 32)}, tmp_path / "bare")
    save_file({"blocks": torch.zeros(2, 4)}, tmp_path / "flat", {"format": "1", "names": '["a", "b"]'})
    save_file({"blocks": torch.zeros(1, 4, 3)}, tmp_path / "count", {"format": "1", "names": '["a", "b"]'})
    save_file({"blocks": torch.full((1, 4, 3), torch.nan)}, tmp_path / "nan", {"format": "1", "names": '["a"]'})
    for name in ("text", "bare", "flat", "count", "nan"):
        with pytest.raises(UserError, match="encode"):
            load_latents(tmp_path / name)


def test_latents_open_with_the_weights_that_made_them_alone(model, make, exported, tmp_path):
    path, z = tmp_path / "z.safetensors", torch.zeros(2, 4, 32)
    save_latents(Latents(z, ["a", "b"], str(exported), weights_name(model)), path)
    latents = load_latents(path)
    assert latents.model == weights_name(load(exported)) == weights_name(model)
    assert latents.z(load(exported)).shape == (2, 8, 4, 4)
    other = copy.deepcopy(model)
    next(other.parameters()).data.add_(1)
    with pytest.raises(UserError, match=f"made by model {latents.model}.*--run"):
        latents.z(other)
    refitted = copy.deepcopy(model)
    refitted.prior = build_prior(FlowPriorConfig(width=8, depth=1), model.latent_shape, 4)
    assert torch.equal(latents.z(refitted), latents.z(model))
    with pytest.raises(UserError, match="--run"):
        latents.z(make[0](latent_channels=16))


def test_latents_whose_run_is_gone_say_so(tmp_path):
    z = torch.zeros(1, 4, 32)
    for recorded, says in ((str(tmp_path / "gone"), "gone, is not there any more.*--run"), ("", "which run.*--run")):
        with pytest.raises(UserError, match=says):
            _ = Latents(z, ["a"], recorded).run
    assert Latents(z, ["a"], "hub:owner/name").run == "hub:owner/name"


def test_a_grid_shows_every_image_where_its_labels_say(tmp_path):
    images = torch.zeros(2, 3, 1, 16, 16, dtype=torch.uint8)
    for row in range(2):
        for column in range(3):
            images[row, column] = 40 * (3 * row + column)
    grid = labelled_grid(images, ["first", "second"], ["a", "b", "c"])
    pixels = np.asarray(grid.convert("L"))
    places = [[np.argwhere(pixels == 40 * (3 * row + column)) for column in range(3)] for row in range(2)]
    for row in range(2):
        for column in range(3):
            assert len(places[row][column]) >= 64 * 64 or row == column == 0
    assert places[0][1][:, 0].mean() < places[1][1][:, 0].mean()
    assert places[1][0][:, 1].mean() < places[1][1][:, 1].mean() < places[1][2][:, 1].mean()
    for ending in (".gif", ".webp"):
        save_animation([grid, grid.rotate(180)], tmp_path / f"walk{ending}")
        with Image.open(tmp_path / f"walk{ending}") as animation:
            assert animation.n_frames == 2
            assert animation.info["loop"] == 0


def test_a_folder_is_whole_or_not_there(tmp_path):
    def fill():
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill()
    assert not list(tmp_path.iterdir())
    with new_folder(tmp_path / "out") as folder:
        (folder / "whole").write_text("")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "whole"]
    with pytest.raises(UserError, match="already exists"), new_folder(tmp_path / "out"):
        pass


@pytest.mark.parametrize(("rows", "columns", "side"), [(1, 2, 28), (3, 4, 64), (2, 6, 100)])
def test_the_size_of_a_grid_is_known_before_it_is_drawn(rows: int, columns: int, side: int):
    grid = labelled_grid(torch.zeros(rows, columns, 3, side, side, dtype=torch.uint8), columns=["a"] * columns)
    assert columns_size(rows, columns, side, side) == grid.size


def test_an_animation_that_its_format_cannot_hold_is_refused(tmp_path):
    for ending, most in ((".webp", 16_383), (".gif", 65_535)):
        with pytest.raises(UserError, match=f"{most:,} a side"):
            save_animation([Image.new("RGB", (1, most + 1))], tmp_path / f"long{ending}")
    assert not list(tmp_path.iterdir())
