"""Commands: every reason for which a node does not obey, and the order in which they are asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keng_contracts.commands import Command, Media, Stop
from keng_contracts.judging import CLOCK_SKEW_S, MAX_VALIDITY_S, Audience, Refusal, judge
from keng_contracts.telemetry import Clock

NOW = 1_763_258_400.0
ME = Audience("quang-tho", "loa-phuoc-yen", frozenset({"toan-xa", "ven-song"}))
PLAY = {
    "do": "play",
    "play": "phu-oc-level-3-3",
    "priority": "emergency",
    "items": [
        {"kind": "siren", "pattern": "lu-tren-bd3", "blasts": 5, "blast_s": 30, "gap_s": 5, "repeats": 3},
        {"kind": "speech", "text": "Nước sông Bồ đã vượt báo động ba."},
    ],
}


def command(**changes: Any) -> Command:
    fields = {
        "iss": "alerts",
        "commune": "quang-tho",
        "aud": "zone/ven-song",
        "jti": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "ctr": 8,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 300,
        "action": PLAY,
    }
    return Command.model_validate({**fields, **changes})


def verdict(given_: Command, **changes: Any) -> Refusal | None:
    asked: dict[str, Any] = {
        "issuer": "alerts",
        "may": frozenset({"play", "stop"}),
        "me": ME,
        "last_ctr": 7,
        "now_s": NOW + 1,
        "clock": Clock.SYNCED,
    }
    return judge(given_, **{**asked, **changes})


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://a.b", True),
        ("https://ab", False),
        ("https://" + "a" * 500, True),
        ("https://" + "a" * 501, False),
        ("http://a.b", False),
        ("ftp://a.b", False),
        ("https://a.b/ c", False),
        ("https://a.b\n", False),
    ],
)
def test_the_address_of_a_sound_file(url: str, fits: bool) -> None:
    try:
        Media(url=url, sha256="0" * 64, size=1)
    except ValidationError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("audience", ["speaker/loa-phuoc-yen", "zone/toan-xa", "zone/ven-song", "commune"])
def test_a_command_for_me_is_obeyed(audience: str) -> None:
    assert verdict(command(aud=audience)) is None


@pytest.mark.parametrize(
    ("changes", "asked", "refusal"),
    [
        # The key that verified it is not the issuer's, or may not do this.
        ({"iss": "console"}, {}, Refusal.NOT_ALLOWED),
        ({}, {"issuer": "console"}, Refusal.NOT_ALLOWED),
        ({}, {"may": frozenset({"stop"})}, Refusal.NOT_ALLOWED),
        ({"action": {"do": "stop"}}, {"may": frozenset({"play", "registry"})}, Refusal.NOT_ALLOWED),
        ({}, {"may": frozenset()}, Refusal.NOT_ALLOWED),
        # It is for somebody else.
        ({"aud": "speaker/loa-niem-pho"}, {}, Refusal.NOT_FOR_ME),
        ({"aud": "zone/dong-bao"}, {}, Refusal.NOT_FOR_ME),
        ({"aud": "zone/loa-phuoc-yen"}, {}, Refusal.NOT_FOR_ME),
        ({"aud": "speaker/ven-song"}, {}, Refusal.NOT_FOR_ME),
        ({"aud": "commune", "commune": "phong-dien"}, {}, Refusal.NOT_FOR_ME),
        ({"commune": "phong-dien"}, {}, Refusal.NOT_FOR_ME),
        # It was obeyed before, or something newer was.
        ({"ctr": 7}, {}, Refusal.REPLAYED),
        ({"ctr": 1}, {}, Refusal.REPLAYED),
        # It is valid for longer than any order may be.
        ({"exp": NOW + MAX_VALIDITY_S + 1}, {}, Refusal.NOT_ALLOWED),
        ({"exp": NOW + MAX_VALIDITY_S + 1}, {"clock": Clock.UNKNOWN}, Refusal.NOT_ALLOWED),
        # It is not its time.
        ({}, {"now_s": NOW - CLOCK_SKEW_S - 0.1}, Refusal.NOT_YET),
        ({}, {"now_s": NOW + 300.1}, Refusal.EXPIRED),
        ({"exp": NOW - 1}, {}, Refusal.EXPIRED),
        ({}, {"now_s": NOW + 301, "clock": Clock.HOLDOVER}, Refusal.EXPIRED),
    ],
)
def test_what_is_not_obeyed_and_why(changes: dict[str, Any], asked: dict[str, Any], refusal: Refusal) -> None:
    assert verdict(command(**changes), **asked) is refusal


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, {"now_s": NOW - CLOCK_SKEW_S}),
        ({}, {"now_s": NOW + 300}),
        ({"exp": NOW + MAX_VALIDITY_S}, {}),
        ({}, {"last_ctr": 0}),
        # A clock that nobody trusts can't refuse: the counter alone decides.
        ({}, {"now_s": 0.0, "clock": Clock.UNKNOWN}),
        ({}, {"now_s": NOW + 1e6, "clock": Clock.UNKNOWN}),
        ({"action": {"do": "stop", "play": "phu-oc-level-3-3"}}, {}),
    ],
)
def test_what_is_just_within_the_rules_is_obeyed(changes: dict[str, Any], asked: dict[str, Any]) -> None:
    assert verdict(command(**changes), **asked) is None


def test_the_same_command_is_obeyed_once() -> None:
    once = command()
    assert verdict(once) is None
    assert verdict(once, last_ctr=once.ctr) is Refusal.REPLAYED
    assert verdict(once, last_ctr=once.ctr, clock=Clock.UNKNOWN) is Refusal.REPLAYED


def test_who_may_not_order_learns_nothing_more() -> None:
    """The order of the questions: a stranger's command is refused as that, whatever else is wrong with it."""
    assert verdict(command(aud="zone/dong-bao", ctr=1, exp=NOW - 1), may=frozenset()) is Refusal.NOT_ALLOWED
    assert verdict(command(aud="zone/dong-bao", ctr=1, exp=NOW - 1)) is Refusal.NOT_FOR_ME
    assert verdict(command(ctr=1, exp=NOW - 1)) is Refusal.REPLAYED


@given(
    st.integers(1, 20),
    st.integers(0, 20),
    st.floats(-1e4, 1e4),
    st.floats(0, 2e4),
    st.sampled_from(Clock),
    st.booleans(),
)
def test_nothing_is_obeyed_twice_nor_out_of_its_time(
    ctr: int, last: int, late: float, valid: float, clock: Clock, mine: bool
) -> None:
    given_ = command(ctr=ctr, exp=NOW + valid, aud="zone/ven-song" if mine else "zone/dong-bao")
    if verdict(given_, last_ctr=last, now_s=NOW + late, clock=clock) is None:
        ends, now = NOW + valid, NOW + late  # as floats are: a time far below a microsecond is none
        assert mine and ctr > last and ends - NOW <= MAX_VALIDITY_S
        assert clock is Clock.UNKNOWN or NOW - CLOCK_SKEW_S <= now <= ends


def test_a_command_is_the_same_after_the_way() -> None:
    for one in (command(), command(action=Stop().model_dump())):
        assert Command.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "speaker/"},
        {"aud": "everyone"},
        {"aud": "commune/x"},
        {"aud": "zone/+"},
        {"ctr": 0},
        {"ctr": 1 << 53},
        {"jti": "x"},
        {"iss": "Alerts"},
        {"exp": float("nan")},
        {"nbf": float("nan")},
        {"exp": float("inf")},
        {"volume": 100},
        {"action": {"do": "explode"}},
        {"action": {"do": "stop", "volume": 3}},
        {"action": {**PLAY, "items": []}},
        {"action": {**PLAY, "items": PLAY["items"] * 11}},  # type: ignore[operator]
        {"action": {**PLAY, "play": "Phú Ốc"}},
        {"action": {**PLAY, "priority": "highest"}},
        {"action": {**PLAY, "items": [{"kind": "siren", "pattern": "x", "blasts": 5, "blast_s": 1e9, "gap_s": 5}]}},
        {"action": {**PLAY, "items": [{"kind": "siren", "pattern": "x", "blasts": 999, "blast_s": 1, "gap_s": 5}]}},
        {"action": {**PLAY, "items": [{"kind": "speech", "text": ""}]}},
        {"action": {**PLAY, "items": [{"kind": "speech", "text": "a" * 2001}]}},
        {"action": {**PLAY, "items": [{"kind": "shell", "text": "reboot"}]}},
    ],
)
def test_what_is_no_command_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        command(**changes)


def test_a_time_that_is_no_number_is_refused_from_the_wire_too() -> None:
    """Not-a-number compares false with every clock: such an order would never expire."""
    text = json.dumps({**json.loads(command().model_dump_json()), "exp": float("nan")})
    with pytest.raises(ValidationError):
        Command.model_validate_json(text)
