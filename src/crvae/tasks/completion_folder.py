"""Completions as a folder: every mask's images, all restarts, comparisons, and the losses as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.config.base import FORMAT
from crvae.errors import UserError, reason
from crvae.files import check_new_folder, put, write_text
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.pictures import save_image, save_picture, to_8_bit
from crvae.progress import Progress
from crvae.tasks.completion import Completions, complete
from crvae.tasks.grids import labelled_grid
from crvae.tasks.inputs import Images
from crvae.tasks.occlusion import blend, occlude
from crvae.tasks.search import Search
from crvae.workplace import lock, workplace

ROWS_AT_ONCE = {"cpu": 64}
"""Restarts that are searched together, over all images, on a kind of device; 512 on others. More no longer fit a CPU's caches."""
STATE = "state.json"
"""In a folder that is not complete: the request, and the masks that are done."""
PAGE = 16
"""Images on one page of a comparison."""
BUSY = "another process is completing images into {out}: wait for it, or choose another --out"
TAKEN = ("original", "occluded", "blended", "restarts", "comparison")
"""Sub-folders that are not masks."""


@dataclass(frozen=True)
class Job:
    """All images under all masks."""

    run: str
    """As the user typed it."""
    model: Autoencoder
    discriminator: Discriminator | None
    images: Images
    masks: dict[str, Float[Tensor, "h w"]]
    search: Search
    feather: float
    """Of the blended images' seam, in pixels."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"format": FORMAT, "run": self.run, "search": asdict(self.search), "feather": self.feather}

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the result."""
        inputs = hashlib.sha256(repr((self.settings, self.images.names)).encode())
        for tensor in (self.images.x, *self.masks.values(), *self.model.state_dict().values()):
            inputs.update(tensor.cpu().numpy().tobytes())
        return inputs.hexdigest()


def write(job: Job, out: Path, progress: Progress) -> float:
    """Completes into the new folder `out`. Returns images a second. Raises UserError as `complete` does.

    MASK/NAME.png: the completion of the lowest loss, decoded as a whole. blended/MASK/: the same with the visible pixels as they
    were. occluded/MASK/ and original/: what was given. restarts/MASK/: all restarts side by side, best first.
    comparison/MASK/: pages with one row an image. completions.json: settings and losses of every restart.

    Until it is complete the folder is called .OUT.partial; a call with the same job keeps the masks that are done.
    Raises UserError if masks of another job are done there, or another process is working there.
    """
    for name in job.masks:
        if name in TAKEN:
            raise UserError(f"--mask {name}: this name is kept for a sub-folder, rename the PNG")
    check_new_folder(out)
    folder = workplace(out, "partial")
    try:
        with _locked(folder, out):
            return _write(folder, out, job, progress)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {reason(error)}") from None


def _write(folder: Path, out: Path, job: Job, progress: Progress) -> float:
    """`write`, within the locked folder."""
    inputs = job.fingerprint
    done = _begin(folder, job, inputs)
    try:
        _fill(folder, job, inputs, progress, done)
        rate = len(job.images.names) * len(done) / sum(mask["seconds"] for mask in done.values())
        losses = {name: mask["images"] for name, mask in done.items()}
        report = {**job.settings, "images_per_second": rate, "masks": losses}
        write_text(folder / "completions.json", json.dumps(report, indent=1) + "\n")
        check_new_folder(out)
        (folder / STATE).unlink()
        put(folder, out)
    except OSError:
        if not done:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return rate


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """Makes the folder if it is not there, and holds a lock on it. Raises UserError if another process holds it, or made `out`."""
    for _ in range(9):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            lock(handle, out, BUSY.format(out=out), "do not run this command twice at once")
            if not folder.is_dir() or not os.path.samestat(folder.stat(), os.fstat(handle)):
                continue  # the process that held the lock has renamed or removed the folder
            try:
                check_new_folder(out)
                yield
            except BaseException:
                with suppress(OSError):  # it stays if there is something in it
                    folder.rmdir()
                raise
            return
        finally:
            os.close(handle)
    raise UserError(BUSY.format(out=out))


def _begin(folder: Path, job: Job, inputs: str) -> dict[str, Any]:
    """The masks of this job that are done in the folder; without any, the folder has the originals and a note of the job.

    Raises UserError if masks of another job are done there, or it holds files of others.
    """
    before, found = _state(folder / STATE), os.listdir(folder)
    if before is None:
        ours = {*TAKEN, *job.masks, "completions.json"}
        if foreign := sorted(name for name in found if name not in ours and not name.endswith(".tmp")):
            raise UserError(
                f"{folder} holds {foreign[0]}, which is not of an interrupted completion of these masks: "
                "delete that folder, or choose another --out"
            )
    elif before["masks"]:
        if before["inputs"] == inputs:
            return before["masks"]
        raise UserError(
            f"{folder} holds an interrupted completion of another request ({_told(before)}): other options or images, or the "
            "run has changed. Delete that folder, or choose another --out"
        )
    for name in found:
        if name != STATE:  # it stays, so that a killed process leaves a folder that is known
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        _note(folder, job, inputs, {})
        _save(folder / "original", job.images.names, job.images.x)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {}


def _state(note: Path) -> dict[str, Any] | None:
    """The note of what is being completed; None if there is none, or it is damaged."""
    try:
        state = json.loads(note.read_text())
    except (FileNotFoundError, ValueError):
        return None
    fits = isinstance(state, dict) and isinstance(state.get("masks"), dict) and isinstance(state.get("inputs"), str)
    return state if fits else None


def _told(state: dict[str, Any]) -> str:
    """What another request was, in words."""
    run, asked, done = state.get("run"), state.get("asked"), ", ".join(state["masks"])
    return f"masks that are done: {done}" if not run or not asked else f"{run}, --mask {','.join(asked)}, done: {done}"


def _note(folder: Path, job: Job, inputs: str, done: dict[str, Any]) -> None:
    state = {"inputs": inputs, "run": job.run, "asked": list(job.masks), "masks": done}
    write_text(folder / STATE, json.dumps(state))


def _fill(folder: Path, job: Job, inputs: str, progress: Progress, done: dict[str, Any]) -> None:
    """Completes the masks that are not in `done`, and adds every one's seconds and losses to it."""
    for name in [name for name in job.masks if name not in done]:
        begun = time.perf_counter()
        found = _complete(job, name, progress)
        seconds = time.perf_counter() - begun
        _write_mask(folder, job, name, found)
        done[name] = {"seconds": seconds, "images": _losses(job.images, job.masks[name], found)}
        _note(folder, job, inputs, done)


def _complete(job: Job, name: str, progress: Progress) -> Completions:
    """All images, as many at once as fit."""
    rows = ROWS_AT_ONCE.get(job.model.device.type, 512)
    parts = job.images.x.split(max(1, rows // job.search.restarts))
    found, first, total = [], 0, len(parts) * job.search.steps
    for index, part in enumerate(parts):

        def advance(step: int, _: int, done: int = index * job.search.steps) -> None:
            progress(name, done + step, total)

        mask = job.masks[name]
        found.append(complete(job.model, part, mask, job.discriminator, job.search, first=first, progress=advance))
        first += len(part)
    progress(name, total, total)
    losses = {name: torch.cat([part.losses[name] for part in found]) for name in found[0].losses}
    images, z, steps = (torch.cat([getattr(part, name) for part in found]) for name in ("images", "z", "steps"))
    return Completions(images, z, losses, steps)


def _write_mask(folder: Path, job: Job, name: str, found: Completions) -> None:
    images, wide = job.images, job.masks[name][None, None]
    blended = blend(found.best, images.x, wide, job.feather)
    occluded = occlude(images.x, wide)
    _save(folder / name, images.names, found.best)
    _save(folder / "blended" / name, images.names, blended)
    _save(folder / "occluded" / name, images.names, occluded)
    restarts = to_8_bit(found.images)
    for directory in ("restarts", "comparison"):
        (folder / directory / name).mkdir(parents=True, exist_ok=True)
    for label, row in zip(images.names, restarts, strict=True):
        save_picture(labelled_grid(row[None]), folder / "restarts" / name / f"{label}.png")
    shown = to_8_bit(torch.stack([images.x, occluded, found.best, blended], 1))
    labels = [label[:20] for label in images.names]
    for page, first in enumerate(range(0, len(shown), PAGE), 1):
        rows = slice(first, first + PAGE)
        grid = labelled_grid(shown[rows], labels[rows], ["original", "occluded", "completed", "blended"])
        save_picture(grid, folder / "comparison" / name / f"{page:03d}.png")


def _save(folder: Path, names: list[str], x: Float[Tensor, "b c h w"]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, to_8_bit(x), strict=True):
        save_image(image, folder / f"{name}.png")


def _losses(images: Images, mask: Float[Tensor, "h w"], found: Completions) -> dict[str, Any]:
    """By image a list of restarts, best first. `hidden_error`: mean squared, against the original's hidden pixels."""
    hidden = (1 - mask).bool()
    errors = (found.images - images.x[:, None]).square()[..., hidden].mean((2, 3))  # b r
    values = {**{name: part.tolist() for name, part in found.losses.items()}, "hidden_error": errors.tolist()}
    values["steps"] = found.steps.tolist()
    return {
        name: [{key: part[index][restart] for key, part in values.items()} for restart in range(found.steps.shape[1])]
        for index, name in enumerate(images.names)
    }
