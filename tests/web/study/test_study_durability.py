"""kill -9 in the middle of a study, on SQLite and on PostgreSQL: acknowledged votes are there, none twice.

The long form, 100 raters for 60 seconds: `make study-load`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from crvae.cli import main
from postgresql import programs, temporary_postgresql
from study_load import compare, make_study, raters, served, stored

POSTGRESQL = pytest.param(
    "postgresql",
    marks=pytest.mark.skipif(programs() is None, reason="needs Debian's postgresql: apt-get install postgresql"),
)


@pytest.fixture(params=["sqlite", POSTGRESQL])
def database(request):
    """Address for --database; empty for the default."""
    if request.param == "sqlite":
        yield ""
    else:
        with temporary_postgresql() as url:
            yield url


def test_killed_in_the_middle_no_acknowledged_vote_is_lost_nor_twice(tmp_path, database, capsys):
    study = make_study(tmp_path, 60)
    with served(study, database) as (url, process):
        log = asyncio.run(raters(url, 12, 60, 0.01, kill=(process, 60)))
    assert process.returncode == -signal.SIGKILL
    assert log.errors
    address = database or f"sqlite:///{study / 'votes.db'}"
    found = compare(log, stored(address))
    assert found["acknowledged"] >= 60
    assert found["acknowledged_but_lost"] == found["stored_twice"] == 0
    assert found["stored"] - found["acknowledged"] <= 12  # answers that were cut off on their way

    with served(study, database) as (url, _):  # the same database goes on
        more = asyncio.run(raters(url, 4, 2, 0.05))
    assert more.errors == []
    log.acknowledged += more.acknowledged
    again = compare(log, stored(address))
    assert again["acknowledged"] > found["acknowledged"]
    assert again["acknowledged_but_lost"] == again["stored_twice"] == 0

    assert main(["study", "report", str(study), "--json", *(["--database", database] if database else [])]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sum(row["answers"] for row in report["by_rater"]) == again["stored"]
    assert list(study.glob("votes.db")) == ([] if database else [study / "votes.db"])


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0)])
def test_the_server_ends_in_order_when_asked(study, capfd, sent, code):
    with served(study) as (_, process):
        process.send_signal(sent)
        assert process.wait(30) == code
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_in_use_is_one_sentence(study):
    with served(study) as (url, _):
        port = url.rsplit(":", 1)[1]
        command = [sys.executable, "-m", "crvae", "study", "serve", str(study), "--port", port]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert second.returncode == 2
    assert f"--port {port} cannot be used" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_server_does_without_torch():
    """It only shows pictures that are there: without it 140 MB instead of 800."""
    code = "import sys, crvae.web.study.server; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
