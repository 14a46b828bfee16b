"""From what a user types as RUN to the folder of its model: looked up without torch, so that a wrong name is refused at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

from crvae.errors import UserError, check_word, near

PREFIX = "hub:"
"""What sets the name of a hub model apart from a path or a built-in name."""
WhichPrior = Literal["own", "normal"]
"""The prior that a model was trained with, or N(0, I) in its place."""
BUILT_IN = Path(__file__).parent.parent / "pretrained"


def built_in() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.name for folder in BUILT_IN.glob("*") if folder.is_dir())


def local_folder(name: str | Path) -> Path:
    """The folder that holds config.json: of a run, an exported folder or a built-in model.

    A local model comes before the built-in one of its name. Any other folder of that name does not: it may hold samples.
    Raises UserError if `name` is none of these, or a run that has not written a model yet.
    """
    path = Path(name)
    for folder in (path / "model", path):
        if (folder / "config.json").is_file():
            return folder
    begun = (path / "config.yaml").is_file()  # a run without a model yet
    if str(name) in built_in() and not begun:
        return BUILT_IN / str(name)
    if begun:
        raise UserError(
            f"{path} holds no model: training has not written one yet; continue it with crvae train --resume {path}"
        )
    if path.is_dir():
        raise UserError(f"{path} holds no model: neither model/config.json nor config.json is there")
    names = f", nor a built-in model ({', '.join(built_in())})" if built_in() else ""
    meant = near(str(name), built_in())
    raise UserError(f"{name} is neither a run nor an exported folder{names}{meant} (a hub model: {PREFIX}OWNER/NAME)")


def check_name(name: object) -> None:
    """Raises UserError if `name` is neither text nor a path."""
    if not isinstance(name, str | os.PathLike):
        raise UserError(f"a model is named by its run, folder or name as text or a path, got {name!r}")


def check_prior(word: str) -> None:
    """Raises UserError if `word` does not say which prior a model is loaded with."""
    check_word("--prior", word, get_args(WhichPrior))


def check_begun(run: str | Path) -> None:
    """Raises UserError if `run` is not a folder that training has begun."""
    if not (Path(run) / "config.yaml").is_file():
        why = "it has no config.yaml" if Path(run).exists() else "it does not exist"
        raise UserError(f"{run} is not a run: {why}. Name the folder that crvae train made, its --out")


def check_run(name: str) -> Path | None:
    """The folder that holds the model; None for a hub model, which is not asked for yet. Raises UserError if there is none."""
    return None if name.startswith(PREFIX) else local_folder(name)
