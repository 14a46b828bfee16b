"""A preference study under load: 100 raters at once, every one voting as fast as the server answers.

    python benchmarks/study_load.py --raters 100 --seconds 60                     # SQLite
    python benchmarks/study_load.py --raters 100 --seconds 60 --pause 1           # raters that look for a second
    python benchmarks/study_load.py --raters 100 --seconds 60 --postgresql        # PostgreSQL, started for this
    python benchmarks/study_load.py --raters 100 --seconds 60 --kill 3000         # kill -9 after 3000 votes

The server is the real one, in a process of its own on the loopback address of the same machine. Prints one JSON document:
votes a second, latency of votes and pages in milliseconds, errors; and how the database compares with what was acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from sqlalchemy import create_engine, text

from postgresql import free_port, temporary_postgresql

FORM = re.compile(r'name="question" value="(\d+)".*?name="seal" value="([0-9a-f]{64})"', re.DOTALL)


@dataclass
class Log:
    """What the raters saw. An acknowledged vote is one that was answered with the way to the next question."""

    acknowledged: list[tuple[str, int, int]] = field(default_factory=list)
    vote_seconds: list[float] = field(default_factory=list)
    page_seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def served(study: Path, database: str = "") -> Iterator[tuple[str, subprocess.Popen]]:
    """The real server in a process of its own: its address and the process."""
    port = free_port()
    command = [sys.executable, "-m", "crvae", "study", "serve", str(study), "--port", str(port)]
    process = subprocess.Popen(command + (["--database", database] if database else []))
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {process.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)


def make_study(folder: Path, pairs: int) -> Path:
    """A study of noise by two models in `folder`."""
    for seed, model in enumerate(("first", "second")):
        (folder / model).mkdir()
        noise = np.random.default_rng(seed).integers(0, 256, (pairs, 16, 16, 3), dtype=np.uint8)
        for number, image in enumerate(noise):
            Image.fromarray(image).save(folder / model / f"{number:05d}.png")
    command = [sys.executable, "-m", "crvae", "study", "create", "--task", "sample", "--pairs", str(pairs)]
    runs = ["--runs", str(folder / "first"), str(folder / "second")]
    subprocess.run([*command, *runs, "--out", str(folder / "study")], check=True)
    return folder / "study"


async def rate(url: str, deadline: float, pause: float, log: Log) -> None:
    """One rater: consent, then a vote on every question that is shown, until the deadline or the last question."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        try:
            answer = await client.post("/start", data={"consent": "yes"})
            link = answer.headers["location"]
            while time.monotonic() < deadline:
                before = time.monotonic()
                page = await client.get(link)
                log.page_seconds.append(time.monotonic() - before)
                form = FORM.search(page.text)
                if page.status_code != 200 or form is None:
                    if page.status_code != 200:
                        log.errors.append(f"page: {page.status_code}")
                    return
                await asyncio.sleep(pause)
                question, seal = form.groups()
                choice = 1 + int(question) % 2
                before = time.monotonic()
                answer = await client.post(f"{link}/vote", data={"question": question, "choice": choice, "seal": seal})
                log.vote_seconds.append(time.monotonic() - before)
                if answer.status_code == 303:
                    log.acknowledged.append((link.removeprefix("/r/"), int(question), choice))
                else:
                    log.errors.append(f"vote: {answer.status_code}")
        except (httpx.HTTPError, KeyError) as error:
            log.errors.append(type(error).__name__)


async def raters(
    url: str, count: int, seconds: float, pause: float, kill: tuple[subprocess.Popen, int] | None = None
) -> Log:
    """`count` raters at once for `seconds`. `kill`: a server, and after how many acknowledged votes it gets its kill -9."""
    log = Log()
    deadline = time.monotonic() + seconds
    everyone = [asyncio.create_task(rate(url, deadline, pause, log)) for _ in range(count)]
    if kill:
        process, votes = kill
        while len(log.acknowledged) < votes and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        process.kill()
    await asyncio.gather(*everyone)
    return log


def stored(url: str) -> Counter[tuple[str, int, int]]:
    """Votes in the database, read by plain SQL: (hash of the rater's token, question, choice) and how often."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    query = "SELECT r.token_hash, v.question, v.choice FROM study_vote v JOIN study_rater r ON r.id = v.rater"
    with engine.connect() as connection:
        votes = Counter((row[0], row[1], row[2]) for row in connection.execute(text(query)))
    engine.dispose()
    return votes


def compare(log: Log, votes: Counter[tuple[str, int, int]]) -> dict:
    """Acknowledged votes against stored ones. A vote stored but not acknowledged was cut off on its way back."""
    acknowledged = Counter(
        (sha256(token.encode()).hexdigest(), question, choice) for token, question, choice in log.acknowledged
    )
    at = Counter((rater, question) for rater, question, _ in votes.elements())
    return {
        "acknowledged": acknowledged.total(),
        "stored": votes.total(),
        "acknowledged_but_lost": (acknowledged - votes).total(),
        "stored_twice": sum(count > 1 for count in at.values()),
    }


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum."""
    if not seconds:
        return {}
    return {
        name: round(1000 * float(np.quantile(seconds, q)), 1) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raters", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0, help="seconds that a rater looks at a question")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--postgresql", action="store_true", help="PostgreSQL instead of SQLite")
    parser.add_argument("--kill", type=int, default=0, help="kill -9 the server after so many acknowledged votes")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        temporary_postgresql() if options.postgresql else nullcontext("") as database,
    ):
        study = make_study(Path(folder), options.pairs)
        with served(study, database) as (url, process):
            kill = (process, options.kill) if options.kill else None
            begun = time.monotonic()
            log = asyncio.run(raters(url, options.raters, options.seconds, options.pause, kill))
            elapsed = time.monotonic() - begun
        result = {
            "raters": options.raters,
            "seconds": round(elapsed, 1),
            "pause": options.pause,
            "database": "postgresql" if options.postgresql else "sqlite",
            "killed_after": options.kill,
            "votes_per_second": round(len(log.acknowledged) / elapsed, 1),
            "vote_ms": milliseconds(log.vote_seconds),
            "page_ms": milliseconds(log.page_seconds),
            "errors": dict(Counter(log.errors)),
            **compare(log, stored(database or f"sqlite:///{study / 'votes.db'}")),
        }
    print(json.dumps(result, indent=1))
    if result["acknowledged_but_lost"] or result["stored_twice"] or (log.errors and not options.kill):
        sys.exit("a vote was lost or doubled, or an answer failed")


if __name__ == "__main__":
    main()
