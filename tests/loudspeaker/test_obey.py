"""No byte string makes a loudspeaker obey that its pinned keys have not signed for it, now, for the first time."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey

from keng_contracts.commands import Command
from keng_contracts.judging import CLOCK_SKEW_S, MAX_VALIDITY_S, Audience, Refusal
from keng_contracts.telemetry import Clock
from keng_loudspeaker.hours import Hours
from keng_loudspeaker.obeying.obey import decide
from keng_runtime.obeying import Refused
from keng_runtime.signing import SigningKey, TrustStore

ALERTS = SigningKey.generate("alerts")
STOPPER = SigningKey.generate("truc-ban")
STRANGER = SigningKey.generate("alerts")
TRUST = TrustStore(
    {k.kid: k for k in (ALERTS.trusted(frozenset({"play", "stop"})), STOPPER.trusted(frozenset({"stop"})))}
)
ME = Audience("quang-tho", "loa-phuoc-yen", frozenset({"toan-xa"}))
NOW = 1_763_258_400.0


def command(**changes: Any) -> dict[str, Any]:
    siren = {"kind": "siren", "pattern": "thu", "blasts": 2, "blast_s": 0.3, "gap_s": 0.2}
    play = {"do": "play", "play": "phu-oc-level-1-3", "priority": "emergency", "rank": 3, "items": [siren]}
    whole = {
        "iss": "alerts",
        "commune": "quang-tho",
        "aud": "zone/toan-xa",
        "jti": "0d9f6d9e-6a44-4f5c-9f4e-0a7b7c6d5e4f",
        "ctr": 8,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 60,
        "action": play,
    }
    return {**whole, **changes}


def sign(document: object, key: SigningKey = ALERTS) -> bytes:
    return key.sign(json.dumps(document).encode())


def verdict(
    token: bytes, *, clock: Clock = Clock.SYNCED, now_s: float = NOW, last: int = 7
) -> Command | Refused[Command]:
    return decide(token, trust=TRUST, me=ME, counters={"alerts": last}, now_s=now_s, clock=clock, hours=Hours())


def refusal(token: bytes, **how: Any) -> Refusal:
    refused = verdict(token, **how)
    assert isinstance(refused, Refused)
    return refused.reason


GENUINE = sign(command())


def test_a_genuine_command_is_obeyed() -> None:
    accepted = verdict(GENUINE)
    assert isinstance(accepted, Command) and accepted.action.play == "phu-oc-level-1-3"


@pytest.mark.parametrize("audience", ["speaker/loa-phuoc-yen", "zone/toan-xa", "commune"])
def test_it_is_obeyed_under_each_of_our_names(audience: str) -> None:
    assert isinstance(verdict(sign(command(aud=audience))), Command)


REFUSED: list[tuple[str, bytes, Refusal]] = [
    ("nothing", b"", Refusal.UNREADABLE),
    ("noise", b"\xff\x00\xfe...", Refusal.UNREADABLE),
    ("no token", b"a.b.c", Refusal.UNREADABLE),
    ("too large", b"." * (2 << 20), Refusal.UNREADABLE),
    ("signed, but no command", ALERTS.sign(b"42"), Refusal.UNREADABLE),
    ("signed, but no JSON", ALERTS.sign(b"\xff{"), Refusal.UNREADABLE),
    ("deep JSON", ALERTS.sign(b"[" * 100_000), Refusal.UNREADABLE),
    ("unknown field", sign(command(louder=True)), Refusal.UNREADABLE),
    ("never expires", sign(command(exp=float("nan"))), Refusal.UNREADABLE),
    ("a key nobody pinned", sign(command(), STRANGER), Refusal.UNKNOWN_KEY),
    ("forged with our key id", sign(command(), SigningKey(ALERTS.kid, "alerts", STRANGER._key)), Refusal.BAD_SIGNATURE),
    ("another issuer's name", sign(command(iss="console")), Refusal.NOT_ALLOWED),
    ("may only stop", sign(command(iss="truc-ban"), STOPPER), Refusal.NOT_ALLOWED),
    ("valid for too long", sign(command(exp=NOW + MAX_VALIDITY_S + 1)), Refusal.NOT_ALLOWED),
    ("another loudspeaker", sign(command(aud="speaker/loa-niem-pho")), Refusal.NOT_FOR_ME),
    ("another zone", sign(command(aud="zone/ven-song")), Refusal.NOT_FOR_ME),
    ("another commune", sign(command(commune="quang-vinh", aud="commune")), Refusal.NOT_FOR_ME),
    ("the last number again", sign(command(ctr=7)), Refusal.REPLAYED),
    ("expired", sign(command(nbf=NOW - 61, exp=NOW - 1)), Refusal.EXPIRED),
    ("not yet", sign(command(nbf=NOW + CLOCK_SKEW_S + 1, exp=NOW + 100)), Refusal.NOT_YET),
]


@pytest.mark.parametrize(("token", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_it_is_refused_with_its_reason(token: bytes, reason: Refusal) -> None:
    assert refusal(token) is reason


def test_a_signature_by_shared_secret_or_none_is_no_signature() -> None:
    """RFC 8725, 3.1: the algorithm is ours to choose, not the message's."""
    public = json.dumps(ALERTS._key.as_dict(private=False)).encode()
    hmac = jws.serialize_compact(
        {"alg": "HS256", "kid": ALERTS.kid}, json.dumps(command()).encode(), OctKey.import_key(public)
    ).encode()
    body = GENUINE.split(b".")[1]
    for header in ({"alg": "none", "kid": ALERTS.kid}, {"alg": "none"}):
        unsigned = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=") + b"." + body + b"."
        assert isinstance(verdict(unsigned), Refused)
    assert refusal(hmac) is Refusal.BAD_SIGNATURE


def test_a_clock_that_is_not_kept_leaves_the_decision_to_the_number() -> None:
    old = sign(command(nbf=NOW - 61, exp=NOW - 1))
    assert isinstance(verdict(old, clock=Clock.UNKNOWN), Command)
    assert refusal(old, clock=Clock.UNKNOWN, last=8) is Refusal.REPLAYED


NIGHT = NOW - 6 * 3600  # three o'clock in Viet Nam


def at_night(priority: str, **changes: Any) -> bytes:
    action = {**command()["action"], "priority": priority, **changes}
    return sign(command(action=action, iat=NIGHT, nbf=NIGHT, exp=NIGHT + 60))


def test_at_night_only_an_emergency_is_obeyed_or_what_was_confirmed_twice() -> None:
    assert isinstance(verdict(at_night("emergency"), now_s=NIGHT), Command)
    assert isinstance(verdict(at_night("urgent"), now_s=NIGHT), Command)
    for priority in ("live", "priority", "scheduled", "relay"):
        assert refusal(at_night(priority), now_s=NIGHT) is Refusal.QUIET_HOURS
        assert isinstance(verdict(at_night(priority, night="Chủ tịch xã"), now_s=NIGHT), Command)


def test_without_a_kept_clock_the_time_of_signing_tells_whether_it_is_night() -> None:
    assert refusal(at_night("relay"), now_s=NOW, clock=Clock.UNKNOWN) is Refusal.QUIET_HOURS


def test_a_stop_is_obeyed_at_any_hour() -> None:
    stop = sign(command(iat=NIGHT, nbf=NIGHT, exp=NIGHT + 60, action={"do": "stop"}))
    assert isinstance(verdict(stop, now_s=NIGHT), Command)


def test_numbers_count_for_each_issuer() -> None:
    stop = sign(command(iss="truc-ban", ctr=1, action={"do": "stop"}), STOPPER)
    assert isinstance(verdict(stop), Command)


def test_only_a_verified_command_is_named_in_its_refusal() -> None:
    refused = verdict(sign(command(), STRANGER))
    assert isinstance(refused, Refused) and refused.command is None
    refused = verdict(sign(command(ctr=1)))
    assert isinstance(refused, Refused) and refused.command is not None


@given(st.binary(max_size=600))
@example(b"\x00" * 100)
@example(b"eyJhbGciOiJub25lIn0.e30.")
@example(b'{"payload":"","signatures":[]}')
def test_no_noise_is_obeyed(noise: bytes) -> None:
    assert isinstance(verdict(noise), Refused)


@given(st.data())
def test_no_change_of_a_genuine_command_is_obeyed(data: st.DataObject) -> None:
    token = bytearray(GENUINE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(token) - 1)))
        match data.draw(st.sampled_from(["set", "cut", "insert", "double"])):
            case "set":
                token[at] = data.draw(st.integers(0, 255))
            case "cut":
                del token[at : at + data.draw(st.integers(1, 30))]
            case "insert":
                token[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case "double":
                token += token[at:]
        if not token:
            break
    seen = verdict(bytes(token))
    if isinstance(seen, Command):  # base64 has more than one spelling of the same bytes; of other bytes it has none
        assert seen == verdict(GENUINE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(list(command())), JSON, min_size=1))
def test_a_signed_command_with_nonsense_in_it_is_judged_and_never_a_fault(nonsense: dict[str, Any]) -> None:
    seen = verdict(sign(command(**nonsense)))
    assert not isinstance(seen, Refused) or "fault" not in seen.detail


@given(st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "jwk", "typ"]), JSON, min_size=1))
def test_whatever_the_header_says_only_the_pinned_key_counts(header: dict[str, Any]) -> None:
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    seen = verdict(b".".join([head, *GENUINE.split(b".")[1:]]))
    assert isinstance(seen, Refused) and "fault" not in seen.detail
