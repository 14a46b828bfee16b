"""`crvae import-torch7 FILE.t7 OUT`: the authors' released checkpoints into this format."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError, reason
from crvae.files import check_new_folder, new_folder
from crvae.progress import waiting


@dataclass
class ImportTorch7:
    """Read a Stage1 model that the authors' Torch7 code saved."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """Their file, such as birds_Stage1_crvae.t7."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """New folder for crvae.load and every task."""


def run(args: list[str]) -> int:
    """Writes the model."""
    command = parse(ImportTorch7, args, name="import-torch7")
    check_new_folder(command.out, "OUT")
    try:
        command.file.open("rb").close()
    except OSError as error:
        raise UserError(f"{command.file} cannot be read: {reason(error)}") from None

    with waiting("loading"):
        from crvae.storage.models import save
        from crvae.torch7.importing import import_torch7

    model = import_torch7(command.file)
    with new_folder(command.out, "OUT") as folder:
        save(folder, model, recipe=f"imported from {command.file.name}", images=0)
    print(f"{command.out}: a {model.config.latent} model, base width {model.config.width}", file=sys.stderr)
    return 0
