"""The counters of a plan, and their totals on disk: what they have counted is kept over restarts.

The file is replaced before a changed total goes on, so that a killed agent goes on where it was. It is not synced each
time: an SD card would not like that, and after a power cut a total is behind by seconds and goes on from what the
counter says.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from keng_contracts.errors import Problem
from keng_edge.pipeline.counters import Counters, Rule
from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.kinds import KINDS

log = logging.getLogger(__name__)


def rules(lines: Iterable[PlannedLine]) -> dict[tuple[str, str], Rule]:
    """The quantities that are counters, as their profiles have it."""
    return {
        (slave.id, name): Rule(
            quantity.wrap, quantity.fastest / quantity.scale, frozenset(quantity.sentinels), KINDS[line.kind].again
        )
        for line in lines
        for slave in line.slaves
        for name, quantity in slave.profile.quantities.items()
        if quantity.wrap is not None
    }


class Tally:
    """Counters with their file."""

    def __init__(self, counters: Counters, path: Path) -> None:
        self._counters = counters
        self._path = path
        self._complained = False
        try:
            counters.restore(path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("%s", Problem(f"can't be read ({error}): totals begin anew", where=str(path)))

    def apply(self, sample: Sample) -> Sample:
        """The sample with totals in place of counts; see :meth:`Counters.apply`."""
        sample, changed = self._counters.apply(sample)
        if changed:
            self._save()
        return sample

    def _save(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}")
        try:
            temporary.write_bytes(self._counters.dump())
            temporary.replace(self._path)
            self._complained = False
        except OSError as error:
            if not self._complained:
                text = f"totals can't be kept ({os.strerror(error.errno or 0)})"
                log.warning("%s", Problem(text, where=str(self._path), todo="make room on the disk", retried=True))
            self._complained = True
