"""Modbus beyond one slave: TCP, slaves of different speeds, and what bad neighbours cost the others."""

from __future__ import annotations

import asyncio
import os
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_edge.pipeline.pipeline import Sample
from keng_edge.sources.modbus import Line, ModbusBus, Slave
from keng_edge.sources.modbus_tcp import MAX_FRAME, TcpLine, frame_length
from keng_edge.sources.profiles import Block, Profile, Quantity
from keng_edge.sources.serialport import PortLost
from keng_edge.sources.source import Failure, Health
from tests.support.feeds import ModbusTcpServer
from tests.support.modbus_slave import ModbusSlaves
from tests.support.processes import until


async def ask(server: ModbusTcpServer, unit: int = 1) -> list[int]:
    line = TcpLine(server.port, 0.3)
    await line.open()
    try:
        return list((await line.read(unit, 3, Block(0, 2))).words)
    finally:
        line.close()


async def test_a_request_over_tcp_is_byte_exact() -> None:
    with ModbusTcpServer({(1, 3): {0: 536, 1: 7}}) as server:
        assert await ask(server) == [536, 7]
        assert server.requests == [bytes.fromhex("00 01 00 00 00 06 01 03 00 00 00 02")]


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (b"", r"no answer within 0\.3 s"),
        (bytes.fromhex("00 01 00 00 00 03 01 83 02"), "it has no such register"),
        (bytes.fromhex("00 01 00 00 00 03 01 83 0B"), "it did not answer the gateway"),
        (bytes.fromhex("00 01 00 00 00 05 01 03 02 00 01"), "1 registers instead of 2"),
        (bytes.fromhex("00 01 00 00 00 07 02 03 04 00 01 00 02"), "a damaged answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "a damaged answer"),
        (bytes.fromhex("00 01 00 00 00 07 01 03"), "no answer"),
    ],
)
async def test_each_failure_over_tcp_has_its_name(instead: bytes, said: str) -> None:
    with ModbusTcpServer({(1, 3): {0: 536, 1: 7}}) as server:
        server.spoil = lambda request, answer: instead
        with pytest.raises(Failure, match=said):
            await ask(server)


async def test_a_late_answer_over_tcp_is_passed_over() -> None:
    with ModbusTcpServer({(1, 3): {0: 536, 1: 7}}) as server:
        late = bytes.fromhex("00 63 00 00 00 07 01 03 04 00 01 00 02")
        server.spoil = lambda request, answer: late + answer
        assert await ask(server) == [536, 7]


async def test_a_server_that_is_gone_without_a_word_is_connected_to_anew() -> None:
    with ModbusTcpServer({(1, 3): {0: 536, 1: 7}}) as server:
        server.spoil = lambda request, answer: b""
        line = TcpLine(server.port, 0.05)
        await line.open()
        for _ in range(3):
            with pytest.raises(Failure, match="no answer"):
                await line.read(1, 3, Block(0, 2))
        assert not line.is_open
        with pytest.raises(PortLost):
            await line.read(1, 3, Block(0, 2))


@given(st.binary(max_size=300))
def test_any_bytes_begin_a_frame_of_bounded_length_or_none(heard: bytes) -> None:
    try:
        length = frame_length(heard)
    except ValueError:
        return
    assert length is None or 9 <= length <= MAX_FRAME


def profile(baud: int) -> Profile:
    return Profile(model="x", function=3, baud=baud, quantities={"value": Quantity(register=0, unit="1")})


async def test_each_slave_is_spoken_to_at_its_own_speed(tmp_path: Path) -> None:
    with ModbusSlaves(tmp_path / "bus", {(1, 3): {0: 1}, (2, 3): {0: 2}}) as slaves:
        heard: dict[int, int] = {}

        def note(request: bytes, answer: bytes) -> list[tuple[float, bytes]]:
            descriptor = os.open(slaves.port, os.O_RDWR | os.O_NOCTTY)
            heard[request[0]] = termios.tcgetattr(descriptor)[5]
            os.close(descriptor)
            return [(0.0, answer)]

        slaves.spoil = note
        pair = [Slave("slow", 1, 0.1, profile(4800)), Slave("quick", 2, 0.1, profile(19200))]
        bus = ModbusBus(Line(str(slaves.port), 9600), pair, Health(["slow", "quick"]), own_speeds=True)
        outcomes = await bus.read_once()
        assert all(outcome.failure is None for outcome in outcomes)
        assert heard == {1: termios.B4800, 2: termios.B19200}


async def test_another_interval_holds_at_once(tmp_path: Path) -> None:
    with ModbusSlaves(tmp_path / "bus", {(1, 3): {0: 1}}) as slaves:
        health = Health(["gauge"])
        samples: list[Sample] = []
        hourly = ModbusBus(Line(str(slaves.port), 9600), [Slave("gauge", 1, 3600.0, profile(9600))], health)
        task = asyncio.create_task(hourly.run(samples.append))
        await until(lambda: len(samples) == 1)
        health.pace("gauge", 0.1)
        await until(lambda: len(samples) >= 5)
        health.pace("gauge", 3600.0)
        asked = len(slaves.asked(1))
        await asyncio.sleep(0.5)
        assert len(slaves.asked(1)) <= asked + 1
        task.cancel()
        await asyncio.wait([task])


async def test_a_dead_a_slow_and_a_babbling_slave_leave_the_good_one_its_turn(tmp_path: Path) -> None:
    registers = {(address, 3): {0: address} for address in (1, 3, 4)}  # nobody has the address 2
    with ModbusSlaves(tmp_path / "bus", registers) as slaves:

        def behave(request: bytes, answer: bytes) -> list[tuple[float, bytes]]:
            if request[0] == 3:
                return [(0.12, answer)]
            if request[0] == 4:
                return [(0.0, b"\x55\xaa" * 40), (0.02, answer), (0.0, b"\xff" * 200)]
            return [(0.0, answer)] if answer else []

        slaves.spoil = behave
        names = ["good", "dead", "slow", "babbling"]
        four = [Slave(name, address, 0.2, profile(9600)) for address, name in enumerate(names, 1)]
        health = Health(names)
        samples: list[Sample] = []
        task = asyncio.create_task(
            ModbusBus(Line(str(slaves.port), 9600, timeout_s=0.6), four, health).run(samples.append)
        )
        await until(lambda: sum(s.source == "good" for s in samples) >= 15)
        task.cancel()
        await asyncio.wait([task])
        numbers = {name: {s.values["value"].number for s in samples if s.source == name} for name in names}
        assert numbers["good"] == {1} and numbers["slow"] == {3} and numbers["dead"] == set()
        assert numbers["babbling"] <= {4}, "what it babbles is never a value"
        goods = sum(s.source == "good" for s in samples)
        assert len(slaves.asked(2)) <= goods / 2, "the dead one is asked ever more rarely"
        assert sum(s.source == "slow" for s in samples) >= 3
        said = {one.id: one for one in health.report()}
        assert said["good"].ok and "no answer" in said["dead"].error
