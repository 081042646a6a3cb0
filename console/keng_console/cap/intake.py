"""Takes CAP messages that came in: whose they are, what follows, kept, and only then said to the loudspeakers.

A message and the commands that follow from it are kept all or nothing; how these go out is in
:mod:`keng_console.speakers.sender`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from keng_console.cap import xml
from keng_console.cap.judge import UNPROVEN, Received, Ruling, Verdict, judge
from keng_console.cap.message import Message
from keng_console.cap.records import SHOWN, Records
from keng_console.cap.signature import NotSigned, NotTrusted, Signer, verify
from keng_console.live import Live
from keng_console.speakers.sender import Speakers
from keng_contracts.registry import Registry
from keng_runtime.clock import now_ms

log = logging.getLogger(__name__)

#: For how long a loudspeaker may obey, in seconds: one that comes back later stays silent.
VALID_S = 900.0


class NotReady(Exception):
    """Nothing can be judged yet: there is no registry."""


class Bucket:
    """So many at once, and one more every ``every_s`` seconds. Time is an argument.

    >>> bucket = Bucket(2, 3.0)
    >>> [bucket.take(second) for second in (0, 0, 1, 2, 3, 4, 6)]
    [True, True, False, False, True, False, True]
    """

    def __init__(self, most: int, every_s: float) -> None:
        self._most, self._every_s = most, every_s
        self._left, self._at_s = float(most), 0.0

    def take(self, now_s: float) -> bool:
        self._left = min(self._most, self._left + max(0.0, now_s - self._at_s) / self._every_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give(self) -> None:
        """What was taken is given back."""
        self._left = min(self._most, self._left + 1)


class Intake:
    """``changed`` is called when a page should show something new."""

    def __init__(
        self,
        speakers: Speakers,
        records: Records,
        live: Live,
        signers: Sequence[Signer],
        changed: Callable[[], None],
    ) -> None:
        self._speakers = speakers
        self._records = records
        self._live = live
        self._signers = signers
        self._changed = changed
        self._one = asyncio.Lock()
        live.bulletins, live.unproven = records.received(SHOWN, proven=True), records.received(SHOWN, proven=False)

    async def take(self, data: bytes, source: str, *, keep_unproven: bool = True) -> Ruling:
        """What became of some bytes from ``source``. One after the other, so that a copy meets its original.

        Raises :class:`NotReady`, and DatabaseUnavailable: then nothing has followed, and it may be offered again.
        """
        registry = self._live.registry
        if registry is None:
            raise NotReady
        async with self._one:
            ruling, received = await asyncio.to_thread(self._judge, data, source, registry, keep_unproven)
            if received is not None:
                keep = partial(self._records.keep_received, received=received)
                await self._speakers.keep(ruling.orders, f"CAP {received.signer}", VALID_S, keep)
        if received is not None:
            level = logging.WARNING if ruling.verdict is not Verdict.RECORDED else logging.INFO
            log.log(level, "CAP from %s: %s %s", source, ruling.verdict, received.headline or ruling.detail)
            if received.signer:
                self._live.bulletins = [received, *self._live.bulletins][:SHOWN]
            else:
                self._live.unproven = [received, *self._live.unproven][:SHOWN]
            self._changed()
        return ruling

    def _judge(
        self, data: bytes, source: str, registry: Registry, keep_unproven: bool
    ) -> tuple[Ruling, Received | None]:
        """What follows, and what is recorded of it; None for nothing."""
        now = now_ms()
        message, signer, ruling = self._rule(data, registry, now)
        if ruling.verdict is Verdict.DUPLICATE or (ruling.verdict in UNPROVEN and not keep_unproven):
            return ruling, None
        info = message.info("vi") if message else None
        received = Received(
            received_ms=now,
            source=source,
            signer=signer,
            sender=message.sender if message else "",
            identifier=message.identifier if message else "",
            sent=message.sent if message else "",
            msg_type=message.msg_type.value if message else "",
            verdict=ruling.verdict.value,
            detail=ruling.detail,
            bulletin=ruling.bulletin.value,
            zones=",".join(ruling.zones),
            play=ruling.play,
            headline=" ".join((info.headline or info.event).split())[:300] if info else "",
            document=data[: xml.MAX_BYTES].decode("utf-8", "replace"),
        )
        return ruling, received

    def _rule(self, data: bytes, registry: Registry, now: int) -> tuple[Message | None, str, Ruling]:
        """The message if it can be read, who has proven to have sent it, and what follows."""
        message: Message | None = None
        try:
            root = xml.parse(data)
            try:
                signed, signer = verify(root, self._signers, datetime.fromtimestamp(now / 1000, UTC))
            except (NotSigned, NotTrusted) as error:
                verdict = Verdict.UNSIGNED if isinstance(error, NotSigned) else Verdict.UNTRUSTED
                message = xml.read(root)  # to show it to a person, and for nothing else
                return message, "", Ruling(verdict, str(error))
            message = xml.read(signed)
        except xml.BadCap as error:
            return None, "", Ruling(Verdict.UNREADABLE, str(error))
        if message.sender not in signer.senders:
            return message, "", Ruling(Verdict.UNTRUSTED, f"{signer.name} may not speak for {message.sender[:100]}")
        known = self._records.known([message.reference, *message.references])
        return message, signer.name, judge(message, signer.name, known, registry, now)
