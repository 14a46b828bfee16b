"""Prepared images with the attributes that a classifier knows: what a probe learns from, and what it is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote

from crvae.data.indices import evenly
from crvae.data.prepared import PreparedData, Split, open_data
from crvae.errors import UserError
from crvae.models.model import Model
from crvae.pictures import from_8_bit
from crvae.tasks.attributes import Faces
from crvae.tasks.inputs import check_form

TRAINING = 4
"""Training images for each held-out one."""


def read_faces(source: str, model: Model, known: Mapping[str, Sequence[str]], count: int) -> tuple[Faces, Faces]:
    """Training and held-out images, evenly spaced over their splits: at most `count` held out, TRAINING times as many to train.

    They have the attributes of `known`, a classifier's, whose values are the data's own. Raises UserError if there is none,
    and for data that the model does not fit.
    """
    data = open_data(source)
    channels, size, _ = model.image_shape
    check_form(data, channels, size)
    train = data.split("train")
    held_out = data.split("validation" if "validation" in data.card.splits else "test")
    names = _shared(data, train, known)
    ours, theirs = (_faces(split, names, size, most) for split, most in ((train, TRAINING * count), (held_out, count)))
    told = [name for name in names if len(ours.values[name].unique()) > 1 and (theirs.values[name] >= 0).any()]
    if not told:
        raise UserError(f"{source}: too few images have values of {', '.join(names)}: use more with --count")
    ours, theirs = (Faces(faces.x, {name: faces.values[name] for name in told}) for faces in (ours, theirs))
    return ours, theirs


def _shared(data: PreparedData, split: Split, known: Mapping[str, Sequence[str]]) -> list[str]:
    own = split.attributes
    if not own:
        raise UserError(
            f"{data.path} has no attributes: prepare data that have some, such as `crvae prepare avatars OUT`"
        )
    names = [name for name, values in own.items() if list(known.get(name, ())) == list(values)]
    if not names:
        make = f"`crvae classifier {quote(data.path)} --attributes all --out CLASSIFIER`"
        raise UserError(
            f"--classifier knows {', '.join(known)}, not the attributes of {data.path} ({', '.join(own)}) with their values: "
            f"make one with {make}"
        )
    return names


def _faces(split: Split, names: list[str], size: int, most: int) -> Faces:
    rows = evenly(len(split), most)
    values = split.attribute_values(rows, names)
    return Faces(from_8_bit(split.images(rows, size=size)), dict(zip(names, values.T, strict=True)))
