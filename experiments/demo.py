"""`make demo`: draw faces, train a crVAE-GAN and its prior on them, and show what they can do in runs/demo/report.html.

Every step is a public command or function. A second call continues an unfinished run, or only makes the report again.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import crvae
from crvae.data import open_data
from crvae.pictures import figure_bytes, from_8_bit, save_grid, save_picture, to_8_bit
from crvae.tasks.attribute_data import read_faces
from crvae.tasks.attribute_report import heat_map
from crvae.tasks.attributes import known_by_blocks
from crvae.tasks.completion import Search, complete
from crvae.tasks.grids import labelled_grid
from crvae.tasks.occlusion import blend, masks, occlude, rectangle
from crvae.tasks.traversal import progression
from experiments.training import finished

DATA, RUN = Path("data/avatars64"), Path("runs/demo")
RECIPE, COUNT = "fast-crvae-gan-mi", 12_000
"""Recipe, and faces drawn for it."""
LENGTH = ("--train.images", "40000", "--objective.adversarial-after-images", "28000", "--prior.images", "330000")
"""Two thirds of the recipe's own, so that everything is done in ten minutes of two cores."""
PROBED = 500
"""Held-out faces whose attributes are read from their blocks; four times as many teach the probe."""
SEARCH = Search(gamma=0.02, tau=0.0, steps=60, restarts=1, start="posterior")
"""How completions are searched: from the posterior of the occluded image, near what is visible."""


def command(*arguments: str, processes: int = 1) -> None:
    """One `crvae` command, data-parallel over several processes with one thread each."""
    print("$ crvae", *arguments, file=sys.stderr, flush=True)
    words, environment = [sys.executable, "-m"], dict(os.environ)
    if processes > 1:
        words += ["torch.distributed.run", "--nproc-per-node", str(processes), "-m"]
        environment["OMP_NUM_THREADS"] = "1"
    code = subprocess.run([*words, "crvae", *arguments], env=environment).returncode
    if code:
        sys.exit(code)


def train() -> None:
    """The dataset and the run, each made or finished where it is not there yet."""
    if not DATA.exists():
        if shutil.which("npm") is None:
            sys.exit(
                "make demo draws its faces with Node.js and npm, which are missing: install them, or train on a folder of your own (README)"
            )
        command("prepare", "avatars", str(DATA), "--size", "64", "--count", str(COUNT))
    # on a CPU two processes, as two threads of one gain next to nothing
    processes = 1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1)
    if not RUN.exists():
        command("train", RECIPE, "--data", str(DATA), "--out", str(RUN), *LENGTH, processes=processes)
    elif not finished(RUN):
        command("train", "--resume", str(RUN), processes=processes)


def pictures(run: str | Path) -> dict[str, tuple[str, Tensor, int]]:
    """File name -> (caption, images, columns) for the report."""
    model = crvae.load(run)
    data = open_data(DATA)
    split = data.split("validation")
    x = from_8_bit(split.images(torch.linspace(0, len(split) - 1, 32).long()))
    pairs = torch.stack([x[:16], model.reconstruct(x[:16])], 1).flatten(0, 1)
    size = model.config.size
    hidden = {part: rectangle(data.card.boxes[part], size) for part in ("eyes", "mouth")} | masks("right-half", size)
    completions = []
    for name, mask in hidden.items():
        found, hole = complete(model, x[:8], mask, search=SEARCH).best, mask.expand(8, 1, -1, -1)
        completions += [occlude(x[:8], hole), blend(found, x[:8], hole, feather=2)]
        print(f"completed: {name}", file=sys.stderr)
    steps = progression(model, model.prior.sample(6, seed=1))  # rows z, columns t = 0..T
    return {
        "real": ("Real images of the validation split, never trained on.", x, 8),
        "reconstructions": ("Originals (first of each pair) and their reconstructions.", pairs, 8),
        "samples": (
            "Samples from the learned prior, the first 64 of seed 0, none picked.",
            model.sample(64, seed=0),
            8,
        ),
        "completions": (
            f"Completions: rows in pairs, occluded above completed ({', '.join(hidden)}); the first 8 validation images.",
            torch.cat([x[:8], *completions]),
            8,
        ),
        "progression": (
            "Time steps (Figure 9): the prior's mean on the left, then one more block of a sample in each column.",
            steps.flatten(0, 1),
            steps.shape[1],
        ),
    }


def known() -> tuple[str, bytes]:
    """Caption and heat map: what a linear probe reads of the faces' attributes from each block, and from the first t."""
    model = crvae.load(RUN)
    values = open_data(DATA).split("train").attributes
    train, held_out = read_faces(str(DATA), model, values, PROBED)
    found = {
        "steps": model.config.steps,
        "images": {"train": len(train.x), "held_out": len(held_out.x)},
        "known": known_by_blocks(model, train, held_out),
    }
    caption = (
        f"What each time step knows of a face: a linear probe, fitted to the posterior means of {len(train.x):,} training images, "
        f"reads the attributes of {len(held_out.x):,} others. 0 is no better than the commonest value."
    )
    return caption, figure_bytes(heat_map(found, RUN.name), dpi=80)


def overview(made: dict[str, tuple[str, Tensor, int]]) -> Image.Image:
    """One picture of everything: rows of eight images with their names at the left."""
    images = {name: shown for name, (_, shown, _) in made.items()}
    pairs, completed = images["reconstructions"].unflatten(0, (-1, 2)), images["completions"].unflatten(0, (-1, 8))
    rows = {
        "real": pairs[:8, 0],
        "reconstructed": pairs[:8, 1],
        "right half hidden": completed[-2],
        "completed": completed[-1],
        "samples": images["samples"][:8],
        "more samples": images["samples"][8:16],
        "time steps 1 to 8": images["progression"].unflatten(0, (-1, 9))[0, 1:],
    }
    return labelled_grid(to_8_bit(torch.stack(list(rows.values()))), list(rows))


def scores() -> dict:
    """What `crvae evaluate` says of the run on the validation split."""
    done = subprocess.run(
        [sys.executable, "-m", "crvae", "evaluate", str(RUN), "--data", str(DATA), "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def curves() -> bytes:
    """Losses over images seen, as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    reports = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in reports if "reconstruction" in line]  # the rest is the prior's
    images = [line["images"] for line in lines]
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3), layout="constrained")
    axes[0].plot(images, [line["reconstruction"] for line in lines])
    axes[0].set_title("reconstruction error (mean square)")
    axes[1].plot(images, [line["kl_per_step"] for line in lines], label=[f"t={t}" for t in range(1, 9)])
    axes[1].set_title("KL per time step (nats)")
    axes[1].legend(fontsize=7, ncol=2)
    for name in ("adversarial_sample", "adversarial_reconstruction", "discriminator"):
        with_it = [line for line in lines if name in line]  # the discriminator starts later
        axes[2].plot(
            [line["images"] for line in with_it], [line[name] for line in with_it], label=name.replace("_", ", ")
        )
    axes[2].set_title("adversarial terms")
    axes[2].legend(fontsize=7)
    for axis in axes:
        axis.set_xlabel("images seen")
    out = io.BytesIO()
    figure.savefig(out, dpi=80)
    return out.getvalue()


def report() -> Path:
    """One page with everything in it."""
    made = pictures(RUN)
    folder = RUN / "report"
    folder.mkdir(exist_ok=True)
    save_picture(overview(made), folder / "overview.png")
    sections = [section("overview", "All of it in one picture.", (folder / "overview.png").read_bytes())]
    for name, (caption, images, columns) in made.items():
        path = folder / f"{name}.png"
        save_grid(images, path, columns)
        sections.append(section(name, caption, path.read_bytes()))
    sections.append(section("attributes", *known()))
    sections.append(section("training", "The losses over time.", curves()))
    result = scores()
    (folder / "scores.json").write_text(json.dumps(result, indent=2) + "\n")
    rows = "".join(
        f"<tr><td>{html.escape(score['name'])}</td><td>{score['value']:.4g}</td>"
        f"<td>{score['low']:.4g} to {score['high']:.4g}</td><td>{score['better']} is better</td></tr>"
        for score in result["scores"].values()
        if score["value"] is not None
    )
    sections.append(f"<h2>Scores</h2><p>{result['images']} images, with 95% intervals.</p><table>{rows}</table>")
    config = json.loads((RUN / "model" / "config.json").read_text())
    page = TEMPLATE.format(recipe=config["recipe"], images=config["images"], sections="\n".join(sections))
    path = RUN / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def section(name: str, caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<h2>{name.capitalize()}</h2><p>{caption}</p><img alt="{name}" src="data:image/png;base64,{data}">'


TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>crvae demo</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }}
td {{ padding: .1rem 1rem .1rem 0 }}
</style>
<h1>A channel-recurrent VAE-GAN, trained here</h1>
<p>Recipe {recipe}, {images:,} images seen.</p>
{sections}
</html>
"""

if __name__ == "__main__":
    train()
    print(f"report: {report()}")
