"""The classifier behind the inception score: an ImageNet backbone, fine-tuned on a labelled dataset (section 4.1)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from crvae.config.base import FORMAT, Frozen
from crvae.data import Split, open_data
from crvae.errors import UserError
from crvae.files import write_text
from crvae.frozen.backbones import Backbone, backbone
from crvae.intervals import share
from crvae.pictures import from_8_bit
from crvae.storage.weights import load_weights, parse_part, read_config, save_weights

BATCH = 32
"""Images that a backbone sees at once."""

DECAY = 0.1
"""Weight decay of the linear probe, on standardised features, a mean over images."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many images of it, and of how many."""


class ClassifierConfig(Frozen):
    """What a classifier is, and how it came about."""

    backbone: str = "efficientnet-lite0"
    method: Literal["fine-tune", "linear-probe"] = "fine-tune"
    column: str = "label"
    classes: list[str] = Field(default_factory=list)
    data: str = ""
    """Fingerprint of the dataset."""
    epochs: int = 1
    rate: float = 1e-4
    seed: int = 0


class Classifier(nn.Module):
    """Images `b c h w` in [-1, 1] -> logits `b n` of the n classes."""

    def __init__(self, config: ClassifierConfig, pretrained: bool = True):
        super().__init__()
        self.config = config
        self.backbone: Backbone = backbone(config.backbone, pretrained)
        self.head = nn.Linear(self.backbone.width, len(config.classes))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n"]:
        return self.head(self.backbone(images))


def train_classifier(data: str, out: str, config: ClassifierConfig, progress: Progress = lambda *_: None) -> dict:
    """Trains on the `train` split, tests on the held-out one, writes the folder `out` and returns its report.

    The linear probe fits the last layer alone; fine-tuning goes on from there with all weights for `config.epochs`.
    Nothing is chosen by the held-out images. Raises UserError where `out` exists, or the data lack labels or a split.
    """
    folder = Path(out)
    if folder.exists():
        raise UserError(f"--out {out} exists already: choose another name, or remove it first")
    prepared = open_data(data)
    train = prepared.split("train")
    held_out = prepared.split("validation" if "validation" in prepared.card.splits else "test")
    classes = train.classes(config.column)
    config = config.model_copy(update={"classes": list(classes), "data": prepared.fingerprint})
    rows, labels = _labelled(train, config.column)
    if len(labels.unique()) < 2:
        raise UserError(f"{data}: the column {config.column!r} has images of one class only: there is nothing to learn")
    torch.manual_seed(config.seed)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = Classifier(config).to(device)
    _probe(model, train, rows, labels, progress)
    if config.method == "fine-tune":
        _fine_tune(model, train, rows, labels, progress)
    model.eval().requires_grad_(False)
    report = _report(model, held_out, progress)
    save(folder, model, report)
    return report


def save(folder: Path, model: Classifier, report: dict) -> None:
    """Writes a classifier and its report for `load_classifier`, whole or not at all."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        save_weights(temporary / "model.safetensors", model)
        write_text(temporary / "report.json", json.dumps(report, indent=2) + "\n")
        body = {"format": FORMAT, "classifier": model.config.model_dump()}
        write_text(temporary / "config.json", json.dumps(body, indent=2) + "\n")
        os.rename(temporary, folder)
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_classifier(folder: str | Path) -> Classifier:
    """A classifier in evaluation mode. Raises UserError where `folder` does not hold exactly one."""
    path = Path(folder)
    body = read_config(path)
    if "classifier" not in body:
        raise UserError(f"{folder} is no classifier: make one with `crvae classifier DATA --out CLASSIFIER`")
    model = Classifier(parse_part(path, body, "classifier", ClassifierConfig), pretrained=False)
    load_weights(path / "model.safetensors", model)
    return model.eval().requires_grad_(False)


def _labelled(split: Split, column: str) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """The rows whose label is known, and their labels."""
    labels = split.labels(range(len(split)), column)
    rows = (labels >= 0).nonzero().flatten()
    if not len(rows):
        raise UserError(f"{split.data.path}: no image of {split.name} has a label in the column {column!r}")
    return rows, labels[rows]


@torch.no_grad()
def _outputs(module: nn.Module, split: Split, rows: Tensor, progress: Progress, what: str) -> Float[Tensor, "n k"]:
    """What `module` says of the images at `rows`, on the CPU."""
    device = next(module.parameters()).device
    parts = []
    for batch in rows.split(BATCH):
        parts.append(module(from_8_bit(split.images(batch)).to(device)).float().cpu())
        progress(what, sum(map(len, parts)), len(rows))
    return torch.cat(parts)


def _probe(model: Classifier, split: Split, rows: Tensor, labels: Tensor, progress: Progress) -> None:
    """Fits the head by softmax regression on the pretrained features, which are standardised meanwhile."""
    features = _outputs(model.backbone.eval(), split, rows, progress, "features")
    mean, deviation = features.mean(0), features.std(0) + 1e-3
    features = (features - mean) / deviation
    weight = torch.zeros(model.head.out_features, model.head.in_features, requires_grad=True)
    bias = torch.zeros(model.head.out_features, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(features @ weight.T + bias, labels) + DECAY / 2 * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    with torch.no_grad():
        model.head.weight.copy_(weight / deviation)
        model.head.bias.copy_(bias - (weight / deviation) @ mean)


def _fine_tune(model: Classifier, split: Split, rows: Tensor, labels: Tensor, progress: Progress) -> None:
    """Trains all weights with AdamW, its rate falling to zero along a cosine. Batch norm keeps ImageNet's statistics."""
    config = model.config
    device = model.head.weight.device
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=1e-2)
    total = config.epochs * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    model.eval()
    for epoch in range(config.epochs):
        seen = 0
        for part in torch.randperm(len(rows), generator=generator).split(BATCH):
            images = from_8_bit(split.images(rows[part])).to(device)
            optimiser.zero_grad()
            F.cross_entropy(model(images), labels[part].to(device)).backward()
            optimiser.step()
            schedule.step()
            seen += len(part)
            progress(f"epoch {epoch + 1} of {config.epochs}", seen, len(rows))


def _report(model: Classifier, split: Split, progress: Progress) -> dict:
    """Accuracy with its interval, calibration and confusion on the held-out images."""
    from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

    config = model.config
    rows, labels = _labelled(split, config.column)
    probabilities = _outputs(model, split, rows, progress, "held-out images").softmax(1)
    classes = len(config.classes)
    right = int((probabilities.argmax(1) == labels).sum())
    accuracy = share(right, len(rows))
    return {
        "backbone": config.backbone,
        "method": config.method,
        "column": config.column,
        "split": split.name,
        "images": len(rows),
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "chance": float(labels.bincount(minlength=classes).max()) / len(rows),
        "calibration_error": float(multiclass_calibration_error(probabilities, labels, classes, n_bins=15, norm="l1")),
        "confidence": float(probabilities.max(1).values.mean()),
        "log_loss": float(F.nll_loss(probabilities.clamp_min(1e-12).log(), labels)),
        "classes": config.classes,
        "confusion": multiclass_confusion_matrix(probabilities, labels, classes).tolist(),
    }
