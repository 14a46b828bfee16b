"""The Stage1 model that a Stage2 run builds on: known by its hash, copied into the run, read from there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from crvae.config.stage2 import Stage2Config
from crvae.errors import UserError
from crvae.files import write_bytes
from crvae.models.autoencoder import Autoencoder
from crvae.storage.hub import FILES
from crvae.storage.models import load, model_folder


def adopt(config: Stage2Config, stage1: str) -> Stage2Config:
    """The configuration with the hash of the Stage1 model that it will use. Raises UserError if there is none."""
    return config.model_copy(update={"stage1": fingerprint(stage1)})


def keep(config: Stage2Config, stage1: str, folder: Path) -> None:
    """Copies the Stage1 model into a run's new folder, as `stage1/`. Raises UserError if it changed meanwhile."""
    target = folder / "stage1"
    target.mkdir()
    for file in model_folder(stage1).iterdir():
        if file.name in FILES:
            write_bytes(target / file.name, file.read_bytes())
    if fingerprint(target) != config.stage1:
        raise UserError(f"--stage1 {stage1} changed while it was read. Run the same command again")


def fingerprint(stage1: str | Path) -> str:
    """Hex SHA-256 of a Stage1 model: its configuration, its weights and those of a learned prior."""
    folder = model_folder(stage1)
    digest = hashlib.sha256()
    try:
        names = ["config.json", "model.safetensors"]
        names += ["prior.safetensors"] * (folder / "prior.safetensors").exists()
        for name in names:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def adopted(config: Stage2Config, stage1: str | Path) -> Autoencoder:
    """The Stage1 model at `stage1`. Raises UserError if it is not the run's, or does not fit its upsampler."""
    found = fingerprint(stage1)
    if found != config.stage1:
        raise UserError(f"{stage1} is not the Stage1 model that the run began with: put back the original folder")
    model = load(stage1)
    if not isinstance(model, Autoencoder):
        raise UserError(f"{stage1} is a Stage2 run: --stage1 takes a Stage1 run")
    wanted, (channels, size, _) = config.model, model.image_shape
    if (channels, size) != (wanted.channels, wanted.size):
        kinds = {1: "grey", 3: "colour"}
        raise UserError(
            f"{stage1} makes {kinds[channels]} images of {size} pixels, the recipe takes {kinds[wanted.channels]} ones of"
            f" {wanted.size}: set --model.size {size} --model.channels {channels}"
        )
    return model
