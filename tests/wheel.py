"""`python tests/wheel.py WHEEL`: installs a wheel in a fresh environment and tries it from an empty folder.

The environment sees the packages of the one that runs this, but for crvae itself: so nothing is downloaded, and what is imported
is what the wheel holds.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path

SMOKE = """
import pathlib, sys
import crvae
assert "site-packages" in crvae.__file__ and sys.prefix in crvae.__file__, crvae.__file__
assert (pathlib.Path(crvae.__file__).parent / "py.typed").is_file()
from crvae.config.stage1 import ModelConfig
from crvae.storage.models import save
model = crvae.Autoencoder(ModelConfig(width=2, latent_channels=8)).eval()
save(pathlib.Path("small"), model, recipe="none", images=0)
assert crvae.load("small").sample(2, seed=1).equal(model.sample(2, seed=1))
import crvae.web.study.server, crvae.export.export, crvae.torch7.importing, crvae.evaluation.evaluate
"""


def main(wheel: Path) -> None:
    """Exits with an error where anything fails."""
    content = zipfile.ZipFile(wheel)
    names = content.namelist()
    surplus = [n for n in names if not n.startswith("crvae") or "__pycache__" in n or "/tests/" in n]
    assert not surplus, surplus
    assert "crvae/py.typed" in names
    assert any(n.endswith("pages/study.css") for n in names), "the pages of the study are missing"
    for file in ("emoji/model", "faces/model", "faces/prior"):
        assert f"crvae/pretrained/{file}.safetensors" in names, f"the built-in {file} is missing"
    with tempfile.TemporaryDirectory() as place:
        empty = Path(place, "empty")
        empty.mkdir()
        environment = Path(place, "environment")
        run(sys.executable, "-m", "venv", environment, cwd=empty)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        shared = environment / "lib" / version / "site-packages" / "shared.pth"
        shared.write_text(sysconfig.get_path("purelib") + "\n")
        begun = time.perf_counter()
        run(
            environment / "bin" / "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--force-reinstall",
            wheel.resolve(),
            cwd=empty,
        )
        print(f"pip install {wheel.name} ({wheel.stat().st_size / 1e6:.2f} MB): {time.perf_counter() - begun:.1f} s")
        crvae, python = environment / "bin" / "crvae", environment / "bin" / "python"
        for command in ([crvae, "--version"], [crvae, "--help"], [crvae, "recipes"], [python, "-c", SMOKE]):
            run(*command, cwd=empty)
        run(crvae, "sample", "small", "--count", "4", "--out", "grid.png", cwd=empty)
        built_in = sorted({n.split("/")[2] for n in names if n.startswith("crvae/pretrained/") and n.count("/") > 2})
        for name in built_in:
            begun = time.perf_counter()
            run(crvae, "sample", name, "--out", f"{name}.png", cwd=empty)
            print(f"crvae sample {name} --out {name}.png: {time.perf_counter() - begun:.1f} s")
        print(f"{wheel.name}: {len(names)} files, built-in models: {', '.join(built_in) or 'none'}")


def run(*command: object, cwd: Path) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:200]}: exit {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
