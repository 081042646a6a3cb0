"""The operational database: brought up to date, written with full commits, read on start. Blocking calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from alembic import command
from alembic.config import Config
from pydantic import TypeAdapter
from sqlalchemy import Engine, Executable, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from keng_console.models import Base, EdgeAnswer, EdgeOrder, Playback, RegistryVersion
from keng_console.orders import Answer, Order, Told
from keng_contracts.edge_commands import EdgeAction
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent

#: ``what`` of an event that was kept without being understood.
UNREADABLE = "unreadable"
_ACTION: TypeAdapter[EdgeAction] = TypeAdapter(EdgeAction)


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

    @property
    def engine(self) -> Engine:
        """For what keeps tables of its own in the same database."""
        return self._engine

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
        with told(), Session(self._engine) as session, session.begin():
            session.add(RegistryVersion(version=version, document=document, taken_ms=taken_ms))

    # -- playback -----------------------------------------------------------------------------------------------

    def keep_playback(self, rows: Sequence[Evidence]) -> None:
        """Keep events for ever; returns once they are committed. One that is there already changes nothing."""
        values = [_row(row) for row in rows]
        with told(), self._engine.begin() as connection:
            connection.execute(self._insert(Playback).on_conflict_do_nothing(), values)

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
        with told(), self._engine.connect() as connection:
            return [(row.node, PlaybackEvent.model_validate_json(row.payload)) for row in connection.execute(query)]

    def playback_between(self, first_ms: int, end_ms: int) -> Iterator[tuple[str, PlaybackEvent]]:
        """(node, event) of every event from ``first_ms`` to before ``end_ms`` by the nodes' clocks, in order."""
        query = (
            select(Playback.node, Playback.payload)
            .where(Playback.at_ms >= first_ms, Playback.at_ms < end_ms, Playback.what != UNREADABLE)
            .order_by(Playback.at_ms, Playback.seq)
            .execution_options(yield_per=1000)
        )
        with told(), self._engine.connect() as connection:
            for row in connection.execute(query):
                yield row.node, PlaybackEvent.model_validate_json(row.payload)

    # -- orders -------------------------------------------------------------------------------------------------

    def keep_order(self, jti: str, node: str, action: EdgeAction, by: str, now_ms: int, boot: str) -> Order:
        """Keep an order under the next counter; returns once that is committed. The counter never falls below the
        clock, so that even a lost database goes on above what the nodes have seen."""
        with told(), Session(self._engine) as session, session.begin():
            highest = session.scalar(select(func.max(EdgeOrder.ctr))) or 0
            order = Order(max(highest + 1, now_ms), jti, node, action, by[:63], now_ms, boot[:32])
            row = {"action": action.model_dump_json(), "ordered_by": order.by, "boot": order.boot}
            session.add(EdgeOrder(ctr=order.ctr, jti=jti, node=node, sent_ms=now_ms, **row))
        return order

    def keep_answer(self, answer: Answer) -> bool:
        """Whether this was news: an answer that is kept already, or to an order that is not ours, is not."""
        with told(), self._engine.begin() as connection:
            ours = select(EdgeOrder.ctr).where(EdgeOrder.jti == answer.jti, EdgeOrder.node == answer.node)
            if answer.jti and connection.scalar(ours) is None:
                return False
            values = asdict(answer) | {"detail": _text(answer.detail, 500)}
            kept = self._insert(EdgeAnswer).values(values).on_conflict_do_nothing().returning(EdgeAnswer.at_ms)
            return connection.scalar(kept) is not None

    def orders(self, limit: int, node: str = "") -> tuple[list[Told], list[Answer]]:
        """The newest orders, to one node or to all, and the newest refusals of nobody's order; the newest first."""
        orders = select(EdgeOrder).order_by(EdgeOrder.ctr.desc()).limit(limit)
        refusals = select(EdgeAnswer).where(EdgeAnswer.jti == "").order_by(EdgeAnswer.heard_ms.desc()).limit(limit)
        if node:
            orders, refusals = orders.where(EdgeOrder.node == node), refusals.where(EdgeAnswer.node == node)
        with told(), Session(self._engine) as session:
            return self._with_answers(session, orders), [_answer(row) for row in session.scalars(refusals)]

    def last_orders(self) -> list[Told]:
        """The newest order to every node."""
        newest = select(func.max(EdgeOrder.ctr)).group_by(EdgeOrder.node)
        with told(), Session(self._engine) as session:
            return self._with_answers(session, select(EdgeOrder).where(EdgeOrder.ctr.in_(newest)))

    @staticmethod
    def _with_answers(session: Session, query: Executable) -> list[Told]:
        rows: Sequence[EdgeOrder] = session.scalars(query).all()
        named = EdgeAnswer.jti.in_([row.jti for row in rows])
        answers: dict[str, list[Answer]] = {}
        for row in session.scalars(select(EdgeAnswer).where(named).order_by(EdgeAnswer.heard_ms, EdgeAnswer.at_ms)):
            answers.setdefault(row.jti, []).append(_answer(row))
        return [Told(_order(row), tuple(answers.get(row.jti, ()))) for row in rows]

    def _insert(self, table: type[Base]) -> Any:
        return (postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert)(table)


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


def _order(row: EdgeOrder) -> Order:
    action = _ACTION.validate_json(row.action)
    return Order(row.ctr, row.jti, row.node, action, row.ordered_by, row.sent_ms, row.boot)


def _answer(row: EdgeAnswer) -> Answer:
    return Answer(row.node, row.jti, row.at_ms, row.heard_ms, row.ok, row.detail)


def _text(text: str, length: int) -> str:
    """Cut to its column, and without NUL, which PostgreSQL takes in no text."""
    return text.replace("\0", "")[:length]


@contextmanager
def told() -> Iterator[None]:
    """Turns the driver's errors into :class:`DatabaseUnavailable` with their first line."""
    try:
        yield
    except SQLAlchemyError as error:
        raise DatabaseUnavailable(_reason(error)) from None


def _reason(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__
