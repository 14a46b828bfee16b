"""The tables of comparisons in docs/evidence.md and docs/evidence/comparisons.md, each verdict by one rule, from the kept results.

    python -m experiments.comparisons

Writes the tables between the markers of the pages; nothing else of them changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crvae.files import write_text
from experiments.compared import CLAIMS, SAMPLES, TABLES, Table
from experiments.results import RESULTS
from experiments.verdicts import Comparison, paired, verdict, with_interval

USUAL = 3
"""Seeds of a comparison: a row of fewer says how many."""
JUDGED = {
    "emoji": "emoji-table2",
    "Fashion-MNIST": "fashion-table2",
    "faces": "avatars-table2",
    "faces, 240,000 images": "avatars-eightfold-table2",
    "faces, the paper's networks": "paper-table2",
    "emoji, the emoji recipes": "table2",
}
"""Table 2: the automatic judges of completions."""
JUDGES = {
    "squared error": ("hidden_error",),
    "LPIPS-style distance": ("distance",),
    "what it shows": ("label", "agreement"),
    "how surely": ("probability", "confidence"),
}
"""A judge's title -> its name in judge.json: of categories, or of attributes."""


def told(row: Comparison, score: str, short: bool = False) -> tuple[str, str, int]:
    """Both values with their intervals, the verdict, and the number of seeds."""
    ours, theirs = paired(row, score)
    return (
        f"{with_interval(ours, short)} against {with_interval(theirs, short)}",
        verdict(ours, theirs, score),
        len(ours),
    )


def written(table: Table) -> str:
    """The table in Markdown; a column names the prior where there are several."""
    several = len({row.prior for row in table.rows}) > 1
    head = ["", *(["samples from"] if several else [])]
    head += [word for title in table.scores.values() for word in (title, "better?")]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in table.rows:
        found = [told(row, score) for score in table.scores]
        cells = [row.prior] if several else []
        cells += [cell for values, word, _ in found for cell in (values, word)]
        seeds = found[-1][2]
        what = row.what if seeds >= USUAL else f"{row.what}, {seeds} seeds"
        lines.append(f"| {' | '.join([what, *cells])} |")
    return "\n".join(lines)


def claims() -> str:
    """The claims in Markdown, a comparison a line; a verdict is of both scores."""
    lines = ["| the paper says | on | samples from | KID | inception score | verdict |", "|---|---|---|---|---|---|"]
    for claim in CLAIMS:
        says = claim.says
        for row, page in claim.rows:
            kid, inception = (told(row, score, short=True) for score in SAMPLES)
            fewer = [f" ({seeds} seeds)" if seeds < USUAL else "" for _, _, seeds in (kid, inception)]
            word = kid[1] if kid[1] == inception[1] else f"{kid[1]} by KID, {inception[1]} by inception score"
            cells = (says, f"[{row.what}]({page})", row.prior, kid[0] + fewer[0], inception[0] + fewer[1], word)
            lines.append(f"| {' | '.join(cells)} |")
            says = ""
    return "\n".join(lines)


def completions() -> str:
    """Table 2 in Markdown: how often each judge prefers the recurrent model's completions, over all masks."""
    lines = [f"| | {' | '.join(JUDGES)} | all four |", "|---|" + "---:|" * (len(JUDGES) + 1)]
    for what, table in JUDGED.items():
        masks = json.loads((RESULTS / table / "judge.json").read_text())["masks"].values()
        cells, every = [], []
        for names in JUDGES.values():
            found = [mask["preferred"][name] for mask in masks for name in names if name in mask["preferred"]]
            share, low, high = (100 * sum(one[end] for one in found) / len(found) for end in ("share", "low", "high"))
            cells.append(f"{share:.0f}% ({low:.0f} to {high:.0f})")
            every.append(share)
        lines.append(f"| {' | '.join([what, *cells])} | {sum(every) / len(every):.0f}% |")
    return "\n".join(lines)


FIRST, EVERY, SECOND = (
    Path("docs/evidence.md"),
    Path("docs/evidence/comparisons.md"),
    Path("docs/evidence/completions.md"),
)
PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    FIRST: {"claims": claims},
    EVERY: {name: partial(written, table) for name, table in TABLES.items()},
    SECOND: {"completions": completions},
}
"""Page -> its tables."""


def filled(page: str, tables: dict[str, Callable[[], str]]) -> str:
    """The page with each table between its markers, `<!-- table NAME -->` and `<!-- end -->`."""
    for name, table in tables.items():
        marked = re.compile(rf"(<!-- table {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        if not marked.search(page):
            raise SystemExit(
                f"the page has no place for the table {name}: write <!-- table {name} --> and <!-- end -->"
            )
        page = marked.sub(lambda match, table=table: match[1] + "\n" + table() + "\n" + match[2], page)
    return page


if __name__ == "__main__":
    for path, tables in PAGES.items():
        write_text(path, filled(path.read_text(), tables))
