"""Rate and distortion after each block: every number once more from the files themselves, and the command."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

from crvae.cli import main
from crvae.config.prior import FlowPriorConfig
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior
from crvae.pictures import from_8_bit, to_8_bit
from crvae.storage.models import save
from crvae.tasks.codec import Codec
from crvae.tasks.crz_file import unpack
from crvae.tasks.rate import psnr, rate, table
from crvae.training.classifier import Classifier, ClassifierConfig
from crvae.training.classifier import save as save_classifier


@pytest.fixture
def speaking(make):
    """A model whose posteriors say something."""
    model = make[0]("recurrent")
    with torch.no_grad():
        for parameter in model.latent.mean.parameters():
            parameter.mul_(30)
    return model


@torch.no_grad()
def test_every_row_is_what_the_files_cut_there_give(speaking):
    x = torch.rand(5, *speaking.image_shape) * 2 - 1
    far = lambda one, other: (one.float() - other.float()).abs().flatten(1).mean(1)  # noqa: E731
    values = lambda images: {"bright": images.mean((1, 2, 3)).mul(99).long(), "red": (images[:, 0] > 0).sum((1, 2))}  # noqa: E731
    rows = rate(speaking, x, far, values)
    posterior = speaking.encode(x)
    files, codec = Codec(speaking).compress(posterior), Codec(speaking)
    assert [row["blocks"] for row in rows] == [0, 1, 2, 3, 4]
    for t, row in enumerate(rows):
        ends = [unpack(data, "x").sizes() for data in files]
        cut = [data[: end[min(t, len(end) - 1)]] for data, end in zip(files, ends, strict=True)]
        assert row["bytes"]["mean"] == pytest.approx(sum(map(len, cut)) / 5)
        assert row["nats"]["mean"] == pytest.approx(posterior.kl(per_step=True)[:t].sum().item(), rel=1e-5, abs=1e-6)
        shown = to_8_bit(torch.stack([codec.image(data, "x") for data in cut]))
        errors = [(a.double() - b.double()).square().mean().item() for a, b in zip(shown, to_8_bit(x), strict=True)]
        expected = sum(10 * math.log10(255**2 / error) for error in errors) / 5
        assert row["psnr"]["mean"] == pytest.approx(expected, abs=1e-2)
        same = [
            (values(from_8_bit(a[None]))[name] == values(b[None])[name]).item()
            for a, b in zip(shown, x, strict=True)
            for name in ("bright", "red")
        ]
        assert row["attributes"]["mean"] == pytest.approx(sum(same) / 10)
        assert row["distance"]["mean"] == pytest.approx(far(shown, to_8_bit(x)).mean().item(), abs=0.05)
    assert rows[-1]["bytes"]["mean"] > rows[0]["bytes"]["mean"] == 12
    assert len(table(rows).splitlines()) == 7


def test_psnr_of_equal_images_is_finite():
    image = torch.full((1, 3, 4, 4), 9, dtype=torch.uint8)
    assert psnr(image, image).item() == 100
    assert psnr(image, image + 1).item() == pytest.approx(20 * math.log10(255), abs=1e-3)


def test_the_command(speaking, tmp_path, capsys):
    save(tmp_path / "model", speaking, recipe="test", images=0)
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.effect_noise((32, 32), 60 + number).convert("RGB").save(tmp_path / "in" / f"{number}.png")
    run, data, out = str(tmp_path / "model"), str(tmp_path / "in"), tmp_path / "out"
    config = ClassifierConfig(backbone="small", attributes={"hair": ["none", "red", "grey"], "hat": ["none", "fez"]})
    save_classifier(tmp_path / "classifier", Classifier(config, pretrained=False), {})
    seen = ["--classifier", str(tmp_path / "classifier")]
    assert main(["traverse", run, "rate", "--data", data, "--out", str(out), *seen]) == 0
    assert {file.name for file in out.iterdir()} == {"rate.png", "rate.md", "rate.json"}
    body = json.loads((out / "rate.json").read_text())
    assert body["images"] == 3
    assert len(body["rows"]) == 5
    assert all(round(6 * row["attributes"]["mean"], 4) in range(7) for row in body["rows"])
    capsys.readouterr()
    for options, says in (
        (["--out", str(tmp_path / "n")], "--data is missing"),
        (["--data", data, "--out", str(out)], "already exists"),
        (["--data", data, "--out", str(tmp_path / "n"), "--count", "1"], "--count must be from 2"),
        (
            ["--data", str(tmp_path / "in" / "0.png"), "--out", str(tmp_path / "n")],
            "gives one image, and intervals over images need two or more",
        ),
    ):
        assert main(["traverse", run, "rate", *options]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


@torch.no_grad()
def test_a_block_that_no_file_has_is_at_the_priors_mean(make):
    """The last posterior says nothing, and the prior's mean is far from 0: with it or without it the picture is the same."""
    model = make[0]("convolutional")
    model.latent.log_variance.weight[6:], model.latent.log_variance.bias[6:] = 0, 12
    prior = build_prior(FlowPriorConfig(width=8, depth=1, solver_steps=1), model.latent_shape, 4)
    assert isinstance(prior, LearnedPrior)
    prior.fit_scale(torch.full((2, *model.latent_shape), 3.0), torch.zeros(2, *model.latent_shape))
    model.prior = prior.eval().requires_grad_(False)
    rows = rate(model, torch.rand(3, *model.image_shape) * 2 - 1)
    assert rows[4]["bytes"] == rows[3]["bytes"] != rows[2]["bytes"]
    assert rows[4]["psnr"] == rows[3]["psnr"] != rows[2]["psnr"]
