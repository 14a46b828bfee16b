"""`crvae.read`, and what models say of images and latents that they cannot take."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import crvae
from crvae.errors import UserError


@pytest.fixture(scope="module")
def model(trained):
    return crvae.load(trained)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Pictures of 32 pixels and what the model must get of each, `c h w` of 0 to 255."""
    folder = tmp_path_factory.mktemp("odd")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    left = np.arange(32)[None] < 16
    expected = {"plain.png": pixels, "turned.png": np.rot90(pixels, -1)}
    Image.fromarray(pixels).save(folder / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn it clockwise
    Image.fromarray(pixels).save(folder / "turned.png", exif=exif)
    alpha = np.broadcast_to(np.where(left, 0, 255), (32, 32))[..., None].astype(np.uint8)
    Image.fromarray(np.concatenate([pixels, alpha], 2)).save(folder / "clear.png")
    expected["clear.png"] = np.where(left[..., None], 255, pixels)
    grey = pixels[..., 0]
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(np.pad(pixels, ((0, 0), (9, 9), (0, 0)))).save(folder / "wide.png")
    expected |= {"grey.png": np.stack([grey] * 3, 2), "deep.png": np.stack([grey] * 3, 2), "wide.png": pixels}
    return folder, {name: image.transpose(2, 0, 1) for name, image in expected.items()}


def test_read_gives_every_picture_as_a_model_takes_it(odd, model):
    folder, expected = odd
    for name, image in expected.items():
        x = crvae.read(folder / name, model)
        assert x.shape == (1, 3, 32, 32)
        assert x.dtype == torch.float32
        np.testing.assert_allclose(x[0].numpy(), image / 127.5 - 1, atol=1e-6, err_msg=name)
        assert model.reconstruct(x).shape == x.shape
    assert torch.equal(
        crvae.read(str(folder), model), torch.cat([crvae.read(folder / n, model) for n in sorted(expected)])
    )
    assert torch.equal(crvae.read(folder, model, count=2), crvae.read(folder, model)[:2])


def test_read_scales_as_prepare_does_and_reads_prepared_data(tmp_path, model, painted):
    painted(tmp_path / "pictures", 20, 57)
    data = crvae.prepare(tmp_path / "pictures", tmp_path / "data", size=32)
    x = crvae.read(tmp_path / "pictures", model)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    split = data.split("validation")
    for index, key in enumerate(split.keys(range(len(split)))):
        (place,) = [i for i, name in enumerate(names) if key.endswith(name)]
        assert torch.equal(split[index], x[place])
    assert torch.equal(crvae.read(data, model), split[:])


def test_read_is_for_the_model(tmp_path, upsampled, small):
    Image.new("RGB", (90, 70), (255, 0, 0)).save(tmp_path / "red.png")
    assert crvae.read(tmp_path / "red.png", crvae.load(upsampled)).shape == (1, 3, 64, 64)
    grey = crvae.Autoencoder(small(model={"size": 28, "channels": 1}).model)
    assert crvae.read(tmp_path / "red.png", grey).shape == (1, 1, 28, 28)


def test_read_names_what_it_leaves_out(tmp_path, model, painted, capsys):
    painted(tmp_path / "pictures", 2, 32)
    (tmp_path / "pictures" / "bad.png").write_bytes(b"\x89PNG but not really")
    (tmp_path / "pictures" / "notes.txt").write_text("text")
    assert len(crvae.read(tmp_path / "pictures", model)) == 2
    said = capsys.readouterr().err
    assert re.search(r"^skipped: .*bad\.png is ", said, re.M)
    assert "1 not looked at: ending .txt (notes.txt)" in said


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("none.png", None, r"source .*none\.png does not exist"),
        ("bad.png", None, r"bad\.png is not an image"),
        ("empty", None, r"source .*empty holds neither prepared data nor image files"),
        ("empty", 0, "count must be at least 1, got 0"),
    ],
)
def test_read_refuses(tmp_path, model, name, count, words):
    (tmp_path / "bad.png").write_bytes(b"not an image")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=words):
        crvae.read(tmp_path / name, model, count)


# ---- what models refuse -----------------------------------------------------------------------------------------------

REFUSALS = {
    "model.encode(torch.zeros(1, 3, 16, 16))": "images must be b 3 32 32 in [-1, 1], got 1 3 16 16",
    "model.reconstruct(torch.zeros(1, 1, 32, 32))": "images must be b 3 32 32 in [-1, 1], got 1 1 32 32",
    "model.encode(torch.zeros(3, 32, 32))": "images must be b 3 32 32 in [-1, 1], got 3 32 32. Pass images[None]",
    "model.encode(stored)": "images must be float32 b 3 32 32 in [-1, 1], got uint8. "
    "Convert values 0 to 255 with crvae.pictures.from_8_bit(images)",
    "model.encode(x.double())": "images must be float32 b 3 32 32 in [-1, 1], got float64. Pass images.to(torch.float32)",
    "model(x.numpy())": "images must be a tensor b 3 32 32 in [-1, 1], got ndarray",
    "model.encode(x.to('meta'))": "images must be on the model's device cpu, got meta. Pass images.to(model.device)",
    "model.decode(z[0])": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "model.decode(z.flatten(1))": "z must be b 8 4 4, got 2 128",
    "model.decode(z.long())": "z must be float32 b 8 4 4, got int64. Pass z.to(torch.float32)",
    "model.decode(z, 9)": "steps must be a whole number from 0 to 8, the model's time steps, got 9",
    "model.decode(z, 2.0)": "steps must be a whole number from 0 to 8, the model's time steps, got 2.0",
    "model.decode(z, torch.tensor(2))": "steps must be a whole number from 0 to 8, the model's time steps, got tensor(2)",
    "model.prior.fill(z, None)": "steps must be a whole number from 0 to 8, the model's time steps, got None",
    "model.prior.mean_fill(z, '2')": "steps must be a whole number from 0 to 8, the model's time steps, got '2'",
    "model.prior.redraw(z, 0)": "step must be a whole number from 1 to 8, the model's time steps, got 0",
    "model.prior.fill(z[:, :4], 2)": "z must be b 8 4 4, got 2 4 4 4",
    "model.prior.fill(z[0], 2)": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "model.prior.fill(z.double(), 2)": "z must be float32 b 8 4 4, got float64. Pass z.to(torch.float32)",
    "model.prior.redraw(z[0], 2)": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "model.prior.mean_fill(z[0], 2)": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "model.prior.log_prob(z[0])": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "model.prior.log_prob(z[:, :3])": "z must be b 8 4 4, got 2 3 4 4",
    "model.prior.log_prob(z.long())": "z must be float32 b 8 4 4, got int64. Pass z.to(torch.float32)",
    "model.prior.potential(z[0])": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "learned.log_prob(z[0])": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "learned.fill(z[:, :4], 2)": "z must be b 8 4 4, got 2 4 4 4",
    "learned.potential(z[:, :4])": "z must be b 8 4 4, got 2 4 4 4",
    "flow.potential(z[:, :4])": "z must be b 8 4 4, got 2 4 4 4",
    "flow.potential(z.double())": "z must be float32 b 8 4 4, got float64. Pass z.to(torch.float32)",
    "crvae.tasks.interpolation(model, z, z, 1, points=0)": "points must be at least 1, got 0",
    "crvae.tasks.interpolation(model, z, z, 1, points=2.5)": "points must be a whole number, got 2.5",
    "crvae.tasks.interpolation(model, z[0], z[0], 1)": "z must be b 8 4 4, got 8 4 4. Pass z[None]",
    "model.encode(x).truncate(-1)": "steps must be a whole number from 0 to 8, the model's time steps, got -1",
    "large.decode(z, 9)": "steps must be a whole number from 0 to 8, the model's time steps, got 9",
    "model.sample(0)": "count must be at least 1, got 0",
    "model.sample(2.5)": "count must be a whole number, got 2.5",
    "model.sample('3')": "count must be a whole number, got '3'",
    "model.prior.sample(0)": "count must be at least 1, got 0",
    "model.sample(2, seed=None)": "seed must be a whole number of at most 64 bits, got None",
    "model.sample(2, seed=1.5)": "seed must be a whole number of at most 64 bits, got 1.5",
    "model.sample(2, seed=2**64)": "seed must be a whole number of at most 64 bits, got 18446744073709551616",
    "model.sample(2, truncation='1')": "truncation must be a finite number, got '1'",
    "large.sample(2, truncation=float('nan'))": "truncation must be a finite number, got nan",
    "crvae.load(sys.argv[1], 'gpu')": "device must be one that this machine has, cpu, got 'gpu'",
    "crvae.load(sys.argv[1], 'cuda')": "device must be one that this machine has, cpu, got 'cuda'",
    "crvae.load_discriminator(sys.argv[1], 'cuda:1')": "device must be one that this machine has, cpu, got 'cuda:1'",
    "crvae.load(3)": "a model is named by its run, folder or name as text or a path, got 3",
    "crvae.load(None)": "a model is named by its run, folder or name as text or a path, got None",
    "crvae.evaluate(model, sys.argv[3], images=2.5)": "--images must be a whole number, got 2.5",
    "crvae.evaluate(model, sys.argv[3], seed='0')": "--seed must be a whole number, got '0'",
    "large.encode(torch.zeros(1, 3, 48, 48))": "images must be b 3 32 32 or b 3 64 64 in [-1, 1], got 1 3 48 48",
    "large.upscale(torch.zeros(1, 3, 64, 64))": "images must be b 3 32 32 in [-1, 1], got 1 3 64 64",
    "large.decode(z[:, :4])": "z must be b 8 4 4, got 2 4 4 4",
    "large(stored)": "images must be float32 b 3 32 32 in [-1, 1], got uint8. "
    "Convert values 0 to 255 with crvae.pictures.from_8_bit(images)",
}


def test_models_refuse_in_one_sentence(trained, upsampled, colour):
    """In another process: in this one shapes are also checked by jaxtyping, as a user's never are."""
    lines = [
        "import numpy, sys, torch, crvae",
        "from crvae.errors import UserError",
        "model, large = crvae.load(sys.argv[1]), crvae.load(sys.argv[2])",
        "stored = crvae.open_data(sys.argv[3]).split('train').images([0, 1])",
        "x, z = crvae.pictures.from_8_bit(stored), torch.zeros(2, 8, 4, 4)",
        "model.decode(model.encode(x).mean); large.reconstruct(x); large.reconstruct(large.upscale(x))",
        "from crvae.config.prior import AutoregressivePriorConfig, FlowPriorConfig",
        "from crvae.models.priors import build_prior",
        "learned = build_prior(AutoregressivePriorConfig(width=8), (8, 4, 4), 8)",
        "flow = build_prior(FlowPriorConfig(width=8), (8, 4, 4), 8)",
        "learned.log_prob(z.double()); model.prior.log_prob(z.double()); flow.potential(z); learned.fill(z, 2)",
        "model.sample(2, truncation=numpy.float32(0.5)); crvae.load(sys.argv[1], torch.device('cpu'))",
        "model.decode(z, numpy.int64(2)); model.prior.mean_fill(z, torch.tensor([0, 8])); large.prior.fill(z, 8)",
        "with torch.autocast('cpu', torch.bfloat16): model.encode(x.bfloat16())",
        "for line in sys.argv[4:]:",
        "    try: eval(line); print('nothing')",
        "    except UserError as error: print(error)",
    ]
    arguments = [*map(str, (trained, upsampled, colour)), *REFUSALS]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert dict(zip(REFUSALS, done.stdout.splitlines(), strict=True)) == REFUSALS


def test_a_check_does_not_hinder_tracing(model):
    """A check reads no value: torch.export would refuse one that did, and one that fixed the batch."""
    batch = torch.export.Dim("batch", min=1)
    encode = torch.nn.Module()
    encode.forward = lambda x: model.encode(x).mean  # type: ignore[method-assign]
    program = torch.export.export(encode, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    x = torch.rand(5, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(program.module()(x), model.encode(x).mean)
