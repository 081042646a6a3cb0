"""The golden transcript of the normaliser: what is written, and what a Vietnamese announcer says."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_loudspeaker.sounding.lexicon import ABBREVIATIONS, FOREIGN, ISSUERS, SHORTENED, UNITS
from keng_loudspeaker.sounding.numerals import integer
from keng_loudspeaker.sounding.vietnamese import speakable

LINES = Path(__file__).with_name("vietnamese.tsv").read_text(encoding="utf-8").splitlines()
GOLDEN = [line.split("\t") for line in LINES if not line.startswith("# ")]
#: No character of a text becomes more than so many: a siren may wait for its words, so they must not swell.
GROWTH = 30

#: What people write, thrown together.
PIECES = st.sampled_from(
    [
        *(row[0] for row in GOLDEN),
        *(word for table in (ABBREVIATIONS, FOREIGN, ISSUERS, SHORTENED, UNITS) for word in table),
        *"0123456789.,:;/-–~+±≥=%°'²½ \n\t()&@#_xhgXVIBĐT",
        *("BĐ", "ngày ", "số ", "Km", "www.", ".vn", "mục ", "thứ ", "T7", "QĐ-", "\u00a0", "́", "😱"),
    ]
)


@pytest.mark.parametrize(("written", "spoken"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_is_spoken_as_people_say_it(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


@pytest.mark.parametrize("written", [row[0] for row in GOLDEN])
def test_decomposed_letters_are_read_as_composed_ones(written: str) -> None:
    assert speakable(unicodedata.normalize("NFD", written)) == speakable(written)


def test_lines_of_a_list_are_sentences() -> None:
    listed = "Bà con cần:\n- Kê cao tài sản\n- Dự trữ nước uống\n\nTrưởng thôn\nđọc hai lần"
    said = "Bà con cần. Kê cao tài sản. Dự trữ nước uống. Trưởng thôn đọc hai lần"
    assert speakable(listed) == said
    assert speakable("1. Sơ tán\n2. Cắt điện") == "một. Sơ tán. hai. Cắt điện"


def well_formed(spoken: str, written: str) -> bool:
    """Latin letters and pauses alone, composed, of bounded length, and what is ready stays as it is."""
    return (
        all(c in " .,;:!?" or unicodedata.name(c).startswith("LATIN") for c in spoken)
        and not any(c.isdigit() for c in spoken)
        and spoken == unicodedata.normalize("NFC", spoken)
        and len(spoken) <= GROWTH * max(len(unicodedata.normalize("NFKC", written)), 1)
        and speakable(spoken) == spoken
    )


@given(st.text(max_size=200))
def test_whatever_is_written_the_voice_gets_letters_and_pauses(text: str) -> None:
    assert well_formed(speakable(text), text)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_mixture_of_what_people_write_is_too_odd(text: str) -> None:
    assert well_formed(speakable(text), text)


def test_the_longest_texts_are_put_into_words_at_once() -> None:
    for written in ("9" * 5000, "1.000" * 1000, "BĐ3 " * 1000, "-1/1-" * 1000, "I" * 5000, "a.b" * 1500, ",:;" * 2000):
        assert well_formed(speakable(written), written)


@given(st.integers(0, 10**18 - 1))
def test_a_number_is_words_only(n: int) -> None:
    words = integer(n).split()
    assert words and all(word.isalpha() for word in words)


def test_different_numbers_are_never_said_alike() -> None:
    assert len({integer(n) for n in range(12_000)}) == 12_000
