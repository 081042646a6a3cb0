"""What is said over the console's socket (:mod:`keng_console.desk`).

One request a connection, a JSON line: ``{"do": "tell", "node", "action", "wait_s"}``, ``{"do": "told", "node",
"limit"}``, ``{"do": "programme", "plan"}``, ``{"do": "approve", "name"}``, ``{"do": "show"}``, ``{"do": "speak", "to",
…}`` with sound after it, or what :mod:`keng_console.speakers.announcement` says. The answer is JSON lines: ``{"told":
…}`` at each step (or for each order kept), ``{"refusal": …}`` for one that answers no order of ours, ``{"programme":
…}`` with what is in force and what waits, ``{"play", "speakers"}`` when somebody may speak and ``{"speaker", "event"}``
for each step there,
``{"sent": …}`` and then ``{"outcome": …}``, ``{"stopped": …}`` and ``{"note": …}`` of what loudspeakers were ordered,
``{"problem": …}`` when it can't be done, and ``{"end": true}``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from keng_console.orders import Answer, Told
from keng_console.speakers.announcement import Announce, Announced, ListBulletins, Silence
from keng_console.speakers.programme import Plan
from keng_contracts.edge_commands import EdgeAction
from keng_contracts.names import Person, Slug

#: The socket's name in the state folder.
NAME = "console.sock"

TOLD = TypeAdapter(Told)
ANSWER = TypeAdapter(Answer)


class Tell(BaseModel):
    do: Literal["tell"] = "tell"
    node: Slug
    action: EdgeAction
    wait_s: float = Field(15.0, gt=0, le=600)


class List(BaseModel):
    do: Literal["told"] = "told"
    node: str = ""
    limit: int = Field(20, ge=1, le=1000)


class Publish(BaseModel):
    """``why`` lets it be more than the quota allows."""

    do: Literal["programme"] = "programme"
    plan: Plan
    why: str = Field("", max_length=500)


class Approve(BaseModel):
    do: Literal["approve"] = "approve"
    name: str = Field(pattern=r"^[0-9a-f]{8}$")


class Show(BaseModel):
    do: Literal["show"] = "show"


class Speak(BaseModel):
    """Sound follows the line, 16-bit mono at 16 kHz, until the caller has no more; with ``link`` none does."""

    do: Literal["speak"] = "speak"
    to: list[Slug] = Field(min_length=1, max_length=100)
    gong: bool = True
    night: Person | None = None
    seconds: float = Field(600.0, gt=0, le=1800)
    link: bool = False


Request = Annotated[
    Tell | List | Publish | Approve | Show | Speak | Announce | Silence | Announced | ListBulletins,
    Field(discriminator="do"),
]
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
