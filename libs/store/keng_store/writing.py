"""Finding the rows that a store refuses, so that a bad one does not take its neighbours with it."""

from __future__ import annotations

from collections.abc import Sequence

from keng_store.protocol import Row, RowRefused, Store


def write_all(store: Store, rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Write rows and return those that the store will never take, each with the store's reason.

    When this returns, every other row is durable. A refused batch is halved until the culprits stand alone: about
    2·log2(n) more writes for one bad row in n. StoreUnavailable passes through; then none may be taken as kept.
    """
    if not rows:
        return []
    try:
        store.write(rows)
    except RowRefused as refusal:
        if len(rows) == 1:
            return [(rows[0], refusal.detail)]
        middle = len(rows) // 2
        return write_all(store, rows[:middle]) + write_all(store, rows[middle:])
    return []
