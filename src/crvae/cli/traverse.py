"""`crvae traverse RUN progressive|interpolate|style|profile|attributes|rate --out PATH`: what the time steps mean (section 4.5)."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from crvae.cli.measures import MEASURES
from crvae.cli.parsing import parse
from crvae.cli.reading import images_of
from crvae.errors import UserError
from crvae.outputs import check_new_file
from crvae.progress import progress, waiting
from crvae.storage.folders import WhichPrior, check_run

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
    """A run, an exported folder, a built-in model or hub:OWNER/NAME."""
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
    prior: WhichPrior = "own"
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
    folder = check_run(command.run)
    if command.walk in ("profile", "attributes", "rate"):
        MEASURES[command.walk](command, count)
        return 0
    if command.attribute and (command.classifier is None or command.step is not None):
        raise UserError("--attribute picks the time step by what --classifier sees: give --classifier, and no --step")
    if command.classifier is not None and not command.attribute:
        raise UserError(f"--classifier {command.classifier} is for --attribute with {command.walk}. Pass --attribute")
    endings = (".png", ".jpg", ".jpeg", ".gif", ".webp")
    check_new_file(command.out, endings=endings, reads=(folder, command.images, command.classifier))

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
    walk(
        model,
        command.walk,
        images=images,
        step=_picked(command, model) if command.attribute else command.step,
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


def _picked(command: Traverse, model) -> int:
    from crvae.tasks.attributes import deciding_block
    from crvae.training.classifier import load_classifier

    classifier = load_classifier(command.classifier or "").to(model.device)
    classifier.only(command.attribute)
    step = deciding_block(model, classifier.values, command.attribute, 256, command.seed)
    print(f"crvae: time step {step} changes {command.attribute} most often, of 256 samples", file=sys.stderr)
    return step
