"""`crvae traverse RUN profile|attributes|rate --out PATH`: what each time step carries, as a plot, a table and JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from crvae.cli.reading import images_of
from crvae.errors import UserError
from crvae.extras import require
from crvae.files import check_new_folder
from crvae.outputs import check_new_file
from crvae.progress import progress, waiting
from crvae.storage.folders import check_run

if TYPE_CHECKING:
    from crvae.cli.traverse import Traverse
    from crvae.evaluation.distance import PerceptualDistance
    from crvae.models.model import Model


def profile(command: Traverse, count: int) -> None:
    """Writes the plot of the profile, and beside it the same as JSON."""
    if command.images is None:
        raise UserError("--images is missing: the profile measures KL and reconstruction on images")
    _check_several("--images", command.images)
    if command.attribute and command.classifier is None:
        raise UserError(f"--attribute {command.attribute} is one of the attributes of --classifier. Pass --classifier")
    reads = (check_run(command.run), command.images, command.classifier)
    check_new_file(command.out, endings=(".png",), reads=reads)
    numbers = command.out.with_suffix(".json")
    check_new_file(numbers, reads=reads)
    if os.path.lexists(numbers) and not os.path.lexists(command.out):
        raise UserError(
            f"--out {command.out}: {numbers}, for the same numbers, already exists. Choose another name, or remove it first"
        )
    require("the plot", "matplotlib")

    with waiting("loading"):
        from crvae.files import write_files
        from crvae.pictures import figure_bytes
        from crvae.tasks.profile_plot import plot
        from crvae.tasks.profiling import profile
        from crvae.training.classifier import load_classifier

    model = _model(command)
    distance, classify = _distance(model), None
    if command.classifier is not None:
        classify = load_classifier(command.classifier).only(command.attribute).to(model.device).values
    with progress() as advance:
        images = images_of(
            command.images, model, option="--images", limit=count, pixel_limit=command.pixel_limit, progress=advance
        )
        _check_several("--images", command.images, len(images.x))
        result = profile(model, images.x, command.seed, distance, classify, advance)
    body = json.dumps({"run": command.run, "data": command.images, **result}, indent=1) + "\n"
    drawn = figure_bytes(plot(result, command.run), dpi=100)
    files = {numbers.name: body.encode(), command.out.name: drawn}  # the last takes its name first
    write_files(command.out.parent, files)
    print(f"{numbers}\n{command.out}", file=sys.stderr)


def attributes(command: Traverse, count: int) -> None:
    """Writes the folder of what each block knows and decides of the attributes of --data."""
    for option, value in (("--data", command.data), ("--classifier", command.classifier)):
        if value is None:
            raise UserError(f"{option} is missing: attributes are read from --data, and seen by --classifier")
    check_new_folder(command.out)
    require("the heat map", "matplotlib")

    with waiting("loading"):
        from crvae.data import open_data
        from crvae.files import write_files
        from crvae.pictures import figure_bytes
        from crvae.tasks.attribute_data import read_faces
        from crvae.tasks.attribute_report import heat_map, table
        from crvae.tasks.attributes import attributes
        from crvae.training.classifier import load_classifier

    model = _model(command)
    classifier = load_classifier(command.classifier or "").to(model.device)
    train, held_out = read_faces(command.data or "", model, classifier.config.attributes, count)
    left_out = [name for name in open_data(command.data or "").card.attributes if name not in train.values]
    if left_out:
        print(f"crvae: without {', '.join(left_out)}: not known to --classifier with these values", file=sys.stderr)
    with progress() as advance:
        found = attributes(model, train, held_out, classifier.values, count, command.seed, advance)
    about = {"run": command.run, "data": command.data, "classifier": command.classifier}
    files = {
        "attributes.png": figure_bytes(heat_map(found, command.run), dpi=100),
        "attributes.md": table(found, command.run).encode(),
        "attributes.json": (json.dumps(about | found, indent=1) + "\n").encode(),
    }
    write_files(command.out, files)
    print(f"{command.out}", file=sys.stderr)


def rate(command: Traverse, count: int) -> None:
    """Writes the folder of rate and distortion after each block, on the images of --data."""
    if command.data is None:
        raise UserError("--data is missing: rate and distortion are measured on images")
    _check_several("--data", command.data)
    check_new_folder(command.out)
    require("the plot", "matplotlib")

    with waiting("loading"):
        from crvae.files import write_files
        from crvae.pictures import figure_bytes
        from crvae.tasks.rate import plot, rate, table
        from crvae.training.classifier import load_classifier

    model = _model(command)
    distance = _distance(model)
    values = None if command.classifier is None else load_classifier(command.classifier).to(model.device).values
    with progress() as advance:
        images = images_of(
            command.data, model, option="--data", limit=count, pixel_limit=command.pixel_limit, progress=advance
        )
        _check_several("--data", command.data, len(images.x))
        rows = rate(model, images.x, distance, values, advance)
    about = {"run": command.run, "data": command.data, "images": len(images.x)}
    files = {
        "rate.png": figure_bytes(plot(rows, f"{Path(command.run).name}: {len(images.x)} images"), dpi=100),
        "rate.md": table(rows).encode(),
        "rate.json": (json.dumps(about | {"rows": rows}, indent=1) + "\n").encode(),
    }
    write_files(command.out, files)
    print(f"{command.out}", file=sys.stderr)


MEASURES: dict[str, Callable[[Traverse, int], None]] = {"profile": profile, "attributes": attributes, "rate": rate}
"""What `crvae traverse` measures -> how, on so many images."""


def _check_several(option: str, source: str, count: int | None = None) -> None:
    """Raises UserError if `option` gave fewer than two images, for one has no interval; without `count`, if it names one file."""
    if Path(source).is_file() if count is None else count < 2:
        raise UserError(
            f"{option} {source} gives one image, and intervals over images need two or more: give a folder of images, or"
            " prepared data"
        )


def _model(command: Traverse) -> Model:
    from crvae.devices import best_device
    from crvae.storage.models import load

    return load(command.run, best_device(), command.prior)


def _distance(model: Model) -> PerceptualDistance | None:
    """The LPIPS-style distance of 8-bit images, or nothing and a word why."""
    from crvae.evaluation.distance import PerceptualDistance

    try:
        return PerceptualDistance(model.device)
    except UserError as error:
        print(f"crvae: without perceptual distances: {error}", file=sys.stderr)
        return None
