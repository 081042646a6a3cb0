"""Orders and how they stand, in words; for the command line and for the page. Pure."""

from __future__ import annotations

from keng_console.orders import Stands, Told
from keng_console.words import Words
from keng_contracts.edge_commands import EdgeAction, Identify, Reload, SetInterval
from keng_contracts.judging import Refusal


def action(words: Words, ordered: EdgeAction) -> str:
    """What was ordered: ``đo muc-nuoc mỗi 30 giây``."""
    _ = words.gettext
    if isinstance(ordered, Identify):
        return _("say who it is")
    if isinstance(ordered, Reload):
        return _("read its settings anew")
    if isinstance(ordered, SetInterval):
        if ordered.interval_s is None:
            return _("read %(sensor)s as its settings say") % {"sensor": ordered.sensor}
        lasts = words.number(ordered.interval_s, 0 if ordered.interval_s == int(ordered.interval_s) else 1)
        return _("read %(sensor)s every %(seconds)s s") % {"sensor": ordered.sensor, "seconds": lasts}
    return _("start again")


def stands(words: Words, told: Told) -> str:
    """How it stands, and what the node said: ``đã làm: muc-nuoc: every 30 s``."""
    _ = words.gettext
    said = {
        Stands.SENT: _("sent, no answer yet"),
        Stands.REFUSED: _("refused"),
        Stands.FAILED: _("not done"),
        Stands.TRIAL: _("new settings on trial"),
        Stands.TAKEN_BACK: _("taken back, the old settings run again"),
        Stands.RESTARTING: _("restarting"),
        Stands.DONE: _("done"),
    }[told.stands]
    if not told.answers:
        return said
    last = told.answers[-1]
    return f"{said}: {reason(words, last.refusal) if last.refusal else last.detail}"


def reason(words: Words, refusal: str) -> str:
    """Why a node refused."""
    _ = words.gettext
    why = {
        Refusal.UNREADABLE: _("the command can't be read"),
        Refusal.UNKNOWN_KEY: _("it does not know the key"),
        Refusal.BAD_SIGNATURE: _("the signature is wrong"),
        Refusal.NOT_ALLOWED: _("this key may not order that"),
        Refusal.NOT_FOR_ME: _("the command is for another node"),
        Refusal.REPLAYED: _("the command is an old one, sent again"),
        Refusal.NOT_YET: _("it is not valid yet, compare the clocks"),
        Refusal.EXPIRED: _("it has expired, compare the clocks"),
        Refusal.QUIET_HOURS: _("it is night there, and no second person has confirmed it"),
    }
    return f"{why[Refusal(refusal)]} ({refusal})" if refusal in why else refusal
