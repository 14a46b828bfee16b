"""Completion on trained models: the sweep that chose its settings, and a blind judge in place of Table 2's people.

    python -m experiments.completion sweep RUN --data DATA --work FOLDER
    python -m experiments.completion judge RUN OTHER --data DATA --classifier CLASSIFIER --work FOLDER

Both use `crvae complete`, and skip what an earlier call has completed already. Tables are printed in Markdown; the numbers are
also written to FOLDER. The sweep uses validation images that the judge does not see.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crvae.cli import main as crvae
from crvae.data import open_data
from crvae.devices import best_device
from crvae.evaluation.distance import PerceptualDistance
from crvae.files import new_folder, write_text
from crvae.intervals import mean
from crvae.pictures import from_8_bit, save_image
from crvae.tasks.inputs import distinct, read_file
from crvae.tasks.occlusion import NAMED, rectangle
from crvae.training.classifier import load_classifier

JUDGED = 128
"""Validation images of the judge, the first ones; the sweep takes those behind them."""
SWEPT = 32
MASKS = ("right-half", "upper", "lower", "center")
BASE: dict[str, Any] = {"gamma": 2.5, "tau": 20.0, "steps": 150, "rate": 0.1, "restarts": 2}
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
COLUMNS = (
    "changed",
    "visible error",
    "hidden error",
    "LPIPS-style distance, hidden",
    "steps taken",
    "seconds an image",
)


def complete(
    run: str, images: Path | str, masks: str, out: Path, settings: dict[str, Any], count: int
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


def judge(run: str, other: str, data: str, classifier: str, work: Path) -> None:
    """Table of both models' completions, mask by mask, and of how often `run` is preferred."""
    split = open_data(data).split("validation")
    rows = range(JUDGED)
    names, size = distinct(split.keys(rows)), open_data(data).card.size
    labels = split.labels(rows)
    distance, network = PerceptualDistance(best_device()), load_classifier(classifier).only()
    table: dict[str, Any] = {"run": run, "other": other, "images": JUDGED, "masks": {}}
    for mask in MASKS:
        two = []
        for model in (run, other):
            out = work / "judge" / Path(model).name / mask
            found = complete(model, data, mask, out, {}, JUDGED)["masks"][mask]
            originals, blended = (pngs(out / part, names, size) for part in ("original", f"blended/{mask}"))
            probabilities = torch.cat([network(from_8_bit(part)).softmax(1) for part in blended.split(32)])
            two.append(
                {
                    "hidden_error": torch.tensor([found[name][0]["hidden_error"] for name in names]),
                    "distance": distance(originals, blended),
                    "label": (probabilities.argmax(1) == labels).float(),
                    "probability": probabilities[torch.arange(JUDGED), labels],
                }
            )
        ours, theirs = two
        table["masks"][mask] = {
            "means": {name: [ours[name].mean().item(), theirs[name].mean().item()] for name in ours},
            "preferred": {
                "hidden_error": preferred(-ours["hidden_error"], -theirs["hidden_error"]),
                "distance": preferred(-ours["distance"], -theirs["distance"]),
                "label": preferred(ours["label"], theirs["label"]),
                "probability": preferred(ours["probability"], theirs["probability"]),
            },
        }
    write_text(work / "judge.json", json.dumps(table, indent=1) + "\n")
    print(
        f"| hidden | | {Path(run).name} | {Path(other).name} | first preferred (95% interval, pairs that differ) |\n|---|---|---|---|---|"
    )
    titles = {
        "hidden_error": "squared error",
        "distance": "LPIPS-style distance",
        "label": "classifier names the right category",
        "probability": "its probability of the right category",
    }
    for mask, values in table["masks"].items():
        for name, title in titles.items():
            mine, its = values["means"][name]
            share = values["preferred"][name]
            print(
                f"| {mask} | {title} | {mine:.3f} | {its:.3f} | {share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%}, "
                f"{share['decided']}) |"
            )


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
