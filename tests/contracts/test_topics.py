"""Topics: built and parsed, and nothing else taken for one."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts import topics
from keng_contracts.topics import CHANNELS, WHOLE, BadTopic, Channel, Kind, Topic, is_slug, pattern

slugs = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@st.composite
def any_topic(draw: st.DrawFn) -> Topic:
    kind = draw(st.sampled_from(Kind))
    return Topic(
        draw(slugs),
        kind,
        None if kind in WHOLE else draw(slugs),
        draw(st.sampled_from(sorted(CHANNELS[kind], key=str))),
    )


def matches(filter_: str, topic: str) -> bool:
    """MQTT 5, section 4.7, for filters without '#'."""
    wanted, levels = filter_.split("/"), topic.split("/")
    return len(wanted) == len(levels) and all(w in ("+", level) for w, level in zip(wanted, levels, strict=True))


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(topics).failed == 0


@given(any_topic())
def test_parsing_is_the_inverse_of_building(topic: Topic) -> None:
    assert Topic.parse(str(topic)) == topic


@given(any_topic(), any_topic())
def test_a_pattern_matches_the_topics_of_its_kind_and_channel_alone(one: Topic, other: Topic) -> None:
    filter_ = pattern(one.kind, one.channel)
    assert matches(filter_, str(one))
    assert matches(filter_, str(other)) == ((one.kind, one.channel) == (other.kind, other.channel))


@given(any_topic())
def test_a_pattern_may_name_one_commune_and_one_id(topic: Topic) -> None:
    exact = pattern(topic.kind, topic.channel, commune=topic.commune, id=topic.id or "+")
    assert exact == str(topic)
    assert pattern(topic.kind, topic.channel, share="ingest") == f"$share/ingest/{pattern(topic.kind, topic.channel)}"


@given(st.text())
def test_any_text_is_a_topic_that_comes_back_the_same_or_is_refused(text: str) -> None:
    try:
        topic = Topic.parse(text)
    except BadTopic:
        return
    assert str(topic) == text


@given(any_topic(), st.data())
def test_a_topic_with_one_character_changed_is_another_or_is_refused(topic: Topic, data: st.DataObject) -> None:
    text = str(topic)
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters() | st.sampled_from("/+#$-Aạ\0"))
    changed = text[:place] + character + text[place + 1 :]
    try:
        parsed = Topic.parse(changed)
    except BadTopic:
        return
    assert str(parsed) == changed


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "keng/v1",
        "keng/v1/",
        "keng/v1/quang-tho",
        "keng/v2/quang-tho/registry",
        "keng/v1/quang-tho/registry/",
        "keng/v1/quang-tho/registry/x",
        "keng/v1/quang-tho/edge/a",
        "keng/v1/quang-tho/edge/a/telemetry/",
        "keng/v1/quang-tho/edge/a/playback",
        "keng/v1/quang-tho/edge/+/telemetry",
        "keng/v1/#",
        "keng/v1/Quang-Tho/registry",
        "keng/v1/quảng-thọ/registry",
        "keng/v1/quang-tho/alert",
        "keng/v1/quang-tho/alert/a/state",
        "keng/v1/quang-tho/alert/command/a",
        "keng/v1/quang-tho/siren/a/command",
        "/keng/v1/quang-tho/registry",
        "keng/v1/quang-tho\n/registry",
    ],
)
def test_what_is_no_topic_of_ours_is_refused(wrong: str) -> None:
    with pytest.raises(BadTopic):
        Topic.parse(wrong)


@pytest.mark.parametrize(
    ("kind", "id_", "channel"),
    [
        (Kind.EDGE, "a", None),
        (Kind.EDGE, None, Channel.TELEMETRY),
        (Kind.EDGE, "", Channel.TELEMETRY),
        (Kind.EDGE, "a", Channel.PLAYBACK),
        (Kind.ALERT, "a", Channel.STATUS),
        (Kind.REGISTRY, "a", None),
        (Kind.REGISTRY, None, Channel.STATUS),
    ],
)
def test_a_topic_that_can_not_be_is_not_built(kind: Kind, id_: str | None, channel: Channel | None) -> None:
    with pytest.raises(BadTopic):
        Topic("quang-tho", kind, id_, channel)


@pytest.mark.parametrize("slug", ["a", "7", "a-b", "a--b", "a" * 63, "quang-tho"])
def test_a_slug(slug: str) -> None:
    assert is_slug(slug)


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "a" * 64, "A", "a_b", "a.b", "a/b", "a b", "+", "#", "thọ", "a\n", "é", "٣"]
)
def test_no_slug(text: str) -> None:
    assert not is_slug(text)
