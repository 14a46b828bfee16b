"""Every command in README and docs is one that crvae understands; the quick start runs from its first line to its last."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import crvae
from crvae.cli import COMMANDS, main
from crvae.errors import UserError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts and "generated" not in page.parts]


def commands(text: str) -> list[tuple[str, bool]]:
    """All `crvae ...` that elide nothing: lines of fenced or indented blocks (True), and code spans, which may be fragments."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    lines = [(line, True) for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    lines += [(line, True) for line in rest.splitlines() if line.startswith("    ")]
    lines += [(" ".join(span.split()), False) for span in re.findall(r"`([^`]+)`", rest)]
    found = []
    for line, whole in lines:
        line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
        if line.startswith("crvae ") and not re.search(r"\.\.\.|…|\[|\$|\bN\b|\bS\b|--help", line):
            found.append((re.sub(r"\s+>\s+\S+$", "", line.partition(" #")[0]).strip(), whole))
    return found


ALL = sorted({(page.relative_to(ROOT).as_posix(), *found) for page in PAGES for found in commands(page.read_text())})


class Parsed(Exception):
    """The command line was understood."""


@pytest.mark.parametrize(("page", "command", "whole"), ALL, ids=lambda value: str(value)[:70])
def test_commands_are_understood(page, command, whole, monkeypatch):
    stand_in = "emoji-stage2-128" if "--stage1" in command else "emoji-crvae-gan-mi"
    name, *args = shlex.split(re.sub(r"\bRECIPE\b", stand_in, command))[1:]
    if name == "--version":
        return
    assert name in COMMANDS, f"{page}: there is no command {name}"
    module = importlib.import_module(f"crvae.cli.{name.replace('-', '_')}")
    parse = module.parse

    def stop(*given, **options):
        parse(*given, **options)
        raise Parsed

    monkeypatch.setattr(module, "parse", stop)
    complaint = ""
    try:
        module.run(args)
    except Parsed:
        return
    except UserError as error:
        complaint = str(error)
    where = f"{page}: {command}: {complaint}"
    assert complaint or not args, f"{where}never parsed"
    if whole:
        assert not complaint, where
    elif complaint:  # a fragment in the text may lack what is required, and nothing else
        assert re.search("[Mm]issing|[Rr]equired|[Ee]xpected|there is no recipe", complaint), where


def test_the_pages_hold_commands():
    """The extraction finds what it must: without it, the test above would pass on nothing."""
    assert len(ALL) > 30
    assert {command.split()[1] for _, command, _ in ALL} >= {
        "prepare",
        "train",
        "sample",
        "complete",
        "traverse",
        "export",
        "study",
    }


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


BLOCKS = [(page.relative_to(ROOT).as_posix(), block) for page in PAGES for block in python_blocks(page)]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_python_compiles_and_names_exist(page, block):
    compile(block, page, "exec")
    for path in set(re.findall(r"\bcrvae((?:\.[A-Za-z_]\w*)+)", block)):
        value = crvae
        for part in path[1:].split("."):
            try:
                value = getattr(value, part)
            except AttributeError:
                name = f"{value.__name__}.{part}"
                assert importlib.util.find_spec(name), f"{page} names {name}, which does not exist"
                value = importlib.import_module(name)


SHORT = {
    "train": [
        "--objective.adversarial-after-images",
        "0",
        "--train.images",
        "64",
        "--train.batch",
        "16",
        "--train.report-images",
        "32",
        "--model.width",
        "2",
        "--prior.images",
        "64",
        "--prior.batch",
        "16",
        "--prior.flow.width",
        "8",
    ],
    "complete": ["--steps", "3", "--restarts", "1", "--count", "2"],
    "sample": [],
    "export": [],
}
"""What is appended to the quick start's commands, so that a test can wait for them."""


def test_quick_start_runs(tmp_path, monkeypatch, capsys):
    """All its commands in their order, on a folder of images, and its Python in another folder."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for index in range(80):
        path = tmp_path / "PHOTOS" / f"class-{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((70, 64)).save(path)
    page = ROOT / "docs" / "quickstart.md"
    ran = []
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in block.splitlines():
            line = line.partition(" #")[0].strip()
            if not line.startswith("crvae ") or line.startswith("crvae sample faces"):
                continue
            line, _, target = line.partition(" > ")
            args = shlex.split(line)[1:]
            args = ["safetensors" if arg == "safetensors,onnx" else arg for arg in args]  # ONNX has tests of its own
            capsys.readouterr()
            assert main(args + SHORT.get(args[0], [])) == 0, capsys.readouterr().err
            if target:
                (tmp_path / target).write_text(capsys.readouterr().out)
            ran.append(args[0])
    assert ran == ["prepare", "prepare", "train", "sample", "reconstruct", "traverse", "complete", "evaluate", "export"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "shared").rename(elsewhere / "shared")
    monkeypatch.chdir(elsewhere)
    (block,) = python_blocks(page)
    names: dict = {}
    exec(compile(block, str(page), "exec"), names)
    assert names["images"].shape == (16, 3, 64, 64)
    assert names["again"].shape == names["outline"].shape == (16, 3, 64, 64)
    assert not names["again"].equal(names["outline"])


BUILT_IN = sorted(path.name for path in (ROOT / "src" / "crvae" / "pretrained").glob("*") if path.is_dir())


def test_built_in_models(tmp_path, capsys):
    """Each loads by its name, carries its card, and each of its files is small; an unknown name lists them."""
    for name in BUILT_IN:
        folder = ROOT / "src" / "crvae" / "pretrained" / name
        card = (folder / "README.md").read_text()
        assert "## Licence" in card
        assert "None were given" not in card, "a built-in model's card has scores"
        assert max(file.stat().st_size for file in folder.iterdir()) < 8_000_000
        assert main(["sample", name, "--count", "4", "--out", str(tmp_path / f"{name}.png")]) == 0
    with pytest.raises(UserError, match=", ".join(BUILT_IN) or "neither a run"):
        crvae.load("no-such-model")
