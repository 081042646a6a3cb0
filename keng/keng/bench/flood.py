"""A load that costs little: one edge identity that publishes packs as asked, and keeps book of them as an edge does.

It speaks MQTT 5 over mutual TLS by itself, for a client library would use more of the two cores than what is measured.
Like an edge it holds a pack until ingest has receipted it, holds back when too many are without receipt, and sends
what has none again on a new connection. On its last line of output is a JSON object: what the broker acknowledged
(QoS 1), what was receipted, and when.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from keng.bench.figures import percentiles
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import new_boot_id
from keng_runtime.credentials import Credentials

SERIES = 200
#: Each series has a reading a second, the densest that a gauge is read.
STEP_MS = 1000
_CHUNK = 64
_UNACKNOWLEDGED = 10_000


class Load(NamedTuple):
    """What to send: ``total`` packs of ``size`` readings (or for ``seconds``), at ``rate`` packs a second (0: as
    fast as it goes), with at most ``window`` packs without receipt; ``again_s`` without any news, and
    all of these are sent again. Pack ``n`` holds the times from ``base_ms`` on."""

    port: int
    credentials: str
    commune: str
    node: str
    base_ms: int
    size: int
    total: int = 1 << 40
    seconds: float = 1e9
    rate: float = 0.0
    window: int = 20_000
    patience_s: float = 120.0
    again_s: float = 15.0


def written(load: Load, packs: int) -> dict[str, int]:
    """How many readings of each series the packs 0 … packs-1 hold; no two of them have the same series and time."""
    groups = SERIES // load.size
    counts: dict[str, int] = {}
    for group in range(groups):
        times = (packs - group + groups - 1) // groups
        for number in range(group * load.size, (group + 1) * load.size):
            if times > 0:
                counts[f"{load.commune}/nen/s-{number}"] = times
    return counts


class Packs:
    """The bytes of pack ``n``: only its head is made anew."""

    def __init__(self, load: Load, boot: str) -> None:
        self._base_ms, self._boot = load.base_ms, boot
        self._groups = SERIES // load.size
        self._head = f'[{{"bn":"{load.commune}/","boot":"{boot}","clock":"synced",'
        self._tails = [
            [_tail(range(group * load.size, (group + 1) * load.size), variant) for variant in range(20)]
            for group in range(self._groups)
        ]

    def __getitem__(self, number: int) -> bytes:
        step, group = divmod(number, self._groups)
        seconds = (self._base_ms + step * STEP_MS) / 1000
        tail = self._tails[group][step % 20]
        return f'{self._head}"bt":{seconds:.3f},"made":{seconds:.3f},"seq":{number},{tail}'.encode()


def _tail(series: range, variant: int) -> str:
    records = (f'"n":"nen/s-{number}","u":"m","v":{(number * 7 + variant * 3) % 900 / 100}' for number in series)
    return "},{".join(records) + "}]"


def _length(number: int) -> bytes:
    """A variable byte integer (MQTT 5, section 1.5.5)."""
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (128 if number else 0))
        if not number:
            return bytes(out)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def _packet(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + _length(len(body)) + body


class Flood(asyncio.Protocol):
    """One connection at a time; the books outlive it."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.boot = new_boot_id()
        self.packs = Packs(load, self.boot)
        identity = Path(load.credentials).name
        self._topic = _text(str(Topic(load.commune, Kind.EDGE, identity, Channel.TELEMETRY)))
        self._receipts = str(Topic(load.commune, Kind.EDGE, identity, Channel.RECEIPT))
        self._identity = identity
        self.next = 0
        self.sent_at: dict[int, float] = {}  # packs without receipt
        self.acknowledged = 0
        self._waiting: dict[int, int] = {}  # packet id to pack
        self._mid = 0
        self.again: list[int] = []
        self.dead = 0
        self.reconnects = 0
        self.latencies: list[float] = []
        self.held_s = 0.0
        self.first_at = self.last_at = self.cpu_before = 0.0
        self._buffer = b""
        self._transport: Any = None
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._acknowledged_packs: set[int] = set()

    # -- the connection -----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport, self._buffer = transport, b""
        self._writable.set()
        transport.write(_packet(0x10, _text("MQTT") + b"\x05\x02\x00\x3c\x00" + _text(self._identity)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._ready.clear()
        self._transport = None
        self._waiting.clear()
        self.again = list(self.sent_at)
        self._news.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        while at + 2 <= end:
            length, shift, body = 0, 0, at + 1
            while body < end:
                digit = buffer[body]
                length |= (digit & 127) << shift
                body, shift = body + 1, shift + 7
                if digit < 128:
                    break
            else:
                break
            if body + length > end:
                break
            self._take(buffer[at], buffer[body : body + length])
            at = body + length
        self._buffer = buffer[at:]
        self._news.set()

    def _take(self, kind: int, body: bytes) -> None:
        if kind == 0x40:  # PUBACK
            pack = self._waiting.pop(int.from_bytes(body[:2], "big"), None)
            if pack is not None and (len(body) < 3 or body[2] < 0x80):
                self._acknowledged_packs.add(pack)
        elif kind == 0x20:  # CONNACK
            if body[1]:
                raise SystemExit(f"the broker refused the load's connection: {body[1]}")
            self._transport.write(_packet(0x82, b"\x00\x01\x00" + _text(self._receipts) + b"\x01"))
        elif kind == 0x90:  # SUBACK
            self._ready.set()
        elif kind >> 4 == 3:
            topic = int.from_bytes(body[:2], "big")
            mid = body[2 + topic : 4 + topic]
            self._transport.write(_packet(0x40, mid))
            self._receipt(json.loads(body[5 + topic + body[4 + topic] :]))

    def _receipt(self, receipt: dict[str, Any]) -> None:
        if receipt["boot"] != self.boot:
            return
        now = asyncio.get_running_loop().time()
        for first, last in receipt.get("stored", ()):
            for number in range(first, last + 1):
                sent = self.sent_at.pop(number, None)
                if sent is not None:
                    self.latencies.append((now - sent) * 1000)
        self.dead += len(receipt.get("dead", ()))
        self.last_at = now

    # -- the load -----------------------------------------------------------------------------------------------

    async def keep_connected(self) -> None:
        context = Credentials.open(Path(self.load.credentials)).tls()
        context.check_hostname = False
        loop = asyncio.get_running_loop()
        while True:
            if self._transport is None:
                try:
                    await loop.create_connection(lambda: self, "127.0.0.1", self.load.port, ssl=context)
                except (OSError, ssl.SSLError):
                    await asyncio.sleep(0.2)
                    continue
                self.reconnects += 1
            await asyncio.sleep(0.2)

    def _publish(self, number: int) -> bytes:
        self._mid = self._mid % 65_535 + 1
        self._waiting[self._mid] = number
        return _packet(0x32, self._topic + struct.pack(">H", self._mid) + b"\x00" + self.packs[number])

    async def send(self) -> None:
        loop, load = asyncio.get_running_loop(), self.load
        await self._ready.wait()
        self.cpu_before = time.process_time()
        self.first_at = start = loop.time()
        while self.next < load.total and loop.time() - start < load.seconds:
            await self._ready.wait()
            await self._writable.wait()
            now = loop.time()
            due = int((now - start) * load.rate) + 1 if load.rate else self.next + _CHUNK
            room = load.window - len(self.sent_at)
            many = min(_CHUNK, room, load.total - self.next, due - self.next, _UNACKNOWLEDGED - len(self._waiting))
            if self.again and self._transport is not None:
                await self._send_again()
            elif many > 0 and self._transport is not None:
                numbers = range(self.next, self.next + many)
                self._transport.write(b"".join(map(self._publish, numbers)))
                self.sent_at.update(dict.fromkeys(numbers, now))
                self.next += many
                await asyncio.sleep(0)
            elif room <= 0 or len(self._waiting) >= _UNACKNOWLEDGED:
                self._news.clear()
                await self._news.wait()
                self.held_s += loop.time() - now
            else:
                await asyncio.sleep(0.001)

    async def _send_again(self) -> None:
        numbers, self.again = self.again[:_CHUNK], self.again[_CHUNK:]
        numbers = [number for number in numbers if number in self.sent_at]
        self._transport.write(b"".join(map(self._publish, numbers)))
        await asyncio.sleep(0)

    async def finish(self, done: Any) -> None:
        """Until ``done()``, sending again what a lost connection left open."""
        while not done():
            await self._ready.wait()
            if self.again and self._transport is not None and len(self._waiting) < _UNACKNOWLEDGED:
                await self._send_again()
                continue
            self._news.clear()
            try:
                async with asyncio.timeout(self.load.again_s):
                    await self._news.wait()
            except TimeoutError:  # a receipt may have died with whoever carried it
                self.again = list(self.sent_at)

    def result(self) -> dict[str, Any]:
        return {
            "packs": self.next,
            "acknowledged": len(self._acknowledged_packs),
            "without_receipt": len(self.sent_at),
            "dead": self.dead,
            "seconds": round(self.last_at - self.first_at, 3),
            "receipt_ms": percentiles([round(ms, 1) for ms in self.latencies], 50, 99),
            "held_s": round(self.held_s, 1),
            "cpu_s": round(time.process_time() - self.cpu_before, 3),
            "connections": self.reconnects,
        }


async def run(load: Load) -> dict[str, Any]:
    """Send it all, say ``published`` when the broker has it, and wait for the receipts."""
    flood = Flood(load)
    connecting = asyncio.create_task(flood.keep_connected())
    await flood.send()
    await flood.finish(lambda: not flood._waiting and not flood.again)
    print("published", flush=True)
    try:
        async with asyncio.timeout(load.patience_s):
            await flood.finish(lambda: not flood.sent_at)
    except TimeoutError:
        pass
    connecting.cancel()
    return flood.result()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Load(**json.loads(sys.argv[1]))))))
