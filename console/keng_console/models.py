"""The operational data: what the console alone owns and must not lose. Changed only by a migration."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Float, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class RegistryVersion(Base):
    """Every registry that was ever in force. ``document`` is the JSON that was signed, byte for byte."""

    __tablename__ = "registry_version"

    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    taken_ms: Mapped[int] = mapped_column(BigInteger)
    document: Mapped[str] = mapped_column(Text)


class Playback(Base):
    """One step of one job on one loudspeaker, named by ``(node, boot, seq)``; ``payload`` is the event as it came."""

    __tablename__ = "playback_event"
    __table_args__ = (Index(None, "node", "at_ms"), Index(None, "play"))

    node: Mapped[str] = mapped_column(String(63), primary_key=True)
    boot: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    received_ms: Mapped[int] = mapped_column(BigInteger)
    what: Mapped[str] = mapped_column(String(16))
    play: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(16))
    level_dbfs: Mapped[float | None] = mapped_column(Float)
    exercise: Mapped[bool] = mapped_column(Boolean)
    payload: Mapped[str] = mapped_column(Text)


class EdgeOrder(Base):
    """One signed command to an edge node; the counter is never used twice. ``action`` is its JSON."""

    __tablename__ = "edge_order"
    __table_args__ = (UniqueConstraint("jti"), Index(None, "node", "ctr"))

    ctr: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    jti: Mapped[str] = mapped_column(String(40))
    node: Mapped[str] = mapped_column(String(63))
    action: Mapped[str] = mapped_column(Text)
    ordered_by: Mapped[str] = mapped_column(String(63))
    sent_ms: Mapped[int] = mapped_column(BigInteger)
    boot: Mapped[str] = mapped_column(String(32))


class EdgeAnswer(Base):
    """What a node answered, named by its own time of it; ``jti`` is empty for a refusal of nobody's order."""

    __tablename__ = "edge_answer"
    __table_args__ = (Index(None, "jti"),)

    node: Mapped[str] = mapped_column(String(63), primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    jti: Mapped[str] = mapped_column(String(40))
    heard_ms: Mapped[int] = mapped_column(BigInteger)
    ok: Mapped[bool] = mapped_column(Boolean)
    detail: Mapped[str] = mapped_column(Text)
