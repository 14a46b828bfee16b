"""Without the packages of an extra: one sentence that says what to install, before work is done, and nothing left behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from crvae.errors import UserError
from crvae.extras import EXTRAS, missing, require

WITHOUT = """
import contextlib, io, json, sys
from crvae.extras import EXTRAS
sys.modules.update(dict.fromkeys(sum(EXTRAS.values(), ())))  # None: such a module is not found
from crvae.cli import main
for args in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(args)
    print(json.dumps([code, said.getvalue()]))
"""


def test_extras_are_those_of_the_project():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    listed = project["optional-dependencies"]
    distribution = {module: names[0].lower().replace("_", "-") for module, names in packages_distributions().items()}
    for extra, modules in EXTRAS.items():
        named = {re.split(r"[^\w-]", entry)[0].lower().replace("_", "-") for entry in listed[extra]}
        known = {distribution[module] for module in modules}
        assert known - named <= {"sqlalchemy", "starlette"}, "modules of packages that are not asked for"
        assert named - known <= {"scipy", "matplotlib"}, "packages without a module"


def test_packages_that_no_extra_brings_are_not_advised():
    assert missing("matplotlib.figure", "a plot") == "a plot needs the package matplotlib: pip install 'crvae[eval]'"
    assert not missing("einops", "a plot")


def test_a_package_is_required_or_named(monkeypatch):
    require("a plot", "scipy", "matplotlib")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"^a plot needs the package matplotlib: pip install"):
        require("a plot", "scipy", "matplotlib")


def test_without_extras_commands_refuse_in_one_sentence(trained, colour, tmp_path):
    run, data, out = str(trained), str(colour), str(tmp_path / "out")
    (tmp_path / "study").mkdir()
    commands = [
        (["classifier", data, "--out", out, "--backbone", "small", "--method", "from-scratch"], "eval"),
        (["evaluate", run, "--data", data, "--scores", "reconstruction"], "eval"),
        (["evaluate", run, "--data", data], "eval"),
        (["compare", run, "--data", data, "--out", out], "eval"),
        (["traverse", run, "profile", "--images", data, "--out", f"{out}.png"], "eval"),
        (["traverse", run, "rate", "--data", data, "--out", out], "eval"),
        (["study", "serve", str(tmp_path / "study")], "web"),
        (["demo", run], "web"),
        (["export", run, out, "--format", "onnx"], "onnx"),
        (["train", "emoji-crvae-gan-mi", "--data", data, "--out", out, "--train.log", "wandb"], "wandb"),
    ]
    args = json.dumps([args for args, _ in commands])
    done = subprocess.run([sys.executable, "-c", WITHOUT, args], capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    for (args, extra), (code, said) in zip(commands, answers, strict=True):
        advice = [line for line in said.splitlines() if f"pip install 'crvae[{extra}]'" in line]
        assert code == 2, (args, said)
        assert len(advice) == 1, (args, said)
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
