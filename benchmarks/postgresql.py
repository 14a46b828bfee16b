"""A PostgreSQL server of its own: Debian's package, a temporary folder, loopback, no root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
"""Who runs the server where the caller is root, which PostgreSQL refuses to run as."""


def programs() -> Path | None:
    """Folder of initdb and pg_ctl of the newest installed version, None without one."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return folders[-1] if folders else None


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextmanager
def temporary_postgresql() -> Iterator[str]:
    """Starts a server with an empty database, yields its URL, and removes all of it. Raises RuntimeError without one."""
    folder = programs()
    if folder is None:
        raise RuntimeError("PostgreSQL's server is not installed: apt-get install postgresql")
    identity = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    data = Path(tempfile.mkdtemp(prefix="crvae-postgresql-"))
    if identity:
        shutil.chown(data, USER)
    port = free_port()

    def call(program: str, *options: str) -> None:
        subprocess.run(
            [*identity, str(folder / program), *options], check=True, stdout=subprocess.DEVNULL, cwd=data, timeout=60
        )

    try:
        call("initdb", "-D", str(data / "cluster"), "-U", "study", "-A", "trust", "--no-instructions")
        settings = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={data} -c max_connections=60"
        call("pg_ctl", "-D", str(data / "cluster"), "-o", settings, "-l", str(data / "log"), "-w", "start")
        try:
            yield f"postgresql://study@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-D", str(data / "cluster"), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data, ignore_errors=True)
