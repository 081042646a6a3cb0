"""The operational database: brought up to date, written with full commits, read on start. Blocking calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from keng_console.models import Playback, RegistryVersion
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent

#: ``what`` of an event that was kept without being understood.
UNREADABLE = "unreadable"


class Evidence(NamedTuple):
    """A playback event as it came: who said it, its name, what it says (None: not understood), its own bytes."""

    node: str
    boot: str
    seq: int
    event: PlaybackEvent | None
    payload: bytes
    received_ms: int


class DatabaseUnavailable(Exception):
    """The database did not take or give rows now. Nothing was kept, and trying again is right."""


class Database:
    """``url`` is SQLAlchemy's. Opening it upgrades the schema; raises :class:`Problem` when it can't be used."""

    def __init__(self, url: str) -> None:
        try:
            self._engine = _engine(url)
            self._where = self._engine.url.render_as_string(hide_password=True)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise Problem(
                f"is no usable database URL ({error})",
                where="database_url",
                todo="see sample.toml; PostgreSQL needs 'keng-console[postgresql]'",
            ) from None
        try:
            with self._engine.begin() as connection:
                command.upgrade(migrations(connection), "head")
        except SQLAlchemyError as error:
            raise Problem(
                f"the operational database can't be used ({_reason(error)})",
                where=self._where,
                todo="check that it runs, who owns it, and the free disk space",
            ) from None

    def close(self) -> None:
        self._engine.dispose()

    def check(self) -> bool:
        """Whether it answers."""
        try:
            with self._engine.connect() as connection:
                connection.execute(select(1))
        except SQLAlchemyError:
            return False
        return True

    # -- registry -----------------------------------------------------------------------------------------------

    def registry_in_force(self) -> RegistryVersion | None:
        """The newest registry that was taken."""
        with Session(self._engine, expire_on_commit=False) as session:
            return session.scalar(select(RegistryVersion).order_by(RegistryVersion.version.desc()).limit(1))

    def keep_registry(self, version: int, document: str, taken_ms: int) -> None:
        with _told(), Session(self._engine) as session, session.begin():
            session.add(RegistryVersion(version=version, document=document, taken_ms=taken_ms))

    # -- playback -----------------------------------------------------------------------------------------------

    def keep_playback(self, rows: Sequence[Evidence]) -> None:
        """Keep events for ever; returns once they are committed. One that is there already changes nothing."""
        values = [_row(row) for row in rows]
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with _told(), self._engine.begin() as connection:
            connection.execute(insert(Playback).on_conflict_do_nothing(), values)

    def recent_playback(self, each: int) -> list[tuple[str, PlaybackEvent]]:
        """The newest ``each`` events of every node, oldest first."""
        newest = func.row_number().over(
            partition_by=Playback.node, order_by=(Playback.at_ms.desc(), Playback.seq.desc())
        )
        ranked = (
            select(Playback.node, Playback.payload, Playback.at_ms, Playback.seq, newest.label("rank"))
            .where(Playback.what != UNREADABLE)
            .subquery()
        )
        query = select(ranked).where(ranked.c.rank <= each).order_by(ranked.c.at_ms, ranked.c.seq)
        with _told(), self._engine.connect() as connection:
            return [(row.node, PlaybackEvent.model_validate_json(row.payload)) for row in connection.execute(query)]


def migrations(connection: Any = None) -> Config:
    """Alembic's configuration for the migrations in this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        # Receipts rest on the commit, so every commit reaches the disk (WAL alone syncs only at checkpoints).
        @event.listens_for(engine, "connect")
        def durable(connection: Any, _: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA busy_timeout=2000")
            cursor.close()

    elif engine.dialect.name != "postgresql":
        raise ArgumentError(f"{engine.dialect.name} is not supported: SQLite or PostgreSQL")
    return engine


def _row(row: Evidence) -> dict[str, Any]:
    event = row.event
    return {
        "node": row.node,
        "boot": row.boot,
        "seq": row.seq,
        "at_ms": event.at_ms if event else row.received_ms,
        "received_ms": row.received_ms,
        "what": event.what.value if event else UNREADABLE,
        "play": _text(event.play, 80) if event else "",
        "kind": _text(event.kind, 16) if event else "",
        "level_dbfs": event.level_dbfs if event else None,
        "exercise": event.exercise if event else False,
        "payload": row.payload.decode(),
    }


def _text(text: str, length: int) -> str:
    """Cut to its column, and without NUL, which PostgreSQL takes in no text."""
    return text.replace("\0", "")[:length]


@contextmanager
def _told() -> Iterator[None]:
    """Turns the driver's errors into :class:`DatabaseUnavailable` with their first line."""
    try:
        yield
    except SQLAlchemyError as error:
        raise DatabaseUnavailable(_reason(error)) from None


def _reason(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__
