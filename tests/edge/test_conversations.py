"""What goes over the wire in both directions, byte for byte as the makers and standards document it: a folder of whole
conversations. The agent's side is its real source, the device's a pseudo-terminal that answers what the file says and
nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from keng_edge.pipeline.pipeline import Pipeline
from keng_edge.plan import SHIPPED, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.kinds import KINDS
from keng_edge.sources.source import Health
from tests.support.radio import KEY
from tests.support.twin import Twin

TALKS = {
    file.stem: tomllib.loads(file.read_text(encoding="utf-8"))
    for file in sorted(Path(__file__).parent.glob("conversations/*.toml"))
}


class Device:
    """Answers each request of the conversation in its turn, and then says what comes unasked."""

    def __init__(self, talk: dict[str, Any]) -> None:
        read = bytes.fromhex if talk.get("hexadecimal") else str.encode
        self._exchanges = [(read(heard), read(said)) for heard, said in talk["exchanges"]]
        self._then = read(talk.get("then", ""))
        self._rest = b""
        self.asked: list[bytes] = []
        self.requests = [heard for heard, _ in self._exchanges]

    def hear(self, data: bytes) -> bytes:
        self._rest += data.replace(b"\x00", b"") if self._is_sdi12() else data
        if len(self.asked) < len(self._exchanges):
            heard, said = self._exchanges[len(self.asked)]
            if len(self._rest) >= len(heard):
                self.asked.append(self._rest)
                self._rest = b""
                return said if self.asked[-1] == heard else b""
        return b""

    def _is_sdi12(self) -> bool:
        """A break before a command reads as a zero byte on an adapter."""
        return any(request.endswith(b"!") for request in self.requests)

    def talk(self) -> bytes:
        return self._then if len(self.asked) == len(self._exchanges) else b""


def test_every_line_with_a_wire_and_every_modbus_profile_has_a_conversation() -> None:
    assert {talk["kind"] for talk in TALKS.values()} == set(KINDS) - {"lorawan", "machine"}
    profiles = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in SHIPPED.glob("*.toml")}
    modbus = {name for name, profile in profiles.items() if profile.get("kind", "modbus") == "modbus"}
    assert {talk["profile"] for talk in TALKS.values()} >= modbus


@pytest.mark.parametrize("name", TALKS)
async def test_a_conversation_becomes_readings(name: str, tmp_path: Path) -> None:
    talk = TALKS[name]
    device = Device(talk)
    (tmp_path / "radio").mkdir()
    (tmp_path / "radio" / "17.key").write_text(KEY.hex())
    profile = (SHIPPED / f"{talk['profile']}.toml").read_text(encoding="utf-8")
    if "command" in talk:
        profile = profile.replace('command = "CC"', f'command = "{talk["command"]}"')
        profile = profile.split("[quantities.water-temperature]")[0]
    (tmp_path / "as-in-the-file.toml").write_text(profile, encoding="utf-8")
    with Twin(tmp_path / "port", hear=device.hear, talk=device.talk) as twin:
        sensor = {"id": "one", "profile": "as-in-the-file", "station": "x", "interval_s": 1.0}
        sensor |= {"address": talk["address"]} if "address" in talk else {}
        line = {"id": "line", "kind": talk["kind"], "port": str(twin.port), "slaves": [sensor]}
        line |= {"rssi_byte": talk["rssi_byte"]} if "rssi_byte" in talk else {}
        line |= {"parity": "N"} if talk["kind"] in ("sdi12", "modbus") else {}  # a pseudo-terminal has none
        settings = EdgeSettings(
            buses=[line],
            state=tmp_path,
            profiles=tmp_path,
            broker={"credentials": tmp_path},  # type: ignore[arg-type]
        )
        planned = plan(settings)
        source = KINDS[talk["kind"]].load().source(planned.lines[0], Health(["one"]))
        [outcome] = await source.read_once()
    assert device.asked == device.requests
    assert outcome.sample is not None and outcome.failure is None, outcome
    readings = Pipeline(planned.channels).readings(outcome.sample)
    assert {reading.series.split("/")[2]: reading.value for reading in readings} == talk["readings"]
