"""Keeps a trained classifier among the results, its weights as numbers of 16 bits, so that later tables have the same judge.

    python -m experiments.classifiers data/emoji64

Its report is of the rounded weights. Raises UserError if one is kept for data of this name already.
"""

from __future__ import annotations

import sys
from pathlib import Path

from crvae.data import open_data
from crvae.progress import silent
from crvae.training.classifier import load_classifier, save
from crvae.training.classifying import held_out_images, held_out_report
from experiments import training


def keep(data: str) -> Path:
    """The folder of the classifier that the tables on `data` trained, now among the results."""
    name = Path(data).name
    model = load_classifier(training.RUNS / f"classifier-{name}").half().float()
    out = training.KEPT / name
    save(out, model, held_out_report(model, held_out_images(open_data(data)), silent), half=True)
    return out


if __name__ == "__main__":
    print(keep(sys.argv[1]))
