"""Which key documents a node takes: each rule, and its invariants over any sequence of documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.keys import RIGHT, Key, KeyDocument, PublicJwk, State, change

PINNED = {"root": frozenset({RIGHT}), "alerts-1": frozenset({"play", "stop"})}
JWK = PublicJwk(x="A" * 43)


def key(kid: str, *may: str) -> Key:
    return Key(kid=kid, iss="alerts", may=frozenset(may), jwk=JWK)


def document(version: int, *keys: Key, revoked: tuple[str, ...] = (), commune: str = "quang-tho") -> KeyDocument:
    return KeyDocument(commune=commune, version=version, keys=list(keys), revoked=list(revoked))


def take(state: State, doc: KeyDocument, signer: str = "root") -> State | str:
    return change(state, doc, signer=signer, commune="quang-tho", pinned=PINNED)


HELPER = State(1, (key("helper", RIGHT), key("alerts-2", "play")))


@pytest.mark.parametrize(
    ("state", "doc", "signer", "why"),
    [
        (State(), document(1, commune="quang-vinh"), "root", "another-commune"),
        (State(3), document(3), "root", "not-newer"),
        (State(3), document(2), "root", "not-newer"),
        (State(), document(1), "alerts-1", "not-allowed"),
        (State(), document(1), "nobody", "not-allowed"),
        (State(1, HELPER.keys, frozenset({"helper"})), document(2), "helper", "not-allowed"),
        (HELPER, document(2, key("helper", RIGHT), key("mine", RIGHT)), "helper", "only-a-pinned"),
        (HELPER, document(2), "helper", "only-a-pinned"),
        (HELPER, document(2, key("helper", RIGHT), revoked=("root",)), "helper", "only-a-pinned"),
        (State(), document(1, key("a", "play"), key("a", "stop")), "root", "a-key-twice"),
        (State(), document(1, revoked=("root",)), "root", "nobody-left"),
    ],
)
def test_it_is_not_taken(state: State, doc: KeyDocument, signer: str, why: str) -> None:
    refused = take(state, doc, signer)
    assert isinstance(refused, str) and refused.startswith(why)


def test_root_vouches_for_a_new_key_and_revokes_the_old_one() -> None:
    assert take(State(), document(1, key("alerts-2", "play"), revoked=("alerts-1",))) == State(
        1, (key("alerts-2", "play"),), frozenset({"alerts-1"})
    )


def test_a_key_with_the_right_changes_what_has_it_not() -> None:
    doc = document(2, key("helper", RIGHT), key("alerts-3", "play"), revoked=("alerts-2",))
    assert isinstance(take(HELPER, doc, "helper"), State)


def test_root_may_be_replaced_by_a_key_that_it_vouches_for() -> None:
    taken = take(State(), document(1, key("root-2", RIGHT), revoked=("root",)))
    assert isinstance(taken, State)
    assert take(taken, document(2, key("root-2", RIGHT)), "root") == "not-allowed"
    assert isinstance(take(taken, document(2, key("root-2", RIGHT), key("a", "play")), "root-2"), State)


NAMES = ["root", "alerts-1", "helper", "alerts-2", "x"]
DOCUMENTS = st.builds(
    lambda version, keys, revoked: document(version, *keys, revoked=tuple(revoked)),
    st.integers(1, 6),
    st.lists(
        st.builds(lambda kid, may: key(kid, *may), st.sampled_from(NAMES), st.sets(st.sampled_from([RIGHT, "play"]))),
        max_size=3,
    ),
    st.lists(st.sampled_from(NAMES), max_size=3),
)


@given(st.lists(st.tuples(DOCUMENTS, st.sampled_from(NAMES)), max_size=8))
def test_whatever_comes_versions_grow_revocations_stay_and_somebody_is_left(
    steps: list[tuple[KeyDocument, str]],
) -> None:
    state = State()
    for doc, signer in steps:
        after = take(state, doc, signer)
        if isinstance(after, str):
            continue
        assert after.version > state.version and after.revoked >= state.revoked and signer not in state.revoked
        rights = {k.kid: k.may for k in after.keys} | PINNED
        assert any(RIGHT in may for kid, may in rights.items() if kid not in after.revoked)
        state = after
