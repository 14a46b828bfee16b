"""What lasts of an experiment: small files in docs/results, with where they come from.

`python -m experiments.results` adds up what the training of all of them took.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from PIL import Image

from crvae.devices import best_device, device_name
from crvae.files import write_text

RESULTS = Path("docs/results")
LARGEST = 300_000
"""Bytes of a picture that lasts as it is; of larger ones as many colours are kept, at most 256, as fit."""


def report(made: Path, name: str, lines: list[str], about: dict, runs: list[dict]) -> None:
    """Writes the page of several seeds into `made`, and keeps it as the results of `name`; `runs`: their provenance."""
    write_text(made / "report.md", "\n".join(lines) + "\n")
    keep(made, RESULTS / name, about | {"runs": runs})


def keep(made: Path, out: Path, about: dict) -> None:
    """Copies what is to last from a comparison to `out`; the page itself stays among the runs."""
    emptied(out)
    for path in made.iterdir():
        if path.suffix == ".png" and path.stat().st_size >= LARGEST:
            fewer_colours(path, out / path.name)
        elif path.suffix in (".md", ".json", ".png"):
            shutil.copyfile(path, out / path.name)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
    machine = f"{device_name(best_device())}, {os.cpu_count()} cores"
    about |= {"commit": commit, "machine": machine, "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    write_text(out / "provenance.json", json.dumps(about, indent=1) + "\n")
    print(f"{out}: {about['title']}")


def fewer_colours(source: Path, target: Path) -> None:
    """The picture at `source` below LARGEST bytes, its values rounded; where that is not enough from a palette, of 32 colours at last."""
    image = Image.open(source).convert("RGB")
    rounded = (image.point([min(255, round(value / step) * step) for value in range(256)] * 3) for step in (2, 3, 4, 6))
    for coarser in chain(rounded, map(image.quantize, (256, 128, 64, 32))):
        coarser.save(target, optimize=True)
        if target.stat().st_size < LARGEST:
            return


def provenance(runs: Iterable[str | Path]) -> list[dict]:
    """Of each run its command, its commit, its device, processor and arithmetic, what it took, and its autoencoder's last report."""
    found = []
    for run in map(Path, runs):
        environment = json.loads((run / "environment.json").read_text())
        about = {"command": f"crvae {environment['command']}", "commit": environment["commit"]}
        about |= {name: environment.get(name) for name in ("device", "processor", "precision")}
        lines = (run / "metrics.jsonl").read_text().splitlines()
        last = next(line for line in reversed(lines) if "prior" not in json.loads(line))
        end = json.loads(last, parse_float=lambda word: float(f"{float(word):.4g}"))
        about["end"] = {name: value for name, value in end.items() if name not in ("seconds", "learning_rate")}
        found.append(about | {"seconds": json.loads(lines[-1])["seconds"]})
    return found


def emptied(path: Path) -> Path:
    """`path`, a folder with nothing in it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def hours() -> dict[str, tuple[int, float]]:
    """Kind of machine -> runs behind the results, each counted once, and the hours of their training together."""
    spent: set[tuple[str, str, float]] = set()
    for path in sorted(RESULTS.glob("*/provenance.json")):
        about = json.loads(path.read_text())
        scored_on = "cuda" if "NVIDIA" in (about.get("machine") or "") else "cpu"
        for run in about.get("runs", []):
            cuda = run.get("device", scored_on).startswith("cuda")
            spent.add(("GPU, several runs at once" if cuda else "one core a run", run["command"], run["seconds"]))
    kinds = {machine: [taken for kind, _, taken in spent if kind == machine] for machine, _, _ in spent}
    return {machine: (len(taken), sum(taken) / 3600) for machine, taken in kinds.items()}


if __name__ == "__main__":
    for machine, (runs, total) in hours().items():
        print(f"{machine}: {runs} runs, {total:.1f} hours")
