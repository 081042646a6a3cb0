"""What a gateway does with a frame that a radio heard: whose it is, whether it is new, its readings.

Two radios often hear one frame, on one agent or on two. It becomes one reading, since its values carry the node's own
time, which is the same everywhere, and a sequence number, which the radios of one agent look up in one memory.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from enum import Enum, auto
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from keng_contracts.errors import Problem
from keng_edge.pipeline.pipeline import Raw, Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.radioframes import KEY_BYTES, Heard, RadioProfile
from keng_edge.sources.source import BadSetting, Failure, Outcome, Sensor
from keng_runtime.files import write_atomically

log = logging.getLogger(__name__)

#: A second radio may be that many frames behind the first.
BEHIND = 64
#: A node's clock that is further off is not believed.
CLOCK_MS = 15 * 60_000
#: The memory is written that often, not at each frame: SD cards wear out. After a power cut, what came in that time
#: may be taken once more; with its node's time it is the same reading.
SAVE_S = 30.0


class Verdict(Enum):
    NEW = auto()
    AGAIN = auto()
    REPLAYED = auto()


class Node(NamedTuple):
    """A sensor with its key. A new key begins a new count."""

    sensor: Sensor[RadioProfile]
    key: bytes

    @property
    def memory(self) -> str:
        return f"{self.sensor.address}/{sha256(self.key).hexdigest()[:16]}"


class Sequences:
    """The newest sequence number of each node, over restarts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._newest: dict[str, int] = {}
        self._changed_s: float | None = None
        try:
            loaded = json.loads(file.read_text(encoding="utf-8"))
            self._newest = {str(node): int(newest) for node, newest in loaded.items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.warning("%s", Problem("can't be read, and is begun anew", where=str(file), todo=f"look at it: {error}"))

    def judge(self, node: str, sequence: int) -> Verdict:
        newest = self._newest.get(node)
        if newest is None or sequence > newest:
            self._newest[node] = sequence
            self._changed_s = self._changed_s or time.monotonic()
            return Verdict.NEW
        return Verdict.AGAIN if newest - sequence < BEHIND else Verdict.REPLAYED

    def save(self, *, at_once: bool = False) -> None:
        if self._changed_s is None or not (at_once or time.monotonic() - self._changed_s >= SAVE_S):
            return
        self._changed_s = None
        try:
            write_atomically(self._file, json.dumps(self._newest).encode())
        except OSError as error:
            log.warning("%s: can't be written: %s", self._file, error.strerror)


@cache
def sequences(file: Path) -> Sequences:
    """The memory in ``file``: the same for all radios of this process."""
    return Sequences(file)


class Receiver:
    """The nodes that one radio is to hear."""

    def __init__(self, nodes: Iterable[Node], memory: Sequences) -> None:
        self._nodes = {node.sensor.address: node for node in nodes}
        self._memory = memory
        self._here: dict[int, int] = {}  # the newest sequence that this radio heard itself

    def damaged(self, node: int) -> list[Outcome]:
        """A frame that names this node, if it is right in that, is damaged."""
        if node not in self._nodes:
            return []
        failure = Failure("a damaged frame", todo="check antenna and distance")
        return [Outcome(self._nodes[node].sensor.id, None, failure)]

    def take(self, heard: Heard, time_ms: int, rssi: int | None = None, snr: int | None = None) -> list[Outcome]:
        """What a frame is worth that was heard at ``time_ms``: nothing, if its node is not ours."""
        frame = heard.frame
        node = self._nodes.get(frame.node)
        if node is None:
            return []
        id_ = node.sensor.id
        if not heard.is_of(node.key):
            todo = f"give node {frame.node} and the agent the same key; or somebody else sends under its number"
            return [Outcome(id_, None, Failure("a frame that is not signed with its key", todo=todo))]
        verdict = self._memory.judge(node.memory, frame.sequence)
        if verdict is Verdict.REPLAYED:
            todo = "if the node lost its count, give it a new key; else somebody sends old frames again"
            return [Outcome(id_, None, Failure(f"a frame from long ago (sequence {frame.sequence})", todo=todo))]
        values: dict[str, Raw] = {}
        faults: list[str] = []
        stamp_ms, fault = _time(frame.payload, time_ms)
        if verdict is Verdict.NEW:
            if len(frame.payload) < 4:
                faults.append("its payload has no time")
            else:
                decoded = node.sensor.profile.decode(frame.payload[4:])
                values |= decoded.values
                faults += [*decoded.faults, *([fault] if fault else [])]
        if frame.sequence > self._here.get(frame.node, -1):
            self._here[frame.node] = frame.sequence
            values |= {name: Raw(number) for name, number in (("rssi", rssi), ("snr", snr)) if number is not None}
        failure = Failure("; ".join(faults), todo="check the node and its profile") if faults else None
        return [Outcome(id_, Sample(id_, stamp_ms, values) if values else None, failure)]


def _time(payload: bytes, heard_ms: int) -> tuple[int, str]:
    """The node's own time where it has one that can be believed, else when it was heard; and what is wrong."""
    own_ms = int.from_bytes(payload[:4]) * 1000
    if own_ms and abs(own_ms - heard_ms) <= CLOCK_MS:
        return own_ms, ""
    return heard_ms, f"its clock is off by {abs(own_ms - heard_ms) / 60_000:.0f} minutes" if own_ms else ""


def receiver(line: PlannedLine) -> Receiver:
    """The receiver of a planned line, with each node's key. Raises :class:`BadSetting` for a key that is not there."""
    folder = line.edge.broker.credentials / "radio"
    nodes = [Node(sensor, _key(folder / f"{sensor.address}.key", sensor.id)) for sensor in line.slaves]
    return Receiver(nodes, sequences(line.edge.state / "radio-sequences.json"))


def _key(file: Path, sensor: str) -> bytes:
    todo = f"make it with 'keng provision … --radio-node EDGE {file.stem}', and copy the folder 'radio' here"

    def bad(what: str, todo: str = todo) -> BadSetting:
        return BadSetting(what, setting="address", sensor=sensor, where=str(file), todo=todo)

    try:
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        raise bad("the key of this radio node is not here") from None
    except OSError as error:
        raise bad(f"can't be read: {error.strerror}", "check owner and mode") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise bad(f"is no key: {2 * KEY_BYTES} hexadecimal digits are")
    return key
