"""Models as files: what is saved comes back; what does not fit, or was made to harm, is refused in one sentence."""

from __future__ import annotations

import json
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import crvae
from crvae.errors import UserError
from crvae.storage.models import load, load_discriminator, save
from crvae.training.stage1 import build
from fuzzing import many


@contextmanager
def within_a_gibibyte() -> Iterator[None]:
    """Whoever asks for more than 1 GiB beyond what the process has now gets a MemoryError."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def folder(tmp_path, small) -> Path:
    torch.manual_seed(0)
    config = small()
    model, discriminator = build(config)
    save(tmp_path / "model", model, recipe="test", images=5, discriminator=discriminator)
    return tmp_path / "model"


def test_a_model_is_loaded_to_a_device_that_is_there(folder):
    assert load(folder, torch.device("cpu")).device == load(str(folder), "cpu").device == torch.device("cpu")
    for device in ("gpu", "cuda:99", "", 1.5):
        with pytest.raises(UserError, match=r"^device must be one that this machine has, .*cpu, got"):
            load(folder, device)  # type: ignore[arg-type]


def refused(folder: Path, *words: str, loader=load) -> None:
    with pytest.raises(UserError) as found:
        loader(folder)
    assert "\n" not in str(found.value)
    for word in words:
        assert word in str(found.value), found.value


def rewritten(folder: Path, **parts: object) -> None:
    body = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(body | parts))


def test_what_is_saved_comes_back(folder, small):
    for latent in ("dense", "convolutional", "recurrent"):
        for options in ({}, {"residual": True, "permute": True}, {"size": 28, "channels": 1}):
            config = small(latent, model=options)
            model, discriminator = build(config)
            save(folder, model, recipe="test", images=7, discriminator=discriminator)
            loaded = load(folder)
            assert not loaded.training
            assert not any(p.requires_grad for p in loaded.parameters())
            assert loaded.config == config.model
            assert torch.equal(loaded.sample(2), model.eval().sample(2))
            heads = load_discriminator(folder)
            x = loaded.sample(4, seed=1)
            for one, other in zip(heads(x), discriminator.eval()(x), strict=True):
                torch.testing.assert_close(one, other)
    assert json.loads((folder / "config.json").read_text())["images"] == 7


def test_a_run_loads_by_its_name(trained):
    model = crvae.load(str(trained))
    assert model.sample(3, seed=0).shape == (3, 3, 32, 32)
    assert load_discriminator(trained).latent_head is not None


def test_wrong_places(tmp_path, folder):
    refused(tmp_path / "nowhere", "neither a run nor an exported folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no model")
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors is missing")
    (folder / "discriminator.safetensors").unlink()
    refused(folder, "no discriminator", loader=load_discriminator)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["cannot be read"]),
        ("{", ["cannot be read"]),
        ("[]", ["format number"]),
        ('{"format": true}', ["format number"]),
        ('{"format": "1"}', ["format number"]),
        ('{"format": 2}', ["newer"]),
        ('{"format": 1}', ["model"]),
        ('{"format": 1, "model": {"width": 100000}}', ["model.width"]),
        ('{"format": 1, "model": {"path": "/etc/passwd"}}', ["model.path"]),
        ("[" * 100_000, ["cannot be read"]),
        ('{"format": 1e400}', ["format number"]),
        (" " * (1 << 20), ["bytes"]),
    ],
)
def test_a_configuration_from_elsewhere(folder, text, words):
    (folder / "config.json").write_text(text)
    refused(folder, "config.json", *words)
    refused(folder, "config.json", loader=load_discriminator)


def test_a_configuration_that_is_no_text(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    refused(folder, "config.json cannot be read")


def test_a_small_file_cannot_make_us_allocate(folder):
    """Widths whose LSTMs alone would take gigabytes: compared with the file before any memory is taken."""
    wide = {"width": 512, "latent_channels": 4096, "steps": 1, "size": 32}
    rewritten(folder, model=wide, discriminator={"kernels": 1024, "kernel_size": 64})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder, "shape")
    refused(folder, "latent_head", loader=load_discriminator)
    rewritten(folder, latent_head=None)
    refused(folder, "discriminator.safetensors", loader=load_discriminator)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize("head", [[], [8], [8, 4, 5], [1 << 40, 4, 4], "u", {"a": 1}, [[8, 4, 4]], -1])
def test_a_latent_head_of_another_shape(folder, head):
    rewritten(folder, latent_head=head)
    refused(folder, "latent_head", loader=load_discriminator)


def changed(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_tensors_that_do_not_fit(folder):
    name = "latent.transform.project.weight"
    original = (folder / "model.safetensors").read_bytes()
    for change, words in [
        (lambda t: t.pop(name), [name, "missing"]),
        (lambda t: t.update(extra=torch.zeros(1)), ["extra", "not of this model"]),
        (lambda t: t.update({name: t[name][:-1].clone()}), [name, "shape"]),
        (lambda t: t.update({name: t[name].double()}), [name, "F64"]),
        (lambda t: t.update({name: t[name].bfloat16()}), [name, "BF16"]),
        (lambda t: t[name].view(-1)[3].fill_(torch.nan), [name, "not finite"]),
        (lambda t: t[name].view(-1)[0].fill_(torch.inf), [name, "not finite"]),
    ]:
        (folder / "model.safetensors").write_bytes(original)
        changed(folder, change)
        refused(folder, "model.safetensors", *words)


def test_a_pickle_in_the_place_of_weights(folder):
    torch.save({"a": 1}, folder / "model.safetensors")
    refused(folder, "not a readable safetensors file")


def headered(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 1 << 62),
        struct.pack("<Q", 1 << 30) + b"{}",
        headered({"a": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 4]}}, b"0000"),
        headered({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        headered({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"0000"),
        headered({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, b"0000"),
        headered(b"[" * 10_000),
    ],
    ids=range(9),
)
def test_headers_that_lie(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "model.safetensors")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        "latent",
        "size",
        "channels",
        "width",
        "latent_channels",
        "steps",
        "residual",
        "mixing",
        "batch_norm_eps",
        "release",
    ]
)
plausible = st.sampled_from(["dense", "recurrent", 1, 8, 16, 32, 64, 0, -1, 512, 4096, True, 1e-6, None, "lstm"])


parts = st.sampled_from(["model", "latent_head", "discriminator", "format"])


@many(60)
@given(st.dictionaries(fields, plausible | json_values, max_size=5), json_values, parts)
def test_fuzzed_configurations(folder, model, value, part):
    """Loaded, or refused in one sentence: nothing else."""
    original = (folder / "config.json").read_text()
    try:
        body = json.loads(original)
        rewritten(folder, **({"model": body["model"] | model} if part == "model" else {part: value}))
        for loader in (load, load_discriminator):
            try:
                with within_a_gibibyte():
                    loader(folder)
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017
    finally:
        (folder / "config.json").write_text(original)


@many(60)
@given(st.data())
def test_fuzzed_files(folder, data):
    """Bytes of either file changed, cut off or added."""
    name = data.draw(st.sampled_from(["config.json", "model.safetensors", "discriminator.safetensors"]))
    original = (folder / name).read_bytes()
    content = bytearray(original)
    for _ in range(data.draw(st.integers(0, 4))):
        # mostly in the header, where the lies are
        at = data.draw(st.integers(0, min(len(content), 4000) - 1) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    content += data.draw(st.binary(max_size=20))
    (folder / name).write_bytes(content)
    try:
        for loader in (load, load_discriminator):
            try:
                with within_a_gibibyte():
                    loader(folder)
            except UserError as error:
                assert len(str(error).splitlines()) == 1  # noqa: PT017
    finally:
        (folder / name).write_bytes(original)


def test_saving_to_a_place_that_is_a_file(tmp_path, small):
    model, _ = build(small())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        save(tmp_path / "file", model, recipe="test", images=0)
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_skeletons_of_all_recipes_hold_nothing_and_draw_nothing():
    """To draw values that have no memory torch would import its compiler; in a process of its own, since another test may have."""
    code = """
import sys
from pathlib import Path
from crvae.models.autoencoder import Autoencoder
from crvae.models.upsampler import UpsamplingNetwork
from crvae.recipes import RECIPES
from crvae.storage.weights import skeleton
for name, recipe in RECIPES.items():
    model = recipe.config.model
    kind = Autoencoder if hasattr(model, "latent") else UpsamplingNetwork
    assert all(weights.is_meta for weights in skeleton(Path(name), lambda: kind(model)).parameters()), name
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
