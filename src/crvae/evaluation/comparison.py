"""The paper's Table 1, Section 5 and Figure 6 for several runs, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.data import open_data
from crvae.devices import best_device
from crvae.errors import UserError
from crvae.evaluation.autoencoding import reconstructions
from crvae.evaluation.cost import EXPECTED, Cost, cost
from crvae.evaluation.curves import save_curves
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.evaluate import asked, evaluate_subject
from crvae.evaluation.features import check_networks, spaced
from crvae.evaluation.generated import Subject, open_subject
from crvae.evaluation.published import published
from crvae.evaluation.registry import SCORES, STAGE1, Request
from crvae.evaluation.score import Score
from crvae.evaluation.stability import Stability, stability
from crvae.extras import require
from crvae.pictures import from_8_bit, save_grid, save_picture
from crvae.progress import Progress, silent
from crvae.storage.models import model_folder
from crvae.storage.weights import read_config
from crvae.tasks.grids import labelled_grid
from crvae.training.launch import STAGES
from crvae.training.run import Run

SAMPLES = 40
"""Samples shown of each run."""

LATENCY = 128
"""Images in the batch whose latency is measured, as in the paper."""

SHOWN = 10
"""Reconstructed images, and latents of the stability figure, that are shown."""


@dataclass
class Entry:
    """One run in the comparison."""

    name: str
    run: str
    recipe: str = ""
    images_seen: int = 0
    scores: dict[str, Score] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    device: str = ""
    """Where time and memory were measured."""
    others: float | None = None
    """Processors that other programs kept busy meanwhile."""
    batch: int = 0
    """Images of the training step whose memory was measured."""
    missing: dict[str, str] = field(default_factory=dict)
    """Key of a score or cost -> why there is none."""
    not_looked_at: tuple[str, ...] = ()
    """What else lies in a folder of images."""
    pictures: dict[str, str] = field(default_factory=dict)
    """What -> file name in the report's folder."""
    size: int = 0
    """Height of its images, in pixels."""

    def json(self) -> dict[str, Any]:
        parts = vars(self) | {"scores": {key: score.json() for key, score in self.scores.items()}}
        return {key: parts[key] for key in parts if key != "pictures"}


@dataclass
class Comparison:
    """All runs, and what they are compared on."""

    data: str
    split: str
    images: int
    seed: int
    prior: str
    """own, or normal where N(0, I) stood in the place of learned priors."""
    entries: list[Entry]
    pictures: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """Scores that would be computed were there more images."""

    def json(self) -> dict[str, Any]:
        """For report.json and `--json`."""
        return {
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "seed": self.seed,
            "prior": self.prior,
            "left_out": self.left_out,
            "runs": [entry.json() for entry in self.entries],
        }


def compare(runs: Sequence[str], request: Request, folder: Path, progress: Progress = silent) -> Comparison:
    """Scores all `runs` alike and writes the pictures of the comparison to `folder`.

    Raises UserError if something is wrong with them, if possible before anything long begins.
    """
    require("the comparison", "matplotlib")
    device = best_device()
    names = _names(runs)
    loaded = [
        (subject := open_subject(run, device, request.prior, request.pixel_limit), _about(name, subject))
        for name, run in zip(names, runs, strict=True)
    ]
    subjects, entries = [subject for subject, _ in loaded], [entry for _, entry in loaded]
    _, wanted, count, left_out = asked(subjects, request)
    check_networks([kind for kinds in wanted for kind in kinds], request, device)
    distance = PerceptualDistance(device) if any(map(_has_snapshots, entries, subjects)) else None
    request = replace(request, images=count)  # a score of fewer images is another score
    _measure(entries, progress)
    result = {}
    for entry, subject in zip(entries, subjects, strict=True):
        result = evaluate_subject(subject, request, lambda what, *n, name=entry.name: progress(f"{name}: {what}", *n))
        entry.scores = result["scores"]
        entry.missing |= _not_scored(entry, subject, request)
        images = subject.images(min(SAMPLES, result["images"]), request.seed)
        entry.pictures["samples"] = f"samples-{entry.name}.png"
        save_grid(from_8_bit(images), folder / entry.pictures["samples"], columns=10)
    about = (request.data, result["split"], count, request.seed, request.prior)
    comparison = Comparison(*about, entries, left_out=left_out)
    _reconstructions(comparison, subjects, folder)
    if save_curves({entry.name: Run(Path(entry.run)).reports() for entry in entries}, folder / "curves.png"):
        comparison.pictures["curves"] = "curves.png"
    _stability(entries, subjects, distance, folder)
    return comparison


def _names(runs: Sequence[str]) -> list[str]:
    """What the report calls each run: its last path component, numbered where two would be alike."""
    if len(set(runs)) < len(runs):
        raise UserError("RUN is given twice: a run cannot be compared with itself")
    names = [Path(run).name or run for run in runs]
    names = [name if names.count(name) == 1 else f"{name}-{index + 1}" for index, name in enumerate(names)]
    return names if len(set(names)) == len(names) else [f"{index + 1}-{name}" for index, name in enumerate(names)]


def _about(name: str, subject: Subject) -> Entry:
    """What the run's files tell of it."""
    entry = Entry(name, subject.name, size=subject.shape[1], not_looked_at=subject.beside)
    if subject.model is None:
        entry.missing["parameters"] = entry.missing["training_images_per_second"] = "not a model"
        return entry
    body = read_config(model_folder(subject.name))
    entry.recipe, seen = str(body.get("recipe", "")), body.get("images")
    entry.images_seen = seen if isinstance(seen, int) else 0
    entry.published = published(entry.recipe)
    entry.cost["parameters"] = sum(parameter.numel() for parameter in subject.model.parameters())
    reports = Run(Path(subject.name)).reports()
    speeds = [line["images_per_second"] for line in reports if "images_per_second" in line and "prior" not in line]
    if speeds:
        entry.cost["training_images_per_second"] = median(speeds)
    else:
        entry.missing["training_images_per_second"] = "no reports of training"
    return entry


def _not_scored(entry: Entry, subject: Subject, request: Request) -> dict[str, str]:
    """Why the subject lacks each score that it does not have."""
    found = {}
    for kind in SCORES.values():
        if STAGE1 in kind.needs and subject.autoencoder is None:
            why = "not a Stage1 model"
        else:
            lacking = kind.lacking(request, subject).partition(":")[0]
            few = not request.scores and kind.least > request.images
            why = f"needs {lacking}" if lacking else f"needs {kind.least} images" if few else "not asked for"
        found |= {key: why for key in kind.gives if key not in entry.scores}
    return found


def _configuration(entry: Entry) -> Stage1Config | Stage2Config | None:
    """That of the run's training, where it is a run."""
    run = Run(Path(entry.run))
    return run.config(STAGES) if (run.folder / "config.yaml").is_file() else None


def _measure(entries: Sequence[Entry], progress: Progress) -> None:
    """Time and memory of the Stage1 runs' configurations (section 5), on this machine, now: once for all seeds of one."""
    measured: dict[str, Cost] = {}
    for entry in entries:
        config = _configuration(entry)
        if config is None or config.stage != 1:
            why = "not a run: not measured" if config is None else "Stage2: not measured"
            entry.missing |= dict.fromkeys(("inference_ms", "generation_ms", "training_memory_gb"), why)
            continue
        any_seed = config.model_copy(update={"train": config.train.model_copy(update={"seed": 0})}).model_dump_json()
        if any_seed not in measured:
            what = f"{entry.name}: measuring its cost, seconds of at most"
            measured[any_seed] = cost(config, limit=EXPECTED, only=LATENCY, progress=progress, what=what)
        _tell(entry, measured[any_seed], config.train.batch)


def _tell(entry: Entry, measured: Cost, batch: int) -> None:
    """Writes what was measured to the entry, and why something was not."""
    entry.device, entry.others, entry.batch = measured.device, measured.others, batch
    late = f"not measured within {EXPECTED:.0f} s"
    entry.missing |= {"inference_ms": late, "generation_ms": late}
    entry.cost |= {
        f"{work}_ms": times[str(LATENCY)] for work, times in measured.latency_ms.items() if str(LATENCY) in times
    }
    entry.missing["training_memory_gb"] = late if Path("/proc/self/status").is_file() else "the system does not say"
    if measured.peak_memory_bytes is not None:
        entry.cost["training_memory_gb"] = measured.peak_memory_bytes / 1e9
    entry.missing = {key: why for key, why in entry.missing.items() if key not in entry.cost}


def _reconstructions(comparison: Comparison, subjects: Sequence[Subject], folder: Path) -> None:
    """Held-out images above their reconstructions by every Stage1 run."""
    split = open_data(comparison.data).split(comparison.split)
    models = {
        entry.name: subject.autoencoder
        for entry, subject in zip(comparison.entries, subjects, strict=True)
        if subject.autoencoder is not None
    }
    if not models:
        return
    sizes = {model.config.size for model in models.values()}
    if len(sizes) > 1:
        return  # rows of one picture have one size; the scores still stand beside each other
    stored = split.images(spaced(len(split), min(SHOWN, len(split))), size=sizes.pop())
    rows = torch.stack([stored, *(reconstructions(model, stored) for model in models.values())])
    comparison.pictures["reconstructions"] = "reconstructions.png"
    save_picture(labelled_grid(rows, ["original", *models]), folder / "reconstructions.png")


def _has_snapshots(entry: Entry, subject: Subject) -> bool:
    return subject.autoencoder is not None and (Path(entry.run) / "samples").is_dir()


def _stability(
    entries: Sequence[Entry], subjects: Sequence[Subject], distance: PerceptualDistance | None, folder: Path
) -> None:
    """Figure 6 for every run that kept snapshots. `distance`: there if one has."""
    for entry, subject in zip(entries, subjects, strict=True):
        model = subject.autoencoder
        if model is None or distance is None or not _has_snapshots(entry, subject):
            why = "not a Stage1 model" if model is None else "no snapshots"
            entry.missing |= dict.fromkeys(("movement", "variety"), why)
            continue
        config = _configuration(entry)
        until = float("inf") if config is None else config.train.seen
        found = stability(entry.run, model.image_shape, distance, until)
        if found is None:
            entry.missing |= dict.fromkeys(("movement", "variety"), "fewer than two snapshots")
            continue
        entry.scores |= found.scores
        entry.pictures["stability"] = f"stability-{entry.name}.png"
        save_picture(_figure(found), folder / entry.pictures["stability"])


def _figure(found: Stability):
    """One row a latent, one column a snapshot."""
    columns = [f"{seen / 1000:,.0f}k" for seen in found.seen]
    return labelled_grid(found.images[:, :SHOWN].transpose(0, 1), columns=columns)
