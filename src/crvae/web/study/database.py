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

from sqlalchemy import DateTime, event
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

    def __init__(self, url: str, fingerprint: str) -> None:
        """Opens `url`, making missing tables. Raises UserError if that fails or it holds another study's votes."""
        try:
            address = make_url(url)
            if address.drivername in ("postgresql", "postgres"):
                address = address.set(drivername="postgresql+psycopg")
            self._insert = INSERTS[address.get_backend_name()]
            self._engine = create_engine(address, pool_size=20, max_overflow=20)
        except (ArgumentError, NoSuchModuleError, ImportError, KeyError):
            raise UserError(
                "--database must be a URL such as postgresql://user@host/name or sqlite:///votes.db"
            ) from None
        self._one_writer = self._engine.dialect.name == "sqlite"
        self._writing = threading.Lock()
        self._waiting: deque[tuple[Insert, Future[int]]] = deque()
        if self._one_writer:
            event.listen(self._engine, "connect", _durable)
        try:
            SQLModel.metadata.create_all(self._engine)
            with Session(self._engine) as session:
                known = session.exec(select(StudyIdentity.fingerprint)).all()
                if not known:
                    session.add(StudyIdentity(fingerprint=fingerprint))
                    session.commit()
        except SQLAlchemyError as error:
            raise UserError(
                f"--database {address.render_as_string()} cannot be used: {brief(error.__cause__ or error)}"
            ) from None
        if known and list(known) != [fingerprint]:
            raise UserError(
                f"--database {address.render_as_string()} holds votes of another study: name a new database"
            )

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


def default_url(folder: Path) -> str:
    """SQLite in the study's own folder."""
    return f"sqlite:///{(folder / 'votes.db').resolve()}"


def _durable(connection, _record) -> None:
    """Write-ahead log, synced at every commit: an acknowledged vote survives a kill and a power cut."""
    cursor = connection.cursor()
    for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
