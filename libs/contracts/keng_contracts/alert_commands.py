"""What people order alerts to do, signed by the service at which they are known."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from keng_contracts.judging import Signed, Strict
from keng_contracts.names import Person, Slug


class AlertConfirm(Strict):
    """Let it sound: the siren that waits for a person, of this level or, with 0, the highest that waits."""

    do: Literal["alert-confirm"] = "alert-confirm"
    by: Person
    level: int = Field(0, ge=0, le=4)


class AlertDecline(Strict):
    """Don't let it sound; with level 0 all that wait."""

    do: Literal["alert-decline"] = "alert-decline"
    by: Person
    level: int = Field(0, ge=0, le=4)
    note: str = Field("", max_length=500)


class AlertAcknowledge(Strict):
    """Somebody has seen it and cares for it: it is not escalated further."""

    do: Literal["alert-acknowledge"] = "alert-acknowledge"
    by: Person
    note: str = Field("", max_length=500)


class AlertSilence(Strict):
    """Up to ``level`` nothing sounds by itself before ``until_ms`` (ms since 1970 UTC); a time that is over ends it.

    Of an alarm by a rule, which has no level (0), people are not told before then."""

    do: Literal["alert-silence"] = "alert-silence"
    by: Person
    level: int = Field(0, ge=0, le=4)
    until_ms: int


class AlertStop(Strict):
    """Be quiet, at once: what sounds for this alert, or with ``everything`` whatever sounds in the commune."""

    do: Literal["alert-stop"] = "alert-stop"
    by: Person
    everything: bool = False


class AlertCorrect(Strict):
    """Stop what sounds for this alert and say where it sounded that it was wrong; without ``text`` in ready words."""

    do: Literal["alert-correct"] = "alert-correct"
    by: Person
    text: str = Field("", max_length=1000)


class AlertDrill(Strict):
    """Exercise this gauge and level: marked as a drill from end to end, and apart from what really is."""

    do: Literal["alert-drill"] = "alert-drill"
    by: Person
    level: int = Field(ge=1, le=4)
    zones: list[Slug] = Field([], max_length=50, description="where; none named: the zones of that level")
    night: Person | None = Field(None, description="who confirmed a second time that it may sound in quiet hours")


AlertAction = Annotated[
    AlertConfirm | AlertDecline | AlertAcknowledge | AlertSilence | AlertStop | AlertCorrect | AlertDrill,
    Field(discriminator="do"),
]


class AlertCommand(Signed):
    """What a person orders alerts to do, signed by the service at which they are known. As a loudspeaker's; ``all``
    in place of an alert's id is for a stop of everything."""

    aud: str = Field(pattern=r"^alert/[a-z0-9-]{1,63}$")
    action: AlertAction
