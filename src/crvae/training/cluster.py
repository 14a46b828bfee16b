"""Who started this process: torchrun, SLURM's srun, or nobody else; and as which of how many."""

from __future__ import annotations

import os
from typing import NamedTuple

from crvae.errors import UserError
from crvae.training.fabric import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)


class Place(NamedTuple):
    """This process among those that train together."""

    rank: int
    """0 for the one that writes."""
    world: int
    """Processes in all."""
    local: int
    """Processes on this machine."""
    environment: type[ClusterEnvironment]
    """How Fabric finds the others."""


def place() -> Place:
    """Reads what torchrun or srun left in the environment. Raises UserError if SLURM's machines hold unequal numbers of tasks."""
    read = os.environ.get
    if "TORCHELASTIC_RUN_ID" in os.environ:  # also inside a SLURM job: whoever starts torchrun means it
        rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return Place(rank, world, local, TorchElasticEnvironment)
    world = int(read("SLURM_STEP_NUM_TASKS", "1"))
    if world == 1:
        # srun sets it for its own tasks; a batch script without srun is one process however many are allotted
        return Place(0, 1, 1, LightningEnvironment)
    machines = int(read("SLURM_STEP_NUM_NODES", "1"))
    if world % machines:
        raise UserError(
            f"srun started {world} tasks on {machines} machines: give each machine the same number (--ntasks-per-node)"
        )
    return Place(int(read("SLURM_PROCID", "0")), world, world // machines, SLURMEnvironment)


def announce(here: Place) -> ClusterEnvironment:
    """Fabric's view of the same; for SLURM with the step's own numbers, which may be smaller than the job's."""
    if here.environment is not SLURMEnvironment:
        return here.environment()
    os.environ["SLURM_NTASKS"] = str(here.world)
    os.environ["SLURM_NTASKS_PER_NODE"] = str(here.local)
    os.environ["SLURM_NNODES"] = str(here.world // here.local)
    return SLURMEnvironment(auto_requeue=False)
