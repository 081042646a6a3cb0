"""Telemetry packs: SenML JSON (RFC 8428) with a boot id and a sequence number for receipts.

The first record carries, beside its own reading, what holds for the whole pack::

    [{"bn": "quang-tho/", "bt": 1763258400.25, "boot": "6f1c2a90d3e4b7a1", "seq": 17, "clock": "synced",
      "made": 1763258400.31, "n": "phu-oc/level", "u": "m", "v": 1.65},
     {"t": 0.8, "n": "phu-oc/rain", "u": "mm", "v": 53.6, "q": 1}]

``bn`` + ``n`` is the series, ``<commune>/<station>/<quantity>``; ``bt`` + ``t`` the time of measurement in
seconds since 1970-01-01 UTC, kept to the millisecond; ``u`` a SenML or UCUM unit; ``q`` the quality flag
the edge itself gave (absent: not evaluated). ``made`` is when the pack was committed to the outbox.

Two more labels say what time was when a clock can't be trusted. ``up`` is what the sender's monotonic clock showed at
``bt``, in seconds since its machine started; all readings of a pack were taken without a step of the wall clock between
them, so ``up`` + ``t`` is the monotonic time of each. ``moved`` is by how many seconds the readings were moved when the
clock was set after they had been taken; absent: not at all.

>>> pack = Pack(boot="6f1c2a90d3e4b7a1", seq=17, clock=Clock.SYNCED, made_ms=1763258400310,
...             readings=(Reading("quang-tho/phu-oc/level", 1763258400250, 1.65, "m"),))
>>> decode(encode(pack)) == pack
True
"""

from __future__ import annotations

import json
import math
import re
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, TypeGuard

from pydantic_core import from_json

#: Largest pack that is read, in bytes. An edge makes packs of a few hundred readings, some tens of kilobytes.
MAX_PACK_BYTES = 1 << 20
#: Largest number of records in one pack.
MAX_RECORDS = 10_000

#: Times outside these bounds are impossible: before Kẻng existed, or past the year 2100.
EARLIEST_MS = 1_577_836_800_000  # 2020-01-01T00:00Z
LATEST_MS = 4_102_444_800_000  # 2100-01-01T00:00Z

_SERIES = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(?:/[a-z0-9][a-z0-9-]{0,62}){2}", re.ASCII)
_BOOT = re.compile(r"[0-9a-f]{8,32}", re.ASCII)


class Flag(IntEnum):
    """Quality of a reading, the primary flags of QARTOD (IOOS, Manual for Real-Time Quality Control)."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    BAD = 4
    MISSING = 9


class Clock(StrEnum):
    """How far the clock that stamped a pack was trusted."""

    SYNCED = "synced"
    HOLDOVER = "holdover"
    UNKNOWN = "unknown"


#: The labels of a record that mean something here, those of the pack's first included.
_LABELS = frozenset({"bn", "bt", "bu", "n", "u", "v", "t", "q", "boot", "seq", "clock", "made", "up", "moved"})
# Looking a member up in its enumeration costs as much as reading a record.
_FLAGS: dict[Any, Flag] = {flag.value: flag for flag in Flag}
_CLOCKS: dict[Any, Clock] = {clock.value: clock for clock in Clock}
_NOT_EVALUATED = Flag.NOT_EVALUATED
_LONGEST_UNIT = 16
#: Half the price of calling a named tuple's class.
_new = tuple.__new__


class _Names:
    """Series that were found to be right, by the two parts that SenML gives them in: the same few come again and again.
    It forgets all when it holds ``most``."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._count = 0
        self._after: dict[str, dict[str, str]] = {}

    def after(self, base: str) -> dict[str, str]:
        """The series known by their names after a base name."""
        return self._after.get(base, {})

    def checked(self, base: str, name: str) -> str:
        """The series; raises ValueError for what is none."""
        series = self.after(base).get(name)
        if series is None:
            series = base + name
            if not _SERIES.fullmatch(series):
                raise ValueError(f"{series!r:.80} is not a series (commune/station/quantity)")
            if self._count >= self._most:
                self._after.clear()
                self._count = 0
            self._after.setdefault(base, {})[name] = series
            self._count += 1
        return series


_names = _Names()


class Reading(NamedTuple):
    """One measured value. ``time_ms`` is milliseconds since 1970-01-01 UTC, at which it was measured."""

    series: str
    time_ms: int
    value: float
    unit: str
    flag: Flag = Flag.NOT_EVALUATED


class Rejected(NamedTuple):
    """A record of a pack that could not be read; its neighbours could."""

    record: int
    reason: str


class Pack(NamedTuple):
    """What an edge sends at once. ``(boot, seq)`` names it; a receipt speaks of it by that name."""

    boot: str
    seq: int
    clock: Clock
    made_ms: int
    readings: tuple[Reading, ...]
    rejected: tuple[Rejected, ...] = ()
    up_ms: int | None = None
    moved_ms: int = 0


class BadPack(ValueError):
    """A pack of which nothing can be read. ``boot`` and ``seq`` are set where at least they could be."""

    def __init__(self, reason: str, boot: str | None = None, seq: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.boot = boot
        self.seq = seq


def is_series(text: str) -> bool:
    """Whether ``text`` is a full series name, ``<commune>/<station>/<quantity>``."""
    return _SERIES.fullmatch(text) is not None


def encode(pack: Pack) -> bytes:
    """Write a pack as SenML JSON. Raises ValueError for an empty pack or a value that is not finite."""
    if not pack.readings:
        raise ValueError("a pack holds at least one reading")
    base_ms = pack.readings[0].time_ms
    commune = pack.readings[0].series.split("/", 1)[0] + "/"
    records: list[dict[str, Any]] = []
    for reading in pack.readings:
        if not reading.series.startswith(commune):
            raise ValueError(f"{reading.series} is not a series of {commune[:-1]}")
        record: dict[str, Any] = {"n": reading.series[len(commune) :], "u": reading.unit, "v": reading.value}
        if reading.time_ms != base_ms:
            record["t"] = (reading.time_ms - base_ms) / 1000
        if reading.flag is not Flag.NOT_EVALUATED:
            record["q"] = int(reading.flag)
        records.append(record)
    records[0] = {
        "bn": commune,
        "bt": base_ms / 1000,
        "boot": pack.boot,
        "seq": pack.seq,
        "clock": pack.clock.value,
        "made": pack.made_ms / 1000,
        **({} if pack.up_ms is None else {"up": pack.up_ms / 1000}),
        **({"moved": pack.moved_ms / 1000} if pack.moved_ms else {}),
        **records[0],
    }
    return json.dumps(records, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode(payload: bytes) -> Pack:
    """Read a pack. A record that makes no sense is listed in ``rejected`` and leaves its neighbours alone.

    Raises :class:`BadPack` when the pack as a whole can't be read: no JSON, no list, no boot id or
    sequence number, too large. Nothing else is ever raised, whatever the bytes.
    """
    if len(payload) > MAX_PACK_BYTES:
        raise BadPack(f"larger than {MAX_PACK_BYTES} bytes")
    try:
        records = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise BadPack(f"not JSON: {error}") from None
    if not isinstance(records, list) or not records or not isinstance(records[0], dict):
        raise BadPack("not a SenML pack: a list of records is expected")
    head = records[0]
    boot, seq = head.get("boot"), head.get("seq")
    if not isinstance(boot, str) or not _BOOT.fullmatch(boot):
        raise BadPack("the first record has no boot id")
    if not _is_int(seq) or not 0 <= seq < 1 << 53:
        raise BadPack("the first record has no sequence number", boot=boot)
    if len(records) > MAX_RECORDS:
        raise BadPack(f"more than {MAX_RECORDS} records", boot, seq)
    try:
        clock = _CLOCKS[head.get("clock", "unknown")]
    except (KeyError, TypeError):
        raise BadPack(f"clock state {head['clock']!r:.40} is unknown", boot, seq) from None

    readings, rejected = _resolve(records)
    made_ms = _milliseconds(head.get("made", head.get("bt", 0))) or 0
    up_ms, moved_ms = _milliseconds(head.get("up")), _milliseconds(head.get("moved")) or 0
    return Pack(boot, seq, clock, made_ms, tuple(readings), tuple(rejected), up_ms, moved_ms)


def _resolve(records: list[Any]) -> tuple[list[Reading], list[Rejected]]:
    """The records with their base values (RFC 8428, section 4.6), which stay for the records after them.

    Most are a name that is known, a value, a unit and perhaps a time: these are read at a glance. The others are read
    by :func:`_reading`, which says what is wrong with them.
    """
    readings: list[Reading] = []
    rejected: list[Rejected] = []
    base: dict[str, Any] = {"bn": "", "bt": 0.0, "bu": ""}
    names: dict[str, str] = {}
    base_ms = 0
    for index, record in enumerate(records):
        try:
            series, value, unit = names[record["n"]], record["v"], record["u"]
            time_ms = base_ms
            if len(record) == 4:
                offset = record["t"]
                time_ms = round((base["bt"] + offset) * 1000) if type(offset) is float and abs(offset) < 1e11 else 0
            if (
                len(record) <= 4
                and type(value) is float
                and value - value == 0.0  # finite
                and EARLIEST_MS <= time_ms < LATEST_MS
                and type(unit) is str
                and len(unit) <= _LONGEST_UNIT
            ):
                readings.append(_new(Reading, (series, time_ms, value, unit, _NOT_EVALUATED)))
                continue
        except (KeyError, TypeError):
            pass
        try:
            readings.append(_reading(record, base))
        except ValueError as error:
            rejected.append(Rejected(index, str(error)))
        if abs(base["bt"]) < 1e11:
            names, base_ms = _names.after(base["bn"]), round(base["bt"] * 1000)
        else:
            names = {}
    return readings, rejected


def _reading(record: Any, base: dict[str, Any]) -> Reading:
    """One resolved record (RFC 8428, section 4.6); base values stay for the records after it."""
    if not isinstance(record, dict):
        raise ValueError("not a record")
    if "bn" in record or "bt" in record or "bu" in record:
        for label, kind in (("bn", str), ("bt", (int, float)), ("bu", str)):
            if label in record:
                if not isinstance(record[label], kind) or isinstance(record[label], bool):
                    raise ValueError(f"{label} has the wrong type")
                base[label] = record[label]
    get = record.get
    value, name, offset = get("v"), get("n", ""), get("t", 0)
    if not isinstance(name, str):
        raise ValueError("n is not text")
    series = _names.checked(base["bn"], name)
    if type(value) is not float:
        if not _is_int(value) or abs(value) >= 1 << 53:
            raise ValueError("v is not a number")
        value = float(value)
    if not math.isfinite(value):
        raise ValueError("v is not finite")
    if type(offset) is not int and type(offset) is not float:
        raise ValueError("t is not a number")
    if not (abs(base["bt"]) < 1e11 and abs(offset) < 1e11):  # also JSON's integers of any length, infinite as a float
        raise ValueError("the time is impossible")
    seconds = base["bt"] + offset
    time_ms = round(seconds * 1000)
    if not EARLIEST_MS <= time_ms < LATEST_MS:
        raise ValueError(f"the time {seconds:.0f} s is impossible (before 2020 or after 2099)")
    unit = get("u", base["bu"])
    if not isinstance(unit, str) or len(unit) > _LONGEST_UNIT:
        raise ValueError("u is not a unit")
    try:
        flag = _FLAGS[get("q", 2)]
    except (KeyError, TypeError):
        raise ValueError(f"q {record['q']!r:.20} is not a quality flag") from None
    # RFC 8428, section 4.4: what must be understood is understood or refused.
    if not record.keys() <= _LABELS and any(label.endswith("_") for label in record):
        raise ValueError("a label that must be understood is unknown")
    return Reading(series, time_ms, value, unit, flag)


def _milliseconds(seconds: Any) -> int | None:
    """None for what is no time; what only explains must not cost the readings beside it."""
    return round(seconds * 1000) if _is_number(seconds) and abs(seconds) < 1e10 else None


def _is_int(value: Any) -> TypeGuard[int]:
    return type(value) is int


def _is_number(value: Any) -> TypeGuard[int | float]:
    return type(value) is int or type(value) is float
