"""Silence that should be sound. Pure.

A siren pauses between its blasts and a sentence at its commas; silence is an alarm only where sound was due, and only
once it has lasted.
"""

from __future__ import annotations

from collections.abc import Sequence

#: So long may nothing be heard where sound is due.
PATIENCE_S = 2.0
#: At the edges of what should sound nothing is expected yet, or any more.
MARGIN_S = 0.3
#: The watch was not asked for longer than this: what was heard meanwhile is not known.
GAP_S = 0.5


class Watch:
    """Watches one item. ``spans``: (start, end) of what should sound, in seconds from its beginning; ``patience_s``:
    for how long nothing may be heard, :data:`PATIENCE_S` if it is not given."""

    def __init__(self, spans: Sequence[tuple[float, float]], patience_s: float | None = None) -> None:
        self._spans = spans
        self._patience_s = patience_s or PATIENCE_S
        self._asked_s: float | None = None
        self._silent_s = 0.0
        self._told = False

    def overdue(self, position_s: float, heard: bool) -> bool:
        """Ask often, with the position in the item and whether sound was heard just now; true once a silence."""
        step = position_s - self._asked_s if self._asked_s is not None else 0.0
        self._asked_s = position_s
        if heard:
            self._silent_s, self._told = 0.0, False
        elif self.due(position_s) and 0 < step <= GAP_S:
            self._silent_s += step
        if self._silent_s < self._patience_s or self._told:
            return False
        self._told = True
        return True

    def due(self, position_s: float) -> bool:
        return any(start + MARGIN_S <= position_s <= end - MARGIN_S for start, end in self._spans)
