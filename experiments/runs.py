"""What an experiment asks of a run folder before it trains or shows it."""

from __future__ import annotations

from pathlib import Path

from crvae.training.launch import STAGES
from crvae.training.prior_stage import has_prior_stage
from crvae.training.run import Run


def finished(folder: Path) -> bool:
    """Whether the run in `folder` is trained to its end, its prior included where it has one.

    Its last snapshot tells: `crvae train` writes it after all else. Raises UserError if the run cannot be read.
    """
    run = Run(folder)
    config = run.config(STAGES)
    phases = [config.train]
    if has_prior_stage(config):
        phases.append(config.prior.schedule(config.train))
    seen = sum(-(-phase.images // phase.batch) * phase.batch for phase in phases)  # whole batches
    return (run.samples / f"{seen:012d}.png").is_file()
