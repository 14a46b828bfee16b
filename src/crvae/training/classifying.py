"""Training of a classifier: a linear probe on pretrained features, fine-tuning of all weights, or all of them from scratch."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import count
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crvae.data import PreparedData, Split, open_data
from crvae.devices import best_device, quick_arithmetic
from crvae.errors import UserError
from crvae.extras import require
from crvae.files import check_new_folder
from crvae.intervals import share
from crvae.pictures import from_8_bit
from crvae.progress import Progress, silent
from crvae.training.classifier import Classifier, ClassifierConfig, save

BATCH = 32
"""Images that a backbone sees at once."""

SCRATCH_BATCH = 64
"""Images of a step from scratch."""

SHIFT = 2
"""From scratch, each batch is moved by up to so many pixels, its borders repeated."""

ROUNDS = 200
"""Steps of the linear probe's search, at most."""

DECAY = 0.1
"""Weight decay of the linear probe, on standardised features, a mean over images."""


def train_classifier(
    data: str, out: str, config: ClassifierConfig, names: str = "label", progress: Progress = silent
) -> dict:
    """Trains on the `train` split, tests on the held-out one, writes the folder `out` and returns its report.

    `names`: the label columns that are learned, separated by commas, or `all` for the data's attributes. The linear probe fits
    the heads alone; fine-tuning continues from there with all weights for `config.epochs`; from scratch, nothing is fitted before.
    Nothing is chosen by the held-out images. Raises UserError if `out` exists, or the data lack labels or a split.
    """
    folder = Path(out)
    check_new_folder(folder)
    require("the classifier's report", "torchmetrics", "scipy")
    prepared = open_data(data)
    train = prepared.split("train")
    held_out = held_out_images(prepared)
    attributes, values = _labelled(train, names)
    config = config.model_copy(update={"attributes": attributes, "data": prepared.fingerprint})
    torch.manual_seed(config.seed)
    model = Classifier(config).to(best_device())
    rows = (values >= 0).any(1).nonzero().flatten()
    values = values[rows]
    if train.resident:
        train.everything()  # decoded once, for images in random order
    if config.method == "from-scratch":
        _all_weights(model.train(), train, rows, values, progress)
    else:
        _probe(model, train, rows, values, progress)
        if config.method == "fine-tune":
            _all_weights(model.eval(), train, rows, values, progress)
    model.eval().requires_grad_(False)
    report = held_out_report(model, held_out, progress)
    save(folder, model, report)
    return report


def held_out_images(data: PreparedData) -> Split:
    """What classifiers of prepared data are tested on: the validation images, or the test images where there are none."""
    return data.split("validation" if "validation" in data.card.splits else "test")


def _labelled(split: Split, names: str) -> tuple[dict[str, list[str]], Int64[Tensor, "n a"]]:
    """The attributes called `names` with their values, and every image's, -1 where unknown."""
    chosen = list(split.attributes) if names == "all" else [part.strip() for part in names.split(",") if part.strip()]
    if not chosen:
        raise UserError(
            f"--attributes {names}: {split.data.path} has no attributes. Name a label column, or prepare data that has attributes"
        )
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--attributes {names} names one twice")
    attributes = {name: list(split.classes(name)) for name in chosen}
    values = torch.stack([split.labels(range(len(split)), name) for name in chosen], 1)
    for name, column in zip(chosen, values.T, strict=True):
        present = column[column >= 0].unique()
        if not len(present):
            raise UserError(f"{split.data.path}: no image of {split.name} has a label in the column {name!r}")
        if len(present) < 2:
            raise UserError(f"{split.data.path}: all images of {split.name} have one value of {name!r}: leave it out")
    return attributes, values


@torch.no_grad()
def _outputs(module: nn.Module, split: Split, rows: Tensor, progress: Progress, what: str) -> Float[Tensor, "n k"]:
    """What `module` says of the images at `rows`, on the CPU."""
    device = next(module.parameters()).device
    parts = []
    for batch in rows.split(BATCH):
        parts.append(module(from_8_bit(split.images(batch)).to(device)).float().cpu())
        progress(what, sum(map(len, parts)), len(rows))
    return torch.cat(parts)


def _probe(model: Classifier, split: Split, rows: Tensor, values: Tensor, progress: Progress) -> None:
    """Fits the heads by softmax regression on the pretrained features, which are standardised meanwhile."""
    features = _outputs(model.backbone.eval(), split, rows, progress, "features")
    mean, deviation = features.mean(0), features.std(0) + 1e-3
    features = (features - mean) / deviation
    rounds = count()
    weight = torch.zeros(model.head.out_features, model.head.in_features, requires_grad=True)
    bias = torch.zeros(model.head.out_features, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = _error(model, features @ weight.T + bias, values) + DECAY / 2 * weight.square().sum()
        value.backward()
        progress("fitting the heads", min(next(rounds), ROUNDS), ROUNDS)
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    with torch.no_grad():
        model.head.weight.copy_(weight / deviation)
        model.head.bias.copy_(bias - (weight / deviation) @ mean)


def _all_weights(model: Classifier, split: Split, rows: Tensor, values: Tensor, progress: Progress) -> None:
    """Trains all weights with AdamW, its rate falling to zero along a cosine.

    A fine-tuned model keeps its batch statistics, in single precision; one from scratch finds them, warms up for the first
    tenth, sees moved images, and computes in bf16 where the device is faster by it.
    """
    config, device = model.config, model.head.weight.device
    scratch = config.method == "from-scratch"
    batch = SCRATCH_BATCH if scratch else BATCH
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=1e-2)
    total = config.epochs * -(-len(rows) // batch)
    schedule: torch.optim.lr_scheduler.LRScheduler
    if scratch:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total + 1, pct_start=0.1)
    else:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    for epoch in range(config.epochs):
        seen = 0
        for part in torch.randperm(len(rows), generator=generator).split(batch):
            images = from_8_bit(split.images(rows[part])).to(device)
            with quick_arithmetic(device) if scratch else nullcontext():
                logits = model(_moved(images, generator) if scratch else images).float()
            optimiser.zero_grad()
            _error(model, logits, values[part].to(device)).backward()
            optimiser.step()
            schedule.step()
            seen += len(part)
            progress(f"epoch {epoch + 1} of {config.epochs}", seen, len(rows))


def _moved(images: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """All images moved by the same few pixels."""
    height, width = images.shape[-2:]
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
    return F.pad(images, (SHIFT,) * 4, mode="replicate")[..., down : down + height, right : right + width]


def _error(model: Classifier, logits: Float[Tensor, "b n"], values: Int64[Tensor, "b a"]) -> Tensor:
    """Cross-entropy, a mean over the images whose value is known, summed over attributes."""
    errors = [
        F.cross_entropy(part, column, ignore_index=-1, reduction="sum") / (column >= 0).sum().clamp_min(1)
        for part, column in zip(model.split(logits).values(), values.T, strict=True)
    ]
    return torch.stack(errors).sum()


def held_out_report(model: Classifier, split: Split, progress: Progress) -> dict:
    """What the held-out images say of a classifier, attribute by attribute."""
    config = model.config
    logits = _outputs(model, split, torch.arange(len(split)), progress, "held-out images")
    return {
        "backbone": config.backbone,
        "method": config.method,
        "split": split.name,
        "attributes": {
            name: _judged(part, split.labels(range(len(split)), name), config.attributes[name])
            for name, part in model.split(logits).items()
        },
    }


def _judged(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], classes: list[str]) -> dict:
    """Accuracy with its interval beside the share of the commonest value, calibration and confusion of one attribute."""
    from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

    known = labels >= 0
    if not known.any():
        return {"images": 0, "classes": classes}
    probabilities, labels = logits[known].softmax(1), labels[known]
    accuracy = share(int((probabilities.argmax(1) == labels).sum()), len(labels))
    return {
        "images": len(labels),
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "chance": float(labels.bincount(minlength=len(classes)).max()) / len(labels),
        "calibration_error": float(
            multiclass_calibration_error(probabilities, labels, len(classes), n_bins=15, norm="l1")
        ),
        "confidence": float(probabilities.max(1).values.mean()),
        "log_loss": float(F.nll_loss(probabilities.clamp_min(1e-12).log(), labels)),
        "classes": classes,
        "confusion": multiclass_confusion_matrix(probabilities, labels, len(classes)).tolist(),
    }
