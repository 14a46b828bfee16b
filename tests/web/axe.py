"""axe-core, the accessibility checker: fetched by npm into the cache, as the packages that draw avatars are."""

from __future__ import annotations

from functools import cache

from crvae.data.sources.npm import install

PACKAGE = "axe-core@4.14.1"


@cache
def _script() -> str:
    (folder,) = install([PACKAGE], None)
    return (folder / "axe.min.js").read_text()


def serious(page) -> list[str]:
    """The rules that the page breaks seriously or critically, each with what breaks it first."""
    page.evaluate(_script() + ";0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{rule['id']}: {[(node['html'][:200], node.get('failureSummary', '')[:200]) for node in rule['nodes'][:3]]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
