"""Files of npm packages: installed once into the cache, without running any of their scripts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from crvae.cache import cache
from crvae.errors import UserError


def install(packages: list[str], root: Path | None) -> list[Path]:
    """The folders of `packages`: below `root` (a project folder, its node_modules, or the packages' parent), or fetched.

    Raises UserError where `root` lacks one, npm is missing, or npm fails.
    """
    if root is not None:
        return [_below(root, package) for package in packages]
    modules = cache() / "npm" / "node_modules"
    missing = [package for package in packages if not (modules / package.split("@1")[0] / "package.json").is_file()]
    if missing:
        npm = shutil.which("npm")
        if npm is None:
            raise UserError(
                "npm is needed to fetch the files: install Node.js, or give --root a folder that holds " + missing[0]
            )
        command = [
            npm,
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(cache() / "npm"),
            *missing,
        ]
        (cache() / "npm").mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise UserError(f"npm could not install {' '.join(missing)} ({last}): check the network, or give --root")
    return [modules / package for package in packages]


def _below(root: Path, package: str) -> Path:
    for place in (root / package, root / "node_modules" / package, root / package.split("/")[-1]):
        if place.is_dir():
            return place
    raise UserError(f"--root {root} does not hold {package}: install it there with npm, or leave --root out")
