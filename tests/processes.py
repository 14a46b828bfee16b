"""Real `crvae` processes for tests that kill them: forked from a server that has torch imported, so that twenty are cheap."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

PRELOAD = [
    "torch",
    "lightning_fabric",
    "torch.utils.tensorboard",
    "crvae.training.resuming",
    "crvae.cli.train",
    "crvae.recipes",
    "crvae.cli.evaluate",
    "crvae.tasks.completion_folder",
]
PATIENCE = 240

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOAD)


class Command:
    """`crvae ARGS` in a process of its own; its output goes to `log`. `prepare` runs first, in the process."""

    def __init__(self, args: list[str], log: Path, env: dict[str, str] | None = None, prepare: Callable | None = None):
        self.log = log
        self.process = _context.Process(target=_run, args=([str(arg) for arg in args], str(log), env or {}, prepare))
        self.process.start()

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self) -> int:
        """The exit code; minus the signal where one killed it."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"still running after {PATIENCE} s: {self.said()}")
        assert self.process.exitcode is not None
        return self.process.exitcode

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


def ranks(count: int, args: list[str], log: Path, prepare: Callable | None = None) -> list[Command]:
    """The same command on `count` data-parallel ranks, in the environment that torchrun gives them."""
    shared = {
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
        "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    return [
        Command(args, log.with_suffix(f".{rank}"), shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, prepare)
        for rank in range(count)
    ]


def tasks(count: int, args: list[str], log: Path) -> list[Command]:
    """The same command as `count` tasks of one SLURM step, in the environment that srun gave them in a real job."""
    shared = {
        "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": str(count), "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_NNODES": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
    }  # fmt: skip
    return [
        Command(args, log.with_suffix(f".{task}"), shared | {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)})
        for task in range(count)
    ]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def until(condition: Callable[[], bool], command: Command) -> None:
    """Waits for `condition` while `command` runs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert command.process.is_alive(), f"ended with {command.process.exitcode}: {command.said()}"
        assert time.monotonic() < deadline, command.said()
        time.sleep(0.005)


def _run(args: list[str], log: str, env: dict[str, str], prepare: Callable | None) -> None:
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # multiprocessing ignores it in some set-ups
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    import torch

    from crvae.cli import main

    torch.set_num_threads(1)
    if prepare is not None:
        prepare()
    sys.argv = ["crvae", *args]
    code = main()  # as the command itself calls it: no signal disturbs the process once it is done
    sys.stderr.flush()
    sys.exit(code)
