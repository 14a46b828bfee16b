"""Training curves of several runs, one panel a term."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TERMS = ("reconstruction", "kl", "adversarial_sample", "discriminator_error", "mutual_information_explained")
"""The terms of metrics.jsonl that are drawn, where any run has them."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Distinguishable with colour-blind eyes too."""

LABEL, LETTER = 0.7, 0.07
"""Inches of the legend: a run's line with its margins, and each letter of its name."""


def save_curves(runs: dict[str, list[dict[str, Any]]], path: Path) -> bool:
    """Draws the terms of `runs` (name -> reports) over images seen; False, and no file, where there is nothing to draw."""
    from matplotlib.figure import Figure

    from crvae.pictures import save_figure

    terms = [term for term in TERMS if any(term in line for lines in runs.values() for line in lines)]
    if not terms:
        return False
    figure = Figure(figsize=(3.2 * len(terms), 2.8), layout="constrained")
    panels = figure.subplots(1, len(terms), squeeze=False)[0]
    for panel, term in zip(panels, terms, strict=True):
        for index, (name, lines) in enumerate(runs.items()):
            points = [(line["images"] / 1000, line[term]) for line in lines if line.get(term) is not None]
            if points:
                panel.plot(*zip(*points, strict=True), label=name, color=COLOURS[index % len(COLOURS)], linewidth=1.2)
        panel.set_title(term.replace("_", " "), fontsize=10)
        panel.set_xlabel("thousand images seen", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    handles = {text: line for panel in panels for line, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    inches = LABEL + LETTER * max(map(len, handles), default=0)
    columns = max(1, min(4, int(figure.get_figwidth() / inches)))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=9, frameon=False
    )
    save_figure(figure, path, dpi=130)
    return True
