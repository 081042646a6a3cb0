"""The parser of requests: whatever comes over the line, it never fails and finds the requests again."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from keng_firmware_sim.modbus import (
    MAX_FRAME,
    Framer,
    Refusal,
    crc16,
    is_intact,
    respond,
    silent_interval_s,
)

SILENCE_S = 0.01
REQUEST = bytes.fromhex("01 03 00 00 00 01 84 0A")

chunks = st.lists(st.binary(max_size=40), max_size=12)
banks = st.dictionaries(
    st.sampled_from([3, 4]), st.dictionaries(st.integers(0, 20), st.integers(0, 0xFFFF), max_size=8), max_size=2
)


def with_crc(body: bytes) -> bytes:
    return body + crc16(body)


@given(chunks)
@example([b"\x01\x10\x00\x00\x00\x01\xff"])  # the head of a long write that never ends
@example([b"\x01\x03\x00\x00\x00\x01\x84"])  # all of a request but its last byte
def test_after_any_noise_and_a_silence_a_request_is_heard(noise: list[bytes]) -> None:
    framer = Framer(SILENCE_S)
    now = 0.0
    for chunk in noise:
        framer.feed(chunk, now)
        now += SILENCE_S / 4

    assert framer.feed(REQUEST, now + SILENCE_S) == [REQUEST]


@given(st.binary(max_size=3000))
def test_all_that_is_taken_for_a_request_has_a_right_crc(noise: bytes) -> None:
    for frame in Framer(SILENCE_S).feed(noise, 0.0):
        assert is_intact(frame)
        assert len(frame) <= MAX_FRAME


@given(st.lists(st.integers(0, 125), min_size=1, max_size=6), st.data())
def test_requests_are_found_however_they_are_torn_apart(counts: list[int], data: st.DataObject) -> None:
    requests = [with_crc(bytes((7, 3, 0, 1, 0, count))) for count in counts]
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    framer = Framer(SILENCE_S)
    heard = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard += framer.feed(stream[start:end], 0.0)

    assert heard == requests


def test_a_request_right_after_noise_is_heard_without_a_silence() -> None:
    assert Framer(SILENCE_S).feed(b"\x00\xff\x01\x10\x00\x00\x00\x01\xff" + REQUEST, 0.0) == [REQUEST]


def test_a_request_torn_by_a_silence_is_not_put_together() -> None:
    framer = Framer(SILENCE_S)
    assert framer.feed(REQUEST[:5], 0.0) == []
    assert framer.feed(REQUEST[5:], 2 * SILENCE_S) == []
    assert framer.feed(REQUEST, 4 * SILENCE_S) == [REQUEST]


def test_a_write_of_many_registers_says_its_own_length() -> None:
    write = with_crc(bytes.fromhex("01 10 07 D0 00 01 02 00 02"))
    assert Framer(SILENCE_S).feed(write[:4], 0.0) == []
    framer = Framer(SILENCE_S)
    assert framer.feed(write + REQUEST, 0.0) == [write, REQUEST]


@given(st.binary(max_size=60), banks)
def test_every_intact_frame_gets_an_intact_answer(body: bytes, bank: dict[int, dict[int, int]]) -> None:
    response = respond(with_crc(b"\x01\x03" + body), bank)

    assert is_intact(response.data)
    assert response.data[0] == 1
    assert (response.exception is None) == (response.data[1] == 3)


@given(st.integers(0, 30), st.integers(0, 200), banks)
def test_what_is_refused_and_what_is_answered(start: int, count: int, bank: dict[int, dict[int, int]]) -> None:
    response = respond(with_crc(bytes((1, 3, 0, start, 0, count))), bank)

    wanted = range(start, start + count)
    if 3 not in bank:
        assert response.exception is Refusal.ILLEGAL_FUNCTION
    elif not 1 <= count <= 125:
        assert response.exception is Refusal.ILLEGAL_DATA_VALUE
    elif any(at not in bank[3] for at in wanted):
        assert response.exception is Refusal.ILLEGAL_DATA_ADDRESS
    else:
        assert response.registers == {at: bank[3][at] for at in wanted}
        assert response.data[2] == 2 * count


def test_the_silence_is_three_and_a_half_characters_and_never_less_than_1_75_ms() -> None:
    assert silent_interval_s(9600) == 35 / 9600
    assert silent_interval_s(115200) == 0.00175
