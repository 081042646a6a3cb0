"""What the console may order an edge agent to do, signed; judged as a loudspeaker's commands are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from keng_contracts.judging import Signed, Strict
from keng_contracts.names import Slug


class Identify(Strict):
    """Say who you are: answered, and written in the log, so that a person finds the box."""

    do: Literal["edge-identify"] = "edge-identify"


class Reload(Strict):
    """Read your settings file anew. New settings are on trial until the broker and a receipt were reached with them."""

    do: Literal["edge-reload"] = "edge-reload"


class SetInterval(Strict):
    """Read this sensor every ``interval_s`` seconds; None: as its settings say."""

    do: Literal["edge-interval"] = "edge-interval"
    sensor: Slug
    interval_s: float | None = Field(ge=0.5, le=86_400)


class Restart(Strict):
    """End, with everything on disk; systemd starts the agent again."""

    do: Literal["edge-restart"] = "edge-restart"


EdgeAction = Annotated[Identify | Reload | SetInterval | Restart, Field(discriminator="do")]


class EdgeCommand(Signed):
    """What is signed for an edge agent."""

    aud: str = Field(pattern=r"^edge/[a-z0-9-]{1,63}$")
    action: EdgeAction
