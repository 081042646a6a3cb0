"""The rules by which a node decides whether to obey a signed command: :func:`judge` is the whole law, in the order in
which it is applied. What can be ordered is in :mod:`.commands` (loudspeakers), :mod:`.edge_commands` and
:mod:`.alert_commands`: a node loads its own alone, for each costs it memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.names import Slug
from keng_contracts.telemetry import Clock

#: Tolerated difference between the clock of the issuer and that of the node, in seconds.
CLOCK_SKEW_S = 10.0
#: Longest time for which a command may be valid, in seconds.
MAX_VALIDITY_S = 3600.0


class Strict(BaseModel):
    """What is signed is exact: nothing unknown, nothing changed."""

    # NaN compares with nothing: an expiry of NaN would never come.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Signed(Strict):
    """What every signed command says beside whom it is for and what it orders. Times are seconds since 1970 UTC
    (RFC 7519 NumericDate, with fractions)."""

    iss: Slug = Field(description="issuer: the service or person that signed")
    commune: Slug
    jti: str = Field(pattern=r"^[0-9a-f-]{8,40}$", description="command id")
    ctr: int = Field(ge=1, lt=1 << 53, description="only grows, per issuer and commune")
    iat: float
    nbf: float
    exp: float


class Action(Protocol):
    """What is ordered; ``do`` is the right that its issuer's key must have."""

    @property
    def do(self) -> str: ...


class Order(Protocol):
    """What is judged of a command, whatever it orders."""

    @property
    def iss(self) -> str: ...
    @property
    def commune(self) -> str: ...
    @property
    def aud(self) -> str: ...
    @property
    def ctr(self) -> int: ...
    @property
    def nbf(self) -> float: ...
    @property
    def exp(self) -> float: ...
    @property
    def action(self) -> Action: ...


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a node takes itself to be. ``kind`` is ``speaker``, ``edge`` or ``alert``."""

    commune: str
    node: str
    zones: frozenset[str]
    kind: str = "speaker"

    def hears(self, commune: str, aud: str) -> bool:
        if commune != self.commune:
            return False
        what, _, name = aud.partition("/")
        return what == "commune" or (what == self.kind and name == self.node) or (what == "zone" and name in self.zones)


class Refusal(StrEnum):
    """Why a command was not obeyed. The values travel in evidence and count in metrics."""

    UNREADABLE = "unreadable"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    NOT_ALLOWED = "not-allowed"
    NOT_FOR_ME = "not-for-me"
    REPLAYED = "replayed"
    NOT_YET = "not-yet-valid"
    EXPIRED = "expired"
    QUIET_HOURS = "quiet-hours"


def judge(
    command: Order,
    *,
    issuer: str,
    may: frozenset[str],
    me: Audience,
    last_ctr: int,
    now_s: float,
    clock: Clock,
) -> Refusal | None:
    """Whether a node obeys a command whose signature has been verified; None means yes.

    ``issuer`` and ``may`` belong to the key that verified it; ``last_ctr`` is the highest counter obeyed so far
    from this issuer. With a clock that is not trusted the time can't be checked, and the counter alone decides.
    """
    if command.iss != issuer or command.action.do not in may:
        return Refusal.NOT_ALLOWED
    if not me.hears(command.commune, command.aud):
        return Refusal.NOT_FOR_ME
    if command.ctr <= last_ctr:
        return Refusal.REPLAYED
    if command.exp - command.nbf > MAX_VALIDITY_S:
        return Refusal.NOT_ALLOWED
    if clock is not Clock.UNKNOWN:
        if now_s < command.nbf - CLOCK_SKEW_S:
            return Refusal.NOT_YET
        if now_s > command.exp:
            return Refusal.EXPIRED
    return None
