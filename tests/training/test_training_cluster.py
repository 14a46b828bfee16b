"""Which rank of how many a process takes itself for, under torchrun, under srun and alone."""

from __future__ import annotations

import json
import os

import pytest
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

from crvae.errors import UserError
from crvae.training.cluster import Place, announce, place
from processes import tasks
from reference.same import last_state

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "0"}
STEP = {**JOB, "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "5"}


@pytest.fixture
def surroundings(monkeypatch):
    def surround(**variables: str) -> None:
        for name in list(os.environ):
            if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in TORCHRUN:
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return surround


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Place(0, 1, 1, LightningEnvironment)),
        (TORCHRUN, Place(3, 4, 2, TorchElasticEnvironment)),
        (STEP, Place(5, 8, 4, SLURMEnvironment)),
        (JOB, Place(0, 1, 1, LightningEnvironment)),  # the batch script itself: eight tasks allotted, one runs
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, Place(0, 1, 1, LightningEnvironment)),
        ({**JOB, **TORCHRUN}, Place(3, 4, 2, TorchElasticEnvironment)),
    ],
)
def test_place(surroundings, variables, expected):
    surroundings(**variables)
    assert place() == expected


def test_fabric_hears_of_the_step_not_of_the_job(surroundings, monkeypatch):
    surroundings(**{**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_PROCID": "1"})
    for name in ("SLURM_NTASKS", "SLURM_NNODES", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.setenv(name, "8")  # so that what `announce` sets is taken back
    environment = announce(place())
    assert (environment.world_size(), environment.global_rank()) == (2, 1)
    environment.validate_settings(num_devices=2, num_nodes=1)


def test_unequal_machines_are_refused(surroundings):
    surroundings(**{**STEP, "SLURM_STEP_NUM_TASKS": "7"})
    with pytest.raises(UserError, match="7 tasks on 2 machines"):
        place()


def test_two_tasks_train_one_run(tmp_path, colour, tiny):
    run = tmp_path / "run"
    args = ["train", "emoji-crvae-gan", "--data", str(colour), "--out", str(run), *tiny]
    started = tasks(2, args, tmp_path / "log")
    assert [task.wait() for task in started] == [0, 0], started[0].said() + started[1].said()
    assert json.loads((run / "environment.json").read_text())["world"] == 2
    assert last_state(run)["images"] == 160
    assert "done" in started[0].said()
    assert "done" not in started[1].said()
