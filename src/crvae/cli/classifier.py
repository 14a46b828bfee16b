"""`crvae classifier DATA --out CLASSIFIER`: the classifier behind the inception score, and of attributes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError
from crvae.progress import progress, waiting

EPOCHS = {"fine-tune": 1, "linear-probe": 1, "from-scratch": 8}
RATES = {"fine-tune": 1e-4, "linear-probe": 1e-4, "from-scratch": 2e-3}
"""Where nothing is said."""


@dataclass(frozen=True)
class ClassifierCommand:
    """Train a classifier of a labelled dataset; the inception score and the attributes of time steps are computed with it."""

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """Prepared dataset with labels."""
    out: str
    """Folder of the new classifier."""
    attributes: str = "label"
    """What is learned, one head each: label columns separated by commas, or all for every attribute of the data."""
    backbone: str = "efficientnet-lite0"
    """efficientnet-lite0, vgg11 (the paper's; fetched), timm:NAME, or small, which is trained from scratch and sees 64 pixels."""
    method: Literal["auto", "fine-tune", "linear-probe", "from-scratch"] = "auto"
    """linear-probe: fit the heads only; fine-tune: then train all weights; from-scratch: all weights from random ones.
    auto: from-scratch for small, else fine-tune."""
    epochs: int = 0
    """Passes over the training images with all weights; 0: 1, or 8 from scratch."""
    rate: float = 0.0
    """Learning rate of these passes; 0: 1e-4, or 2e-3 from scratch."""
    seed: int = 0
    """Seed of the order of images."""
    json: bool = False
    """Print the report as JSON on standard output."""


def run(args: list[str]) -> None:
    """Trains, writes the folder, prints the report."""
    command = parse(ClassifierCommand, args, name="classifier")
    for option, good in (("--epochs", 0 <= command.epochs <= 10_000), ("--rate", 0 <= command.rate <= 1)):
        if not good:
            raise UserError(f"{option} must be positive and sensible, got {getattr(command, option[2:])}")
    if not 0 <= command.seed < 2**32:
        raise UserError(f"--seed must lie between 0 and 2**32 - 1, got {command.seed}")
    scratch = command.backbone == "small"
    method = command.method if command.method != "auto" else "from-scratch" if scratch else "fine-tune"
    if scratch and method != "from-scratch":
        raise UserError(f"--method {method} needs pretrained weights, and small has none: leave --method out")

    with waiting("loading"):
        from crvae.training.classifier import ClassifierConfig
        from crvae.training.classifying import train_classifier

    config = ClassifierConfig(
        backbone=command.backbone,
        method=method,
        epochs=command.epochs or EPOCHS[method],
        rate=command.rate or RATES[method],
        seed=command.seed,
    )
    with progress() as advance:
        report = train_classifier(command.data, command.out, config, command.attributes, advance)
    if command.json:
        print(json.dumps(report))
        return
    _print(command.out, report)


def _print(out: str, report: dict) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    headings = (
        "attribute",
        "values",
        "held-out images",
        "accuracy",
        "95% interval",
        "commonest value",
        "calibration error",
    )
    table = Table(*headings, box=box.SIMPLE_HEAD)
    for name, found in report["attributes"].items():
        row = [name, str(len(found["classes"])), str(found["images"])]
        if found["images"]:
            row += [f"{found['accuracy']:.1%}", f"{found['low']:.1%} to {found['high']:.1%}"]
            row += [f"{found['chance']:.1%}", f"{found['calibration_error']:.3f}"]
        table.add_row(*row)
    console = Console(stderr=True)
    console.print(table)
    console.print(f"{out}: confusion in report.json", highlight=False)
