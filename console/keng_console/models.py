"""The operational data: what the console alone owns and must not lose. Changed only by a migration."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Float, Index, Integer, MetaData, String, Text, UniqueConstraint
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


class CapIssued(Base):
    """A message of ours, as it was published, byte for byte."""

    __tablename__ = "cap_issued"
    __table_args__ = (Index(None, "alert", "sent_ms"), Index(None, "sent_ms"))

    identifier: Mapped[str] = mapped_column(String(200), primary_key=True)
    alert: Mapped[str] = mapped_column(String(63))
    sender: Mapped[str] = mapped_column(String(200))
    sent: Mapped[str] = mapped_column(String(40))
    sent_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int] = mapped_column(BigInteger)
    msg_type: Mapped[str] = mapped_column(String(16))
    level: Mapped[int] = mapped_column(BigInteger)
    meaning: Mapped[str] = mapped_column(String(80))
    headline: Mapped[str] = mapped_column(Text)
    document: Mapped[str] = mapped_column(Text)


class CapReceived(Base):
    """A message that came in, as it came, and what followed from it. ``signer`` is empty unless it was proven."""

    __tablename__ = "cap_received"
    __table_args__ = (Index(None, "identifier"), Index(None, "signer", "id"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    received_ms: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(Text)
    signer: Mapped[str] = mapped_column(String(63))
    sender: Mapped[str] = mapped_column(Text)
    identifier: Mapped[str] = mapped_column(Text)
    sent: Mapped[str] = mapped_column(Text)
    msg_type: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(Text)
    bulletin: Mapped[str] = mapped_column(String(16))
    zones: Mapped[str] = mapped_column(Text)
    play: Mapped[str] = mapped_column(String(80))
    headline: Mapped[str] = mapped_column(Text)
    document: Mapped[str] = mapped_column(Text)


class SpeakerOrder(Base):
    """A signed command to loudspeakers, under the counter that it was signed with; ``token`` says all of it but who
    ordered it, ``play`` repeats the job's name. What was kept before that was recorded has none of the three."""

    __tablename__ = "speaker_order"
    __table_args__ = (Index(None, "play"),)

    ctr: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    topic: Mapped[str] = mapped_column(Text)
    token: Mapped[str] = mapped_column(Text)
    expires_ms: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[bool] = mapped_column(Boolean)
    jti: Mapped[str] = mapped_column(String(40), server_default="")
    ordered_by: Mapped[str] = mapped_column(String(100), server_default="")
    play: Mapped[str] = mapped_column(String(80), server_default="")


class PlanVersion(Base):
    """A plan of the loudspeakers' programme, as it was published and approved. ``approved_ms`` is null until then, and
    of what was replaced before; ``made_ms`` and ``registry_version`` are those of the programmes last made from it."""

    __tablename__ = "programme_plan"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    published_by: Mapped[str] = mapped_column(String(100))
    published_ms: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str] = mapped_column(Text)
    approved_by: Mapped[str] = mapped_column(String(100))
    approved_ms: Mapped[int | None] = mapped_column(BigInteger)
    made_ms: Mapped[int] = mapped_column(BigInteger)
    registry_version: Mapped[int] = mapped_column(BigInteger)
