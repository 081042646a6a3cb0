"""One gauge under watch, driven by hand: samples, evidence, orders of people, time, restarts. No process, no clock."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from keng_alerts.gauge.data import Data
from keng_alerts.gauge.engine import Step, Watch
from keng_alerts.gauge.gauges import gauges
from keng_alerts.gauge.hazard import State
from keng_alerts.memory import RESPONSE, TRACK
from keng_contracts.alert_commands import AlertAction
from keng_contracts.alerts import AlertDocument, Answer
from keng_contracts.commands import Play, Stop
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import Registry
from keng_contracts.telemetry import Clock, Flag, Reading
from keng_signals.quality import Window, limits_of
from tests.support.registry import LEVEL, sample

#: 17 November 2025, 03:00 in Huế.
NIGHT = 1_763_323_200_000
#: The same day at 12:00 there.
NOON = NIGHT + 9 * 3_600_000
ALERT, DRILL = "phu-oc-level", "phu-oc-level-drill"
_STATE, _DATA = TypeAdapter(State), TypeAdapter(Data)


def commune(**rows: Any) -> Registry:
    """The sample commune; ``level3={…}`` sets columns of the authority row of level 3, other names whole tables."""
    changes = {int(name[-1]): rows.pop(name) for name in list(rows) if name.startswith("level")}
    authority = [{**a.model_dump(), **changes.get(a.level, {})} for a in sample().authority]
    return sample(**{"authority": authority, **rows})


class OneGauge:
    """What a service does with a watch, without the service. All that was sent, noted and told is kept."""

    def __init__(self, registry: Registry | None = None, now_ms: int = NOON, second_agrees: bool = False) -> None:
        self.registry = registry or commune()
        self.now_ms = now_ms
        self.second_agrees = second_agrees
        self.sent: list[tuple[str, Play | Stop]] = []
        self.notes: list[tuple[str, int, str, str, str]] = []
        self.told: list[AlertDocument] = []
        self.watch = self._watch(Watch(gauges(self.registry)[LEVEL], limits_of(self.registry)[LEVEL]))

    def _watch(self, watch: Watch) -> Watch:
        watch.agrees = lambda second, now_ms: self.second_agrees
        return watch

    # -- what happens -------------------------------------------------------------------------------------------

    def levels(self, *values: float, every_s: float = 60.0, late_s: float = 0.0) -> OneGauge:
        """Samples, ``every_s`` apart, each heard ``late_s`` after it was measured."""
        for value in values:
            self.now_ms += round(every_s * 1000)
            at = self.now_ms - round(late_s * 1000)
            taken = self.watch.take(Reading(LEVEL, at, value, "m"), at, self.now_ms)
            self._keep(*taken.steps)
            self.watch.hear(at, taken.verdict.flag is Flag.GOOD, self.now_ms)
            self._mark()
        return self

    def wait(self, seconds: float, *, able: bool = True, every_s: float = 1.0) -> OneGauge:
        end = self.now_ms + round(seconds * 1000)
        while self.now_ms < end:
            self.now_ms = min(end, self.now_ms + round(every_s * 1000))
            self.watch.tick(self.now_ms, 0)
            self._mark()
            self._keep(*self.watch.mind(self.now_ms, able))
        return self

    def _mark(self) -> None:
        marked = self.watch.marked(self.document) if self.watch.desk.document else None
        shown = self.watch.desk.show(marked) if marked else None
        self.told += [shown] if shown else []

    def order(self, action: AlertAction, alert: str = ALERT) -> Answer:
        step = self.watch.operate(alert, action, self.now_ms)
        self._keep(step)
        answer = step.desk.response.answer
        assert answer is not None
        return answer

    def evidence(self, speaker: str, what: What, play: str = "", alert: str = ALERT, **more: Any) -> OneGauge:
        event = PlaybackEvent(
            boot="6f1c2a90d3e4b7a1",
            seq=1,
            at_ms=self.now_ms,
            clock=Clock.SYNCED,
            what=what,
            play=play or self.plays[-1],
            **more,
        )
        step = self.watch.heard(alert, speaker, event, self.now_ms)
        self._keep(*([step] if step else []))
        return self

    def restart(self) -> OneGauge:
        """All that is kept goes through the form in which it stands on disk, into a new watch."""
        old = self.watch
        new = Watch(
            old.gauge,
            old.limits,
            _STATE.validate_json(_STATE.dump_json(old.state)),
            Window.load(json.loads(json.dumps(old.window.dump()))),
            _DATA.validate_json(_DATA.dump_json(old.data)),
            TRACK.validate_json(TRACK.dump_json(old.track)),
        )
        for before, after in ((old.desk, new.desk), (old.drill, new.drill)):
            after.response = RESPONSE.validate_json(RESPONSE.dump_json(before.response))
            if before.document is not None:
                after.document = AlertDocument.model_validate_json(before.document.to_bytes())
        self.watch = self._watch(new)
        return self

    def _keep(self, *steps: Step) -> None:
        for step in steps:
            self.sent += [(send.aud, send.action) for send in step.sends]
            self.notes += [
                (step.desk.id, note.at_ms, note.what, note.by, json.dumps(note.detail, ensure_ascii=False))
                for note in step.notes
            ]
            if step.document is not None:
                self.told.append(step.document)

    # -- what came of it ----------------------------------------------------------------------------------------

    @property
    def document(self) -> AlertDocument:
        assert self.watch.desk.document is not None
        return self.watch.desk.document

    @property
    def drill(self) -> AlertDocument:
        assert self.watch.drill.document is not None
        return self.watch.drill.document

    @property
    def plays(self) -> list[str]:
        """The names of plays ordered to zones, in order; one ordered to several zones at once is there once."""
        names = [action.play for aud, action in self.sent if isinstance(action, Play) and aud.startswith("zone/")]
        return list(dict.fromkeys(names))

    @property
    def questions(self) -> list[tuple[int, str]]:
        return [(q.level, q.why.value) for q in self.watch.desk.response.questions]

    @property
    def happened(self) -> list[str]:
        return [what for _, _, what, _, _ in self.notes]

    def log(self) -> bytes:
        """Everything that was decided, to the byte."""
        told = [document.model_dump_json() for document in self.told]
        sent = [(aud, action.model_dump_json()) for aud, action in self.sent]
        return json.dumps([told, sent, self.notes]).encode()
