"""What becomes of a telemetry message: rows, dead letters with their reason, and receipts for both."""

from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Clock, Flag, Pack, Reading, encode
from keng_ingest.sort import Rules, Sorted, sort
from keng_signals.quality import Window
from tests.support.registry import LEVEL, sample

NOW = 1_763_323_200_000
TOPIC = "keng/v1/quang-tho/edge/tram-phu-oc/telemetry"
BOOT = "6f1c2a90d3e4b7a1"
RULES = Rules.of(sample())


def pack(*readings: Reading, seq: int = 1) -> bytes:
    return encode(Pack(BOOT, seq, Clock.SYNCED, NOW, readings or (level(4.57),)))


def level(value: float, time_ms: int = NOW, series: str = LEVEL) -> Reading:
    return Reading(series, time_ms, value, "m")


def sorted_(*messages: tuple[str, bytes], rules: Rules = RULES, windows: dict[str, Window] | None = None) -> Sorted:
    return sort(messages, rules, {} if windows is None else windows, NOW)


def only_receipt(outcome: Sorted) -> Receipt:
    [(topic, receipt)] = outcome.receipts()
    assert str(topic) == "keng/v1/quang-tho/edge/tram-phu-oc/receipt"
    return receipt


def test_a_good_pack_becomes_rows_and_a_receipt() -> None:
    outcome = sorted_((TOPIC, pack(seq=7)), (TOPIC, pack(seq=8)))
    assert [(row.value, row.flag) for row in outcome.rows] == [(4.57, Flag.GOOD)] * 2
    assert only_receipt(outcome) == Receipt(boot=BOOT, stored=[(7, 8)])
    assert outcome.dead == []


def test_flags_travel_beside_raw_values() -> None:
    readings = (level(-9999.0), level(99.0, NOW + 1), level(3.0, NOW + 2))
    outcome = sorted_((TOPIC, pack(*readings)))
    assert [(row.value, row.flag) for row in outcome.rows] == [
        (-9999.0, Flag.BAD),
        (99.0, Flag.BAD),
        (3.0, Flag.GOOD),
    ]


def test_what_cannot_be_read_is_dead_lettered_whole_with_its_bytes() -> None:
    outcome = sorted_((TOPIC, b"\xff\x00 no pack"), (TOPIC, pack()))
    [letter] = outcome.dead
    assert (letter.topic, letter.payload) == (TOPIC, b"\xff\x00 no pack")
    assert letter.reason.startswith("not JSON")
    assert len(outcome.rows) == 1


def test_a_bad_record_leaves_its_neighbours_alone() -> None:
    broken = pack(level(3.0), level(3.1, NOW + 1000), level(3.2, NOW + 2000)).replace(b'"v":3.1', b'"v":"x"')
    outcome = sorted_((TOPIC, broken))
    assert [row.value for row in outcome.rows] == [3.0, 3.2]
    [letter] = outcome.dead
    assert (letter.reason, letter.readings) == ("record 1: v is not a number", 1)
    receipt = only_receipt(outcome)
    assert receipt.stored == [(1, 1)]
    assert [(dead.seq, dead.reason) for dead in receipt.dead] == [(1, "record 1: v is not a number")]


def test_an_unknown_node_is_dead_lettered_and_told() -> None:
    outcome = sorted_((TOPIC.replace("tram-phu-oc", "tram-la"), pack()))
    assert outcome.rows == []
    assert outcome.dead[0].reason == "unknown node: the registry has no sensor of node tram-la"
    [(topic, receipt)] = outcome.receipts()
    assert topic.id == "tram-la"
    assert receipt.dead[0].seq == 1


def test_a_node_can_not_report_for_another_nodes_sensor_or_another_commune() -> None:
    rules = Rules(RULES.limits, {**RULES.owner, LEVEL: "tram-khac"}, RULES.nodes)
    assert "belongs to node tram-khac" in sorted_((TOPIC, pack()), rules=rules).dead[0].reason
    elsewhere = pack(level(3.0, series="quang-an/phu-oc/level"))
    assert "not a series of commune quang-tho" in sorted_((TOPIC, elsewhere)).dead[0].reason


def test_a_new_sensor_of_a_known_node_is_stored_not_evaluated() -> None:
    outcome = sorted_((TOPIC, pack(level(3.0, series="quang-tho/phu-oc/battery"))))
    assert outcome.rows[0].flag is Flag.NOT_EVALUATED


def test_without_a_registry_everything_is_stored_not_evaluated() -> None:
    outcome = sorted_((TOPIC, pack(level(-9999.0))), rules=Rules())
    assert outcome.rows[0].flag is Flag.NOT_EVALUATED


def test_the_same_pack_twice_gives_the_same_rows() -> None:
    outcome = sorted_((TOPIC, pack()), (TOPIC, pack()))
    assert outcome.rows[0] == outcome.rows[1]
    assert outcome.duplicates == 1


def test_a_foreign_topic_is_kept_as_a_dead_letter() -> None:
    assert sorted_(("keng/v1/x y/edge/a/telemetry", b"[]")).dead[0].reason.startswith("topic:")


@given(st.lists(st.tuples(st.sampled_from([TOPIC, "keng/v1/a/edge/b/telemetry", "x"]), st.binary(max_size=60))))
def test_no_bytes_stop_the_sorting_and_none_vanish(messages: list[tuple[str, bytes]]) -> None:
    assert len(sorted_(*messages).dead) == len(messages)


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_pack_with_one_wrong_byte_is_stored_or_dead_lettered_never_lost(position: int, byte: int) -> None:
    whole = bytearray(pack(level(3.0), level(3.1, NOW + 1000)))
    whole[position % len(whole)] = byte
    outcome = sorted_((TOPIC, bytes(whole)))
    assert outcome.rows or outcome.dead
