"""A comparison as one self-contained HTML page, as Markdown and as JSON."""

from __future__ import annotations

import base64
import json
from collections import Counter
from html import escape
from pathlib import Path

from crvae.evaluation.comparison import Comparison, Entry
from crvae.evaluation.cost import not_quiet
from crvae.evaluation.evaluate import too_few
from crvae.evaluation.published import TITLES
from crvae.evaluation.registry import SCORES
from crvae.evaluation.score import Score
from crvae.files import write_text

COST = {
    "parameters": "parameters of the model",
    "training_images_per_second": "training speed, images a second (median)",
    "inference_ms": "inference, ms a batch of 128",
    "generation_ms": "generation, ms a batch of 128",
    "training_memory_gb": "training memory, GB at the recipe's batch (the paper's: 128)",
    "preferred": "chosen as the most realistic of three, share of workers' answers",
}
"""Rows below the scores (section 5)."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #1a1a1a; }
tbody tr { border-bottom: 1px solid #ddd; } .paper { color: #555; font-style: italic; }
small { color: #555; white-space: nowrap; }
.why { white-space: normal; } img { max-width: 100%; image-rendering: pixelated; } .scroll { overflow-x: auto; }
.best { font-weight: 700; } code { background: #f2f2f2; padding: 0 .2rem; }
"""

Cell = tuple[str, str, bool]
"""Text, small print (why there is none, if there is no text), whether it is the best of its row."""


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
    rows = []
    for key in computed | printed:
        having = [entry for entry in comparison.entries if key in entry.scores]
        scores = [entry.scores[key] for entry in having]
        units, sizes = len({score.unit for score in scores}), {entry.size for entry in having}
        best = _best(scores) if len(sizes) == 1 else None
        name = _heading(scores[0], units == 1) if scores else TITLES[key]
        cells: list[Cell] = []
        for _, entry, paper in columns:
            if paper:
                cells.append(_printed(entry, key))
            elif key in entry.scores:
                cells.append(_scored(entry.scores[key], units == 1, best))
            else:
                cells.append(("", entry.missing.get(key, "not computed"), False))
        rows.append((name, cells))
    for key, name in COST.items():
        cells = [_printed(entry, key) if paper else _costs(entry, key) for _, entry, paper in columns]
        if any(text for text, *_ in cells):
            rows.append((name, cells))
    return rows


def _printed(entry: Entry, key: str) -> Cell:
    """What the paper prints."""
    return (f"{entry.published[key]:g}", "", False) if key in entry.published else ("", "not in the paper", False)


def _scored(score: Score, same_unit: bool, best: float | None) -> Cell:
    """A value, with its own unit if other runs have others."""
    text = f"{score.value:.4g}" if same_unit else f"{score.value:.4g} {score.unit}"
    interval = "" if score.interval.startswith("none") else f"{score.low:.4g} to {score.high:.4g}"
    return text, interval, score.value == best


def _costs(entry: Entry, key: str) -> Cell:
    number = entry.cost.get(key)
    if number is None:
        return "", entry.missing.get(key, "not measured"), False
    small = ""
    if key in ("inference_ms", "generation_ms") and not_quiet(entry.others, entry.name):
        small = "too long: machine not quiet"
    if key == "training_memory_gb" and entry.batch:
        small = f"batch of {entry.batch}"
    return f"{number:,.4g}" if number < 1e4 else f"{number:,.0f}", small, False


def _heading(score: Score, same_unit: bool) -> str:
    arrow = {"higher": " ↑", "lower": " ↓"}.get(score.better, "")
    return f"{score.name}, {score.unit}{arrow}" if same_unit else f"{score.name}{arrow}"


def _best(scores: list[Score]) -> float | None:
    """The best value, where no other run's interval reaches it; a difference within the intervals is none.

    None also if the values are not of one kind: of different units, or of a Bernoulli and a Gaussian decoder's likelihood.
    """
    if len(scores) < 2 or scores[0].better == "neither":
        return None
    if len({(score.unit, "binarisation" in score.details) for score in scores}) > 1:
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
    notes += _provenances(comparison)
    seen = {entry.images_seen for entry in comparison.entries if entry.recipe}
    if len(seen) > 1:
        notes.insert(1, "The runs have seen different numbers of images: their scores do not compare the models alone.")
    if len({entry.size for entry in comparison.entries}) > 1:
        sizes = ", ".join(f"{entry.name} {entry.size} pixels" for entry in comparison.entries)
        notes.insert(
            1,
            f"The images differ in size ({sizes}): scores of images of different sizes do not compare the models,"
            " and none of them is bold.",
        )
    if few := too_few(comparison.left_out, comparison.images):
        notes.append(f"{few[0].upper()}{few[1:]}.")
    if any(entry.published for entry in comparison.entries):
        notes.append(
            "The paper's columns are what it prints for that model on its own data, with its own classifier and hardware: "
            "they can be compared with ours only where all of these are the same. Its hardware was a Titan X."
        )
    return notes + _machines(comparison)


def _provenances(comparison: Comparison) -> list[str]:
    """How each score was computed; with the runs' names if not all alike."""
    runs: dict[tuple[str, str], list[str]] = {}
    for entry in comparison.entries:
        for score in entry.scores.values():
            runs.setdefault((score.name, _provenance(score)), []).append(entry.name)
    several = Counter(name for name, _ in runs)
    return [
        f"{name}{' of ' + ', '.join(of) if several[name] > 1 else ''}: {made}." for (name, made), of in runs.items()
    ]


def _provenance(score: Score) -> str:
    source = f", features {score.features} ({(score.features_sha256 or '')[:12]}), resizer {score.resizer}"
    decoder = ""
    if "binarisation" in score.details:
        decoder = f"; probability of black and white images ({score.details['binarisation']})"
    elif "observation_variance" in score.details:
        variance, found = score.details["observation_variance"], score.details["observation_variance_from"]
        decoder = f"; density of a Gaussian of variance {variance:.4g} ({found})"
    made = f"{score.implementation} {score.version}{source if score.features else ''}"
    return f"{made}; interval: {score.interval}{decoder}"


def _machines(comparison: Comparison) -> list[str]:
    """Where and how time and memory were measured; with the runs' names if not all alike."""
    runs: dict[str, list[str]] = {}
    for entry in comparison.entries:
        if entry.device:
            runs.setdefault(entry.device, []).append(entry.name)
    notes = [] if runs else ["Time and memory were not measured: none of these is a Stage1 run."]
    for device, of in runs.items():
        whose = f" of {', '.join(of)}" if len(runs) > 1 else ""
        once = "; runs that differ only in their seed were measured once" if len(of) > 1 else ""
        notes.append(f"Time and memory{whose} were measured now, on {device}{once}; training speed during training.")
    return notes + [f"{warning[0].upper()}{warning[1:]}." for warning in warnings(comparison)]


def warnings(comparison: Comparison) -> list[str]:
    """A sentence for each run whose latencies other programs made too long."""
    return [said for entry in comparison.entries if (said := not_quiet(entry.others, entry.name))]


def _markdown(comparison: Comparison) -> str:
    columns = _columns(comparison)
    lines = ["# Comparison", "", "| | " + " | ".join(_cell(heading) for heading, *_ in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for name, cells in _rows(comparison):
        texts = [f"**{text}**" if best else text for text, _, best in cells]
        small = [
            f"{text} ({note})" if text and note else text or note
            for text, (_, note, _) in zip(texts, cells, strict=True)
        ]
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
            small = f"<br><small>{escape(note)}</small>" if text else f"<small class=why>{escape(note)}</small>"
            body += f"<td{kind}>{escape(text)}{small if note else ''}</td>"
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
