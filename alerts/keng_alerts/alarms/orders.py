"""What people order of an alarm, and the end of a silence. Pure; time is an argument.

A silence keeps people from being told, and nothing else: the alarm is raised and cleared underneath. It belongs to the
alarm and not to one episode, so that what comes and goes is quiet until the end too. What stands then is told anew,
also to those who had acknowledged it. Each refusal is a :class:`Problem`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from keng_alerts.gauge.operate import MAX_SILENCE_MS
from keng_contracts.alert_commands import AlertAcknowledge, AlertAction, AlertSilence
from keng_contracts.alerts import FLOOD, Acknowledgement, AlertDocument, Hazard, Silence, Stage
from keng_contracts.errors import Problem

#: An alarm has no levels, so that a silence is one of all.
_ALL_LEVELS = 4


class Done(NamedTuple):
    """The alarm as it is then, the line for its timeline, and the answer in words."""

    document: AlertDocument
    what: str
    detail: dict[str, Any]
    words: str


def operate(document: AlertDocument, action: AlertAction, now_ms: int) -> Done:
    """Do it. Raises :class:`Problem` if it can't be done."""
    match action:
        case AlertAcknowledge():
            return _acknowledge(document, action, now_ms)
        case AlertSilence():
            return _silence(document, action, now_ms)
    raise Problem("an alarm can be acknowledged or silenced, and nothing else: nothing plays for it", where=document.id)


def lapsed(documents: Iterable[AlertDocument], now_ms: int) -> list[Done]:
    """The alarms whose silence is over."""
    return [
        _ended(d, now_ms)
        for d in documents
        if d.kind != FLOOD and d.silence is not None and now_ms >= d.silence.until_ms
    ]


def _acknowledge(document: AlertDocument, action: AlertAcknowledge, now_ms: int) -> Done:
    if document.hazard is not Hazard.RAISED:
        raise Problem("there is nothing to acknowledge: it is not raised", where=document.id)
    seen = Acknowledgement(by=action.by, at_ms=now_ms, note=action.note)
    told = {"acknowledged": seen, "stage": Stage.ACKNOWLEDGED, "stage_ms": now_ms}
    note = {"note": action.note} if action.note else {}
    return Done(document.model_copy(update=told), "acknowledged", note, f"{document.id} is acknowledged")


def _silence(document: AlertDocument, action: AlertSilence, now_ms: int) -> Done:
    if action.until_ms <= now_ms:
        if document.silence is None:
            raise Problem("it is not silenced", where=document.id)
        return _ended(document, now_ms)
    if action.until_ms - now_ms > MAX_SILENCE_MS:
        raise Problem("a silence has to end within 7 days", where=document.id, todo="choose an earlier end")
    silence = Silence(level=_ALL_LEVELS, until_ms=action.until_ms, by=action.by)
    after = document.model_copy(update={"silence": silence})
    return Done(after, "silenced", {"until_ms": action.until_ms}, f"nobody is told of {document.id} until then")


def _ended(document: AlertDocument, now_ms: int) -> Done:
    told: dict[str, Any] = {"silence": None}
    if document.hazard is Hazard.RAISED:
        told |= {"stage": Stage.RAISED, "stage_ms": now_ms, "acknowledged": None}
    return Done(document.model_copy(update=told), "silence ended", {}, "the silence has ended")
