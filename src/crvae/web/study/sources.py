"""Where a study's images come from: folders of images, or samples drawn from a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from crvae.counting import counted
from crvae.data.images import PIXELS, Form
from crvae.data.sources.tree import is_image, is_picture_folder
from crvae.errors import UserError
from crvae.tasks.inputs import open_picture

Picture = UInt8[np.ndarray, "h w 3"]
Shown = dict[str, list[tuple[list[Picture], Picture | None]]]
"""For each occlusion (the empty name for samples) a list of: one image a model, and the occluded image or None."""


def model_names(runs: list[str]) -> list[str]:
    """What the report calls each of `runs`: its last path component, or the whole as typed where two would be alike."""
    if not 2 <= len(runs) <= 4:
        raise UserError(f"--runs takes 2 to 4 runs or folders, got {len(runs)}: --runs RUN RUN2")
    if len(set(runs)) < len(runs):
        raise UserError("--runs names the same run twice: a model cannot be compared with itself")
    names = [Path(run).name or run for run in runs]
    return names if len(set(names)) == len(names) else list(runs)


def read_picture(path: Path, pixels: int = PIXELS) -> Picture:
    """One image file as 8-bit colour, by the rules of `crvae prepare`. Raises UserError for a file that breaks them."""
    return np.array(open_picture(path, Form(sizes=(1,), pixel_limit=pixels)))  # of its own size, whatever the form's is


def images_in(folder: Path) -> dict[str, Path]:
    """Image files directly in `folder`, by name, in order."""
    return {path.name: path for path in sorted(folder.iterdir()) if is_image(path.name) and path.is_file()}


def samples(run: str, count: int, seed: int, pixels: int = PIXELS) -> list[Picture]:
    """`count` images of one model: drawn from the folder in an order set by `seed`, or from the run's prior."""
    if is_picture_folder(Path(run)):
        paths = list(images_in(Path(run)).values())
        if len(paths) < count:
            raise UserError(
                f"{run} has {counted(len(paths), 'image')}, --pairs {count} needs as many: add images or ask for fewer pairs"
            )
        order = np.random.default_rng(seed).permutation(len(paths))
        return [read_picture(paths[index], pixels) for index in order[:count]]
    from crvae.tasks.sampling import sample_images

    images = sample_images(run, count, seed).permute(0, 2, 3, 1).cpu().numpy()
    return [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]


def completions(runs: list[str], count: int, seed: int, pixels: int = PIXELS) -> Shown:
    """For each occlusion (a sub-folder that all `runs` have), `count` times the images of one name, a model each.

    Beside them the occluded image, where a run has it: `occluded/OCCLUSION/NAME.png`. Images directly in the folders
    count as one unnamed occlusion. Raises UserError if names do not match or are too few.
    """
    folders = [Path(run) for run in runs]
    for run in runs:
        if not is_picture_folder(Path(run)):
            raise UserError(
                f"--runs {run}: a completion study takes folders as `crvae complete RUN --out DIR` writes them"
            )
    groups = [group for group in _groups(folders[0]) if all((folder / group).is_dir() for folder in folders)]
    result: Shown = {}
    for group in groups:
        found = [images_in(folder / group) for folder in folders]
        names = sorted(set.intersection(*map(set, found)))
        if len(names) < count:
            where = f" in {group}/" if group else ""
            raise UserError(
                f"--runs have {counted(len(names), 'image')} named alike{where}, --pairs {count} needs more: complete more images"
            )
        order = np.random.default_rng([seed, len(result)]).permutation(len(names))[:count]
        chosen = [names[index] for index in order]
        result[group] = [
            ([read_picture(paths[name], pixels) for paths in found], _occluded(folders, group, name, pixels))
            for name in chosen
        ]
    if not result:
        raise UserError("--runs have no images named alike: complete the same images with the same masks by every run")
    return result


def _groups(folder: Path) -> list[str]:
    masks = [
        path.name for path in sorted(folder.iterdir()) if path.is_dir() and path.name not in ("occluded", "original")
    ]
    masks = [mask for mask in masks if images_in(folder / mask)]
    return ([""] if images_in(folder) else []) + masks


def _occluded(folders: list[Path], group: str, name: str, pixels: int) -> Picture | None:
    paths = [folder / "occluded" / group / name for folder in folders]
    return next((read_picture(path, pixels) for path in paths if path.is_file()), None)
