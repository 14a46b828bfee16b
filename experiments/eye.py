"""Which score agrees with the eye? Pairs of grids, rated blindly, against the scores of the models that drew them.

    python -m experiments.eye pairs RUN... --data DATA --out FOLDER      sheets of numbered pairs, and key.json, not to be looked at
    python -m experiments.eye scores --data DATA --classifier CLASSIFIER --out FOLDER
    python -m experiments.eye agreement --out FOLDER                     once FOLDER/ratings.txt has a line `NUMBER left|right|same` each

Every run takes part twice, with its own prior and with N(0, I); the held-out images themselves take part, too.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from crvae.data import open_data
from crvae.evaluation.evaluate import evaluate
from crvae.evaluation.features import spaced
from crvae.evaluation.registry import Request
from crvae.files import write_text
from crvae.intervals import Interval
from crvae.pictures import save_image, save_picture, tiled, to_8_bit
from crvae.storage.models import load
from crvae.tasks.grids import labelled_grid

PAIRS, ON_A_SHEET, SHOWN = 200, 10, 12
"""Pairs, pairs on one sheet, images in each grid."""
IMAGES = 1_000
"""Images of each score."""
REDRAWN = 10_000
"""Times that the kinds are drawn again for an interval."""
REAL = "the held-out images"
NETWORKS = ("efficientnet-lite0", "classifier")
CHOICES = ("left", "right", "same")
HARD = {"both clear": "own", "both from N(0, I)": "normal"}
"""The pairs that are alike, and so harder to tell apart: name -> the prior of both sides' models."""


def grids(kind: str, prior: str, data: str, count: int) -> UInt8[Tensor, "n c h w"]:
    """`count` images of a run, or of the held-out images."""
    if kind == REAL:
        split = open_data(data).split("validation")
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
        return split.images(order[torch.arange(count) % len(split)])
    model = load(kind, prior=prior)  # type: ignore[arg-type]
    return to_8_bit(model.sample(count, seed=100))


def pairs(runs: list[str], data: str, out: Path) -> None:
    """Draws the pairs, writes sheets and key."""
    out.mkdir(parents=True)
    kinds = [(run, prior) for run in runs for prior in ("own", "normal")] + [(REAL, "own")]
    chance = random.Random(0)
    chosen = [chance.sample(range(len(kinds)), 2) for _ in range(PAIRS)]
    needed = [SHOWN * sum(kind in pair for pair in chosen) for kind in range(len(kinds))]
    drawn = [
        iter(grids(*kind, data, max(count, SHOWN)).split(SHOWN)) for kind, count in zip(kinds, needed, strict=True)
    ]
    for first in range(0, PAIRS, ON_A_SHEET):
        numbers = range(first, min(first + ON_A_SHEET, PAIRS))
        rows = []
        for number in numbers:
            left, right = (tiled(next(drawn[kind]), SHOWN // 2) for kind in chosen[number])
            rows.append(torch.cat([left, torch.full_like(left[..., :24], 255), right], -1))
        save_picture(
            labelled_grid(torch.stack(rows)[:, None], [str(number) for number in numbers]),
            out / f"sheet-{first:03d}.png",
        )
    write_text(out / "key.json", json.dumps({"kinds": kinds, "pairs": chosen}) + "\n")


def scores(data: str, classifier: str, out: Path) -> None:
    """Scores every kind that takes part, as `crvae evaluate` does; of the held-out images those that it compares nothing with."""
    found: list[dict[str, float]] = []
    for kind, prior in json.loads((out / "key.json").read_text())["kinds"]:
        if kind == REAL:
            kind = str(out / "real")
            for number, image in enumerate(_left_out(data) if not Path(kind).exists() else ()):
                Path(kind).mkdir(exist_ok=True)
                save_image(image, Path(kind) / f"{number:05d}.png")
        values: dict[str, float] = {}
        for network in NETWORKS:
            wanted = ("kid", "prdc", *(("is",) if network == NETWORKS[0] else ()))
            request = Request(data, wanted, network, classifier, "hair", images=IMAGES, prior=prior)
            made: dict[str, Any] = evaluate(kind, request)["scores"]
            values |= {
                f"{score.name}": (1 if score.better == "higher" else -1) * score.value for score in made.values()
            }
        found.append(values)
        print(kind, prior, values, flush=True)
    write_text(out / "scores.json", json.dumps(found, indent=1) + "\n")


def _left_out(data: str) -> UInt8[Tensor, "n c h w"]:
    """The held-out images beside the IMAGES that samples are compared with."""
    split = open_data(data).split("validation")
    compared = set(spaced(len(split), IMAGES).tolist())
    return split.images(torch.tensor([row for row in range(len(split)) if row not in compared]))


def _share(hits: Tensor, pairs: list[list[int]], kinds: int) -> Interval:
    """The share of `hits`, `n` from 0 to 1, one for each pair of kinds; its interval is of redrawn kinds, as pairs share them."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(kinds, (REDRAWN, kinds), generator=generator)
    counts = torch.nn.functional.one_hot(counts, kinds).sum(1).double()  # how often each kind was drawn
    left, right = torch.tensor(pairs).T
    weights = counts[:, left] * counts[:, right]
    weights = weights[weights.sum(1) > 0]
    low, high = ((weights @ hits.double()) / weights.sum(1)).quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return {"value": float(hits.double().mean()), "low": low, "high": high, "interval": "bootstrap over kinds"}


def _hit(left: float, right: float, side: str) -> float:
    """1 if the better score is the chosen side's, 0 if it is the other's; half of one where the scores are equal and tell nothing."""
    return 0.5 if left == right else float((left > right) == (side == "left"))


def agreement(out: Path) -> dict[str, Any]:
    """Prints, for each score, in how many of the pairs that were told apart the better score was the chosen side's."""
    key, found = json.loads((out / "key.json").read_text()), json.loads((out / "scores.json").read_text())
    ratings = dict(line.split() for line in (out / "ratings.txt").read_text().splitlines() if line.strip())
    if wrong := [f"{number} {side}" for number, side in ratings.items() if side not in CHOICES]:
        raise SystemExit(f"{out / 'ratings.txt'}: a line is NUMBER and one of {', '.join(CHOICES)}, got {wrong[0]!r}")
    told = {int(number): side for number, side in ratings.items() if side != "same"}
    compared = [key["pairs"][number] for number in told]
    hard = {name: [_both(key["kinds"], pair, prior) for pair in compared] for name, prior in HARD.items()}
    table: dict[str, Any] = {"rated": len(ratings), "told_apart": len(told), "scores": {}}
    heads = [f"all {len(told)} pairs", "ties", *(f"{name} ({sum(chosen)})" for name, chosen in hard.items())]
    print(f"{len(ratings)} rated\n\n| score | {' | '.join(heads)} |\n|---|" + "---:|" * len(heads))
    for name in found[0]:
        sides = zip(compared, told.values(), strict=True)
        hits = [_hit(found[left][name], found[right][name], side) for (left, right), side in sides]
        part: dict[str, Any] = {**_share(torch.tensor(hits), compared, len(found))}
        part["ties"] = sum(found[left][name] == found[right][name] for left, right in compared)
        part["hard"] = {
            kind: sum(hit for hit, one in zip(hits, chosen, strict=True) if one) for kind, chosen in hard.items()
        }
        table["scores"][name] = part
        share = f"{part['value']:.1%} ({part['low']:.1%} to {part['high']:.1%})"
        print(f"| {name} | {share} | {part['ties']} | {' | '.join(f'{value:g}' for value in part['hard'].values())} |")
    write_text(out / "agreement.json", json.dumps(table, indent=1) + "\n")
    return table


def _both(kinds: list[list[str]], pair: list[int], prior: str) -> bool:
    """Whether models drew both sides of a pair, from this prior."""
    return all(kinds[side][1] == prior and kinds[side][0] != REAL for side in pair)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.eye")
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("pairs", "scores", "agreement"):
        action = actions.add_parser(name)
        action.add_argument("--out", type=Path, required=True)
        if name != "agreement":
            action.add_argument("--data", required=True)
        if name == "pairs":
            action.add_argument("runs", nargs="+")
        if name == "scores":
            action.add_argument("--classifier", required=True)
    options = parser.parse_args()
    if options.action == "pairs":
        pairs(options.runs, options.data, options.out)
    elif options.action == "scores":
        scores(options.data, options.classifier, options.out)
    else:
        agreement(options.out)


if __name__ == "__main__":
    main()
