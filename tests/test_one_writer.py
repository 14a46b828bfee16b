"""Only `crvae.files` writes: every other module hands it bytes, so that whatever leaves is whole, synced and checked."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import crvae

SOURCE = Path(crvae.__file__).parent

WRITERS = {
    "write_text", "write_bytes", "touch", "write_png", "write_jpeg", "save_image", "save_file", "to_parquet", "to_csv", "to_json",
    "write_table", "write_feather", "save_to_disk", "tofile", "savetxt", "savez", "savez_compressed", "copyfile", "copytree",
    "copy2", "copyfileobj", "move", "mkstemp", "NamedTemporaryFile", "SummaryWriter", "ParquetWriter", "dump_all",
}  # fmt: skip
"""Names of functions and methods that open a file for writing, whoever's they are."""

SAVERS = {"save", "savefig", "dump", "safe_dump", "export"}
"""The same where they are given a path; in memory they write nothing."""

EXCEPTIONS = {
    ("data/rows.py", "open"): "the temporary path of `files.whole`",
    ("data/rows.py", "write_table"): "into that",
    ("training/checkpoint.py", "save"): "torch.save, into the temporary path of `files.whole`",
    ("training/logs.py", "SummaryWriter"): "TensorBoard's event files grow while a run trains",
    ("training/run.py", "open"): "the lock of a run, which holds nothing",
    ("data/preparation.py", "os.open"): "the lock of a preparation, which holds nothing",
    ("data/sources/avatars.py", "open"): "drawings lie in the system's temporary folder while they are prepared",
    ("data/sources/archive.py", "open"): "a tar is unpacked into the system's temporary folder",
}
"""(module, call) -> why it may."""


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """All calls, by the last part of the name that is called; `os.open` with its module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                name = f"os.{node.func.attr}" if owner == "os" else node.func.attr
                found.append((name, node))
            elif isinstance(node.func, ast.Name):
                found.append((node.func.id, node))
    return found


def modes(call: ast.Call) -> list[str]:
    """The strings among the arguments of a call of `open` that may be its mode."""
    values = [*call.args, *(word.value for word in call.keywords if word.arg in ("mode", None))]
    texts = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return [text for text in texts if set(text) <= set("rwaxbt+")]


def writes(name: str, call: ast.Call, own: set[str]) -> bool:
    """Whether a call opens a file for writing. `own`: names that the module has from `crvae`."""
    if name in own and (isinstance(call.func, ast.Name) or ast.unparse(call.func).startswith(("self.", "checkpoint."))):
        return False
    if name in WRITERS:
        return True
    if name == "open":
        return any(set(mode) & set("wax+") for mode in modes(call))
    if name == "os.open":
        return "O_CREAT" in ast.dump(call) or "O_WRONLY" in ast.dump(call) or "O_RDWR" in ast.dump(call)
    if name in SAVERS:
        return any(_is_path(argument) for argument in call.args)
    return False


def _is_path(argument: ast.expr) -> bool:
    text = ast.unparse(argument)
    return (
        any(word in text for word in ("path", "file", "folder", "temporary", "out", " / ")) and "model_dump" not in text
    )


def own_names(tree: ast.AST) -> set[str]:
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crvae")
        for alias in node.names
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_no_module_but_one_writes():
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        module = file.relative_to(SOURCE).as_posix()
        if module == "files.py":
            continue
        tree = ast.parse(file.read_text())
        own = own_names(tree)
        found |= {(module, name): call.lineno for name, call in calls(tree) if writes(name, call, own)}
    assert {place: line for place, line in found.items() if place not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) <= set(found), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')", "open(path, mode='ab')", "path.open('x')", "path.write_text('')", "torch.save(state, path)",
        "image.save(folder / 'a.png')", "save_file(tensors, path)", "np.savez(path, x)", "os.open(path, os.O_WRONLY)",
        "figure.savefig(temporary)", "shutil.copyfile(a, b)", "json.dump(x, file)", "pq.write_table(table, path)",
    ],
)  # fmt: skip
def test_what_writes_is_recognised(line):
    tree = ast.parse(line)
    assert any(writes(name, call, set()) for name, call in calls(tree))


@pytest.mark.parametrize(
    "line", ["open(path)", "path.open('rb')", "image.save(buffer, 'PNG')", "os.open(path, os.O_RDONLY)"]
)
def test_what_does_not_write_passes(line):
    tree = ast.parse(line)
    assert not any(writes(name, call, set()) for name, call in calls(tree))
