"""The meter hears when sound begins, how loud it is and how long it lasts, to the sample and in pieces of any size."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_loudspeaker.proving.meter import BLOCK, FLOOR, RATE, SILENCE_DBFS, Hearing, Meter, StreamClock, dbfs


def tone(seconds: float, amplitude: float = 0.5, hz: float = 1000) -> array[int]:
    count = round(seconds * RATE)
    return array("h", [round(32767 * amplitude * math.sin(2 * math.pi * hz * i / RATE)) for i in range(count)])


def quiet(seconds: float) -> array[int]:
    return array("h", bytes(2 * round(seconds * RATE)))


def hear(stream: array[int], sizes: list[int] | None = None, start_s: float = 100.0, delay_s: float = 0.0) -> Hearing:
    """Feed a stream that begins at ``start_s``, every piece as soon as it is whole and ``delay_s`` later."""
    meter, data, at, n = Meter(), stream.tobytes(), 0, 0
    with meter.hearing(start_s) as hearing:
        while at < len(data):
            size = sizes[n % len(sizes)] if sizes else 2 * BLOCK
            piece = data[at : at + size]
            meter.feed(piece, start_s + at / 2 / RATE + delay_s)
            at, n = at + len(piece), n + 1
        return hearing


def test_the_first_sample_is_found_inside_its_block() -> None:
    heard = hear(quiet(0.1234) + tone(0.3) + quiet(0.5))
    assert heard.first_s == pytest.approx(100.1234, abs=0.0002)
    assert heard.last_s == pytest.approx(100.4234, abs=0.0002)
    assert heard.sounded_s == pytest.approx(0.3, abs=0.001)


def test_the_level_is_that_of_what_sounded_without_the_pauses() -> None:
    heard = hear(quiet(0.2) + tone(0.3) + quiet(1) + tone(0.3) + quiet(0.1))
    assert heard.level_dbfs == pytest.approx(-9.0, abs=0.1)  # a sine of half the full scale
    assert heard.sounded_s == pytest.approx(0.6, abs=0.002)


def test_the_onset_is_the_first_quarter_second() -> None:
    heard = hear(quiet(0.2) + tone(0.5, 0.1) + tone(1.0, 0.9))
    assert heard.onset_known and heard.onset_dbfs == pytest.approx(-23.0, abs=0.2)


def test_silence_and_what_lies_below_the_floor_are_not_sound() -> None:
    faint = array("h", [FLOOR, -FLOOR] * RATE)
    for stream in (quiet(1), faint):
        heard = hear(stream)
        assert heard.first_s is None and heard.level_dbfs is None and heard.sounded_s == 0


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=20))
def test_how_the_stream_is_cut_changes_nothing(sizes: list[int]) -> None:
    stream = quiet(0.05) + tone(0.1) + quiet(0.05)
    whole, cut = hear(stream), hear(stream, sizes)
    assert cut.sounded_s == whole.sounded_s and cut.level_dbfs == whole.level_dbfs


def test_the_curve_follows_the_sound() -> None:
    meter = Meter()
    meter.feed((quiet(0.1) + tone(0.1)).tobytes(), 5.0)
    levels = [level for _, level in meter.curve]
    assert levels[:5] == [SILENCE_DBFS] * 5 and levels[5:] == pytest.approx([-9.0] * 5, abs=0.1)


def test_a_block_that_was_handed_over_late_keeps_its_time() -> None:
    clock = StreamClock()
    for n in range(50):
        late = 0.4 if n == 40 else 0.003 * (n % 3)
        assert clock.due(n * BLOCK, 10 + n * 0.02 + late) == pytest.approx(10 + n * 0.02, abs=0.001)


def test_after_lost_samples_time_is_right_again() -> None:
    clock = StreamClock()
    clock.due(0, 0.0)
    assert clock.due(BLOCK, 30.0) >= 30.0 - StreamClock.WORST_S  # half a minute got lost, not delayed
    for n in range(2, 700):
        due = clock.due(n * BLOCK, 30.0 + n * 0.02)
    assert due == pytest.approx(30.0 + 699 * 0.02, abs=0.001)


@given(st.integers(0, 1 << 20), st.floats(0, 1e15))
def test_a_level_is_always_a_number(samples: int, energy: float) -> None:
    assert SILENCE_DBFS <= dbfs(energy, samples) < 1000
