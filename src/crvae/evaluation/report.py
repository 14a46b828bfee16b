"""A comparison as one self-contained HTML page, as Markdown and as JSON."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path

from crvae.evaluation.comparison import Comparison, Entry
from crvae.evaluation.published import TITLES
from crvae.evaluation.registry import SCORES
from crvae.evaluation.score import Score
from crvae.files import write_text

COST = {
    "parameters": "parameters of the model",
    "training_images_per_second": "training speed, images a second (median)",
    "inference_ms": "inference, ms a batch of 128",
    "generation_ms": "generation, ms a batch of 128",
    "training_memory_gb": "training memory, GB at the recipe's batch (the paper: 128)",
    "preferred": "chosen as the most realistic of three, share of workers' answers",
}
"""Rows below the scores (section 5)."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #1a1a1a; }
tbody tr { border-bottom: 1px solid #ddd; } .paper { color: #555; font-style: italic; }
small { color: #555; white-space: nowrap; } img { max-width: 100%; image-rendering: pixelated; } .scroll { overflow-x: auto; }
.best { font-weight: 700; } code { background: #f2f2f2; padding: 0 .2rem; }
"""

Cell = tuple[str, str, bool]
"""Text, small print, whether it is the best of its row."""


def write_report(comparison: Comparison, folder: Path) -> None:
    """Writes report.html (the page), report.md and report.json to `folder`, where the pictures are."""
    write_text(folder / "report.json", json.dumps(comparison.json(), indent=2) + "\n")
    write_text(folder / "report.md", _markdown(comparison))
    write_text(folder / "report.html", _html(comparison, folder))


def _columns(comparison: Comparison) -> list[tuple[str, Entry, bool]]:
    """Headings: every run, and beside it the paper's numbers where it has some."""
    columns = []
    for entry in comparison.entries:
        columns.append((entry.name, entry, False))
        if entry.published:
            columns.append((f"{entry.name}, paper", entry, True))
    return columns


def _rows(comparison: Comparison) -> list[tuple[str, list[Cell]]]:
    """Name and cells of every row: the scores in the order computed, then cost."""
    columns = _columns(comparison)
    measured = {key for kind in SCORES.values() for key in kind.gives}
    computed = dict.fromkeys(key for entry in comparison.entries for key in entry.scores)
    printed = dict.fromkeys(key for entry in comparison.entries for key in entry.published if key in measured)
    keys = list(computed | printed)
    rows = []
    for key in keys:
        scores = [entry.scores[key] for entry in comparison.entries if key in entry.scores]
        name, best = _heading(scores) if scores else TITLES[key], _best(scores)
        cells: list[Cell] = []
        for _, entry, paper in columns:
            if paper:
                cells.append((f"{entry.published[key]:g}" if key in entry.published else "", "", False))
            elif key in entry.scores:
                score = entry.scores[key]
                cells.append((f"{score.value:.4g}", f"{score.low:.4g} to {score.high:.4g}", score.value == best))
            else:
                cells.append(("", "", False))
        rows.append((name, cells))
    for key, name in COST.items():
        cells = []
        for _, entry, paper in columns:
            number = (entry.published if paper else entry.cost).get(key)
            cells.append(("" if number is None else f"{number:,.4g}" if number < 1e4 else f"{number:,.0f}", "", False))
        if any(text for text, *_ in cells):
            rows.append((name, cells))
    return rows


def _heading(scores: list[Score]) -> str:
    arrow = {"higher": " ↑", "lower": " ↓"}.get(scores[0].better, "")
    return f"{scores[0].name}, {scores[0].unit}{arrow}"


def _best(scores: list[Score]) -> float | None:
    """The best value, where no other run's interval reaches it; a difference within the intervals is none."""
    if len(scores) < 2 or scores[0].better == "neither":
        return None
    sign = 1 if scores[0].better == "higher" else -1
    first, *others = sorted(scores, key=lambda score: -sign * score.value)
    clear = all((first.low > other.high) if sign > 0 else (first.high < other.low) for other in others)
    return first.value if clear else None


def _notes(comparison: Comparison) -> list[str]:
    """What a reader must know to use the numbers."""
    notes = [
        f"Against {comparison.images:,} images of the {comparison.split} split of {comparison.data}, seed {comparison.seed}; "
        "below each value its 95% interval. Bold: better than every other run by more than the intervals.",
    ]
    if comparison.prior == "normal":
        notes.append("Samples are drawn from N(0, I), also by models with a learned prior.")
    for score in {score.name: score for entry in comparison.entries for score in entry.scores.values()}.values():
        source = f", features {score.features} ({(score.features_sha256 or '')[:12]}), resizer {score.resizer}"
        notes.append(
            f"{score.name}: {score.implementation} {score.version}{source if score.features else ''}; {score.interval}."
        )
    seen = {entry.images_seen for entry in comparison.entries if entry.recipe}
    if len(seen) > 1:
        notes.insert(1, "The runs have seen different numbers of images: their scores do not compare the models alone.")
    if any(entry.published for entry in comparison.entries):
        notes.append(
            "The paper's columns are what it prints for that model on its own data, with its own classifier and hardware: "
            "they can be compared with ours only where all of these are the same. Its hardware was a Titan X."
        )
    for device in {entry.device: None for entry in comparison.entries if entry.device}:
        notes.append(f"Time and memory were measured now, on {device}; training speed during training.")
    return notes


def _markdown(comparison: Comparison) -> str:
    columns = _columns(comparison)
    lines = ["# Comparison", "", "| | " + " | ".join(_cell(heading) for heading, *_ in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for name, cells in _rows(comparison):
        texts = [f"**{text}**" if best else text for text, _, best in cells]
        small = [f"{text} ({note})" if note else text for text, (_, note, _) in zip(texts, cells, strict=True)]
        lines.append(f"| {_cell(name)} | " + " | ".join(small) + " |")
    lines += ["", *(f"- {note}" for note in _notes(comparison)), ""]
    for title, picture in _pictures(comparison):
        lines += [f"## {title}", "", f"![{title}]({picture})", ""]
    return "\n".join(lines)


def _html(comparison: Comparison, folder: Path) -> str:
    headings = "".join(
        f"<th{' class=paper' if paper else ''}>{escape(heading)}{_seen(entry) if not paper else ''}</th>"
        for heading, entry, paper in _columns(comparison)
    )
    papers = [paper for *_, paper in _columns(comparison)]
    body = ""
    for name, cells in _rows(comparison):
        body += f"<tr><td>{escape(name)}</td>"
        for (text, note, best), paper in zip(cells, papers, strict=True):
            kind = " class=paper" if paper else " class=best" if best else ""
            body += f"<td{kind}>{escape(text)}{f'<br><small>{escape(note)}</small>' if note else ''}</td>"
        body += "</tr>\n"
    pictures = "".join(
        f"<h2>{escape(title)}</h2>\n<div class=scroll>{_embedded(folder / picture, title)}</div>\n"
        for title, picture in _pictures(comparison)
    )
    notes = "".join(f"<li>{escape(note)}</li>\n" for note in _notes(comparison))
    return (
        f"<!doctype html>\n<html lang=en>\n<head><meta charset=utf-8><title>Comparison</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style></head>\n<body>\n<h1>Comparison</h1>\n"
        f"<div class=scroll><table><thead><tr><th></th>{headings}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
        f"{pictures}<h2>What the numbers are</h2>\n<ul>{notes}</ul>\n</body>\n</html>\n"
    )


def _pictures(comparison: Comparison) -> list[tuple[str, str]]:
    """Titles and file names, in the order shown."""
    found = [(f"Samples: {e.name}", e.pictures["samples"]) for e in comparison.entries if "samples" in e.pictures]
    titles = {"reconstructions": "Reconstructions of held-out images", "curves": "Training"}
    found += [(title, comparison.pictures[key]) for key, title in titles.items() if key in comparison.pictures]
    for entry in comparison.entries:
        if "stability" in entry.pictures:
            title = f"Stability: one z a row through the last snapshots of {entry.name} (images seen above)"
            found.append((title, entry.pictures["stability"]))
    return found


def _seen(entry: Entry) -> str:
    if not entry.recipe:
        return ""
    return f"<br><small>{escape(entry.recipe)}<br>{entry.images_seen:,} images seen</small>"


def _embedded(path: Path, title: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
