"""Datasets of the Hugging Face hub, through the `datasets` library."""

from __future__ import annotations

from typing import Annotated

from crvae.data.accounts import Tally
from crvae.data.images import Form
from crvae.data.registry import source
from crvae.data.sources.rows_of_tables import Rows, load, rows
from crvae.errors import UserError


@source("hub", takes=lambda name: name.startswith("hub:"))
def hub(
    where: str,
    form: Form,
    *,
    labels: Annotated[str | None, "none, or label columns separated by commas"] = None,
    image_column: Annotated[str | None, "which column holds the images"] = None,
) -> Rows:
    """`hub:owner/name` or `hub:owner/name/configuration`, from the hub or the cache. Raises UserError if it cannot be loaded."""
    name = where.removeprefix("hub:")
    owner, _, rest = name.partition("/")
    repository, _, configuration = rest.partition("/")
    if not owner or not repository:
        raise UserError(f"SOURCE hub:{name} must be hub:OWNER/NAME, or hub:OWNER/NAME/CONFIGURATION")
    tables = load(where, path=f"{owner}/{repository}", name=configuration or None)
    checksums = sorted(str(key) for table in tables.values() for key in (table.info.download_checksums or {}))
    return rows(repository, where, form, tables, labels, image_column, {"hub": name, "files": checksums[:100]}, Tally())
