"""What must hold of a month: each rule yields its breaches, in words.

The truth is what sounded (:class:`tests.support.witness.Witness`), what was true in the world when
(:class:`tests.support.pole.History`), and what the console was told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from keng_contracts.playback import PlaybackEvent, What
from keng_loudspeaker.alone.keeper import AGAIN_S
from keng_loudspeaker.hours import Hours
from keng_loudspeaker.sounding import fetch
from tests.support.month import Month
from tests.support.planned import ROWS, Due
from tests.support.pole import START_MS, LeapingLoop
from tests.support.witness import Sounding

#: So long the world must be well for a file to be had for certain.
HAD_S = AGAIN_S + fetch.PATIENCE_S + LeapingLoop.leap_s + 60


class Account:
    def __init__(self, month: Month) -> None:
        self.month, self.history = month, month.history
        self.dues = month.dues
        self.names = {due.play: month.sound(due.row, due.day) for due in self.dues}
        self.after_gong = {f"media-{month.media(row.file).sha256}" for row in ROWS if row.gong}
        sirens = {sent.siren for sent in month.sent}
        self.sirens = [s for s in month.witness.soundings if s.name in sirens]
        self.starts: dict[str, list[Sounding]] = defaultdict(list)
        self.strays: list[Sounding] = []
        for sounding in month.witness.soundings:
            self._place(sounding)
        self.told: dict[str, list[PlaybackEvent]] = defaultdict(list)
        order = {(event.boot, event.seq): n for n, (_, _, event) in enumerate(month.added)}
        for event in sorted(month.told.values(), key=lambda e: order.get((e.boot, e.seq), 0)):
            self.told[event.play].append(event)
        self.lost = [row for row in month.added if (row[2].boot, row[2].seq) not in month.told]
        self.forgotten = {event.play for _, _, event in self.lost}
        self.errors_s: list[float] = []

    def breaches(self) -> Iterator[str]:
        yield from self.month.deaths
        yield from self.each_occurrence()
        yield from self.sounds_in_the_night()
        yield from self.commands()
        yield from self.evidence()
        yield from (f"{s.name} sounded at {s.at_s:.0f} s, which nobody planned" for s in self.strays)

    # -- the programme ------------------------------------------------------------------------------------------

    def each_occurrence(self) -> Iterator[str]:
        for due in self.dues:
            starts, told = self.starts[due.play], self.told[due.play]
            whats = Counter(event.what for event in told)
            again = due.row.resume and any(e.reason.startswith("interrupted") for e in told)  # in its first second
            if len(starts) > 1 + again:
                yield f"{due.play} was played {len(starts)} times: {[round(s.at_s - due.at_s, 2) for s in starts]}"
            if self.must_be_played(due):
                if not starts:
                    yield f"{due.play} was missed: {self._words(told)}"
                elif abs(starts[0].at_s - due.at_s) > 1:
                    yield f"{due.play} began {starts[0].at_s - due.at_s:.2f} s after its time"
                else:
                    self.errors_s.append(abs(starts[0].at_s - due.at_s))
            elif starts and starts[0].at_s - due.at_s > 1:
                late = any(e.reason.startswith(("late", "waiting", "interrupted")) for e in told)
                if not late and due.play not in self.forgotten:
                    yield f"{due.play} began late, and nobody said so: {self._words(told)}"
            if not due.row.obtainable and starts:
                yield f"{due.play} sounded out of nothing"
            if due.play in self.forgotten:
                continue
            ends = [
                e
                for e in told
                if e.what in (What.FINISHED, What.CUT) or (e.what is What.FAILED and "tried again" not in e.reason)
            ]
            ends = [e for e in ends if not (due.row.resume and e.reason.startswith("interrupted"))]
            if whats[What.ACCEPTED] > 1 or whats[What.SKIPPED] > 1 or len(ends) > 1:
                yield f"{due.play} was told of more than once: {self._words(told)}"
            if whats[What.ACCEPTED] and not ends:
                yield f"{due.play} was begun, and nobody said what became of it: {self._words(told)}"
            if starts and not whats[What.ACCEPTED]:
                yield f"{due.play} sounded, and nobody said so: {self._words(told)}"
            if self.must_be_told(due) and not (ends or whats[What.SKIPPED]):
                yield f"{due.play} was not played, and nobody said so: {self._words(told)}"
            if whats[What.STARTED] and not starts:
                yield f"{due.play} was said to sound, and did not"

    def must_be_played(self, due: Due) -> bool:
        """Whether all was well with it: the node up and sure of the time, the programme and the file there before."""
        first, last = due.at_s - 3, due.at_s + 6
        version = self.history.at("programme", first)
        others = [
            s for s in self.month.witness.soundings if s not in self.starts[due.play] and s.name != self.names[due.play]
        ]
        return (
            self.history.throughout(first, last, "up", "timed")
            and version == self.history.at("programme", due.at_s)
            and self._has(version, due)
            and due.row.id != "dem"
            and due.row.obtainable
            and (not due.row.file or self.was_obtainable(due))
            and not any(s.at_s < due.at_s + 8 and s.until_s > first for s in others)
        )

    def was_obtainable(self, due: Due) -> bool:
        spans = self.history.spans("up", "link", "served", "disk")
        for first, last in spans:
            for at_s, version in self.history.changes("programme"):
                if self._has(version, due) and min(last, due.at_s - 5) - max(first, at_s) > HAD_S:
                    return True
        return False

    def must_be_told(self, due: Due) -> bool:
        """Whether the node had it in its programme while it could be played, and came to look."""
        late_s = due.at_s + due.row.late_within_s
        had = [at_s for at_s, version in self.history.changes("programme") if self._has(version, due) and at_s < late_s]
        looked = [
            last
            for first, last in self.history.spans("up", "timed")
            if last - max(first, due.at_s) > LeapingLoop.leap_s
        ]
        return bool(had and looked) and looked[-1] > due.at_s

    def _has(self, version: int, due: Due) -> bool:
        programme = self.month.programmes.get(version)
        return programme is not None and any(o.play == due.play for o in programme.occurrences)

    def _place(self, sounding: Sounding) -> None:
        if sounding.from_s > 0 or sounding in self.sirens or sounding.name in self.after_gong:
            return
        for due in self.dues:
            if self.names[due.play] == sounding.name and -600 < sounding.at_s - due.at_s < due.row.late_within_s + 3600:
                self.starts[due.play].append(sounding)
                return
        self.strays.append(sounding)

    # -- the night ----------------------------------------------------------------------------------------------

    def sounds_in_the_night(self) -> Iterator[str]:
        hours = Hours()
        agreed = {self.names[due.play] for due in self.dues if due.row.night}
        for sounding in self.month.witness.soundings:
            if sounding in self.sirens or sounding.name in agreed:
                continue
            for at_s in (sounding.at_s, sounding.until_s):
                if all(hours.is_quiet(START_MS / 1000 + at_s + slack_s) for slack_s in (-1, 1)):
                    yield f"{sounding.name} sounded at {hours.local(START_MS / 1000 + at_s)}"

    # -- commands -----------------------------------------------------------------------------------------------

    def commands(self) -> Iterator[str]:
        for sent in (sent for sent in self.month.sent if sent.siren):
            heard = [s for s in self.sirens if s.name == sent.siren]
            told = self.told[sent.play]
            refused = [event.reason for event in told if event.what is What.REFUSED]
            stops = [s for s in self.month.sent if s.play == sent.play and not s.siren and s.had_s]
            if len(heard) > 1:
                yield f"{sent.play} was heard {len(heard)} times: {[round(s.at_s - sent.sent_s) for s in heard]}"
            if not sent.had_s or not self.history.throughout(sent.had_s[0], sent.had_s[0] + 2, "up"):
                continue
            had_s = sent.had_s[0]
            if had_s > sent.expires_s:
                if heard and self.history.at("timed", had_s):
                    yield f"{sent.play} was heard {had_s - sent.expires_s:.0f} s after it had expired"
                continue
            waits = any(other.at_s < had_s + 0.1 and other.until_s > had_s for other in self.sirens)
            if not waits and not (heard and heard[0].at_s - had_s < 1):
                yield f"{sent.play} was ordered in time and not heard at once: {self._words(told)}"
            if len(sent.had_s) > 1 and "replayed" not in refused and sent.play not in self.forgotten:
                yield f"{sent.play} came again and was not refused: {self._words(told)}"
            for stop in stops:
                if heard and stop.had_s[0] <= stop.expires_s and heard[0].until_s - stop.had_s[0] > 0.2:
                    yield f"{sent.play} sounded on after its stop, for {heard[0].until_s - stop.had_s[0]:.1f} s"

    # -- evidence -----------------------------------------------------------------------------------------------

    def evidence(self) -> Iterator[str]:
        for at_s, run, event in self.lost:
            end_s = self.month.ends.get(run)
            if end_s is None or self.could_be_kept(at_s, end_s):
                yield f"lost: {event.what} of {event.play or event.kind} in run {run}, at {at_s:.0f} s"

    def could_be_kept(self, at_s: float, end_s: float) -> bool:
        """Whether there was room on the disk for it, or a link for it, before the node was killed."""
        if self.history.throughout(at_s, min(at_s + 1, end_s), "disk"):
            return True
        spans = [*self.history.spans("disk"), *self.history.spans("link")]
        return any(min(end_s, last) - max(at_s, first) > LeapingLoop.leap_s + 130 for first, last in spans)

    def _words(self, told: list[PlaybackEvent]) -> list[str]:
        return [f"{e.what.value} {e.reason}".strip() for e in told]
