"""Raters and votes: in SQLite (write-ahead log) beside the study by default, in PostgreSQL by URL."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import deque
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, DateTime, event, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlmodel import Field, Session, SQLModel, col, create_engine, select

from crvae.errors import UserError, brief


class StudyIdentity(SQLModel, table=True):
    """One row: the study whose votes these are."""

    __tablename__ = "study_identity"  # pyright: ignore[reportAssignmentType]
    fingerprint: str = Field(primary_key=True, max_length=64)


class Rater(SQLModel, table=True):
    """Known by the hash of a token only: the database does not open anybody's page."""

    __tablename__ = "study_rater"  # pyright: ignore[reportAssignmentType]
    id: int | None = Field(default=None, primary_key=True)
    token_hash: str = Field(unique=True, index=True, max_length=64)
    started: datetime = Field(sa_type=DateTime(timezone=True))  # pyright: ignore[reportArgumentType]


class Vote(SQLModel, table=True):
    """The primary key is the promise: one vote for a question and rater."""

    __tablename__ = "study_vote"  # pyright: ignore[reportAssignmentType]
    rater: int = Field(primary_key=True, foreign_key="study_rater.id")
    question: int = Field(primary_key=True)
    choice: int
    at: datetime = Field(sa_type=DateTime(timezone=True))  # pyright: ignore[reportArgumentType]


INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""Databases that are supported: the two that are tested."""
COUNT = {"preserve_rowcount": True}
"""Without it the number of inserted rows is unknown on PostgreSQL."""
Insert = sqlite.Insert | postgresql.Insert
AS_SERVED = "Serve the study first, or pass the same --database as to `crvae study serve`"
"""What to do if a database does not have the votes that a report needs."""


class Cast(NamedTuple):
    """One vote: number of the rater, number of the question and place chosen, all from 1."""

    rater: int
    question: int
    choice: int


def token_hash(token: str) -> str:
    """SHA-256, enough for a random token of 128 bits."""
    return hashlib.sha256(token.encode()).hexdigest()


class Ballots:
    """The database of one study. A vote is acknowledged only after its transaction is on disk."""

    def __init__(self, url: str | URL, fingerprint: str, *, create: bool = True) -> None:
        """Opens `url`. `create` makes what is missing: the file, the tables and the row with the study's `fingerprint`.

        Raises UserError if that fails or if the database holds another study's votes. Without `create` nothing is written:
        also raises UserError if the file, a table or the fingerprint is missing.
        """
        try:
            address = make_url(url)
            if address.drivername in ("postgresql", "postgres"):
                address = address.set(drivername="postgresql+psycopg")
            self._insert = INSERTS[address.get_backend_name()]
            if not create and self._insert is sqlite.insert:
                address = _without_creating(address)
            self._engine = create_engine(address, pool_size=20, max_overflow=20)
        except (ArgumentError, NoSuchModuleError, ImportError, KeyError):
            raise UserError(
                "--database must be a URL such as postgresql://user@host/name or sqlite:///votes.db"
            ) from None
        self._one_writer = self._engine.dialect.name == "sqlite"
        self._writing = threading.Lock()
        self._waiting: deque[tuple[Insert, Future[int]]] = deque()
        if self._one_writer:
            event.listen(self._engine, "connect", _durable if create else _read_only)
        try:
            known = self._fingerprints(fingerprint, create)
        except SQLAlchemyError as error:
            self.close()
            raise UserError(
                f"--database {address.render_as_string()} cannot be used: {brief(error.__cause__ or error)}"
            ) from None
        if known != [fingerprint]:
            self.close()
            found = "holds votes of another study" if known else "has no votes of this study"
            advice = "Pass a new --database" if create else AS_SERVED
            raise UserError(f"--database {address.render_as_string()} {found}. {advice}")

    def _fingerprints(self, fingerprint: str, create: bool) -> list[str]:
        """The studies whose votes are in the database: none or one, and `fingerprint` if `create` found none."""
        if create:
            SQLModel.metadata.create_all(self._engine)
        elif not all(map(inspect(self._engine).has_table, SQLModel.metadata.tables)):
            return []
        with Session(self._engine) as session:
            known = list(session.exec(select(StudyIdentity.fingerprint)))
            if create and not known:
                session.add(StudyIdentity(fingerprint=fingerprint))
                session.commit()
                return [fingerprint]
        return known

    def register(self) -> str:
        """A new rater's token: 128 random bits, of which only the hash is stored."""
        token = secrets.token_urlsafe(16)
        self._write(self._insert(Rater).values(token_hash=token_hash(token), started=datetime.now(UTC)))
        return token

    def vote(self, rater: int, question: int, choice: int) -> bool:
        """Records a vote durably; False, and nothing changes, if the rater has voted on the question before."""
        row = self._insert(Vote).values(rater=rater, question=question, choice=choice, at=datetime.now(UTC))
        return self._write(row.on_conflict_do_nothing()) == 1

    def _write(self, row: Insert) -> int:
        """Inserts `row` durably; returns how many rows are new.

        SQLite lets one writer in at a time and syncs the disk for every transaction: whoever gets in writes for all who wait.
        """
        if not self._one_writer:
            with self._engine.begin() as connection:
                return connection.execute(row, execution_options=COUNT).rowcount
        done: Future[int] = Future()
        self._waiting.append((row, done))
        with self._writing:
            if not done.done():
                self._write_waiting()
        return done.result()

    def _write_waiting(self) -> None:
        rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            with self._engine.begin() as connection:
                counts = [connection.execute(row, execution_options=COUNT).rowcount for row, _ in rows]
        except BaseException as error:
            for _, done in rows:
                done.set_exception(error)
        else:
            for (_, done), count in zip(rows, counts, strict=True):
                done.set_result(count)

    def rater(self, token: str) -> int | None:
        """The rater's number, None for an unknown token."""
        with Session(self._engine) as session:
            return session.exec(select(Rater.id).where(Rater.token_hash == token_hash(token))).first()

    def answered(self, rater: int) -> set[int]:
        """Numbers of the questions that this rater has voted on."""
        with Session(self._engine) as session:
            return set(session.exec(select(Vote.question).where(Vote.rater == rater)).all())

    def raters(self) -> int:
        """How many have given consent."""
        with Session(self._engine) as session:
            return len(session.exec(select(Rater.id)).all())

    def votes(self) -> list[Cast]:
        """All votes, by rater and question."""
        ordered = select(Vote).order_by(col(Vote.rater), col(Vote.question))
        with Session(self._engine) as session:
            return [Cast(vote.rater, vote.question, vote.choice) for vote in session.exec(ordered)]

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


def default_url(folder: Path) -> URL:
    """SQLite in the study's own folder, whose name may have characters that mean something in a URL, such as `?` and `%41`."""
    return URL.create("sqlite", database=str((folder / "votes.db").resolve()))


def _without_creating(address: URL) -> URL:
    """The same SQLite database, opened only if it is there. Raises UserError for a missing file."""
    if "uri" in address.query:  # a name that SQLite reads itself: sqlite:///file:votes.db?uri=true
        return address.update_query_dict({"mode": "ro" if address.query.get("mode") == "ro" else "rw"})
    if address.database not in (None, "", ":memory:") and not Path(address.database).exists():
        raise UserError(f"--database {address.render_as_string()} does not exist. {AS_SERVED}")
    return address


def _durable(connection, _record) -> None:
    """Write-ahead log, synced at every commit: an acknowledged vote survives a kill and a power cut."""
    _set(connection, "busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


def _read_only(connection, _record) -> None:
    """Leaves the kind of journal alone: the file may be another program's."""
    _set(connection, "busy_timeout=10000", "query_only=ON")


def _set(connection, *pragmas: str) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
