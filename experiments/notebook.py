"""`make notebook`: runs docs/tutorial.ipynb from its first cell to its last in an empty folder, and keeps its outputs.

What a rerun would change without need (times of cells, paths of this machine, a second copy of each picture) is left out.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from crvae.files import write_text

NOTEBOOK = Path("docs/tutorial.ipynb")
LIMIT_BYTES, LIMIT_SECONDS = 1_500_000, 3_600
"""Of the notebook with its outputs; of one cell."""


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The executed notebook with nothing in it but cells and what they show."""
    for cell in notebook.cells:
        cell.metadata.clear()
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/jpeg", None)  # Pillow offers each picture twice
            output.get("metadata", {}).clear()
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main() -> None:
    """Executes the notebook and writes it; exits with a message if it fails or grows too large."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=LIMIT_SECONDS, resources={"metadata": {"path": folder}})
        client.execute()
    text = nbformat.writes(cleaned(notebook), indent=1) + "\n"
    if len(text.encode()) > LIMIT_BYTES:
        sys.exit(f"{NOTEBOOK} has {len(text.encode()):,} bytes with its outputs, and may have {LIMIT_BYTES:,}")
    if found := re.search(r"/tmp/|/home/|Traceback", text):
        sys.exit(f"{NOTEBOOK}: an output holds {found[0]!r}")
    write_text(NOTEBOOK, text)
    print(f"{NOTEBOOK}: executed in {(time.monotonic() - begun) / 60:.1f} minutes, {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
