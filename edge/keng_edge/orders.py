"""Signed commands to this agent: judged, counted on disk, obeyed, answered.

The rules are those of :func:`keng_contracts.judging.judge`, the same as for a loudspeaker: a pinned key that may order
this action, for us, with a counter that was never seen, within its time. The counter is on disk before anything is
done, so that a command which ends the agent isn't obeyed again by the next run. JOSE costs 10 MiB; it is loaded by the
first command, not by the agent.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keng_contracts.edge_commands import EdgeCommand, Identify, Reload, SetInterval
from keng_contracts.errors import Problem
from keng_contracts.judging import Audience
from keng_contracts.status import EdgeReply
from keng_runtime.clock import clock_state, now_ms
from keng_runtime.files import write_atomically

if TYPE_CHECKING:
    from keng_runtime.credentials import Credentials
    from keng_runtime.signing import TrustStore

log = logging.getLogger(__name__)


def name_of(token: bytes) -> str:
    """The ``jti`` of a token that reads as a command, whoever made it; else empty. It proves nothing."""
    try:
        payload = token.split(b".")[1]
        return EdgeCommand.model_validate_json(base64.urlsafe_b64decode(payload + b"==")).jti
    except (ValueError, LookupError):
        return ""


class Orders:
    """What was ordered and is remembered over restarts: counters by issuer, intervals by sensor, and how many commands
    were refused."""

    def __init__(
        self, path: Path, credentials: Credentials, commune: str, sensors: Collection[str], unasked: Collection[str]
    ) -> None:
        self._path = path
        self._credentials = credentials
        self._me = Audience(commune, credentials.identity, frozenset(), kind="edge")
        self.sensors = sensors
        self._unasked = unasked
        self._trust: TrustStore | None = None
        self._counters: dict[str, int] = {}
        self.intervals: dict[str, float] = {}
        self.refused = 0
        self._read()

    def _read(self) -> None:
        try:
            document = json.loads(self._path.read_text())
            self._counters = {str(issuer): int(ctr) for issuer, ctr in document["counters"].items()}
            known = {str(id_): float(s) for id_, s in document["intervals"].items()}
            self.intervals = {id_: s for id_, s in known.items() if id_ in self.sensors and 0.5 <= s <= 86_400}
            self.refused = max(0, int(document.get("refused", 0)))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s", Problem(f"can't be read ({error})", where=str(self._path), todo="nothing: it is made anew"))

    def _write(self) -> None:
        document = {"counters": self._counters, "intervals": self.intervals, "refused": self.refused}
        write_atomically(self._path, json.dumps(document).encode(), 0o600)

    def obey(self, token: bytes, *, reload: Callable[[], str], restart: Callable[[], None]) -> EdgeReply:
        """Do what is ordered, if it may be; blocks for the disk. The answer is for the status document."""
        from keng_runtime.obeying import Refused, decide

        try:
            self._trust = self._trust or self._credentials.trust()
        except Problem as problem:
            return self._answer(name_of(token), False, str(problem))
        command = decide(
            token,
            EdgeCommand.model_validate_json,
            trust=self._trust,
            me=self._me,
            counters=self._counters,
            now_s=now_ms() / 1000,
            clock=clock_state(),
        )
        if isinstance(command, Refused):
            self.refused += 1
            with suppress(OSError):  # a full disk is told by the outbox
                self._write()
            return self._answer(name_of(token), False, f"refused: {command.reason}")
        self._counters[command.iss] = command.ctr
        try:
            self._write()
        except OSError as error:
            return self._answer(command.jti, False, f"not done: the counter can't be kept ({error.strerror})")
        try:
            return self._answer(command.jti, True, self._do(command, reload, restart))
        except Problem as problem:
            return self._answer(command.jti, False, str(problem))

    def _do(self, command: EdgeCommand, reload: Callable[[], str], restart: Callable[[], None]) -> str:
        action = command.action
        if isinstance(action, Identify):
            log.warning("identify: %s asks who this is: it is %s of %s", command.iss, self._me.node, self._me.commune)
            return f"{self._me.node} of {self._me.commune}: {', '.join(self.sensors) or 'no sensors'}"
        if isinstance(action, Reload):
            return reload()
        if isinstance(action, SetInterval):
            return self._set_interval(action)
        restart()
        return "restarting"

    def _set_interval(self, action: SetInterval) -> str:
        if action.sensor not in self.sensors:
            raise Problem(f"there is no sensor {action.sensor!r}", todo=f"it has {', '.join(self.sensors)}")
        if action.sensor in self._unasked:
            raise Problem(f"{action.sensor} speaks unasked", todo="set its interval in the sensor itself")
        if action.interval_s is None:
            self.intervals.pop(action.sensor, None)
        else:
            self.intervals[action.sensor] = action.interval_s
        self._write()
        return f"{action.sensor}: every {action.interval_s:g} s" if action.interval_s else f"{action.sensor}: as set"

    def _answer(self, jti: str, ok: bool, detail: str) -> EdgeReply:
        log.log(logging.INFO if ok else logging.WARNING, "command %s: %s", jti or "?", detail)
        return EdgeReply(jti=jti, ok=ok, detail=detail[:500], at_ms=now_ms())
