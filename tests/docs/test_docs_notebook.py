"""The committed notebook holds its outputs, and its cells call what the package offers. `make notebook` runs it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

import crvae
from crvae.data.registry import all_sources
from crvae.errors import UserError
from crvae.recipes import named

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "tutorial.ipynb").read_text(encoding="utf-8")
CELLS = json.loads(TEXT)["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
PROSE = "\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")


def dotted(node: ast.AST) -> str:
    """`crvae.tasks.masks` of a chain of attributes; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def found(path: str) -> object:
    """What `path`, which begins with crvae, names."""
    value: object = crvae
    for part in path.split(".")[1:]:
        value = getattr(value, part, None) or importlib.import_module(f"{value.__name__}.{part}")  # type: ignore[attr-defined]
    return value


CALLS = [
    (dotted(node.func), node)
    for cell in CODE
    for node in ast.walk(ast.parse(cell))
    if isinstance(node, ast.Call) and dotted(node.func).startswith("crvae.")
]


def problem(path: str, call: ast.Call) -> str:
    """What is wrong with a call of crvae, or nothing."""
    function = found(path)
    keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    try:
        inspect.signature(function).bind(*call.args, **keywords)  # type: ignore[arg-type]
    except TypeError as error:
        return str(error)
    named_ones = inspect.signature(function).parameters  # type: ignore[arg-type]
    options = {name: ast.literal_eval(value) for name, value in keywords.items() if name not in named_ones}
    if path == "crvae.train":
        try:
            named(ast.literal_eval(call.args[0])).with_options(options)
        except UserError as error:
            return str(error)
    elif path == "crvae.prepare":
        unknown = set(options) - set(all_sources()[ast.literal_eval(call.args[0])].options)
        return f"no options {unknown}" if unknown else ""
    return ""


@pytest.mark.parametrize(("path", "call"), CALLS, ids=[path for path, _ in CALLS])
def test_a_call_is_one_that_the_package_offers(path, call):
    assert problem(path, call) == ""


def test_wrong_calls_are_found():
    def of(text: str) -> str:
        call = ast.parse(text).body[0].value  # type: ignore[attr-defined]
        return problem(dotted(call.func), call)

    assert "there is no option train__imags" in of("crvae.train('fast-vae', d, r, train__imags=3)")
    assert "no options" in of("crvae.prepare('avatars', d, cuont=3)")
    assert "unexpected keyword" in of("crvae.show(x, colums=3)")
    assert of("crvae.prepare('avatars', d, count=3)") == ""


def test_it_goes_from_pictures_to_completions():
    called = [path for path, _ in CALLS]
    order = [called.index(f"crvae.{name}") for name in ("prepare", "train", "tasks.complete", "evaluate")]
    assert order == sorted(order)


def test_its_outputs_are_kept_whole_and_small():
    assert len(TEXT.encode()) < 1_500_000
    if not any(cell.get("outputs") for cell in CELLS):
        pytest.skip("its outputs are missing: make notebook")
    outputs = [output for cell in CELLS for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not re.search(r"/tmp/|/home/", TEXT)
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == sum("crvae.show(" in cell for cell in CODE) >= 4
    assert all(cell["execution_count"] for cell in CELLS if cell["cell_type"] == "code")


@pytest.mark.parametrize("target", re.findall(r"\]\(([\w./-]+\.md)", PROSE))
def test_its_links_lead_to_pages(target):
    assert (DOCS / target).is_file()


def test_the_docs_link_it():
    assert any("(tutorial.ipynb)" in page.read_text() for page in DOCS.glob("*.md"))
