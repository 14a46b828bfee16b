"""`crvae prior RUN`: fits a prior to a trained run, or another one in its place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.cli.train import finished, resumable
from crvae.config.prior import PriorConfig
from crvae.progress import waiting
from crvae.storage.folders import check_begun


@dataclass
class Prior:
    """Fit a prior p(z) to the posteriors of a trained Stage1 run; the one that it has is replaced."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    data: str = ""
    """Where its prepared dataset is now, if not where it was."""
    inexact: bool = False
    """Fit it even on another number of devices, in another precision or on another dataset; the run remembers which."""
    prior: PriorConfig = dataclasses.field(default_factory=lambda: PriorConfig(kind="flow"))


def run(args: list[str]) -> int:
    command = parse(Prior, args, name="prior")
    check_begun(command.run)
    with waiting("loading"):
        from crvae.training.resuming import resume

    options = {"data": command.data, "inexact": command.inexact, "prior": command.prior}
    # until the run's configuration holds the new prior, `crvae train --resume` would end with the old one
    work = partial(resume, command.run, **options, configured=partial(resumable, command.run))
    return finished(work, command.run)
