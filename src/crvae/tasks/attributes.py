"""What each time step knows and decides of the attributes of images (section 4.5, where it is judged by eye)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from crvae import intervals
from crvae.errors import UserError
from crvae.models.autoencoder import SAMPLE_BATCH
from crvae.models.gaussian import blocks
from crvae.models.model import Model, steps_of
from crvae.progress import Progress, silent
from crvae.tasks.probing import probe
from crvae.tasks.profiling import posterior_of
from crvae.tasks.traversal import decode_all

Classify = Callable[[Tensor], Mapping[str, Tensor]]
"""Images `b c h w` -> attribute -> the values that a classifier sees, `b`."""


@dataclass(frozen=True)
class Faces:
    """Images in [-1, 1] with the values of their attributes, -1 where unknown."""

    x: Float[Tensor, "b c h w"]
    values: dict[str, Int64[Tensor, " b"]]


def attributes(
    model: Model,
    train: Faces,
    held_out: Faces,
    classify: Classify,
    samples: int = 1000,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """`known_by_blocks`, `decided_by_blocks` and `seen` of the attributes of `train`, which `held_out` and `classify` share.

    Dense and convolutional models have arbitrary groups of channels in the place of blocks. All shares have 95% intervals.
    Raises UserError for a model of one block.
    """
    names = list(train.values)

    def shared(x: Tensor) -> dict[str, Tensor]:
        values = classify(x)
        return {name: values[name] for name in names}

    return {
        "steps": steps_of(model),
        "images": {"train": len(train.x), "held_out": len(held_out.x), "samples": samples},
        "seed": seed,
        "seen": seen(model, held_out, classify),
        "known": known_by_blocks(model, train, held_out, progress),
        "decided": decided_by_blocks(model, shared, samples, seed, progress),
    }


@torch.no_grad()
def known_by_blocks(
    model: Model, train: Faces, held_out: Faces, progress: Progress = silent
) -> dict[str, dict[str, Any]]:
    """For each attribute the share of held-out images whose value a linear probe reads, fitted on `train`'s posterior means.

    `block`: from block t alone; `first`: from the first t (the last: from all). `chance`: the share of the commonest value.
    """
    names, steps = list(train.values), steps_of(model)
    ours, theirs = (blocks(posterior_of(model, faces.x).mean.cpu(), steps) for faces in (train, held_out))
    taught, right = (torch.stack(list(faces.values.values()), 1) for faces in (train, held_out))
    found = {name: {"chance": _commonest(right[:, a]), "block": [], "first": []} for a, name in enumerate(names)}
    for t in range(steps):
        for kind, part in (("block", slice(t, t + 1)), ("first", slice(t + 1))):
            read = probe(ours[:, part].flatten(1), taught, theirs[:, part].flatten(1))
            for a, name in enumerate(names):
                known = right[:, a] >= 0
                found[name][kind].append(_share((read == right)[known, a]))
        progress("blocks probed", t + 1, steps)
    return found


@torch.no_grad()
def decided_by_blocks(
    model: Model,
    classify: Classify,
    samples: int = 1000,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """For each attribute how often samples change it, as `classify` sees it, when one block is drawn anew given the others.

    `redrawn`: block t alone, and `others`: the share of the other attributes that change with it; `anew`: all blocks, which
    is what `redrawn` is to be compared with, since rare values change rarely. `block`: the one that changes the attribute most
    often, found on every other sample. On the rest: how often it does (`here`), how often the other blocks do (`elsewhere`),
    how often it changes another attribute (`others_here`), and its `lead` over the second of the first half.
    """
    changed, anew = _changes(model, classify, samples, seed, progress)
    found = {}
    for name in changed:
        others = [changed[other].float() for other in changed if other != name]
        rest = torch.stack(others).mean(0) if others else None
        found[name] = {
            "anew": _share(anew[name]),
            "redrawn": [_share(part) for part in changed[name]],
            **({"others": [intervals.mean(part) for part in rest]} if rest is not None else {}),
            **_decision(changed[name], rest),
        }
    return found


def deciding_block(model: Model, classify: Classify, attribute: str, samples: int, seed: int = 0) -> int:
    """The block, from 1, that changes `attribute` most often when it alone is drawn anew. Raises UserError for one block."""
    changed, _ = _changes(model, lambda x: {attribute: classify(x)[attribute]}, samples, seed, silent)
    return int(changed[attribute].float().mean(1).argmax()) + 1


@torch.no_grad()
def seen(model: Model, faces: Faces, classify: Classify) -> dict[str, dict[str, Any]]:
    """For each attribute how often `classify` sees the true value in the `images`, and in their `reconstructions`."""
    shown = {"images": faces.x, "reconstructions": decode_all(model, posterior_of(model, faces.x).mean)}
    views = {kind: classified(classify, x) for kind, x in shown.items()}
    return {
        name: {kind: _share((view[name] == values)[values >= 0]) for kind, view in views.items()}
        for name, values in faces.values.items()
    }


def _changes(
    model: Model, classify: Classify, samples: int, seed: int, progress: Progress
) -> tuple[dict[str, Bool[Tensor, "t n"]], dict[str, Bool[Tensor, " n"]]]:
    """Whether each attribute of each sample changes: when block t is drawn anew, and when all are."""
    steps = steps_of(model)
    if steps < 2:
        raise UserError("the model has one block, with nothing to compare it with: use one of several steps")
    z = model.prior.sample(samples, seed)
    before = classified(classify, decode_all(model, z))
    other = classified(classify, decode_all(model, model.prior.sample(samples, seed + 1)))
    changed: dict[str, list[Tensor]] = {name: [] for name in before}
    for t in range(1, steps + 1):
        after = classified(classify, decode_all(model, model.prior.redraw(z, t, seed + 1)))
        for name, values in before.items():
            changed[name].append(after[name] != values)
        progress("blocks drawn anew", t, steps)
    return (
        {name: torch.stack(parts) for name, parts in changed.items()},
        {name: other[name] != values for name, values in before.items()},
    )


def _decision(changed: Bool[Tensor, "t n"], others: Float[Tensor, "t n"] | None) -> dict[str, Any]:
    first, second = changed[:, ::2].float(), changed[:, 1::2].float()
    block, runner_up = first.mean(1).topk(2).indices.tolist()
    elsewhere = torch.cat([second[:block], second[block + 1 :]]).mean(0)
    return {
        "block": block + 1,
        "here": _share(second[block]),
        "elsewhere": intervals.mean(elsewhere),
        "lead": intervals.mean(second[block] - second[runner_up]),
        **({"others_here": intervals.mean(others[block, 1::2])} if others is not None else {}),
    }


def classified(classify: Classify, x: Float[Tensor, "b c h w"]) -> dict[str, Int64[Tensor, " b"]]:
    """What `classify` reads in images in [-1, 1], so many at once: attribute -> value of each image."""
    parts = [classify(part) for part in x.split(SAMPLE_BATCH)]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


def _commonest(values: Int64[Tensor, " b"]) -> float:
    known = values[values >= 0]
    return float(known.bincount().max() / len(known))


def _share(hits: Tensor) -> intervals.Interval:
    return intervals.share(int(hits.sum()), len(hits))
