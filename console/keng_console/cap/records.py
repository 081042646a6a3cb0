"""What was issued and what came in, in the operational database. Blocking calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from keng_console.cap.compose import Issued
from keng_console.cap.feed import Published
from keng_console.cap.judge import UNPROVEN, Bulletin, Known, Received
from keng_console.cap.message import MsgType, Reference
from keng_console.database import told
from keng_console.models import CapIssued, CapReceived

#: Messages that nobody signed are kept in this number; what was signed is kept for ever.
MAX_UNPROVEN = 500
#: Messages that are shown, of the proven and of the others: who floods the latter pushes out none of the former.
SHOWN = 10


class Records:
    """Tables of CAP in the console's database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- out ----------------------------------------------------------------------------------------------------

    def issued_since(self, since_ms: int) -> dict[str, list[Issued]]:
        """What was issued and may still hold, by alert, the oldest first."""
        query = select(CapIssued).where(CapIssued.expires_ms > since_ms).order_by(CapIssued.sent_ms)
        found: dict[str, list[Issued]] = {}
        with told(), Session(self._engine) as session:
            for row in session.scalars(query):
                reference = Reference(row.sender, row.identifier, row.sent)
                found.setdefault(row.alert, []).append(
                    Issued(
                        row.alert, reference, MsgType(row.msg_type), row.level, row.meaning, row.sent_ms, row.expires_ms
                    )
                )
        return found

    def keep_issued(self, issued: Issued, headline: str, document: str) -> None:
        """Keep a message; it is published once this has returned."""
        with told(), Session(self._engine) as session, session.begin():
            session.add(
                CapIssued(
                    identifier=issued.reference.identifier,
                    alert=issued.alert,
                    sender=issued.reference.sender,
                    sent=issued.reference.sent,
                    sent_ms=issued.sent_ms,
                    expires_ms=issued.expires_ms,
                    msg_type=issued.msg_type.value,
                    level=issued.level,
                    meaning=issued.meaning,
                    headline=headline,
                    document=document,
                )
            )

    def document(self, identifier: str) -> str | None:
        with told(), Session(self._engine) as session:
            return session.scalar(select(CapIssued.document).where(CapIssued.identifier == identifier))

    def newest(self, limit: int) -> list[Published]:
        """The newest messages of ours, the newest first."""
        query = select(
            CapIssued.identifier, CapIssued.sent_ms, CapIssued.msg_type, CapIssued.headline, CapIssued.document
        ).order_by(CapIssued.sent_ms.desc(), CapIssued.identifier.desc())
        with told(), self._engine.connect() as connection:
            return [Published(*row) for row in connection.execute(query.limit(limit))]

    # -- in -----------------------------------------------------------------------------------------------------

    def known(self, references: Sequence[Reference]) -> dict[Reference, Known]:
        """The proven messages among these."""
        names = {reference.identifier for reference in references}
        query = select(CapReceived).where(CapReceived.identifier.in_(names), CapReceived.signer != "")
        found: dict[Reference, Known] = {}
        with told(), Session(self._engine) as session:
            for row in session.scalars(query.order_by(CapReceived.id)):
                reference = Reference(row.sender, row.identifier, row.sent)
                if reference in references:
                    found[reference] = Known(row.signer, row.play, _zones(row.zones), Bulletin(row.bulletin))
        return found

    @staticmethod
    def keep_received(session: Session, received: Received) -> None:
        """Keep a message, in the transaction of the commands that follow from it."""
        session.add(CapReceived(**{k: _clean(v) for k, v in received._asdict().items()}))
        if received.verdict in UNPROVEN:
            old = select(CapReceived.id).where(CapReceived.signer == "").order_by(CapReceived.id.desc())
            session.execute(delete(CapReceived).where(CapReceived.id.in_(old.offset(MAX_UNPROVEN).limit(1000))))

    def received(self, limit: int, *, proven: bool) -> list[Received]:
        """The newest messages that came in, the newest first."""
        whose = CapReceived.signer != "" if proven else CapReceived.signer == ""
        query = select(CapReceived).where(whose).order_by(CapReceived.id.desc()).limit(limit)
        with told(), Session(self._engine) as session:
            return [_received(row) for row in session.scalars(query)]

    def recorded(self, limit: int, number: int | None = None) -> list[tuple[int, Received]]:
        """The newest proven messages, the newest first, or the one of a number, each with its number."""
        query = select(CapReceived).where(CapReceived.signer != "").order_by(CapReceived.id.desc()).limit(limit)
        if number is not None:
            query = query.where(CapReceived.id == number)
        with told(), Session(self._engine) as session:
            return [(row.id, _received(row)) for row in session.scalars(query)]

    def followers(self, signer: str, number: int) -> list[str]:
        """Updates and Cancels of a signer that came after a message, as they came."""
        query = select(CapReceived.document).where(
            CapReceived.signer == signer, CapReceived.id > number, CapReceived.msg_type.in_(["Update", "Cancel"])
        )
        with told(), Session(self._engine) as session:
            return list(session.scalars(query))

    @staticmethod
    def keep_played(session: Session, number: int, play: str, zones: Sequence[str]) -> None:
        """A person has ordered a job for a message: a Cancel of it will stop that."""
        row = session.get_one(CapReceived, number)
        row.play = play
        row.zones = ",".join(dict.fromkeys([*_zones(row.zones), *zones]))


def _zones(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _received(row: CapReceived) -> Received:
    return Received(**{name: getattr(row, name) for name in Received._fields})


def _clean(value: Any) -> Any:
    """PostgreSQL takes NUL in no text."""
    return value.replace("\0", "") if isinstance(value, str) else value
