"""Keys are renewed and revoked without a visit to the node, for good, and over restarts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keng_contracts.commands import Stop
from keng_contracts.keys import Key, KeyDocument, PublicJwk
from keng_contracts.playback import What
from keng_loudspeaker.obeying.keyring import Keyring
from keng_runtime.signing import NotTrusted, SigningKey, TrustStore
from tests.loudspeaker.conftest import RunningNode, Signer, Village
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import until

ROOT, OLD, NEW = SigningKey.generate("root"), SigningKey.generate("alerts"), SigningKey.generate("alerts")
PLAY = frozenset({"play", "stop"})


def pinned() -> TrustStore:
    return TrustStore({k.kid: k for k in (ROOT.trusted(frozenset({"keys"})), OLD.trusted(PLAY))})


def row(key: SigningKey, may: frozenset[str] = PLAY) -> Key:
    x = str(key.trusted(may).key.as_dict(private=False)["x"])
    return Key(kid=key.kid, iss=key.issuer, may=may, jwk=PublicJwk(x=x))


def signed(version: int, *keys: Key, revoked: tuple[str, ...] = (), by: SigningKey = ROOT) -> bytes:
    document = KeyDocument(commune=COMMUNE, version=version, keys=list(keys), revoked=list(revoked))
    return by.sign(document.to_bytes())


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(pinned(), COMMUNE, tmp_path / "keys.json")


def test_a_new_key_is_obeyed_and_the_old_one_no_more_also_after_a_restart(keyring: Keyring, tmp_path: Path) -> None:
    shared = keyring.trust
    assert keyring.offer(signed(1, row(NEW), revoked=(OLD.kid,))) is None
    for trust in (shared, Keyring(pinned(), COMMUNE, tmp_path / "keys.json").trust):
        assert trust.verify(NEW.sign(b"x"))[1].may == PLAY
        with pytest.raises(NotTrusted, match="unknown-key"):
            trust.verify(OLD.sign(b"x"))


def test_an_older_document_brings_nothing_back(keyring: Keyring, tmp_path: Path) -> None:
    first = signed(1, row(NEW))
    assert keyring.offer(first) is None
    assert keyring.offer(signed(2, revoked=(NEW.kid,))) is None
    again = Keyring(pinned(), COMMUNE, tmp_path / "keys.json")
    assert again.offer(first) == "not-newer" and again.offer(signed(2)) == ""
    assert again.offer(signed(3, row(NEW))) is None and NEW.kid not in again.trust.keys, "revoked is for good"


def test_former_keys_are_known_for_what_they_signed_before_also_after_a_restart(
    keyring: Keyring, tmp_path: Path
) -> None:
    third = SigningKey.generate("alerts")
    keyring.offer(signed(1, row(NEW), revoked=(OLD.kid,)))
    keyring.offer(signed(2, row(third), revoked=(OLD.kid, NEW.kid)))
    for known in (keyring, Keyring(pinned(), COMMUNE, tmp_path / "keys.json")):
        assert set(known.trust.keys) == {ROOT.kid, third.kid}
        assert set(known.trust.former) == {OLD.kid, NEW.kid}
        assert known.trust.kept(NEW.sign(b"{}"))[1].kid == NEW.kid
        with pytest.raises(NotTrusted):
            known.trust.verify(NEW.sign(b"{}"))


def test_only_who_may_is_heard(keyring: Keyring) -> None:
    assert keyring.offer(signed(1, row(NEW), by=OLD)) == "not-allowed"
    assert keyring.offer(signed(1, row(NEW), by=NEW)) == "unknown-key"
    assert keyring.offer(b"noise") == "unreadable" and keyring.offer(ROOT.sign(b"[]")) == "unreadable"
    assert keyring.version == 0 and set(keyring.trust.keys) == {ROOT.kid, OLD.kid}


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_noise_changes_a_key(keyring: Keyring, noise: bytes) -> None:
    assert keyring.offer(noise) and keyring.offer(ROOT.sign(noise))
    assert set(keyring.trust.keys) == {ROOT.kid, OLD.kid}


def test_a_damaged_file_leaves_the_pinned_keys(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    assert set(Keyring(pinned(), COMMUNE, tmp_path / "keys.json").trust.keys) == {ROOT.kid, OLD.kid}


async def test_a_node_follows_the_commune_s_key_document_and_says_so(
    village_broker: RunningBroker, village: Village
) -> None:
    from keng_broker.teller import tell_keys

    node = RunningNode(village_broker)
    try:
        await until(lambda: village.status.device == "null", what="the node is online")
        root = SigningKey.load(village_broker.credentials / "root" / "signing.jwk")
        fresh = Signer(SigningKey.generate("alerts"))
        old = village.alerts.key
        token = signed(1, row(fresh.key), revoked=(old.kid,), by=root)
        await tell_keys(token, COMMUNE, village_broker.credentials / "root", "127.0.0.1", village_broker.port)
        await until(lambda: any(e.kind == "keys" and e.what is What.ACCEPTED for e in village.events))
        await village.order(village.alerts.command(Stop(play="cu")))
        await until(lambda: any(e.reason == "unknown-key" for e in village.events), what="the old key is refused")
        await village.order(fresh.command(Stop(play="moi")))
        await until(lambda: any(e.reason == "stop" and e.play == "moi" for e in village.events))
        assert json.loads((node.state / "keys.json").read_text())["revoked"] == [old.kid]
    finally:
        await tell_keys(b"", COMMUNE, village_broker.credentials / "root", "127.0.0.1", village_broker.port)
        node.stop()
