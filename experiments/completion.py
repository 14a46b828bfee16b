"""Completion on trained models: the sweep that chose its settings, and a blind judge in place of Table 2's people.

    python -m experiments.completion sweep RUN --data DATA --work FOLDER
    python -m experiments.completion judge RUN OTHER --data DATA --classifier CLASSIFIER --work FOLDER

Both use `crvae complete`, and skip what an earlier call has completed already. Tables are printed in Markdown; the numbers are
also written to FOLDER. The sweep uses validation images that the judge does not see.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crvae.cli import main as crvae
from crvae.data import Split, open_data
from crvae.devices import best_device
from crvae.evaluation.completed import judged
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.features import Extractor, spaced
from crvae.evaluation.image_scores import kid
from crvae.files import new_folder, write_text
from crvae.frozen.backbones import digest
from crvae.intervals import mean
from crvae.pictures import from_8_bit, save_image
from crvae.tasks.inputs import distinct, read_file
from crvae.tasks.occlusion import NAMED, rectangle
from crvae.training.classifier import Classifier, load_classifier

JUDGED = 128
"""Validation images of the judge, the first ones; the sweep takes those behind them."""
CLASSIFIER = "the classifier's features"
SWEPT = 32
MASKS = ("right-half", "upper", "lower", "center")
"""Of the judge; where the data's card tells the parts of faces, these and the right half, as in the paper's Table 2."""
BASE: dict[str, Any] = {"gamma": 2.5, "tau": 20.0, "steps": 150, "rate": 0.1, "restarts": 2, "start": "prior"}
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"gamma": 0.5}, {"gamma": 10.0},
    {"tau": 0.0}, {"tau": 100.0},
    {"rate": 0.05}, {"rate": 0.2},
    {"steps": 75}, {"steps": 300},
    {"restarts": 1}, {"restarts": 4},
    {"start": "posterior"},
    {"optimiser": "lbfgs", "steps": 60},
)  # fmt: skip
"""One thing at a time."""
TITLES = {
    "hidden_error": "squared error",
    "distance": "LPIPS-style distance",
    "label": "classifier names the right category",
    "probability": "its probability of the right category",
    "agreement": "share of attributes that are the original's, as the classifier sees both",
    "confidence": "its mean confidence",
}
BETTER = {name: -1 if name in ("hidden_error", "distance") else 1 for name in TITLES}
COLUMNS = (
    "changed",
    "visible error",
    "hidden error",
    "LPIPS-style distance, hidden",
    "steps taken",
    "seconds an image",
)


def complete(
    run: str, images: Path | str, masks: str, out: Path, settings: Mapping[str, Any], count: int
) -> dict[str, Any]:
    """`crvae complete` unless `out` is there; returns completions.json."""
    if not out.exists():
        words = [f"--{name}={value}" for name, value in settings.items()]
        out.parent.mkdir(parents=True, exist_ok=True)
        arguments = [
            "complete",
            run,
            "--images",
            str(images),
            "--mask",
            masks,
            "--out",
            str(out),
            "--count",
            str(count),
        ]
        if crvae([*arguments, *words]):
            raise SystemExit(2)
    return json.loads((out / "completions.json").read_text())


def pngs(folder: Path, names: list[str], size: int) -> UInt8[Tensor, "n c h w"]:
    stored = [((read_file(folder / f"{name}.png", 3, size) + 1) * 127.5).round().to(torch.uint8) for name in names]
    return torch.stack(stored)


def sweep(run: str, data: str, work: Path) -> None:
    """Table of the settings: errors in the hidden region, over two masks."""
    split = open_data(data).split("validation")
    rows = range(JUDGED, JUDGED + SWEPT)
    images, size = work / "sweep-images", open_data(data).card.size
    if not images.exists():
        images.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(images) as folder:
            for name, image in zip(distinct(split.keys(rows)), split.images(rows), strict=True):
                save_image(image, folder / f"{name}.png")
    distance = PerceptualDistance(best_device())
    results = []
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for change in CHANGES:
        label = ", ".join(f"{name} {value}" for name, value in change.items()) or "nothing"
        out = work / "sweep" / Path(run).name / label.replace(", ", "-").replace(" ", "-")
        report = complete(run, images, "right-half,center", out, BASE | change, SWEPT)
        values: dict[str, list[float]] = {"visible": [], "hidden": [], "distance": [], "steps": []}
        for mask, found in report["masks"].items():
            visible = 3 * rectangle(NAMED[mask], size).sum().item()
            names = list(found)
            values["visible"] += [found[name][0]["reconstruction"] / visible for name in names]
            values["hidden"] += [found[name][0]["hidden_error"] for name in names]
            values["steps"] += [sum(r["steps"] for r in found[name]) / len(found[name]) for name in names]
            originals, blended = (pngs(out / part, names, size) for part in ("original", f"blended/{mask}"))
            values["distance"] += distance(originals, blended).tolist()
        means = {name: sum(numbers) / len(numbers) for name, numbers in values.items()}
        results.append({"change": change, **means, "seconds": 1 / report["images_per_second"]})
        print(
            f"| {label} | {means['visible']:.4f} | {means['hidden']:.4f} | {means['distance']:.4f} | {means['steps']:.0f} "
            f"| {results[-1]['seconds']:.2f} |",
            flush=True,
        )
    write_text(
        work / f"sweep-{Path(run).name}.json", json.dumps({"run": run, "base": BASE, "rows": results}, indent=1) + "\n"
    )


def judge(
    run: str, other: str, data: str, classifier: str, work: Path, search: Mapping[str, Any] | None = None
) -> None:
    """Table of both models' completions, mask by mask, and of how often `run` is preferred; `search` departs from the defaults."""
    opened = open_data(data)
    split, size = opened.split("validation"), opened.card.size
    names = distinct(split.keys(range(JUDGED)))
    distance, network = PerceptualDistance(best_device()), load_classifier(classifier)
    own = spaced(len(split) - JUDGED, JUDGED) + JUDGED if len(split) >= 2 * JUDGED else range(JUDGED)
    features = Extractor(network.backbone, CLASSIFIER, digest(network.backbone), network.backbone.resizer)
    about = {"features": features.name, "features_sha256": features.sha256, "resizer": features.resizer}
    real = features(split.images(own).expand(-1, 3, -1, -1))
    table: dict[str, Any] = {"run": run, "other": other, "images": JUDGED, "search": search or {}, "masks": {}}
    for mask in ("right-half", *opened.card.boxes) if opened.card.boxes else MASKS:
        two, said = [], []
        for model in (run, other):
            out = work / "judge" / Path(model).name / mask
            found = complete(model, data, mask, out, search or {}, JUDGED)["masks"][mask]
            originals, blended = (pngs(out / part, names, size) for part in ("original", f"blended/{mask}"))
            two.append(
                {
                    "hidden_error": torch.tensor([found[name][0]["hidden_error"] for name in names]),
                    "distance": distance(originals, blended),
                    **_recognised(network, split, originals, blended),
                }
            )
            near = kid(real, features(blended), 0, **about).json()
            said.append({"kid": near, "attributes": judged(network, originals, blended).table()})
        ours, theirs = two
        table["masks"][mask] = {
            "means": {name: [ours[name].mean().item(), theirs[name].mean().item()] for name in ours},
            "preferred": {name: preferred(BETTER[name] * ours[name], BETTER[name] * theirs[name]) for name in ours},
            "kid": [model["kid"] for model in said],
            "attributes": [model["attributes"] for model in said],
        }
    write_text(work / "judge.json", json.dumps(table, indent=1) + "\n")
    _print_judged(table)


def _recognised(
    network: Classifier, split: Split, originals: UInt8[Tensor, "n c h w"], blended: UInt8[Tensor, "n c h w"]
) -> dict[str, Float[Tensor, " n"]]:
    """What the classifier sees of each completion: its true category, or of several attributes how many are the original's."""
    if list(network.config.attributes) != ["label"]:
        found = judged(network, originals, blended)
        return {"agreement": found.agrees.float().mean(1), "confidence": found.confidence.mean(1)}
    labels = split.labels(range(JUDGED))
    probabilities = torch.cat([network(from_8_bit(part)).softmax(1) for part in blended.split(32)])
    return {
        "label": (probabilities.argmax(1) == labels).float(),
        "probability": probabilities[torch.arange(JUDGED), labels],
    }


def _print_judged(table: dict[str, Any]) -> None:
    names = [Path(table[which]).name for which in ("run", "other")]
    print(
        f"| hidden | | {' | '.join(names)} | first preferred (95% interval, pairs that differ) |\n|---|---|---|---|---|"
    )
    for mask, values in table["masks"].items():
        for name, (mine, its) in values["means"].items():
            share = values["preferred"][name]
            print(
                f"| {mask} | {TITLES[name]} | {mine:.3f} | {its:.3f} | {share['share']:.1%} ({share['low']:.1%} to "
                f"{share['high']:.1%}, {share['decided']}) |"
            )
        print(f"| {mask} | KID of the completed images | {' | '.join(_ranged(part) for part in values['kid'])} | |")
    several = [mask for mask, values in table["masks"].items() if len(values["attributes"][0]) > 1]
    if several:
        print("\nAgreement with the original, as the classifier sees both; in brackets its confidence.\n")
        print(f"| hidden | attribute | {' | '.join(names)} | chance | confidence in originals |\n|{'---|' * 6}")
    for mask in several:
        ours, theirs = table["masks"][mask]["attributes"]
        for name, mine in ours.items():
            both = (
                f"{part['agreement']['value']:.1%} ({part['confidence']['value']:.2f})" for part in (mine, theirs[name])
            )
            print(
                f"| {mask} | {name} | {' | '.join(both)} | {mine['chance']:.1%} | {mine['original_confidence']['value']:.2f} |"
            )


def _ranged(score: dict[str, Any]) -> str:
    return f"{score['value']:.4f} ({score['low']:.4f} to {score['high']:.4f})"


def preferred(ours: Float[Tensor, " n"], theirs: Float[Tensor, " n"]) -> dict[str, float]:
    """Share of the pairs in which ours is larger, ties counting half, with Student's 95% interval; and how many were no ties."""
    points = mean(0.5 + 0.5 * torch.sign(ours - theirs))
    return {
        "share": points["value"],
        "low": points["low"],
        "high": points["high"],
        "decided": int((ours != theirs).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.completion")
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("sweep", "judge"):
        action = actions.add_parser(name)
        action.add_argument("run")
        if name == "judge":
            action.add_argument("other")
            action.add_argument("--classifier", required=True)
        action.add_argument("--data", required=True)
        action.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.action == "sweep":
        sweep(options.run, options.data, options.work)
    else:
        judge(options.run, options.other, options.data, options.classifier, options.work)


if __name__ == "__main__":
    main()
