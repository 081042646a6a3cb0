"""Receipts: ranges that cover exactly what is safe."""

from __future__ import annotations

import doctest
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keng_contracts import receipts
from keng_contracts.receipts import DeadLettered, Receipt, to_ranges

BOOT = "6f1c2a90d3e4b7a1"


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(receipts).failed == 0


@given(st.lists(st.integers(0, 60) | st.integers(0, (1 << 53) - 1)))
def test_ranges_cover_exactly_what_they_were_made_of(seqs: list[int]) -> None:
    ranges = to_ranges(seqs)
    assert {seq for first, last in ranges for seq in range(first, last + 1)} == set(seqs)


@given(st.sets(st.integers(0, 60)))
def test_ranges_rise_and_do_not_touch(seqs: set[int]) -> None:
    ranges = to_ranges(seqs)
    assert all(first <= last for first, last in ranges)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))


@given(
    st.lists(st.integers(0, 100)),
    st.lists(st.builds(DeadLettered, seq=st.integers(0, (1 << 53) - 1), reason=st.text(max_size=20)), max_size=3),
)
def test_a_receipt_is_the_same_after_the_way(seqs: list[int], dead: list[DeadLettered]) -> None:
    receipt = Receipt(boot=BOOT, stored=to_ranges(seqs), dead=dead)
    assert Receipt.model_validate_json(receipt.to_bytes()) == receipt


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{}",
        b'{"boot": "x"}',
        b'{"boot": "6f1c2a90d3e4b7a1", "stored": [[1]]}',
        b'{"boot": "6f1c2a90d3e4b7a1", "stored": [[-1, 2]]}',
        b'{"boot": "6f1c2a90d3e4b7a1", "stored": [[1, 9007199254740992]]}',
        b'{"boot": "6f1c2a90d3e4b7a1", "dead": [{"seq": 1}]}',
    ],
)
def test_what_is_no_receipt_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValidationError):
        Receipt.model_validate_json(wrong)
