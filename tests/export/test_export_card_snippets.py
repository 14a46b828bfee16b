"""The Python of a card, and what is printed after an upload, do what they say as they are typed: with crvae, with ONNX Runtime
alone, or with either.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import crvae as package
from crvae.cli import main
from crvae.config.prior import AutoregressivePriorConfig, FlowPriorConfig
from crvae.models.model import Model
from crvae.models.priors import build_prior
from crvae.pictures import to_8_bit
from crvae.storage.models import save, save_upsampler

PRIORS = {
    "flow": FlowPriorConfig(width=16, depth=1, solver_steps=2),
    "autoregressive": AutoregressivePriorConfig(width=8, mixture=3),
}


@pytest.fixture
def saved(small, folder2, tmp_path):
    """saved(stage, prior, **options): the folder of a small model with a prior of this kind, "" for N(0, I)."""

    def make(stage: int, prior: str, **options):
        model = small(steps=2, **options) if stage == 1 else package.load(folder2)
        stage1 = model if stage == 1 else model.stage1
        if prior:
            torch.manual_seed(0)
            stage1.prior = build_prior(PRIORS[prior], stage1.latent_shape, stage1.config.steps).eval()
        write = save if stage == 1 else save_upsampler
        write(tmp_path / "model", model, recipe="test", images=1)
        return tmp_path / "model"

    return make


def opened(said: str, model: str) -> str:
    """What the last line says to type after the upload of `model`."""
    address, _, typed = said.splitlines()[-1].partition(": ")
    assert address.endswith(f"/{model}")
    return typed


def blocks(card: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", card, re.M | re.S)


def drawn(model: Model) -> np.ndarray:
    """The pixels that the snippet must write, by the model itself."""
    noise = np.random.default_rng(0).standard_normal((16, *model.prior.noise_shape), np.float32)
    with torch.no_grad():
        images = to_8_bit(model.decode(model.prior.generate(torch.from_numpy(noise))))
    return torch.cat(list(images), dim=2).permute(1, 2, 0).numpy()


def without_crvae(snippet: str, folder) -> None:
    """Types the snippet in `folder`, where crvae and torch cannot be imported."""
    for name in ("crvae", "torch"):
        (folder / f"{name}.py").write_text("raise ImportError")
    environment = {**os.environ, "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-c", snippet], cwd=folder, env=environment, check=True)


CASES = [
    (2, "flow", {}),
    pytest.param(1, "", {"size": 28, "channels": 1}, marks=pytest.mark.slow),
    pytest.param(1, "flow", {}, marks=pytest.mark.slow),
    pytest.param(1, "autoregressive", {"latent": "dense"}, marks=pytest.mark.slow),
    pytest.param(2, "", {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("stage", "prior", "options"), CASES, ids=str)
def test_onnx_alone(saved, tmp_path, hub, monkeypatch, capsys, stage, prior, options):
    """make test-export, for those that take longer"""
    folder, pushed = saved(stage, prior, **options), tmp_path / "pushed"
    assert main(["export", str(folder), str(pushed), "--format", "onnx", "--push", "someone/small"]) == 0
    typed, _, card_is_in = opened(capsys.readouterr().err, "someone/small").partition(", then the Python of ")
    assert card_is_in == "small/README.md"
    monkeypatch.chdir(tmp_path)
    eval(typed, {"huggingface_hub": huggingface_hub})
    out = tmp_path / "small"
    card = (out / "README.md").read_text()
    assert "crvae.load" not in card
    assert "crvae sample" not in card
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "onnx"
    (snippet,) = blocks(card)
    without_crvae(snippet, out)
    with Image.open(out / "images.png") as picture:
        found = np.asarray(picture).astype(int)
    expected = drawn(package.load(folder))
    assert found.reshape(expected.shape).shape == expected.shape
    assert abs(found.reshape(expected.shape) - expected).max() <= 1  # where a value lies between two
    assert expected.std() > 2, "what is compared must depend on z"


def test_weights_alone_and_both(saved, tmp_path, hub, monkeypatch, capsys):
    folder = saved(1, "")
    for name, formats, count in (("weights", "safetensors", 1), ("both", "safetensors,onnx", 2)):
        out = tmp_path / name
        assert main(["export", str(folder), str(out), "--format", formats, "--push", f"someone/{name}"]) == 0
        model = eval(opened(capsys.readouterr().err, f"someone/{name}"), {"crvae": package})
        assert torch.equal(model.sample(2), package.load(folder).sample(2))
        card = (out / "README.md").read_text()
        with_crvae, *others = blocks(card)
        assert len(others) == count - 1
        known: dict[str, object] = {}
        monkeypatch.chdir(tmp_path)
        exec(with_crvae.replace("FOLDER", name), known)
        assert torch.equal(known["images"], package.load(folder).sample(16, seed=0))  # type: ignore[arg-type]
        (command,) = re.findall(r"`crvae (sample FOLDER [^`]+)`", card)
        assert main(command.replace("FOLDER", name).replace("samples.png", f"{name}.png").split()) == 0
        for snippet in others:
            without_crvae(snippet, out)
            with Image.open(out / "images.png") as picture:
                assert picture.size == (16 * 32, 32)
