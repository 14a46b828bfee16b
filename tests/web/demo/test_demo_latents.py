"""What the demo's functions compute: latents of a walk, masks of a painting, images of uploads, which runs go together."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crvae.config.stage1 import ModelConfig
from crvae.data.images import Unusable
from crvae.errors import UserError
from crvae.models import Autoencoder
from crvae.storage.models import load
from crvae.tasks.inputs import read_file
from crvae.tasks.occlusion import NAMED, rectangle
from crvae.web.demo.completing import attempt
from crvae.web.demo.exhibits import open_exhibits
from crvae.web.demo.holes import PAINTED, hidden
from crvae.web.demo.serving import examples_of
from crvae.web.demo.walking import walk_latent
from crvae.web.demo.widgets import to_image

CPU = torch.device("cpu")


def small(latent) -> Autoencoder:
    return Autoencoder(ModelConfig(latent=latent, size=32, width=1, latent_channels=8, steps=4)).eval()


@pytest.mark.parametrize("latent", ["dense", "convolutional", "recurrent"])
def test_a_walk_mixes_the_draws_block_by_block(latent):
    model = small(latent)
    z = walk_latent(model, [0, 4, 2, 0], [0.0, 1.0, 0.25, 0.5])
    parts = z.flatten().split(z.numel() // 4)
    draws = {seed: model.prior.sample(1, seed).flatten().split(z.numel() // 4) for seed in range(6)}
    assert z.shape == (1, *model.latent_shape)
    assert torch.equal(parts[0], draws[0][0])
    assert torch.equal(parts[1], draws[5][1])
    torch.testing.assert_close(parts[2], 0.75 * draws[2][2] + 0.25 * draws[3][2])
    torch.testing.assert_close(parts[3], 0.5 * draws[0][3] + 0.5 * draws[1][3])


def test_blocks_without_a_control_stay_at_the_first_draw():
    model = small("recurrent")
    z, first = walk_latent(model, [8, 8], [0.0, 0.0]), model.prior.sample(1, 0)
    assert torch.equal(z[:, 4:], first[:, 4:])
    assert not torch.equal(z[:, :4], first[:, :4])


def layer(alpha: np.ndarray) -> dict:
    pixels = np.zeros((*alpha.shape, 4), np.uint8)
    pixels[..., 3] = alpha
    return {"layers": [Image.fromarray(pixels, "RGBA")], "background": None, "composite": None}


def test_a_pixel_is_hidden_where_the_brush_covered_half_of_it_or_more():
    alpha = np.zeros((80, 80), np.uint8)
    alpha[10:20, 30:40] = 255  # pixel (1, 3) of 8 by 8, wholly
    alpha[40:50, 50:54] = 255  # four tenths of pixel (4, 5)
    alpha[60:70, 50:56] = 255  # six tenths of pixel (6, 5)
    mask = hidden(layer(alpha), PAINTED, 8, NAMED)
    assert (mask == 0).nonzero().tolist() == [[1, 3], [6, 5]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(sorted(NAMED)))
def test_a_layer_of_any_size_joins_the_region(height, width, region):
    alpha = np.zeros((height, width), np.uint8)
    assert torch.equal(hidden(layer(alpha), region, 16, NAMED), rectangle(NAMED[region], 16))


@pytest.mark.parametrize("painting", [None, {"layers": []}, layer(np.zeros((40, 40), np.uint8))])
def test_nothing_hidden_is_refused(painting):
    with pytest.raises(UserError, match="nothing is hidden: paint"):
        hidden(painting, PAINTED, 8, NAMED)


def test_everything_hidden_is_refused():
    with pytest.raises(UserError, match="every pixel is hidden"):
        hidden(layer(np.full((40, 40), 255, np.uint8)), PAINTED, 8, NAMED)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_upload_is_read_as_every_task_reads_it(tmp_path, mode, channels):
    values = np.random.default_rng(0).integers(0, 256, (30, 50, 4), np.uint8)
    deep = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    image = deep if mode == "I;16" else Image.fromarray(values, "RGBA").convert(mode)
    kind = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    buffer = io.BytesIO()
    image.save(buffer, kind)
    (tmp_path / "file").write_bytes(buffer.getvalue())
    x = to_image(buffer.getvalue(), channels, 16)
    assert x.shape == (channels, 16, 16)
    assert torch.equal(x, read_file(tmp_path / "file", channels, 16))


@pytest.mark.parametrize("data", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(Unusable):
        to_image(data, 3, 16)


def test_restarts_of_one_by_one_are_those_of_all_at_once(trained):
    from crvae.tasks.completion import Search, complete

    (exhibit,) = open_exhibits([str(trained)], CPU)
    x, mask = exhibit.stage1.sample(1, 5)[0], rectangle(NAMED["lower"], 32)
    alone = sorted(attempt(exhibit, x, mask, 3 + restart, 10, start="prior")[0] for restart in range(2))
    search = Search(restarts=2, steps=10, seed=3, start="prior")
    together = complete(exhibit.stage1, x[None], mask, exhibit.discriminator, search)
    np.testing.assert_allclose(alone, together.losses["total"][0].tolist(), rtol=0.02)


def test_visible_pixels_stay_as_they_are(trained):
    (exhibit,) = open_exhibits([str(trained)], CPU)
    x, mask = exhibit.stage1.sample(1, 5)[0], rectangle(NAMED["center"], 32)
    _, blended, decoded = attempt(exhibit, x, mask, 0, 10)
    assert torch.equal(blended * mask, x * mask)
    assert torch.equal(blended * (1 - mask), decoded * (1 - mask))


def test_names_of_two_runs_differ(trained, large):
    assert [shown.title for shown in open_exhibits([f"{trained}/", str(large)], CPU)] == [trained.name, large.name]
    assert [shown.title for shown in open_exhibits([str(trained)] * 2, CPU)] == ["1: run", "2: run"]


def test_the_discriminator_of_a_stage2_run_is_its_stage1s(trained, large, tmp_path):
    (shown,) = open_exhibits([str(large)], CPU)
    assert shown.discriminator is None
    assert shown.upsampler is shown.model
    (tmp_path / "model").symlink_to(large)
    (tmp_path / "stage1").symlink_to(trained / "model")
    (shown,) = open_exhibits([str(tmp_path)], CPU)
    assert shown.discriminator is not None
    assert shown.stage1.image_shape == load(trained).image_shape


def test_the_page_can_show_a_model_from_the_papers_prior():
    (own,), (normal,) = (open_exhibits(["faces"], CPU, prior) for prior in ("own", "normal"))
    assert normal.facts()["prior"] == "standard normal, N(0, I)" != own.facts()["prior"]


def test_recipe_and_images_are_those_of_the_run(trained, large):
    shown, enlarged = open_exhibits([str(trained), str(large)], CPU)
    facts = shown.facts()
    assert (facts["recipe"], facts["images trained"]) == ("emoji-crvae-gan-mi", "160")
    assert facts["latent"] == "recurrent, 8 blocks"
    assert enlarged.facts()["image"] == "32 pixels, enlarged to 64"


def test_parts_lie_where_the_card_of_the_images_says(trained, marked, tmp_path):
    exhibits = open_exhibits([str(trained)], CPU)
    picked = examples_of(exhibits, str(trained), str(marked))
    assert picked.boxes == {"beak": (0.5, 0.25, 0.75, 0.5), "eyes": (0.0, 0.0, 0.25, 1.0)}
    assert examples_of(exhibits, str(trained), None).boxes == {}
    shutil.copytree(trained, tmp_path / "run")
    about = json.loads((tmp_path / "run" / "environment.json").read_text())
    about["data"]["path"] = str(marked)
    (tmp_path / "run" / "environment.json").write_text(json.dumps(about))
    assert examples_of(exhibits, str(tmp_path / "run"), None).boxes == picked.boxes  # samples of a run trained on them
    about["data"]["path"] = str(tmp_path / "gone")
    (tmp_path / "run" / "environment.json").write_text(json.dumps(about))
    assert examples_of(exhibits, str(tmp_path / "run"), None).boxes == {}
    assert examples_of(exhibits, "emoji", None).boxes == {}
