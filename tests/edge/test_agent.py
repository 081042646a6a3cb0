"""The agent as a real process, between slaves on a pseudo-terminal and a real broker."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from keng_contracts.status import EdgeStatus
from keng_contracts.telemetry import Flag
from keng_edge.outbox.outbox import Boot, Outbox
from keng_runtime.clock import now_ms
from tests.support.broker import RunningBroker
from tests.support.edge import IngestInATest, bus, ingest, outbox, slave, start_edge, statuses
from tests.support.modbus_slave import ModbusSlaves
from tests.support.outbox import append, plain
from tests.support.processes import Process, until
from tests.support.services import command

pytestmark = pytest.mark.system

LEVEL, RAIN = "quang-tho/phu-oc/level", "quang-tho/phu-oc/rain"


@pytest.fixture
def slaves(tmp_path: Path) -> Iterator[ModbusSlaves]:
    with ModbusSlaves(tmp_path / "bus-song", {(1, 3): {3: 3, 4: 1652}, (2, 3): {0: 536}}) as slaves:
        yield slaves


@pytest.fixture
def buses(slaves: ModbusSlaves) -> str:
    return bus(
        "bus-song",
        slaves.port,
        slave("muc-nuoc", "qdy30a", 1, "phu-oc", alarm=True),
        slave("mua", "xm9505", 2, "phu-oc"),
    )


def counts(hearing: IngestInATest) -> dict[str, int]:
    return {series: len(times) for series, times in hearing.rows().items()}


def said(status: list[EdgeStatus]) -> EdgeStatus:
    return status[-1]


async def test_frames_become_readings_at_ingest(
    broker: RunningBroker, tmp_path: Path, slaves: ModbusSlaves, buses: str
) -> None:
    async with ingest(broker, receipting=True) as hearing:
        with start_edge(broker, tmp_path, buses):
            await until(lambda: counts(hearing).get(LEVEL, 0) >= 3 and counts(hearing).get(RAIN, 0) >= 3)
            slaves.registers[2, 3][0] = 0x8000
            await until(lambda: any(r.flag is Flag.MISSING for pack in hearing.packs for r in pack.readings))
    readings = [reading for pack in hearing.packs for reading in pack.readings]
    assert {(r.series, r.value, r.unit, r.flag) for r in readings} == {
        (LEVEL, 1.652, "m", Flag.NOT_EVALUATED),
        (RAIN, 53.6, "mm", Flag.NOT_EVALUATED),
        (RAIN, -3276.8, "mm", Flag.MISSING),
    }


async def test_nothing_is_deleted_without_a_receipt(broker: RunningBroker, tmp_path: Path, buses: str) -> None:
    async with ingest(broker) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: max(hearing.names.values(), default=0) >= 2, what="what has no receipt is sent again")
            depth = outbox(tmp_path)
            assert depth["readings"] == depth["committed"] > 0
            first = hearing.packs[0]
            await hearing.receipt(first)
            await until(lambda: outbox(tmp_path)["committed"] - outbox(tmp_path)["readings"] <= len(first.readings))
            edge.stop()
            kept = outbox(tmp_path)
            assert kept["committed"] - kept["readings"] == len(first.readings)


async def test_when_all_is_receipted_the_outbox_is_empty_and_the_ledger_is_what_ingest_has(
    broker: RunningBroker, tmp_path: Path, buses: str
) -> None:
    async with ingest(broker, receipting=True) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: counts(hearing).get(LEVEL, 0) >= 10)
            edge.stop()
        with start_edge(broker, tmp_path, ""):  # no sensors: it only empties its outbox
            await until(lambda: outbox(tmp_path)["packs"] == 0)
        assert counts(hearing) == outbox(tmp_path)["ledger"]


async def test_after_kill_9_every_committed_pack_is_sent_again_under_its_name(
    broker: RunningBroker, tmp_path: Path, buses: str
) -> None:
    async with ingest(broker) as hearing:
        for number in (1, 2, 3):
            with start_edge(broker, tmp_path, buses) as edge:
                # The backlog of the runs before comes first: this run has to have committed something of its own.
                await until(lambda: len(hearing.names) >= 5 * number and len({b for b, _ in hearing.names}) == number)  # noqa: B023
                edge.kill()
        left = outbox(tmp_path)
        assert left["packs"] > 0 and left["readings"] == left["committed"]
        hearing.packs.clear()
        hearing.receipting = True
        with start_edge(broker, tmp_path, ""):
            await until(lambda: outbox(tmp_path)["packs"] == 0)
        assert len(hearing.names) == left["packs"]
        assert len({boot for boot, _ in hearing.names}) == 3, "three runs, and no name twice"
        assert counts(hearing) == left["ledger"], "none lost, none doubled"


async def test_without_a_broker_it_reads_and_keeps_and_later_all_arrives(
    broker: RunningBroker, tmp_path: Path, buses: str
) -> None:
    broker.stop()
    with start_edge(broker, tmp_path, buses) as edge:
        edge.says("can't be reached")
        await until(lambda: (tmp_path / "state" / "edge-outbox.db").exists() and outbox(tmp_path)["packs"] >= 10)
        broker.start()
        async with ingest(broker, receipting=True) as hearing:
            await until(lambda: len(hearing.packs) >= 12)
            broker.kill()
            held = outbox(tmp_path)["committed"]
            await until(lambda: outbox(tmp_path)["committed"] >= held + 20)
            broker.start()
            await until(lambda: sum(counts(hearing).values()) >= held + 20)
            edge.stop()
        text = edge.text()
    assert "Traceback" not in text
    async with ingest(broker, receipting=True) as rest:
        with start_edge(broker, tmp_path, ""):
            await until(lambda: outbox(tmp_path)["packs"] == 0)
    rows = {series: hearing.rows().get(series, set()) | rest.rows().get(series, set()) for series in (LEVEL, RAIN)}
    assert {series: len(times) for series, times in rows.items()} == outbox(tmp_path)["ledger"]


async def test_alarms_are_sent_although_ingest_never_answers(broker: RunningBroker, tmp_path: Path, buses: str) -> None:
    """The window of packs without receipt is full many times over, and the newest level still comes at once."""
    async with ingest(broker) as hearing:
        fast = buses.replace("interval_s = 0.1", "interval_s = 0.05\nalarm = true").replace(
            "alarm = true\nalarm", "alarm"
        )
        with start_edge(broker, tmp_path, fast):
            await until(lambda: counts(hearing).get(LEVEL, 0) > 70 and counts(hearing).get(RAIN, 0) > 70)


LONG = "receipt_timeout_s = 300.0\n"


async def test_a_backlog_larger_than_the_window_drains_as_receipts_come(broker: RunningBroker, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    left = Outbox(tmp_path / "state" / "edge-outbox.db", Boot("f" * 16), 10_000_000)
    append(left, *(plain(2, now_ms() - 1000 * i) for i in range(350)))
    left.close()
    async with ingest(broker, receipting=True) as hearing:
        with start_edge(broker, tmp_path, "", LONG):
            await until(lambda: len(hearing.names) == 350)  # cheap to ask, unlike the next
            await until(lambda: outbox(tmp_path)["packs"] == 0)
    assert set(hearing.names.values()) == {1} and len(hearing.names) == 350, "each once"


async def test_after_a_reconnect_nothing_waits_for_its_time_out(
    broker: RunningBroker, tmp_path: Path, buses: str
) -> None:
    async with ingest(broker) as hearing:
        with start_edge(broker, tmp_path, buses, LONG):
            await until(lambda: len(hearing.names) >= 5)
            first = hearing.packs[0]
            broker.stop()  # gracefully: a killed broker forgets who listens, and what is sent again may reach nobody
            broker.start()
            await until(lambda: hearing.names[first.boot, first.seq] >= 2)


async def test_dead_lettered_packs_are_let_go_with_their_reason(
    broker: RunningBroker, tmp_path: Path, buses: str
) -> None:
    async with ingest(broker) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: hearing.packs)
            await hearing.receipt(hearing.packs[0], dead="unknown node")
            edge.says("ingest could not use 1 of our packs and keeps them aside: unknown node")
            await until(lambda: outbox(tmp_path)["dead"] == len(hearing.packs[0].readings))


async def test_a_receipt_that_can_not_be_read_is_left(broker: RunningBroker, tmp_path: Path, buses: str) -> None:
    async with ingest(broker) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: hearing.packs)
            for payload in (b"", b"{", b'{"boot":"x"}', b'{"boot":"' + b"f" * 16 + b'","stored":[[5,1],[0,1e99]]}'):
                await hearing.send_receipt(payload)
            edge.says("a receipt can't be read and is left")
            await hearing.receipt(hearing.packs[0])
            await until(lambda: outbox(tmp_path)["readings"] < outbox(tmp_path)["committed"])


async def test_its_status_says_how_its_sensors_fare(
    broker: RunningBroker, tmp_path: Path, slaves: ModbusSlaves, buses: str
) -> None:
    async with statuses(broker) as status:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: status and all(source.ok for source in said(status).sources))
            assert [source.id for source in said(status).sources] == ["muc-nuoc", "mua"]
            assert said(status).state == "online" and said(status).version and said(status).problems == []
            del slaves.registers[2, 3]
            await until(lambda: not said(status).sources[1].ok)
            assert said(status).sources[0].ok and "no answer" in said(status).sources[1].error
            slaves.pull_out()
            await until(lambda: not said(status).sources[0].ok)
            assert "port" in said(status).sources[0].error
            slaves.plug_in()
            await until(lambda: said(status).sources[0].ok)
            edge.kill()
            await until(lambda: said(status).state == "offline", what="the last will")


async def test_asked_to_stop_it_commits_what_it_has_and_says_goodbye(
    broker: RunningBroker, tmp_path: Path, buses: str
) -> None:
    async with statuses(broker) as status:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: status and all(source.ok for source in said(status).sources))
            edge.signal(signal.SIGTERM)
            assert edge.wait(within=5) == 0
            await until(lambda: said(status).state == "offline")
            assert said(status).sources, "its own goodbye, not the last will"
            assert said(status).outbox_readings == outbox(tmp_path)["readings"] > 0
            assert "Traceback" not in edge.text()


async def test_a_damaged_outbox_is_reported_and_never_stops_the_start(
    broker: RunningBroker, tmp_path: Path, buses: str
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "edge-outbox.db").write_bytes(b"what a card leaves behind" * 400)
    async with statuses(broker) as status, ingest(broker, receipting=True) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: counts(hearing).get(LEVEL, 0) >= 3)
            await until(lambda: said(status).problems)
            edge.says("the outbox was damaged")
            assert said(status).problems[0].startswith("the outbox was damaged; the old one is kept as edge-outbox")
    (aside,) = outbox(tmp_path)["damaged"]
    assert aside.startswith(str(tmp_path / "state" / "edge-outbox.db.damaged-"))


async def test_a_second_agent_on_the_same_outbox_is_told_so(broker: RunningBroker, tmp_path: Path, buses: str) -> None:
    with start_edge(broker, tmp_path, buses) as edge:
        edge.says("connected to")
        again = [command("keng-edge"), "run", "--settings", tmp_path / "edge.toml"]
        with Process(again, log=tmp_path / "second.log") as second:
            assert second.wait() == 2
            assert "another agent uses this outbox; stop it" in second.text()
