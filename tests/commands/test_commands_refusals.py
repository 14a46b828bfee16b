"""What is not there is refused at once: before torch is loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

WITHOUT_TORCH = """
import contextlib, io, json, sys
from crvae.cli import main

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise AssertionError("torch is loaded")

sys.meta_path.insert(0, NoTorch())
answers = []
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        answers.append((main(line.split()), said.getvalue()))
print(json.dumps(answers))
"""
NO_MODEL = "crvae: nope is neither a run nor an exported folder, nor a built-in model"
REFUSED = {
    "sample nope --out {out}.png": NO_MODEL,
    "reconstruct nope --data x --out {out}.png": NO_MODEL,
    "complete nope --images x --mask center --out {out}": NO_MODEL,
    "encode nope --images x {out}.safetensors": NO_MODEL,
    "encode nope --images x --format crz {out}": NO_MODEL,
    "decode {here} --run nope --out {out}": NO_MODEL,
    "traverse nope progressive --out {out}.png": NO_MODEL,
    "traverse nope attributes --data x --classifier x --out {out}": NO_MODEL,
    "traverse nope rate --data x --out {out}": NO_MODEL,
    "upscale nope --images x --out {out}": NO_MODEL,
    "export nope {out}": NO_MODEL,
    "demo nope": NO_MODEL,
    "demo faces nope": NO_MODEL,
    "sample {here} --out {out}.png": "holds no model: neither model/config.json nor config.json is there",
    "decode {here}/nope.safetensors": "nope.safetensors does not exist: make it with `crvae encode`",
    "decode {here}/nope.crz": "nope.crz does not exist: make it with `crvae encode --format crz`",
    "encode faces --images x {out}.crz": "out.crz is for --format crz. Pass --format crz, or name a file that ends in .safetensors",
    "traverse faces profile --images {file} --out {out}.png": "gives one image, and intervals over images need two or more: give",
    "traverse faces rate --data {file} --out {out}": "gives one image, and intervals over images need two or more: give",
    "decode {here}/nope": "nope does not exist: make it with `crvae encode`",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, tuple[int, str]]:
    """Command -> its exit code and what it said, where torch cannot be imported; a command that does so ends them all."""
    here = tmp_path_factory.mktemp("here")
    lines = json.dumps([line.format(here=here, out=here / "out", file=__file__) for line in REFUSED])
    said = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, lines], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert not list(here.iterdir())
    return dict(zip(REFUSED, json.loads(said.stdout), strict=True))


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_not_there_is_refused_before_torch_is_loaded(answers, line: str):
    code, said = answers[line]
    assert code == 2
    assert REFUSED[line] in said
