"""`crvae classifier DATA --out CLASSIFIER`: the classifier behind the inception score."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError


@dataclass(frozen=True)
class ClassifierCommand:
    """Fine-tune an ImageNet network on a labelled dataset; the inception score is computed with it."""

    data: tyro.conf.Positional[str]
    """Prepared dataset with labels."""
    out: str
    """Folder of the new classifier."""
    backbone: str = "efficientnet-lite0"
    """efficientnet-lite0, vgg11 (the paper's; fetched), or timm:NAME."""
    method: Literal["fine-tune", "linear-probe"] = "fine-tune"
    """linear-probe: fit the last layer only; fine-tune: then go on with all weights."""
    label: str = "label"
    """Label column."""
    epochs: int = 1
    """Passes over the training images with all weights."""
    rate: float = 1e-4
    """Learning rate of these passes."""
    seed: int = 0
    """Seed of the order of images."""
    json: bool = False
    """Print the report as JSON on standard output."""


def run(args: list[str]) -> None:
    """Trains, writes the folder, prints the report."""
    command = parse(ClassifierCommand, args, name="classifier")
    for option, good in (("--epochs", 1 <= command.epochs <= 10_000), ("--rate", 0 < command.rate <= 1)):
        if not good:
            raise UserError(f"{option} must be positive and sensible, got {getattr(command, option[2:])}")
    if not 0 <= command.seed < 2**32:
        raise UserError(f"--seed must lie between 0 and 2**32 - 1, got {command.seed}")

    from rich.console import Console

    from crvae.cli.progress import progress
    from crvae.training.classifier import ClassifierConfig, train_classifier

    config = ClassifierConfig(
        backbone=command.backbone,
        method=command.method,
        column=command.label,
        epochs=command.epochs,
        rate=command.rate,
        seed=command.seed,
    )
    with progress() as advance:
        report = train_classifier(command.data, command.out, config, advance)
    if command.json:
        print(json.dumps(report))
        return
    console = Console(stderr=True)
    console.print(
        f"{command.out}: {report['accuracy']:.1%} of {report['images']} held-out images right"
        f" (95% interval {report['low']:.1%} to {report['high']:.1%}; always the commonest class: {report['chance']:.1%}),"
        f" calibration error {report['calibration_error']:.3f}; confusion in report.json",
        highlight=False,
    )
