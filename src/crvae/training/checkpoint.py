"""Training state on disk: written beside its place, synced, renamed; verified by a manifest of hashes when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from crvae.atomic import sync
from crvae.config import FORMAT
from crvae.errors import UserError

SPARE = 1.5
"""Free space that a checkpoint must find, as a multiple of the state's size."""

State = dict[str, Any]


class Damaged(Exception):
    """A checkpoint that is not what its manifest says; the message says how."""


def save(folder: Path, images: int, state: State, keep: int) -> Path:
    """Writes `state` as `folder`/IMAGES and removes all but the newest `keep` up to it. All of it is there, or nothing.

    Checkpoints of later moments are removed too: they were damaged when the run went back before them.
    Raises UserError where the disk is full or cannot be written; older checkpoints are then as they were.
    """
    target = folder / f"{images:012d}"
    temporary = folder / f".{target.name}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            shutil.rmtree(stale)
        needed = int(SPARE * _bytes(state))
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise UserError(
                f"{folder}: {needed / 2**20:.1f} MiB are needed for a checkpoint, {free / 2**20:.1f} are free; make room and resume"
            )
        temporary.mkdir()
        torch.save(state, temporary / "state.pt")
        sync(temporary / "state.pt")
        manifest = {"format": FORMAT, "images": images, "sha256": {"state.pt": _hash(temporary / "state.pt")}}
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        sync(temporary / "manifest.json")
        sync(temporary)
        if target.exists():  # damaged: the run went back before it, and is here again
            shutil.rmtree(target)
        os.rename(temporary, target)
        sync(folder)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        shutil.rmtree(temporary, ignore_errors=True)
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{target} could not be written ({reason}); older checkpoints are intact: mend it and resume"
        ) from error
    kept = [path for path in existing(folder) if path.name <= target.name][-keep:]
    for path in existing(folder):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    return target


def existing(folder: Path) -> list[Path]:
    """All checkpoints of a run, oldest first, verified or not."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def newest(folder: Path) -> tuple[int, State, list[str]]:
    """The newest checkpoint that is whole: (images, state, a sentence for each damaged one that was passed over).

    Raises UserError where there is none.
    """
    complaints = []
    for path in reversed(existing(folder)):
        try:
            return *_read(path), complaints
        except Damaged as error:
            complaints.append(f"{path} is damaged ({error}); going back to the one before it")
    found = "; ".join(complaints)
    raise UserError(f"{folder} holds no whole checkpoint to resume from{': ' + found if found else ''}")


def _read(path: Path) -> tuple[int, State]:
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        version, images, expected = manifest["format"], manifest["images"], manifest["sha256"]["state.pt"]
        if type(version) is not int or type(images) is not int:
            raise ValueError("its numbers are none")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"its manifest cannot be read: {error}") from None
    if version > FORMAT:
        raise UserError(f"{path} has format {version}, newer than this crvae reads ({FORMAT}): upgrade crvae")
    try:
        if _hash(path / "state.pt") != expected:
            raise Damaged("state.pt is not what was written")
        with zipfile.ZipFile(path / "state.pt") as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise Damaged("state.pt is compressed, which no checkpoint is")  # it could unpack to any size
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"state.pt cannot be read: {error}") from None
    return images, state


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(state: Any) -> int:
    if isinstance(state, torch.Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(_bytes, state))
    return 64
