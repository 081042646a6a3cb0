"""The agent reads the simulated installation of Phú Ốc over its ports: what the sensors said is what ingest has."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.kinds import KINDS
from keng_edge.sources.source import Health
from keng_firmware_sim import orders
from keng_firmware_sim.faults import Kind
from tests.support.broker import RunningBroker
from tests.support.edge import IngestInATest, bus, ingest, outbox, slave, start_edge
from tests.support.processes import until
from tests.support.radio import KEY
from tests.support.simulator import Simulator

pytestmark = pytest.mark.system

SERIES = {
    "level": "quang-tho/phu-oc/level",
    "rain": "quang-tho/phu-oc/rain",
    **{f"soil-{q}": f"quang-tho/phuoc-yen/soil-{q}" for q in ("moisture", "temperature", "ec", "ph", "n", "p", "k")},
    "pm2-5": "quang-tho/uy-ban/pm2-5",
    "pm10": "quang-tho/uy-ban/pm10",
}


def buses(simulator: Simulator) -> str:
    level = slave("muc-nuoc", "qdy30a", 1, "phu-oc", 0.1, alarm=True)
    rain = slave("mua", "xm9505", 2, "phu-oc", 0.1)
    soil = slave("dat", "soil-7in1-a", 1, "phuoc-yen", 0.3)
    air = slave("khong-khi", "pm-delta-ohm", 3, "uy-ban", 0.3)
    patient = "timeout_s = 5.0\n"  # an answer that the simulator has written down must not be too late for us
    return bus("bus-song", simulator.port("bus-song"), patient, level, rain) + bus(
        "bus-dong", simulator.port("bus-dong"), patient, soil, air, baud=4800
    )


def said(simulator: Simulator) -> dict[str, list[float]]:
    """What each sensor said in its intact answers, in order."""
    values: dict[str, list[float]] = {quantity: [] for quantity in SERIES}
    for line in simulator.journal():
        if not line["fault"]:
            for quantity, value in line["values"].items():
                values[quantity].append(round(value, 6))
    return values


def heard(hearing: IngestInATest, quantity: str) -> list[float]:
    """What ingest has of it, in order of time, each reading once."""
    rows = {
        reading.time_ms: round(reading.value, 6)
        for pack in hearing.packs
        for reading in pack.readings
        if reading.series == SERIES[quantity]
    }
    return [rows[time_ms] for time_ms in sorted(rows)]


async def test_every_intact_answer_of_every_sensor_reaches_ingest_once_and_no_broken_one(
    broker: RunningBroker, tmp_path: Path
) -> None:
    with Simulator(tmp_path / "ports", "--lapse", "3600") as simulator:
        simulator.order(orders.Fault(slave="river-level", kind=Kind.CRC, rate=0.3))
        async with ingest(broker, receipting=True) as hearing:
            with start_edge(broker, tmp_path, buses(simulator)) as edge:
                await until(lambda: all(len(values) >= 5 for values in said(simulator).values()))
                assert edge.stop() == 0
            with start_edge(broker, tmp_path, ""):
                await until(lambda: outbox(tmp_path)["packs"] == 0)
        ledger = outbox(tmp_path)["ledger"]
        for quantity, values in said(simulator).items():
            sent = heard(hearing, quantity)
            assert sent == values[: len(sent)], quantity
            assert len(sent) >= len(values) - 1, "but for one that was on its way at the end"
            assert len(sent) == ledger[SERIES[quantity]]
        assert any(line["fault"] for line in simulator.journal())


async def test_a_radio_that_was_rebooted_is_told_to_listen_again(tmp_path: Path) -> None:
    (tmp_path / "radio").mkdir()
    (tmp_path / "radio" / "18.key").write_text(KEY.hex())
    with Simulator(tmp_path / "ports", "--installation", "duong-khac") as simulator:
        node = {"id": "nut-18", "profile": "keng-node", "address": 18, "station": "cong", "interval_s": 1.0}
        line = {"id": "rak", "kind": "rak3172", "port": simulator.port("rak"), "baud": 115200, "slaves": [node]}
        settings = EdgeSettings(buses=[line], state=tmp_path, broker={"credentials": tmp_path})
        health, samples = Health(["nut-18"]), list[Sample]()
        task = asyncio.create_task(KINDS["rak3172"].load().source(plan(settings).lines[0], health).run(samples.append))
        try:
            await until(lambda: samples)
            simulator.order(orders.Fault(slave="rak", kind=Kind.REBOOT, for_s=0.5))
            await until(lambda: health.report()[0].error == "the radio was reset")
            samples.clear()
            await until(lambda: samples)
            assert health.report()[0].ok
        finally:
            task.cancel()
            await asyncio.wait([task])
