"""`crvae compare RUN... --data DATA --out REPORT`: the paper's tables for several runs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crvae.cli.evaluate import Scoring, say_beside
from crvae.cli.parsing import parse
from crvae.errors import UserError
from crvae.files import check_new_folder, new_folder
from crvae.progress import progress, waiting


@dataclass(frozen=True, kw_only=True)
class Compare(Scoring):
    """Score several runs alike: Table 1, Section 5 and Figure 6 of the paper as one page."""

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN…")]
    """Runs, exported folders, or folders of images."""
    out: Path
    """New folder: report.html (self-contained), report.md, report.json and the pictures."""
    json: bool = False
    """Print the report as one JSON document on standard output as well."""


def run(args: list[str]) -> None:
    """Compares, and writes the report."""
    command = parse(Compare, args, name="compare")
    if not command.runs:
        raise UserError("RUN is missing: crvae compare RUN... --data DATA --out REPORT")
    request = command.request()
    check_new_folder(command.out)

    with waiting("loading"):
        from rich.console import Console

        from crvae.evaluation.comparison import compare
        from crvae.evaluation.evaluate import too_few
        from crvae.evaluation.report import warnings, write_report

    with progress() as advance, new_folder(command.out) as folder:
        comparison = compare(command.runs, request, folder, advance)
        write_report(comparison, folder)
    for entry in comparison.entries:
        say_beside(entry.run, entry.not_looked_at)
    if few := too_few(comparison.left_out, comparison.images):
        print(f"crvae: {few}", file=sys.stderr)
    for warning in warnings(comparison):
        print(f"crvae: {warning}", file=sys.stderr)
    if command.json:
        print(json.dumps(comparison.json()))
    Console(stderr=True).print(f"done: {command.out / 'report.html'}", highlight=False)
