"""The report's files, in the layout of the paper's Table 2: occlusions down, models across."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from crvae.files import write_files
from crvae.pictures import figure_bytes
from crvae.web.study.database import Cast
from crvae.web.study.folder import Key, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rows(results: dict) -> list[tuple[str, dict]]:
    """Rows of the table: one an occlusion, and `all` where there is more than one."""
    groups = list(results["groups"].items())
    return [*groups, ("all", results["models"])] if len(groups) > 1 else groups


def cell(share: dict) -> str:
    """`65.6% [57.0, 73.3]`, or a dash without votes."""
    if share["frequency"] is None:
        return "-"
    return f"{100 * share['frequency']:.1f}% [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"


def p_value(share: dict) -> str:
    """The exact test's p, `<0.0001` for less."""
    if share["p_value"] is None:
        return "-"
    return "<0.0001" if share["p_value"] < 1e-4 else f"{share['p_value']:.4f}"


def remarks(results: dict) -> list[str]:
    """What a reader of the table has to know, a sentence each."""

    def percent(value: float | None) -> str:
        return "none yet" if value is None else f"{100 * value:.1f}%"

    alpha = results["agreement"]
    places = "none yet" if results["places"] is None else ", ".join(percent(place) for place in results["places"])
    method = {"wilson": "Wilson", "clopper-pearson": "Clopper-Pearson"}[results["interval"]]
    return [
        f"Votes: {results['votes']}. Raters: {results['raters']}. "
        f"Raters excluded by attention questions: {len(results['excluded'])}.",
        f"In brackets 95% {method} intervals; p: exact binomial test against chance, {percent(results['chance'])}. "
        "Both take votes as independent.",
        "Agreement between raters: too few votes yet."
        if alpha is None
        else f"Agreement between raters: Krippendorff's alpha {alpha:.3f}, "
        f"{percent(results['agreement_observed'])} of pairs of raters alike.",
        f"Repeated questions answered alike: {percent(results['repeated_alike'])}. "
        f"Votes by place on the screen: {places}.",
    ]


def markdown(results: dict) -> str:
    """The table and its remarks as Markdown."""
    first = "Occlusion" if results["task"] == "completion" else "Samples"
    names = [name.replace("|", "\\|") for name in results["models"]]
    lines = ["| " + " | ".join([first, *(f"{name} | p" for name in names)]) + " |", "|---" * (2 * len(names) + 1) + "|"]
    for group, shares in rows(results):
        lines.append("| " + " | ".join([group, *(f"{cell(s)} | {p_value(s)}" for s in shares.values())]) + " |")
    return "\n".join([*lines, "", *(f"{remark}\n" for remark in remarks(results))])


def write(results: dict, study: Study, key: Key, votes: Iterable[Cast], out: Path) -> list[Path]:
    """Writes report.json, report.csv, votes.csv, report.md and report.png into `out`, whole or not at all."""
    files = {
        "report.json": (json.dumps(results, indent=1) + "\n").encode(),
        "report.csv": _shares(results).encode(),
        "votes.csv": _votes(results, study, key, votes).encode(),
        "report.md": markdown(results).encode(),
        "report.png": figure_bytes(plot(results), dpi=150),
    }
    write_files(out, files)
    return [out / name for name in files]


def _shares(results: dict) -> str:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["occlusion", "model", "votes", "of", "frequency", "low", "high", "p_value"])
    for group, shares in rows(results):
        for name, share in shares.items():
            writer.writerow([group, name, *(share[k] for k in ("votes", "of", "frequency", "low", "high", "p_value"))])
    return table.getvalue()


def _votes(results: dict, study: Study, key: Key, votes: Iterable[Cast]) -> str:
    """Every vote with the model behind it, for an analysis of one's own."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["rater", "question", "kind", "occlusion", "place", "model", "counts"])
    for vote in votes:
        question = study.questions[vote.question - 1]
        model = key.models[key.model(vote.question, vote.choice)]
        counts = question.kind == "pair" and vote.rater not in results["excluded"]
        writer.writerow([vote.rater, vote.question, question.kind, question.group, vote.choice, model, int(counts)])
    return table.getvalue()


def plot(results: dict) -> Figure:
    """Frequencies with their intervals, a panel row for each row of the table, chance dashed."""
    from matplotlib.figure import Figure

    table = rows(results)
    models = list(results["models"])
    figure = Figure(figsize=(7, 1.2 + 0.36 * len(table) * (len(models) + 1)), layout="constrained")
    axes = figure.add_subplot()
    ticks = []
    for index, name in enumerate(models):
        places = [row * (len(models) + 1) + index for row in range(len(table))]
        ticks.append(places)
        shares = [shares[name] for _, shares in table]
        frequencies = [100 * (share["frequency"] or 0) for share in shares]
        reach = [[100 * ((share["frequency"] or 0) - (share["low"] or 0)) for share in shares]]
        reach.append([100 * ((share["high"] or 0) - (share["frequency"] or 0)) for share in shares])
        axes.barh(places, frequencies, xerr=reach, capsize=3, label=name, height=0.85, alpha=0.85, ecolor="black")
    axes.set_yticks([sum(group) / len(group) for group in zip(*ticks, strict=True)], [group for group, _ in table])
    axes.axvline(100 * results["chance"], linestyle="--", color="black", linewidth=1, label="chance")
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    axes.set_xlabel("chosen as most realistic, % (95% interval)")
    figure.legend(loc="outside upper center", ncols=len(models) + 1, frameon=False)
    return figure
