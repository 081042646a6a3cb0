"""Dead letters once more: sorted by today's registry, stored by today's store.

What is stored now leaves the table; what is still wrong stays, with today's reason. It may be stopped anywhere and done
again, also beside a running ingest: the same reading twice is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from keng_contracts.telemetry import Flag, is_series
from keng_ingest.dead_letters import DeadLetters, Kept
from keng_ingest.derive import derive
from keng_ingest.sort import DeadLetter, Rules, Sorted, sort
from keng_signals.derived import Plan
from keng_store.protocol import Row, Store
from keng_store.writing import write_all


class Replayed(NamedTuple):
    """What became of a letter: readings stored, and why it stays (empty: it is gone)."""

    id: int
    stored: int
    reason: str


def replay(
    letters: Iterable[Kept], table: DeadLetters, store: Store | None, rules: Rules, plan: Plan, now_ms: int
) -> Iterator[Replayed]:
    """Replay letters one by one; without a ``store`` only say what would happen. Raises StoreUnavailable."""
    for letter in letters:
        payload = table.payload(letter.id)
        outcome = _sorted(letter, payload, rules, now_ms)
        refused: list[tuple[Row, str]] = []
        if store is not None and outcome.rows:
            refused = write_all(store, outcome.rows)
            derive(store, plan, outcome.rows)
        reasons = [dead.reason for dead in outcome.dead] + [f"store: {why}" for _, why in refused]
        if store is not None:
            if reasons:
                table.mark(letter.id, reasons[0])
            else:
                table.drop([letter.id])
        yield Replayed(letter.id, len(outcome.rows) - len(refused), reasons[0] if reasons else "")


def _sorted(letter: Kept, payload: bytes, rules: Rules, now_ms: int) -> Sorted:
    if not is_series(letter.topic):
        return sort([(letter.topic, payload)], rules, {}, now_ms)
    out = Sorted()  # one row that the store refused; its topic is the series
    try:
        time_ms, value, flag = payload.split()
        out.rows.append(Row(letter.topic, int(time_ms), float(value), Flag(int(flag))))
    except ValueError:
        out.dead.append(DeadLetter(letter.topic, payload, letter.reason, 1))
    return out
