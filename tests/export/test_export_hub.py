"""Models of the hub: uploaded to and loaded from a stand-in that speaks the hub's protocol, then offline from the cache."""

from __future__ import annotations

import json

import pytest
import torch

import crvae as package
from crvae.cli import main
from crvae.errors import UserError
from crvae.storage.models import load_discriminator


def test_push_load_and_offline(folder, tmp_path, hub, monkeypatch, capsys):
    out = tmp_path / "shared"
    assert (
        main(["export", str(folder), str(out), "--discriminator", "--licence", "MIT", "--push", "someone/small"]) == 0
    )
    assert 'crvae.load("hub:someone/small")' in capsys.readouterr().err.replace("'", '"')
    assert set(hub.repositories["someone/small"]) >= {"README.md", "config.json", "model.safetensors", "samples.png"}
    assert hub.objects, "weights go the way of large files"

    hub.requested.clear()
    model = package.load("hub:someone/small")
    assert torch.equal(model.sample(3, seed=1), package.load(folder).sample(3, seed=1))
    fetched = {path.rpartition("/")[2] for path in hub.requested if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors", "discriminator.safetensors"}

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requested.clear()
    again = package.load("hub:someone/small")
    assert torch.equal(again.sample(3, seed=1), model.sample(3, seed=1))
    assert not hub.requested
    images = torch.zeros(4, 3, 32, 32)
    assert torch.equal(load_discriminator("hub:someone/small")(images)[0], load_discriminator(folder)(images)[0])


def test_cache_alone(folder, tmp_path, hub, monkeypatch):
    """The library's own cache, laid out as it lays it out, without any server."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "cache" / "models--someone--cached"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "snapshots" / commit).mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (cache / "snapshots" / commit / name).write_bytes((folder / name).read_bytes())
    model = package.load("hub:someone/cached")
    assert torch.equal(model.sample(2), package.load(folder).sample(2))
    assert not hub.requested
    with pytest.raises(UserError, match="hub:someone/absent cannot be fetched"):
        package.load("hub:someone/absent")


def put(hub, folder, **changed):
    files = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.repositories["someone/small"] = files | changed.pop("files", {})


def test_weights_of_another_format_are_never_fetched(folder, hub):
    files = {"pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit", "model.safetensors": b""}
    put(hub, folder, files=files)
    with pytest.raises(UserError, match=r"model\.safetensors"):
        package.load("hub:someone/small")
    assert not any(path.endswith((".bin", ".py")) for path in hub.requested)


def test_what_is_no_model_is_refused_before_its_weights_are_fetched(folder, hub):
    put(hub, folder, files={"config.json": json.dumps({"model_type": "bert"}).encode()})
    with pytest.raises(UserError, match="no format number"):
        package.load("hub:someone/small")
    assert not any("resolve" in path and path.endswith("model.safetensors") for path in hub.requested)


def test_newer_format(folder, hub):
    put(hub, folder, files={"config.json": json.dumps({"format": 99}).encode()})
    with pytest.raises(UserError, match="format 99, newer"):
        package.load("hub:someone/small")


@pytest.mark.parametrize(
    "name", ["hub:", "hub:one", "hub:a/b/c", "hub:../etc", "hub:a/..", "hub:a b/c", "hub:-a/b", "hub:a/b\n"]
)
def test_names(name, hub):
    with pytest.raises(UserError, match="OWNER/NAME"):
        package.load(name)
    assert not hub.requested


def test_nothing_there(hub, capsys, tmp_path):
    assert main(["sample", "hub:someone/nothing", "--out", str(tmp_path / "a.png")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("crvae: hub:someone/nothing cannot be fetched (")
    assert len(message.splitlines()) == 1


def test_refused_upload_leaves_the_folder(folder, tmp_path, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    out = tmp_path / "shared"
    assert main(["export", str(folder), str(out), "--push", "someone/small"]) == 2
    assert "--push someone/small failed" in capsys.readouterr().err
    assert torch.equal(package.load(out).sample(2), package.load(folder).sample(2))
    assert main(["export", str(folder), str(tmp_path / "b"), "--push", "nobody"]) == 2
    assert not (tmp_path / "b").exists()
