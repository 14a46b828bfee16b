"""The model card: README.md of an exported folder, with the front matter that the hub reads."""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml

from crvae import __version__
from crvae.export.onnx import Checked
from crvae.export.provenance import Provenance
from crvae.models.discriminator import Discriminator
from crvae.models.model import Model, stage1_of
from crvae.models.prior import LearnedPrior
from crvae.models.upsampler import Upsampler

UNKNOWN = "unknown"


def model_card(
    name: str,
    model: Model,
    about: Provenance,
    *,
    licence: str,
    graphs: list[Checked],
    threads: int,
    discriminator: Discriminator | None,
    weights: bool,
) -> str:
    """README.md of a model called `name`: what it is, how to use it, where it comes from, how good it is, what it is not.

    `weights`: whether the folder has safetensors, which `crvae.load` opens. `graphs`: its ONNX graphs, none or all.
    """
    sections = [
        _front_matter(licence, model, weights),
        f"# {_line(name)}\n\n![Samples from the prior](samples.png)",
        "Samples from the prior, seed 0, not selected.",
        _about(model, about, discriminator),
        _usage(model, weights=weights, graphs=bool(graphs)),
        _training(about),
        _data(about),
        _scores(about),
        *([_onnx(graphs, threads)] if graphs else []),
        _licence(about, licence),
        LIMITS,
        CITATION,
    ]
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _front_matter(licence: str, model: Model, weights: bool) -> str:
    content = {
        "library_name": "crvae" if weights else "onnx",
        "license": licence.lower() or UNKNOWN,
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["variational-autoencoder", "channel-recurrent", f"{model.image_shape[1]}x{model.image_shape[2]}"],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---"


def _about(model: Model, about: Provenance, discriminator: Discriminator | None) -> str:
    stage1 = stage1_of(model)
    config, (channels, height, width) = stage1.config, model.image_shape
    rows = {
        "model": stage1.latent.title + (", with a residual path" if config.residual else ""),
        "images": f"{width}x{height}, {'colour' if channels == 3 else 'grey'}, float32 in [-1, 1], channels first",
        "latent": f"{'x'.join(map(str, stage1.latent_shape))}, {config.steps} time steps",
        "prior": stage1.prior.title,
        "base width": f"{config.width}",
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "recipe": f"`{_line(about.recipe) or UNKNOWN}`",
        "images seen in training": f"{about.images:,}",
    }
    if isinstance(model, Upsampler):
        rows["model"] = f"Stage2 upsampler on a Stage1 {rows['model']}"
    if discriminator is not None:
        used = "not used, since it was never trained" if discriminator.untrained else "image completion uses it"
        trained = f", trained on {discriminator.seen:,} images" if discriminator.seen else ""
        rows["discriminator"] = f"included ({used}{trained})"
    return _table(("what", "value"), list(rows.items()))


def _usage(model: Model, *, weights: bool, graphs: bool) -> str:
    parts = ["## Use", *([WITH_CRVAE] if weights else []), *([_with_onnx(model)] if graphs else [])]
    return "\n\n".join([*parts, f"Written by crvae {__version__}."])


WITH_CRVAE = """
```python
import crvae

model = crvae.load("FOLDER")          # this folder, or "hub:OWNER/NAME"
images = model.sample(16, seed=0)     # b c h w in [-1, 1]
```

`crvae sample FOLDER --count 64 --out samples.png` does it from the command line.""".strip()


def _with_onnx(model: Model) -> str:
    """How to sample with the graphs alone, without crvae and PyTorch."""
    learned = isinstance(model.prior, LearnedPrior)
    first, shape = ("noise", model.prior.noise_shape) if learned else ("z", model.latent_shape)
    calls = [f"{first} = np.random.default_rng(0).standard_normal({(16, *shape)}, np.float32)"]
    if learned:
        calls.append('z = run("prior.onnx", noise=noise)                 # draws of the learned prior')
    calls.append('images = run("decoder.onnx", z=z)                  # b c h w in [-1, 1]')
    if isinstance(model, Upsampler):
        calls.append('images = run("upsampler.onnx", images=images)  # large images')
    row = "row.transpose(1, 2, 0)" if model.image_shape[0] == 3 else "row[0]"
    return f"""
The ONNX graphs need no crvae. Run `pip install onnxruntime pillow`, then in this folder:

```python
import numpy as np
import onnxruntime
from PIL import Image


def run(file, **inputs):
    return onnxruntime.InferenceSession(file).run(None, inputs)[0]


{chr(10).join(calls)}
row = np.concatenate(list(images), axis=2)         # c h (b w)
row = ((row.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
Image.fromarray({row}).save("images.png")
```""".strip()


def _training(about: Provenance) -> str:
    lines = [f"- Recipe: `crvae train {_line(about.recipe) or UNKNOWN}`"]
    if about.changed:
        options = " ".join(_option(name, value) for name, value in about.changed.items())
        lines[0] = lines[0].removesuffix("`") + f" {options}`"
    lines.append(f"- Images seen: {about.images:,}")
    if about.seconds is not None:
        lines.append(f"- Training time: {about.seconds / 60:.1f} minutes")
    if about.before:
        lines.append(f"- Resumed inexactly: {'; '.join(_resumed(*change) for change in about.before)}")
    named = ("device", "world", "threads", "precision", "torch", "commit")
    known = [f"{key} {_line(about.environment[key])}" for key in named if about.environment.get(key) is not None]
    lines.append(f"- Environment: {', '.join(known) or UNKNOWN}")
    return "## Training\n\n" + "\n".join(lines)


def _resumed(images: int, was: dict[str, str]) -> str:
    """One inexact resume, with what it changed."""
    earlier = [f"data with the fingerprint `{_line(was['data'])}`"] if "data" in was else []
    earlier += [f"{name} {_line(was[name])}" for name in ("world", "precision") if name in was]
    return f"after {images:,} images, until then {', '.join(earlier) or UNKNOWN}"


def _option(name: str, value: object) -> str:
    """An option with its value as `crvae train` reads it: `--x.y` for True, `--x.no-y` for False."""
    if isinstance(value, bool):
        part, _, last = name.rpartition(".")
        return name if value else f"{part}.no-{last}"
    return f"{name} {shlex.quote(_line(value))}"


def _data(about: Provenance) -> str:
    title = "## Data\n\n"
    fingerprint = f"- Fingerprint: `{_line(about.fingerprint)}`" if about.fingerprint else ""
    if about.data is None:
        return f"{title}- The dataset was not at hand when this card was written.\n{fingerprint}"
    card = about.data.card
    splits = ", ".join(f"{split.count:,} {name}" for name, split in card.splits.items())
    lines = [
        f"- Name: {_line(card.name)}; {splits} images of {' and '.join(map(str, card.sizes))} pixels",
        f"- Source: {_line(_flat(card.source))}",
        f"- Preparation: {_line(_flat(card.preparation))}",
        f"- Labels: {_line(', '.join(f'{name} ({len(values)})' for name, values in card.columns.items())) or 'none'}",
        f"- Duplicates: {card.duplicates.images:,}, of which {card.duplicates.across_splits:,} across splits",
        fingerprint or f"- Fingerprint: `{about.data.fingerprint}`",
    ]
    lines += [f"- Note: {_line(note)}" for note in card.notes]
    return title + "\n".join(lines)


def _scores(about: Provenance) -> str:
    title = "## Scores\n\n"
    if not about.scores:
        return f"{title}None were given when this card was written (`crvae evaluate`)."
    rows = []
    for score in about.scores:
        bounds = [score.get("low"), score.get("high")]
        between = (
            " to ".join(f"{bound:.4g}" for bound in bounds) if all(isinstance(b, int | float) for b in bounds) else ""
        )
        digest = f" (sha256 {_line(score['features_sha256'])[:12]})" if score.get("features_sha256") else ""
        value = "not finite" if score["value"] is None else f"{score['value']:.4g} {_line(score.get('unit') or '')}"
        rows.append(
            (
                _line(score["name"]),
                value.strip(),
                between,
                f"{_line(score['implementation'])} {_line(score['version'])}",
                f"{_line(score.get('features') or 'none')}{digest}",
                _line(score.get("resizer") or "none"),
                f"{score['images']:,}, seed {score['seed']}",
            )
        )
    header = ("score", "value", "95% interval", "implementation", "features", "resizer", "images")
    return title + _table(header, rows)


def _onnx(graphs: list[Checked], threads: int) -> str:
    rows = [
        (
            f"`{graph.file}`",
            f"{graph.bytes / 1e6:.1f} MB",
            f"{graph.difference:.1e} on {graph.images}",
            *(f"{ours:.1f} / {theirs:.1f} ms" for ours, theirs in graph.latency.values()),
        )
        for graph in graphs
    ]
    batches = [f"ONNX Runtime / PyTorch, batch {batch}" for batch in graphs[0].latency]
    learned = any(graph.file == "prior.onnx" for graph in graphs)
    source = "p(z), outputs of `prior.onnx`, whose inputs are standard normal noise" if learned else "N(0, I)"
    table = _table(("file", "size", "largest difference from PyTorch", *batches), rows)
    return f"""
## ONNX

{table}

Inputs of `decoder.onnx` are latents z ~ {source}; the channel recurrence is inside; images are in [-1, 1]; the batch is free.
Latency: median of 15 runs, fp32, CPU, {threads} thread{"s" * (threads != 1)}, on the machine that wrote this card."""


def _licence(about: Provenance, licence: str) -> str:
    lines = [f"- Weights: {_line(licence) or 'not stated by whoever exported them'}"]
    if about.data is not None:
        lines += [f"- Data, {_line(name)}: {_line(text)}" for name, text in about.data.card.licences.items()]
        if not about.data.card.licences:
            lines.append("- Data: the dataset's card names no licence")
    lines.append("- Code: crvae, MIT")
    return "## Licence\n\n" + "\n".join(lines)


LIMITS = """
## Limits

- The model knows the images that it was trained on and nothing else: other images come back as the nearest thing it knows.
- Samples vary in quality; the grid above is not selected. Whatever is uneven in the data is uneven in the samples.
- Scores are comparable only with scores of the same implementation, features, images and resizer.
- Not for identifying people, nor for decisions about them."""

CITATION = """
## Citation

W. Shang, K. Sohn, Y. Tian: Channel-Recurrent Autoencoding for Image Modeling. WACV 2018."""


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _flat(content: dict[str, Any]) -> str:
    parts = []
    for key, value in content.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        parts.append(f"{key} {text}")
    return "; ".join(parts)


def _line(value: object) -> str:
    """Text from a file as one line that cannot break out of its place in Markdown."""
    return re.sub(r"[\s|`<>\[\]]+", " ", str(value)).strip()[:300]
