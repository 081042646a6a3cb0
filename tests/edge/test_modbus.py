"""Modbus RTU over a real pseudo-terminal: what is asked, what is understood, what each failure is called."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_edge.sources.modbus import Line, find_answer
from keng_edge.sources.profiles import Block
from keng_edge.sources.serialport import PortLost
from keng_edge.sources.source import Failure
from keng_runtime.clock import now_ms
from tests.support.modbus_slave import ModbusSlaves, framed
from tests.support.processes import eventually, until

RAIN = bytes.fromhex("01 03 02 02 18 B9 2E")


@pytest.fixture
def slaves(tmp_path: Path) -> Iterator[ModbusSlaves]:
    with ModbusSlaves(tmp_path / "bus", {(1, 3): {0: 536, 1: 7}, (3, 4): {4: 248, 5: 353}}) as slaves:
        yield slaves


async def read(slaves: ModbusSlaves, address: int = 1, function: int = 3, block: Block = Block(0, 1)) -> list[int]:
    line = Line(str(slaves.port), 9600)
    await line.open()
    try:
        return list((await line.read(address, function, block)).words)
    finally:
        line.close()


async def test_the_request_is_byte_exact(slaves: ModbusSlaves) -> None:
    assert await read(slaves) == [536]
    assert slaves.requests[0][1] == bytes.fromhex("01 03 00 00 00 01 84 0A")


async def test_input_registers_in_one_block(slaves: ModbusSlaves) -> None:
    assert await read(slaves, 3, 4, Block(4, 2)) == [248, 353]


async def test_a_reading_is_stamped_when_its_last_byte_is_in(slaves: ModbusSlaves) -> None:
    slaves.spoil = lambda request, answer: [(0.05, answer[:4]), (0.1, answer[4:])]
    line = Line(str(slaves.port), 9600)
    await line.open()
    before = now_ms()
    answer = await line.read(1, 3, Block(0, 1))
    line.close()
    assert before + 150 <= answer.time_ms <= now_ms()


async def test_stray_bytes_before_an_answer_do_no_harm(slaves: ModbusSlaves) -> None:
    slaves.spoil = lambda request, answer: [(0.0, b"\x00"), (0.01, b"\xff\x01\x03"), (0.01, answer)]
    assert await read(slaves) == [536]


async def test_an_adapter_that_echoes_does_no_harm(slaves: ModbusSlaves) -> None:
    slaves.spoil = lambda request, answer: [(0.0, request), (0.15, answer)]
    assert await read(slaves) == [536]


async def test_the_answer_of_another_slave_is_not_taken(slaves: ModbusSlaves) -> None:
    slaves.spoil = lambda request, answer: [(0.0, framed(bytes([2, 3, 2, 9, 9]))), (0.01, answer)]
    assert await read(slaves) == [536]


async def test_a_late_answer_is_not_taken_for_the_next_one(slaves: ModbusSlaves) -> None:
    line = Line(str(slaves.port), 9600, timeout_s=0.1)
    await line.open()
    slaves.spoil = lambda request, answer: []
    with pytest.raises(Failure):
        await line.read(1, 3, Block(0, 1))
    slaves.spoil = lambda request, answer: [(0.0, answer)]
    slaves.say(framed(bytes([1, 3, 2, 0, 99])))
    await until(lambda: line.heard)
    assert list((await line.read(1, 3, Block(0, 1))).words) == [536]
    line.close()


async def test_a_late_answer_that_nobody_has_looked_at_is_not_taken_either(slaves: ModbusSlaves) -> None:
    line = Line(str(slaves.port), 9600)
    await line.open()
    slaves.say(framed(bytes([1, 3, 2, 0, 99])))
    port = line._serial
    assert port is not None
    eventually(lambda: port.in_waiting == 7)  # in the kernel's buffer; our loop has not run since
    assert list((await line.read(1, 3, Block(0, 1))).words) == [536]
    line.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", r"no answer within 0\.3\d? s"),
        (RAIN[:-1] + b"\x2f", "a damaged answer, 7 bytes: 01 03 02 02 18 b9 2f"),
        (RAIN[:5], "a damaged answer, 5 bytes"),
        (framed(bytes([1, 0x83, 2])), r"it refuses registers 0 to 0: it has no such register \(exception 2\)"),
        (framed(bytes([1, 0x83, 6])), r"it is busy \(exception 6\)"),
        (framed(bytes([1, 0x83, 99])), r"for a reason of its own \(exception 99\)"),
        (framed(bytes([1, 3, 4, 0, 1, 0, 2])), "it answered 2 registers instead of 1"),
        (framed(bytes([1, 4, 2, 0, 1])), "a damaged answer"),
    ],
)
async def test_each_failure_has_its_name(slaves: ModbusSlaves, answer: bytes, said: str) -> None:
    slaves.spoil = lambda request, right: [(0.0, answer)]
    with pytest.raises(Failure, match=said):
        await read(slaves)


async def test_a_damaged_answer_costs_less_than_the_time_out(slaves: ModbusSlaves) -> None:
    slaves.spoil = lambda request, right: [(0.0, RAIN[:-1] + b"\x00")]
    line = Line(str(slaves.port), 9600, timeout_s=20)
    await line.open()
    with pytest.raises(Failure, match="damaged"):
        async with asyncio.timeout(10):
            await line.read(1, 3, Block(0, 1))
    line.close()


async def test_noise_without_end_neither_hangs_nor_grows(slaves: ModbusSlaves) -> None:
    slaves.spoil = lambda request, right: [(0.0, bytes(200))] * 20
    with pytest.raises(Failure, match=r"a damaged answer, \d{3} bytes"):
        await read(slaves)


def test_the_time_out_follows_the_speed_and_the_length() -> None:
    assert Line("/dev/x", 9600).timeout_for(1) == pytest.approx(0.3 + 15 * 11 / 9600)
    assert Line("/dev/x", 4800).timeout_for(7) == pytest.approx(0.3 + 27 * 11 / 4800)
    assert Line("/dev/x", 4800, timeout_s=2.0).timeout_for(7) == 2.0


async def test_a_port_that_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PortLost, match="the port is not there") as lost:
        await Line(str(tmp_path / "no-port"), 9600).open()
    assert "plug the adapter in" in lost.value.todo


async def test_a_port_that_another_program_has_is_not_shared(slaves: ModbusSlaves) -> None:
    first = Line(str(slaves.port), 9600)
    await first.open()
    with pytest.raises(PortLost, match="the port is in use"):
        await Line(str(slaves.port), 9600).open()
    first.close()


async def test_a_file_that_is_no_port_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PortLost, match="the port can't be opened"):
        await Line(str(tmp_path / "file"), 9600).open()


async def test_a_port_that_vanishes_meanwhile_is_said(slaves: ModbusSlaves) -> None:
    line = Line(str(slaves.port), 9600)
    await line.open()
    slaves.pull_out()
    with pytest.raises(PortLost, match="the port vanished"):
        await line.read(1, 3, Block(0, 1))
    assert not line.is_open


async def test_a_serial_device_server_is_a_port_too() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(RAIN)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        line = Line(f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}", 9600)
        await line.open()
        assert list((await line.read(1, 3, Block(0, 1))).words) == [536]
        line.close()
    with pytest.raises(PortLost, match="the device server can't be reached"):
        await line.open()


@given(st.binary(max_size=300), st.integers(1, 247), st.sampled_from([3, 4]))
def test_any_bytes_are_an_answer_or_none(heard: bytes, address: int, function: int) -> None:
    pdu = find_answer(heard, address, function)
    assert pdu is None or pdu.dev_id == address


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=100))
def test_an_answer_is_found_in_any_noise(before: bytes, after: bytes, words: list[int]) -> None:
    frame = framed(bytes([9, 3, 2 * len(words)]) + b"".join(word.to_bytes(2, "big") for word in words))
    pdu = find_answer(before + frame + after, 9, 3)
    assert pdu is not None
    if b"\x09" not in before:  # else noise may hold a right frame of its own, once in 65,536 times
        assert list(pdu.registers) == words
