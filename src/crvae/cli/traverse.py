"""`crvae traverse RUN progressive|interpolate|style|profile|attributes|rate --out PATH`: what the time steps mean (section 4.5)."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from crvae.cli.parsing import parse
from crvae.cli.reading import images_of
from crvae.errors import UserError
from crvae.files import check_new_file, check_new_folder
from crvae.progress import progress, waiting
from crvae.storage.folders import check_run

USED = {
    "progressive": ("images", "count", "pixel_limit", "seed", "prior"),
    "interpolate": ("images", "step", "count", "columns", "pixel_limit", "seed", "prior", "classifier", "attribute"),
    "style": ("images", "step", "count", "columns", "pixel_limit", "seed", "prior", "classifier", "attribute"),
    "profile": ("images", "count", "pixel_limit", "seed", "prior", "classifier", "attribute"),
    "attributes": ("data", "count", "seed", "prior", "classifier"),
    "rate": ("data", "count", "pixel_limit", "prior", "classifier"),
}
"""Walk -> the options that it uses, besides --out."""

COUNTS = {
    "progressive": (8, 1, 10_000),
    "interpolate": (8, 1, 10_000),
    "style": (8, 1, 10_000),
    "profile": (256, 2, 10_000),
    "attributes": (1000, 20, 100_000),
    "rate": (256, 2, 10_000),
}
"""Walk -> the default of --count, its least and its most."""


@dataclass
class Traverse:
    """Walk through the latent space, time step by time step; or measure what each of them carries."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, or the name of a built-in model."""
    walk: tyro.conf.Positional[Literal["progressive", "interpolate", "style", "profile", "attributes", "rate"]]
    """progressive: block after block from the prior's mean (Figure 9); interpolate: one block towards another (Figure 10);
    style: one block drawn anew, given the others if the prior is learned (Figure 11); profile: a plot and, beside it, the same
    as JSON; attributes: what each block knows and decides of the attributes of --data; rate: rate and distortion after each
    block, on the images of --data."""
    out: Path
    """.png or .jpg for a grid with labelled rows and columns, .gif or .webp for an animation; the profile's plot: .png;
    attributes and rate: a new folder for a plot, a table and JSON."""
    images: str | None = None
    """Walk from these images' posterior means and not from samples: prepared data, a folder of images, or one image.
    The profile needs it."""
    data: str | None = None
    """Attributes: prepared data that have some. Rate: prepared data (their validation images) or a folder of images."""
    step: int | None = None
    """Time step of interpolate and style, from 1; without it the rows are all time steps, of one sample or image."""
    count: int | None = None
    """Samples or images; by default 8, for profile and rate 256, for attributes 1000 samples and held-out images."""
    columns: int = 8
    """Points of an interpolation, draws of a style."""
    pixel_limit: float = 200.0
    """Image files above this many megapixels are skipped undecoded."""
    seed: int = 0
    """Seed of the samples and draws."""
    prior: Literal["own", "normal"] = "own"
    """own: the prior that the model was trained with; normal: N(0, I) in the place of a learned one."""
    classifier: str | None = None
    """A classifier (`crvae classifier`). Profile: to say how often labels change; attributes: to say how often these do; rate: to say
    how many are already as in the image."""
    attribute: str = ""
    """Profile: which of the classifier's attributes, where it has several. Interpolate and style: the time step is the one that
    changes this attribute most often, as --classifier sees it."""


def run(args: list[str]) -> int:
    """Writes the picture, the animation, or plot and JSON."""
    command = parse(Traverse, args, name="traverse")
    count = _checked(command)
    check_run(command.run)
    if command.walk == "attributes":
        return _attributes(command, count)
    if command.walk == "rate":
        return _rate(command, count)
    profiling = command.walk == "profile"
    picked = not profiling and bool(command.attribute)
    if picked and (command.classifier is None or command.step is not None):
        raise UserError("--attribute picks the time step by what --classifier sees: give --classifier, and no --step")
    if profiling and command.attribute and command.classifier is None:
        raise UserError(f"--attribute {command.attribute} is one of the attributes of --classifier. Pass --classifier")
    if not profiling and command.classifier is not None and not picked:
        raise UserError(f"--classifier {command.classifier} is for --attribute with {command.walk}. Pass --attribute")
    if profiling and command.images is None:
        raise UserError("--images is missing: the profile measures KL and reconstruction on images")
    check_new_file(command.out, endings=(".png",) if profiling else (".png", ".jpg", ".jpeg", ".gif", ".webp"))
    if profiling:
        _check_beside(command.out)

    with waiting("loading"):
        from crvae.devices import best_device
        from crvae.storage.models import load
        from crvae.tasks.traversal_grid import walk

    model = load(command.run, best_device(), command.prior)
    images = None
    if command.images is not None:
        with progress() as advance:
            images = images_of(
                command.images, model, option="--images", limit=count, pixel_limit=command.pixel_limit, progress=advance
            )
    if command.walk == "profile":
        _profile(command, model, images)
    else:
        walk(
            model,
            command.walk,
            images=images,
            step=_picked(command, model) if picked else command.step,
            count=count,
            columns=command.columns,
            seed=command.seed,
        ).write(command.out)
    print(f"{command.out}", file=sys.stderr)
    return 0


def _checked(command: Traverse) -> int:
    """Returns --count, or the walk's own default.

    Raises UserError if a number is out of its range, or if an option is given that the walk does not use.
    """
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        users = [walk for walk, used in USED.items() if field.name in used]
        if users and command.walk not in users and value != field.default:
            instead = {"data": "Pass --images", "images": "Pass --data"}.get(field.name, "Leave it out")
            listed = " and ".join([", ".join(users[:-1]), users[-1]] if users[1:] else users)
            option = f"--{field.name.replace('_', '-')}"
            raise UserError(f"{option} {value} is for {listed}, not for {command.walk}. {instead}")
    default, fewest, largest = COUNTS[command.walk]
    count = default if command.count is None else command.count
    for option, value, least, most in (("--count", count, fewest, largest), ("--columns", command.columns, 2, 100)):
        if not least <= value <= most:
            raise UserError(f"{option} must be from {least} to {most:,}, got {value}")
    if not 0 <= command.seed < 2**63:
        raise UserError(f"--seed must be from 0 to 2^63 - 1, got {command.seed}")
    return count


def _numbers(plot: Path) -> Path:
    """The JSON that the profile writes beside its plot."""
    return plot.with_suffix(".json")


def _check_beside(plot: Path) -> None:
    """Raises UserError if the profile's JSON cannot be written, or exists without the plot: it may be another file."""
    beside = _numbers(plot)
    check_new_file(beside)
    if os.path.lexists(beside) and not os.path.lexists(plot):
        raise UserError(
            f"--out {plot}: {beside}, for the same numbers, already exists. Choose another name, or remove it first"
        )


def _picked(command: Traverse, model) -> int:
    from crvae.tasks.attributes import deciding_block
    from crvae.training.classifier import load_classifier

    classifier = load_classifier(command.classifier or "").to(model.device)
    classifier.only(command.attribute)
    step = deciding_block(model, lambda x: classifier.values(x.to(model.device)), command.attribute, 256, command.seed)
    print(f"crvae: time step {step} changes {command.attribute} most often, of 256 samples", file=sys.stderr)
    return step


def _attributes(command: Traverse, count: int) -> int:
    for option, value in (("--data", command.data), ("--classifier", command.classifier)):
        if value is None:
            raise UserError(f"{option} is missing: attributes are read from --data, and seen by --classifier")
    check_new_folder(command.out)

    import json

    with waiting("loading"):
        from crvae.data import open_data
        from crvae.devices import best_device
        from crvae.files import new_folder, write_files
        from crvae.pictures import figure_bytes
        from crvae.storage.models import load
        from crvae.tasks.attribute_data import read_faces
        from crvae.tasks.attribute_report import heat_map, table
        from crvae.tasks.attributes import attributes
        from crvae.training.classifier import load_classifier

    model = load(command.run, best_device(), command.prior)
    classifier = load_classifier(command.classifier or "").to(model.device)
    train, held_out = read_faces(command.data or "", model, classifier.config.attributes, count)
    left_out = [name for name in open_data(command.data or "").card.attributes if name not in train.values]
    if left_out:
        print(f"crvae: without {', '.join(left_out)}: not known to --classifier with these values", file=sys.stderr)
    with progress() as advance:
        classify = lambda x: classifier.values(x.to(model.device))  # noqa: E731
        found = attributes(model, train, held_out, classify, count, command.seed, advance)
    about = {"run": command.run, "data": command.data, "classifier": command.classifier}
    files = {
        "attributes.png": figure_bytes(heat_map(found, command.run), dpi=100),
        "attributes.md": table(found, command.run).encode(),
        "attributes.json": (json.dumps(about | found, indent=1) + "\n").encode(),
    }
    with new_folder(command.out) as folder:
        write_files(folder, files)
    print(f"{command.out}", file=sys.stderr)
    return 0


def _profile(command: Traverse, model, images) -> None:
    import json

    from crvae.files import write_files
    from crvae.pictures import figure_bytes, to_8_bit
    from crvae.tasks.profile_plot import plot
    from crvae.tasks.profiling import profile

    distance = classify = None
    if network := _distance(model):
        distance = lambda one, other: network(to_8_bit(one), to_8_bit(other))  # noqa: E731
    if command.classifier is not None:
        from crvae.training.classifier import load_classifier

        classifier = load_classifier(command.classifier).only(command.attribute).to(model.device)
        classify = lambda x: classifier(x.to(model.device)).argmax(1).cpu()  # noqa: E731
    with progress() as advance:
        result = profile(model, images.x, command.seed, distance, classify, advance)
    beside = _numbers(command.out)
    body = json.dumps({"run": command.run, "data": command.images, **result}, indent=1) + "\n"
    drawn = figure_bytes(plot(result, command.run), dpi=100)
    files = {beside.name: body.encode(), command.out.name: drawn}  # the last takes its name first
    write_files(command.out.parent, files)
    print(f"{beside}", file=sys.stderr)


def _rate(command: Traverse, count: int) -> int:
    if command.data is None:
        raise UserError("--data is missing: rate and distortion are measured on images")
    check_new_folder(command.out)

    import json

    with waiting("loading"):
        from crvae.devices import best_device
        from crvae.files import new_folder, write_files
        from crvae.pictures import figure_bytes
        from crvae.storage.models import load
        from crvae.tasks.rate import plot, rate, table
        from crvae.training.classifier import load_classifier

    model = load(command.run, best_device(), command.prior)
    values = None
    if command.classifier is not None:
        classifier = load_classifier(command.classifier).to(model.device)
        values = lambda x: classifier.values(x.to(model.device))  # noqa: E731
    with progress() as advance:
        images = images_of(
            command.data, model, option="--data", limit=count, pixel_limit=command.pixel_limit, progress=advance
        )
        if len(images.x) < 2:
            raise UserError(f"--data {command.data} gives one image: intervals need two or more")
        rows = rate(model, images.x, _distance(model), values, advance)
    about = {"run": command.run, "data": command.data, "images": len(images.x)}
    files = {
        "rate.png": figure_bytes(plot(rows, f"{Path(command.run).name}: {len(images.x)} images"), dpi=100),
        "rate.md": table(rows).encode(),
        "rate.json": (json.dumps(about | {"rows": rows}, indent=1) + "\n").encode(),
    }
    with new_folder(command.out) as folder:
        write_files(folder, files)
    print(f"{command.out}", file=sys.stderr)
    return 0


def _distance(model):
    """The LPIPS-style distance, or nothing and a word why."""
    from crvae.evaluation.distance import PerceptualDistance

    try:
        return PerceptualDistance(model.device)
    except (UserError, ImportError) as error:
        print(f"crvae: without perceptual distances: {error}", file=sys.stderr)
        return None
