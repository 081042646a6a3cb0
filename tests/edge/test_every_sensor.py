"""Every sensor of the simulator, read over its real port, gateway or broker: what it said is what is delivered."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import Plan, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.kinds import KINDS
from keng_edge.sources.source import Health, Source
from tests.support.feeds import PlainBroker
from tests.support.processes import free_port, until
from tests.support.simulator import Simulator

LORAWAN = {
    "lora-udl": ("24e124713b456789", "lora-em500-udl"),
    "lora-smtc": ("24e124126a147470", "lora-em500-smtc"),
    "lora-wts": ("24e124454d083548", "lora-wts506"),
    "lora-ldds75": ("a84041f15612c0de", "lora-ldds75"),
    "lora-ldds75-new": ("a84041f15612c0df", "lora-ldds75"),
    "lora-lse01": ("a84041cafe000001", "lora-lse01"),
    "lora-lpp": ("70b3d57ed0060a01", "lora-cayenne-level"),
}
#: The range of a URM14 ends above the river.
FAR = {"weir": "distance is out of range"}


def slave(id_: str, profile: str, address: int | str) -> dict[str, Any]:
    return {"id": id_, "profile": profile, "address": address, "station": id_, "interval_s": 0.2}


def planned(folder: Path, tcp: int, mqtt: str) -> Plan:
    serial = [
        slave("soil-b", "soil-7in1-b", 1),
        slave("bridge", "ultrasonic-0100", 2),
        slave("weir", "urm14", 12),
        slave("rain-u32", "rain-tips-u32", 4),
    ]
    air = [slave("air-siemens", "siemens-qsa2700d", 1), slave("air-7-8", "pm-7-8", 2)]
    radio = [slave(name, profile, eui) for name, (eui, profile) in LORAWAN.items()]
    buses = [
        {"id": "a", "port": str(folder / "bus-nhieu-toc-do"), "timeout_s": 5.0, "slaves": serial},
        {"id": "b", "port": f"tcp://127.0.0.1:{tcp}", "timeout_s": 5.0, "slaves": air},
        {"id": "c", "kind": "lorawan", "port": mqtt, "timeout_s": 10.0, "slaves": radio},
    ]
    return plan(EdgeSettings(buses=buses))


def sources(found: Plan) -> list[Source]:
    health = Health([source for source, _ in found.channels])
    return [KINDS[line.kind].load().source(line, health) for line in found.lines]


@pytest.mark.system
async def test_what_each_sensor_said_is_what_is_delivered(tmp_path: Path) -> None:
    text = files("keng_firmware_sim").joinpath("installations/moi-cam-bien.toml").read_text(encoding="utf-8")
    own = tmp_path / "installation.toml"
    own.write_text(text.replace("[[lorawan]]", "[[lorawan]]\ninterval_s = 0.3"), encoding="utf-8")
    broker, tcp = PlainBroker(tmp_path), free_port()
    more = ["--installation", own, "--modbus-tcp", f"bus-tcp=127.0.0.1:{tcp}", "--mqtt", broker.port[7:]]
    try:
        with Simulator(tmp_path / "ports", *map(str, more), "--lapse", "600") as simulator:
            found = planned(tmp_path / "ports", tcp, broker.port)
            rounds = await asyncio.gather(*(source.read_once() for source in sources(found)))
            outcomes = {outcome.source: outcome for one in rounds for outcome in one}
            for name, outcome in outcomes.items():
                assert (FAR[name] in str(outcome.failure)) if name in FAR else outcome.failure is None, name
            said = await until(lambda: {line["name"]: simulator.journal() for line in simulator.journal()})
            for name, outcome in outcomes.items():
                if outcome.sample is None:
                    continue
                told = [line["values"] for line in said[name] if line["name"] == name]
                heard = {
                    quantity: found.channels[name, quantity].measure(raw)[0]
                    for quantity, raw in outcome.sample.values.items()
                }
                known = {quantity for values in told for quantity in values}
                assert known, name
                for quantity in known:
                    series = {"temperature": "air-temperature"}
                    mine = next((q for q in heard if series.get(q, q) == quantity), None)
                    assert mine is not None, (name, quantity)
                    assert any(heard[mine] == pytest.approx(values.get(quantity)) for values in told), (name, quantity)
    finally:
        broker.pull_out()


@pytest.mark.system
async def test_slaves_of_three_speeds_share_a_line(tmp_path: Path) -> None:
    with Simulator(tmp_path / "ports", "--installation", str(_without_radio(tmp_path))) as simulator:
        found = planned(tmp_path / "ports", 1, "mqtt://localhost:1")
        samples: list[Sample] = []
        task = asyncio.create_task(sources(found)[0].run(samples.append))
        await until(lambda: all(sum(s.source == n for s in samples) >= 2 for n in ("soil-b", "bridge", "rain-u32")))
        await until(lambda: any(line["name"] == "weir" for line in simulator.journal()))
        task.cancel()
        await asyncio.wait([task])


def _without_radio(folder: Path) -> Path:
    text = files("keng_firmware_sim").joinpath("installations/moi-cam-bien.toml").read_text(encoding="utf-8")
    path = folder / "wired.toml"
    path.write_text(text.split("[[lorawan]]")[0], encoding="utf-8")
    return path
