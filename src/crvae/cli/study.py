"""`crvae study create | serve | report`: a blinded human preference study (Tables 1 and 2)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError, near
from crvae.progress import waiting

USAGE = """\
usage: crvae study create --runs A B [C D] --task sample|completion --out STUDY
       crvae study serve STUDY
       crvae study report STUDY

crvae study create --help (serve --help, report --help) documents every option."""


@dataclass
class CreateCommand:
    """Build blinded, shuffled questions from the images of 2 to 4 models."""

    runs: tuple[str, ...]
    """Two to four models: for samples a run, an exported folder, a built-in name or a folder of images; for completions
    folders as `crvae complete --out` writes them, a sub-folder for each mask, images named alike."""
    task: Literal["sample", "completion"]
    """What is compared: samples from the prior, or completions of the same occluded images."""
    out: Path
    """Folder of the study, new."""
    pairs: int = 128
    """Number of questions (for completions: for each mask); one attention question for every 8 and one repeated
    question for every 16 come on top."""
    seed: int = 0
    """Seed of the choice of images, sides and order."""
    pixel_limit: float = 200.0
    """An image file above this many megapixels is refused undecoded."""


@dataclass
class ServeCommand:
    """Serve a study as a web page until interrupted."""

    study: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STUDY")]
    """Folder that `crvae study create` made."""
    database: str = ""
    """Database URL, such as postgresql://user@host/name; empty: SQLite in the study's folder."""
    host: str = "127.0.0.1"
    """Address to listen on; the default is reached from this machine only."""
    port: Annotated[int, tyro.conf.arg(metavar="1-65535")] = 8000
    """Port to listen on."""


@dataclass
class ReportCommand:
    """Write how often each model was chosen: table, plot, CSV and JSON."""

    study: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STUDY")]
    """Folder that `crvae study create` made."""
    database: str = ""
    """Database URL that the study was served with, never made here; empty: SQLite in the study's folder."""
    interval: Literal["wilson", "clopper-pearson"] = "wilson"
    """Kind of the 95% interval."""
    out: Path | None = None
    """Folder for report.md, report.png, report.csv, votes.csv and report.json; STUDY/report where not given."""
    json: bool = False
    """Print the results as one JSON document on standard output."""


def run(args: list[str]) -> int:
    """Runs `crvae study ACTION`. Raises UserError if something is wrong with them."""
    actions = {"create": _create, "serve": _serve, "report": _report}
    if args and args[0] in actions:
        return actions[args[0]](args[1:])
    if args and args[0] not in ("-h", "--help"):
        raise UserError(f"study has no action {args[0]!r}{near(args[0], actions)}: use create, serve or report")
    print(USAGE, file=sys.stdout if args else sys.stderr)
    return 0 if args else 2


def _create(args: list[str]) -> int:
    command = parse(CreateCommand, args, name="study create")
    with waiting("loading"):
        from crvae.data.images import pixels
        from crvae.web.study.questions import create

    study = create(
        list(command.runs), command.task, command.pairs, command.seed, command.out, pixels(command.pixel_limit)
    )
    kinds = [question.kind for question in study.questions]
    print(
        f"{command.out}: {kinds.count('pair')} questions with {study.alternatives} alternatives, "
        f"{kinds.count('repeat')} repeated and {kinds.count('attention')} attention questions. "
        f"Edit consent.txt if needed, then serve the study: crvae study serve {quote(str(command.out))}",
        file=sys.stderr,
    )
    return 0


def _serve(args: list[str]) -> int:
    command = parse(ServeCommand, args, name="study serve")
    if not 1 <= command.port <= 65535:
        raise UserError(f"--port must be from 1 to 65535, got {command.port}")
    import socket

    import uvicorn

    from crvae.web.study.server import create_app

    app = create_app(command.study, command.database or None)
    family = socket.AF_INET6 if ":" in command.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((command.host, command.port))
    except OSError as error:
        raise UserError(
            f"--host {command.host} --port {command.port} cannot be used: {error.strerror or error}"
        ) from None
    where = f"http://{f'[{command.host}]' if ':' in command.host else command.host}:{command.port}"
    print(
        f"study: {where}/   administrator: {where}/admin, token in {command.study / 'administrator-token'}",
        file=sys.stderr,
    )
    # No access log: it would hold the raters' tokens.
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # comes after the server has ended in order
        print("stopped. Serve the study again to continue", file=sys.stderr)
    return 0


def _report(args: list[str]) -> int:
    command = parse(ReportCommand, args, name="study report")
    import json

    from crvae.web.study.folder import fingerprint, read_key, read_study

    study = read_study(command.study)
    key = read_key(command.study, study)
    with waiting("loading"):
        from rich.console import Console
        from rich.table import Table

        from crvae.web.study import report
        from crvae.web.study.database import Ballots, default_url
        from crvae.web.study.results import tally

    if not command.database and not (command.study / "votes.db").exists():
        folder = quote(str(command.study))
        raise UserError(
            f"{command.study} has no votes yet. Serve it first: crvae study serve {folder}. "
            f"If it was served with --database, pass the same URL: crvae study report {folder} --database URL"
        )
    ballots = Ballots(command.database or default_url(command.study), fingerprint(command.study), create=False)
    votes = ballots.votes()
    ballots.close()
    out = command.out or command.study / "report"
    if not votes and (out / "report.json").exists():
        raise UserError(f"nobody has voted yet: the report in {out} is of other votes and stays as it is. Give --out")
    results = tally(study, key, votes, command.interval)
    written = report.write(results, study, key, votes, out)
    if command.json:
        print(json.dumps(results))
    else:
        table = Table("Occlusion" if study.task == "completion" else "Samples", *results["models"])
        for group, shares in report.rows(results):
            cells = [f"{report.cell(share)}\np {report.p_value(share)}" for share in shares.values()]
            table.add_row(group, *cells)
        console = Console()
        console.print(table)
        for remark in report.remarks(results):
            console.print(remark, highlight=False, markup=False)
    print("written: " + ", ".join(map(str, written)), file=sys.stderr)
    return 0
