"""The golden table of the normaliser: what is written, and what is said."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_loudspeaker.sounding.vietnamese import integer, speakable

GOLDEN = [
    line.split("\t") for line in Path(__file__).with_name("vietnamese.tsv").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize(("written", "spoken"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_is_spoken_as_people_say_it(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


def test_decomposed_letters_become_one() -> None:
    assert speakable(unicodedata.normalize("NFD", "Nước lũ ở Quảng Thọ")) == "Nước lũ ở Quảng Thọ"


@given(st.text(max_size=200))
def test_whatever_is_written_no_digit_and_no_command_to_the_engine_is_left(text: str) -> None:
    spoken = speakable(text)
    assert not any(c.isdigit() or c in "[]<>|" or unicodedata.category(c) == "Cc" for c in spoken)
    assert spoken == unicodedata.normalize("NFC", spoken)


@given(st.text("0123456789,.:/-– mhgBĐI%°C³²ngày", max_size=60))
def test_no_mixture_of_numbers_and_signs_is_too_odd(text: str) -> None:
    assert not any(c.isdigit() for c in speakable(text))


@given(st.integers(0, 10**12 - 1))
def test_a_number_is_words_only(n: int) -> None:
    words = integer(n).split()
    assert words and all(word.isalpha() for word in words)


def test_different_numbers_are_never_said_alike() -> None:
    assert len({integer(n) for n in range(12_000)}) == 12_000
