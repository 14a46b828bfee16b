"""Training state: what a run is at one moment besides its configuration, and how it is stored.

On disk it is written beside its place, synced, renamed, and verified by a manifest of hashes when it is read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crvae.config.base import FORMAT, check_format
from crvae.errors import UserError, brief, reason
from crvae.files import replaced, whole, write_text
from crvae.training.optimising import Optimising
from crvae.training.stage import Stage

SPARE = 1.5
"""Free space that a checkpoint must find, as a multiple of the state's size."""

State = dict[str, Any]


class Damaged(Exception):
    """A checkpoint that is not what its manifest says; the message says how."""


def save(folder: Path, images: int, state: State, keep: int) -> Path:
    """Writes `state` as `folder`/IMAGES and removes all but the newest `keep` up to it. All of it is there, or nothing.

    Checkpoints of later moments are removed too: they were damaged when the run went back before them.
    Raises UserError if the disk is full or cannot be written; older checkpoints are then as they were.
    """
    target = folder / f"{images:012d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in (*folder.glob(".*.tmp/"), *folder.glob(".*.old/")):  # of a process that was killed while it wrote
            shutil.rmtree(stale)
        needed = int(SPARE * _bytes(state))
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise UserError(
                f"{folder}: {needed / 2**20:.1f} MiB are needed for a checkpoint and {free / 2**20:.1f} are free. Free space, then resume"
            )
        with replaced(target) as temporary:  # where there is one, it is damaged: the run went back before it
            with whole(temporary / "state.pt") as file:
                torch.save(state, file)
            manifest = {"format": FORMAT, "images": images, "sha256": {"state.pt": _hash(temporary / "state.pt")}}
            write_text(temporary / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        why = reason(error) if isinstance(error, OSError) else brief(error)
        raise UserError(
            f"{target} could not be written ({why}); older checkpoints are intact, resume from them"
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

    Raises UserError if there is none.
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
        images, expected = manifest["images"], manifest["sha256"]["state.pt"]
        if type(manifest["format"]) is not int or type(images) is not int:
            raise ValueError("its numbers are missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"its manifest cannot be read: {error}") from None
    check_format(manifest, path, "a checkpoint")
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


def capture(images: int, stage: Stage, sides: list[Optimising]) -> State:
    """Everything that a resumed run needs, on the device it is on.

    Of the averages the parameters alone: their batch statistics are made anew at every export.
    """
    return {
        "images": images,
        "networks": {name: network.state_dict() for name, network in stage.networks.items()},
        "averaged": {name: parameter.detach() for name, parameter in stage.averaged.named_parameters()},
        "optimisers": {side.name: side.optimiser.state_dict() for side in sides},
    }


def restore(state: State, stage: Stage, sides: list[Optimising]) -> int:
    """Takes over a captured state and returns its images seen.

    Raises UserError if a name, shape or dtype is not this configuration's, or a value is not finite.
    """
    try:
        images = state["images"]
        if type(images) is not int or images < 0:
            raise ValueError("images is not a count")
        statistics = {name for name, _ in stage.averaged.named_buffers()}
        averaged = {name: tensor for name, tensor in state["averaged"].items() if name not in statistics}
        pairs = [("averaged", averaged, dict(stage.averaged.named_parameters()))]
        pairs += [(name, state["networks"][name], net.state_dict()) for name, net in stage.networks.items()]
        for name, saved, own in pairs:
            _compare(name, saved, own)
        for side in sides:
            _compare_optimiser(side, state["optimisers"][side.name]["state"])

        with torch.no_grad():
            for _, saved, own in pairs:
                for name, tensor in own.items():
                    tensor.copy_(saved[name])
        for side in sides:  # the moments only: rates and the like are the configuration's
            moments = state["optimisers"][side.name]["state"]
            side.optimiser.load_state_dict(side.optimiser.state_dict() | {"state": moments})
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise UserError(f"the checkpoint does not fit the run's configuration: {brief(error)}") from None
    return images


def _compare(where: str, saved: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    for name in sorted(set(saved) ^ set(own)):
        raise ValueError(f"{where}: {name} is {'missing' if name in own else 'not of this model'}")
    for name, tensor in own.items():
        found = saved[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise ValueError(
                f"{where}: {name} is {found.dtype} {tuple(found.shape)}, not {tensor.dtype} {tuple(tensor.shape)}"
            )
        if found.is_floating_point() and not torch.isfinite(found).all():
            raise ValueError(f"{where}: {name} holds values that are not finite")


def _compare_optimiser(side: Optimising, saved: dict[int, dict[str, Tensor]]) -> None:
    for index, moments in saved.items():
        parameter = side.parameters[index]
        own = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
        _compare(f"{side.name}'s optimiser, parameter {index}", moments, own)
