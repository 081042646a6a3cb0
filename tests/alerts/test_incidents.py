"""Incidents that we design against, each a folder: a story, and all that alerts did in it, line by line.

A step is ``levels VALUE[*TIMES] …`` (a minute apart), ``wait SECONDS``, ``order DO[@drill] NAME=VALUE …``,
``evidence true|drill SPEAKER WHAT [DBFS]`` or ``heard SPEAKER …``. With KENG_GOLDEN=1 the expected lines are written
anew; read them before you commit them.
"""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from keng_contracts.alert_commands import AlertAction
from keng_contracts.commands import Play, Siren
from keng_contracts.playback import What
from tests.support.registry import sample
from tests.support.watching import ALERT, DRILL, OneGauge

FOLDERS = sorted(path.parent for path in (Path(__file__).parent / "incidents").glob("*/story.toml"))
ACTION: TypeAdapter[AlertAction] = TypeAdapter(AlertAction)
HUE = timezone(timedelta(hours=7))


def gauge_of(story: dict[str, Any]) -> OneGauge:
    rows = [{**row.model_dump(), **story.get(f"level{row.level}", {})} for row in sample().authority]
    for name, row in story.items():
        if name.startswith("night"):
            like = next(r for r in rows if r["level"] == row["level"])
            rows.append({**like, **row})
    registry = sample(authority=rows, delegations=[*sample().delegations, *story.get("delegations", [])])
    return OneGauge(registry, now_ms=int(story["start"].timestamp() * 1000))


def act(gauge: OneGauge, step: str) -> None:
    what, *words = shlex.split(step)
    if what == "levels":
        for word in words:
            value, _, times = word.partition("*")
            gauge.levels(*[float(value)] * int(times or 1))
    elif what == "wait":
        gauge.wait(float(words[0]), every_s=max(1.0, float(words[0]) / 600))
    elif what == "order":
        do, _, drill = words[0].partition("@")
        fields = dict(word.split("=", 1) for word in words[1:])
        gauge.order(ACTION.validate_python({"do": do, **fields}, strict=False), DRILL if drill else ALERT)
    elif what == "evidence":
        desk, speaker, event, *level = words
        alert = DRILL if desk == "drill" else ALERT
        tracks = (gauge.watch.drill if desk == "drill" else gauge.watch.desk).response.tracks
        level_dbfs = float(level[0]) if level else None
        gauge.evidence(speaker, What(event), tracks[speaker].play, alert, level_dbfs=level_dbfs)
    elif what == "heard":
        for speaker in words:
            gauge.evidence(speaker, What.STARTED, level_dbfs=-12.0)


def lines(story: dict[str, Any]) -> list[str]:
    """What was done, in the order in which it was, with the commune's time of day."""
    gauge, told = gauge_of(story), list[str]()
    for step in story["steps"]:
        notes, sent, documents = len(gauge.notes), len(gauge.sent), len(gauge.told)
        act(gauge, step)
        told.append(f"> {step}")
        for id_, at_ms, what, by, detail in gauge.notes[notes:]:
            at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(HUE)
            known = {k: v for k, v in json.loads(detail).items() if k != "samples" and not k.endswith("_ms")}
            words = ", ".join(f"{name} {value}" for name, value in known.items() if value not in ("", None))
            told.append(f"{at:%d %H:%M:%S} {id_}: {what}{f' by {by}' if by else ''}: {words}")
        for aud, action in gauge.sent[sent:]:
            if isinstance(action, Play):
                items = " | ".join(i.pattern if isinstance(i, Siren) else f"{i.text[:60]}…" for i in action.items)
                drill = "exercise " if action.exercise else ""
                told.append(f"  → {aud}: play {drill}{action.play} {action.priority} {action.rank}: {items}")
            else:
                told.append(f"  → {aud}: stop {action.play}")
        for document in gauge.told[documents:][-1:]:
            look = " SOMEBODY HAS TO LOOK" if document.unwatched else ""
            told.append(f"  = {document.headline} [{document.stage}] data {document.data}{look}")
    return told


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_incident_does_not_happen_here(folder: Path) -> None:
    story = tomllib.loads((folder / "story.toml").read_text(encoding="utf-8"))
    expected = folder / "expected.txt"
    found = "\n".join(lines(story)) + "\n"
    if os.environ.get("KENG_GOLDEN"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def test_there_are_incidents() -> None:
    assert len(FOLDERS) >= 6
