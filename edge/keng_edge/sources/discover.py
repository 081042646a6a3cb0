"""What answers on a port: Modbus slaves, SDI-12 sensors, LoRa radios, lines of text; and which shipped profile fits.

Nothing is written to a device: registers are read, names are asked for.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import digits

from keng_edge.plan import SHIPPED, load_profile
from keng_edge.sources.modbus import Line
from keng_edge.sources.profiles import AnyProfile, Block, Parity, Profile
from keng_edge.sources.radioframes import CRC_BYTES, SYNC, Heard, RadioProfile, Splitter
from keng_edge.sources.sdi12 import Sdi12Line
from keng_edge.sources.sdi12frames import Sdi12Profile
from keng_edge.sources.serialport import PortLost, SerialPort
from keng_edge.sources.source import Failure
from keng_edge.sources.textlines import Lines, TextProfile

#: Speeds at which sensors leave the factory, most usual first.
SPEEDS: Sequence[tuple[int, Parity]] = (
    (9600, "N"),
    (4800, "N"),
    (19200, "E"),
    (9600, "E"),
    (19200, "N"),
    (115200, "N"),
)
#: How long is listened at each speed, and an answer waited for.
LISTEN_S, ANSWER_S = 2.5, 0.5
#: So many lines of text are enough to know them; so many of the last bytes are kept.
ENOUGH, MOST_BYTES = 5, 4096

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """One that answers. ``fits`` names shipped profiles whose registers, command or pattern it knows; ``more`` has what
    else its line needs in the settings."""

    kind: str
    baud: int
    parity: str
    address: str
    says: str
    fits: list[str] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)


def shipped(own: Path | None = None) -> dict[str, AnyProfile]:
    """Every profile by its name, own ones before those that are shipped."""
    folders = [folder for folder in (own, SHIPPED) if folder is not None]
    return {
        file.stem: load_profile(file.stem, own)
        for folder in reversed(folders)
        for file in sorted(folder.glob("*.toml"))
    }


@asynccontextmanager
async def opened(port: SerialPort) -> AsyncIterator[None]:
    await port.open()
    try:
        yield
    finally:
        port.close()


async def modbus(
    port: str, addresses: Iterable[int], speeds: Sequence[tuple[int, Parity]], profiles: dict[str, AnyProfile], say: Say
) -> list[Found]:
    """Ask each address at each speed for one register; who answers, even by refusing, is asked for each profile's."""
    found: list[Found] = []
    for number, (baud, parity) in enumerate(speeds):
        line = Line(port, baud, parity, timeout_s=0.06 + 30 * 11 / baud)
        try:
            async with opened(line):
                for address in addresses:
                    say(f"Modbus {baud} 8{parity}1, address {address}")
                    if await _is_there(line, address):
                        fits, says = await _fitting(line, address, profiles)
                        found.append(Found("modbus", baud, parity, str(address), says or "a Modbus slave", fits))
        except PortLost:
            if number == 0:
                raise  # else: a port that was there does not know this speed or parity
    return found


async def _is_there(line: Line, address: int) -> bool:
    try:
        await line.read(address, 3, Block(0, 1))
    except PortLost:
        raise
    except Failure as failure:
        return failure.what.startswith("it refuses")
    return True


async def _fitting(line: Line, address: int, profiles: dict[str, AnyProfile]) -> tuple[list[str], str]:
    """The profiles whose registers are all there and hold what can be measured, and what the best of them reads.

    Of two that fit, the one with more registers is the likelier: a short map fits into many a long one.
    """
    fits: list[tuple[int, str, str]] = []
    for name, profile in profiles.items():
        if not isinstance(profile, Profile):
            continue
        words: dict[int, int] = {}
        try:
            for block in profile.blocks():
                answer = await line.read(address, profile.function, block)
                words |= dict(enumerate(answer.words, block.register))
        except PortLost:
            raise
        except Failure:
            continue
        values, faults = profile.decode(words)
        if values and not faults:
            said = ", ".join(
                f"{quantity} {raw.number * profile.quantities[quantity].scale / 10**raw.decimals:g}"
                for quantity, raw in values.items()
            )
            fits.append((len(words), name, said))
    fits.sort(reverse=True)
    return [name for _, name, _ in fits], fits[0][2] if fits else ""


async def sdi12(port: str, profiles: dict[str, AnyProfile], say: Say) -> list[Found]:
    """Ask ``?!`` (who is there, if it is one alone), then each address for what it is (``aI!``): 0 to 9, and a
    letter where it answered alone."""
    fits = [name for name, profile in profiles.items() if isinstance(profile, Sdi12Profile)]
    found: list[Found] = []
    parity: Parity
    for baud, parity in ((1200, "E"), (9600, "N")):
        line = Sdi12Line(port, baud, parity, timeout_s=0.12 + 36 * 11 / baud)
        async with opened(line):
            say(f"SDI-12 {baud}, ?!")
            alone = await _alone(line)
            # Two that answer at once are garbled, or look like one: so the digits are asked always.
            for address in digits + alone.strip(digits):
                say(f"SDI-12 {baud}, address {address}")
                try:
                    says = await line.ask(address, "I", tries=1)
                except Failure:
                    continue
                vendor = says[2:].strip()  # after the version, such as 14
                likely = [name for name in fits if any(word in profiles[name].model.upper() for word in _words(vendor))]
                found.append(Found("sdi12", baud, parity, address, vendor or says, likely or fits))
        if found:
            break
    return found


def _words(vendor: str) -> list[str]:
    """Vendor and model of an identification: eight and six characters (SDI-12 1.4, table 5)."""
    return [word for word in (vendor[:8].strip().upper(), vendor[8:14].strip().upper()) if len(word) > 2]


async def _alone(line: Sdi12Line) -> str:
    await line.wake(0.0125, 0.009)
    line.write(b"?!")
    await _hear(line, ANSWER_S)
    answers = [bytes(byte & 0x7F for byte in part) for part in line.heard.split(b"\r\n")[:-1]]
    last = answers[0].rpartition(b"!")[2].lstrip(b"\x00\x7f") if len(answers) == 1 else b""
    return last.decode() if len(last) == 1 and last.isalnum() else ""


async def _hear(line: SerialPort, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while line.is_open and time.monotonic() < deadline:
        await line.more(deadline - time.monotonic())


async def rak3172(port: str, say: Say) -> list[Found]:
    """Ask ``AT+VER=?`` at the two speeds that its firmware has."""
    for baud in (115200, 9600):
        say(f"AT+VER=? at {baud}")
        line = SerialPort(port, baud)
        async with opened(line):
            line.write(b"AT+VER=?\r\n")
            await _hear(line, ANSWER_S)
            text = line.heard.decode("ascii", "replace")
            says = next((part.strip() for part in text.splitlines() if "RUI" in part or "RAK" in part), "")
            if says:
                return [Found("rak3172", baud, "N", "", says.removeprefix("AT+VER="), ["keng-node"])]
    return []


async def listen(
    port: str,
    profiles: dict[str, AnyProfile],
    say: Say,
    kinds: Collection[str] = ("text", "e22"),
    seconds: float = LISTEN_S,
) -> list[Found]:
    """Listen at each speed, and write nothing: what comes in printable lines is text, and an E22 hands over frames."""
    for baud in (9600, 4800, 115200, 19200):
        say(f"listening at {baud}")
        line, lines, splitter = SerialPort(port, baud), Lines(), Splitter()
        heard: list[bytes] = []
        frames: list[Heard] = []
        raw = b""
        async with opened(line):
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and (frames or len(heard) < ENOUGH):
                await line.more(deadline - time.monotonic())
                data = line.take()[0]
                raw = (raw + data)[-MOST_BYTES:]
                heard += lines.feed(data)[0]
                frames += splitter.feed(data).frames
        found = _nodes(raw, frames, baud, profiles) if "e22" in kinds else []
        if not found and "text" in kinds:
            found = _text(heard, baud, profiles)
        if found:
            return found
    return []


def _nodes(raw: bytes, frames: list[Heard], baud: int, profiles: dict[str, AnyProfile]) -> list[Found]:
    """The nodes whose frames are whole and undamaged. Who signed them is not known here: that takes their keys."""
    fits = [name for name, profile in profiles.items() if isinstance(profile, RadioProfile)]
    last = {heard.frame.node: heard for heard in frames}
    more = {"rssi_byte": "true"} if any(_rssi_follows(raw, heard) for heard in last.values()) else {}
    return [
        Found("e22", baud, "N", str(node), f"LoRa node {node}, keng frame {heard.frame.sequence}", fits, more)
        for node, heard in sorted(last.items())
    ]


def _rssi_follows(raw: bytes, heard: Heard) -> bool:
    """Whether one byte stands between this frame and the next, or the end."""
    rest = raw[raw.rindex(heard.signed) + len(heard.signed) + len(heard.tag) + CRC_BYTES :]
    return len(rest) == 1 or (not rest.startswith(SYNC) and rest[1:].startswith(SYNC))


def _text(heard: list[bytes], baud: int, profiles: dict[str, AnyProfile]) -> list[Found]:
    printable = [one for one in heard if len(one) > 1 and all(32 <= byte < 127 for byte in one)]
    if not printable or len(printable) * 2 <= len(heard):
        return []
    fits = [
        name
        for name, profile in profiles.items()
        if isinstance(profile, TextProfile)
        and any((decoded := profile.decode(one)) is not None and decoded.values for one in printable)
    ]
    return [Found("text", baud, "N", "", printable[-1].decode()[:80], fits)]


def settings(port: str, found: Sequence[Found]) -> str:
    """What to write into the settings for them: a line, and what is known of its sensors."""
    one = found[0]
    own = {"kind": f'"{one.kind}"', "port": f'"{port}"', "baud": str(one.baud), "parity": f'"{one.parity}"', **one.more}
    tables = ["[[buses]]", *(f"{key} = {value}" for key, value in own.items())]
    for sensor in found:
        if sensor.fits and (sensor.address or sensor.kind == "text"):
            address = f'"{sensor.address}"' if sensor.kind == "sdi12" else sensor.address
            tables += [
                "",
                "[[buses.slaves]]",
                f'profile = "{sensor.fits[0]}"',
                *([f"address = {address}"] if address else []),
            ]
    return "\n".join(tables)
