"""What each time step knows and decides of the attributes, as a heat map and as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crvae.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def beyond_chance(accuracy: float, chance: float) -> float:
    """An accuracy as a part of what the commonest value leaves: 0 is no better than that value, 1 is perfect."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else 0.0


LEAST_CHANGES = 20
"""Of samples, when all blocks are drawn anew: of fewer, no part is worth showing."""


def of_anew(redrawn: float, anew: float, samples: int) -> float:
    """Changes by one block as a part of those by all: 1 is as often; nan where the samples hardly ever change."""
    return redrawn / anew if anew * samples >= LEAST_CHANGES else math.nan


def heat_map(found: dict[str, Any], title: str) -> Figure:
    """Draws what `crvae.tasks.attributes.attributes` returned, or the part of it that is there: `known` without `decided`.

    Raises UserError if matplotlib is missing.
    """
    require("the heat map", "matplotlib")
    from matplotlib.figure import Figure

    names, steps = list(found["known"]), found["steps"]
    images = found["images"]
    about = f"{title}: {images['held_out']:,} held-out images"
    panels = [
        ("read from block t alone\n(linear probe; 0: commonest value, 1: perfect)", _known(found, "block")),
        ("read from the first t blocks\n(likewise)", _known(found, "first")),
    ]
    if "decided" in found:
        label = "changed by drawing block t anew\n(1: as often as by drawing all anew; -: hardly ever)"
        panels.append((label, _redrawn(found)))
        about += f", {images['samples']:,} samples"
    width = 1.5 + len(panels) * (1.3 + 0.4 * steps)
    figure = Figure(figsize=(width, 1.6 + 0.32 * len(names)), layout="constrained")
    figure.suptitle(about)
    for place, (axis, (label, rows)) in enumerate(zip(figure.subplots(1, len(panels)), panels, strict=True)):
        axis.imshow(rows, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        for row, values in enumerate(rows):
            for column, value in enumerate(values):
                colour = "white" if value <= 0.6 else "black"
                shown = "-" if math.isnan(value) else f"{value:.2f}"
                axis.text(column, row, shown, ha="center", va="center", fontsize=7, color=colour)
        axis.set_title(label, fontsize=9)
        axis.set_xlabel("time step t")
        axis.set_xticks(range(steps), [str(t + 1) for t in range(steps)])
        axis.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
    return figure


def table(found: dict[str, Any], title: str) -> str:
    """Markdown: what is known of each attribute, the block that decides it, and by how much it leads."""
    images = found["images"]
    lines = [
        f"# Attributes by time step: {title}",
        "",
        f"{images['train']:,} training and {images['held_out']:,} held-out images, {images['samples']:,} samples, seed "
        f"{found['seed']}. Intervals are 95%.",
        "",
        "## What blocks know",
        "",
        "Share of held-out images whose value a linear probe reads from posterior means. Classifier: share whose value it sees in "
        "the images, and in their reconstructions.",
        "",
        "| attribute | commonest value | best block | that block alone | all blocks | classifier, images | reconstructions |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, known in found["known"].items():
        best = max(range(found["steps"]), key=lambda t: known["block"][t]["value"])
        numbers = (known["block"][best], known["first"][-1], *found["seen"][name].values())
        lines.append(
            f"| {name} | {known['chance']:.1%} | {best + 1} | {' | '.join(_with_interval(part) for part in numbers)} |"
        )
    lines += [
        "",
        "## What blocks decide",
        "",
        "How often the classifier sees a sample's value change when one block is drawn anew given the others. The block was chosen "
        "on one half of the samples, the numbers are of the other half. A lead whose interval reaches below 0 is not a lead.",
        "",
        "| attribute | all drawn anew | block | by it | by another | lead over the second | other attributes, by it |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, decided in found["decided"].items():
        numbers = [decided["here"], decided["elsewhere"], decided["lead"]]
        others = _with_interval(decided["others_here"]) if "others_here" in decided else ""
        lines.append(
            f"| {name} | {_with_interval(decided['anew'])} | {decided['block']} "
            f"| {' | '.join(_with_interval(part) for part in numbers)} | {others} |"
        )
    return "\n".join(lines) + "\n"


def _known(found: dict[str, Any], kind: str) -> list[list[float]]:
    return [
        [beyond_chance(part["value"], known["chance"]) for part in known[kind]] for known in found["known"].values()
    ]


def _redrawn(found: dict[str, Any]) -> list[list[float]]:
    return [
        [of_anew(part["value"], decided["anew"]["value"], found["images"]["samples"]) for part in decided["redrawn"]]
        for decided in found["decided"].values()
    ]


def _with_interval(part: dict[str, Any]) -> str:
    return f"{part['value']:.1%} ({part['low']:.1%} to {part['high']:.1%})"
