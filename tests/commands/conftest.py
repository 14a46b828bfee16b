"""Every command that writes, with everything that it reads, made once by the real commands."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crvae.cli import main
from reference.commands import READING, WRITING
from reference.lua import Networks, dump
from reference.stage2 import OPTIONS

Fill = Callable[[str, Path], list[str]]
"""(kind, OUT) -> the words of its command."""


@pytest.fixture(scope="session")
def shelf(tmp_path_factory, trained, colour, upsampled, pair) -> dict[str, str]:
    """Name in WRITING -> what is there."""
    folder, pictures = tmp_path_factory.mktemp("shelf"), colour.parent / "pictures"
    for number, path in enumerate(sorted(pictures.iterdir())):
        target = folder / "sorted" / "ab"[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (folder / "digits.t7").write_bytes(dump(Networks(0, width=2, channels=8, eps=1e-5).digits("dense")))
    made = {
        "CLASSES": f"prepare {folder}/sorted {folder}/classes --size 32 --workers 1",
        "LATENTS": f"encode {trained} --images {pictures} --count 8 {folder}/latents.safetensors",
        "CRZ": f"encode {trained} --images {pictures} --count 8 --format crz {folder}/crz",
        "STUDY": f"study create --runs {trained} {pictures} --task sample --pairs 2 --out {folder}/study",
    }
    for line in made.values():
        assert main(line.split()) == 0
    _served(folder / "study")
    own = {
        "CLASSES": "classes",
        "LATENTS": "latents.safetensors",
        "CRZ": "crz",
        "STUDY": "study",
        "TORCH7": "digits.t7",
    }
    given = {"RUN": trained, "RUN2": upsampled, "PICTURES": pictures, "DATA": colour, "PAIR": pair}
    return {name: str(folder / file) for name, file in own.items()} | {name: str(path) for name, path in given.items()}


def _served(study: Path) -> None:
    """As a study is that was served and has no votes yet."""
    from crvae.web.study.database import Ballots, default_url
    from crvae.web.study.folder import fingerprint

    Ballots(default_url(study), fingerprint(study)).close()


@pytest.fixture(scope="session")
def words(shelf, tiny) -> Fill:
    """words(kind, OUT): the arguments of `crvae`."""

    def fill(kind: str, out: Path) -> list[str]:
        places = shelf | {"OUT": str(out)}
        options = {"TINY": tiny, "TINY2": OPTIONS}
        pattern = rf"\b({'|'.join(sorted(places, key=len, reverse=True))})\b"
        line = (WRITING | READING)[kind].split()
        return [
            word for part in line for word in options.get(part, [re.sub(pattern, lambda found: places[found[0]], part)])
        ]

    return fill


@pytest.fixture(scope="session")
def lay(shelf) -> Callable[[str, Path], None]:
    """lay(kind, OUT) puts into the folder OUT what a command changes in place."""

    def put(kind: str, out: Path) -> None:
        if kind == "prior" and not (out / "run").exists():
            subprocess.run(["cp", "-r", shelf["RUN"], out / "run"], check=True)

    return put
