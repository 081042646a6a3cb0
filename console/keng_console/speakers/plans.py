"""Plans in the operational database: every one that was ever published, with who approved it. Blocking calls."""

from __future__ import annotations

import logging

from pydantic import ValidationError
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from keng_console.database import told
from keng_console.models import PlanVersion
from keng_console.speakers.approval import Shelf, Version
from keng_console.speakers.programme import Plan

log = logging.getLogger(__name__)


class Plans:
    """In force is the newest that was approved; a newer one is the draft."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def shelf(self) -> tuple[Shelf, int, int]:
        """What there is, and when and of which version of the registry programmes were last made; 0 for never."""
        newest = select(PlanVersion).order_by(PlanVersion.id.desc()).limit(1)
        with told(), Session(self._engine) as session:
            last = session.scalar(newest)
            if last is None:
                return Shelf(), 0, 0
            approved = session.scalar(newest.where(PlanVersion.approved_ms.is_not(None)))
            made_ms, registry = session.execute(
                select(PlanVersion.made_ms, PlanVersion.registry_version).order_by(PlanVersion.made_ms.desc()).limit(1)
            ).one()
            draft = None if approved is not None and approved.id == last.id else _version(last)
            return Shelf(_version(approved) if approved else None, draft), made_ms, registry

    def keep(self, version: Version, made_ms: int, registry: int) -> None:
        """Keep a plan that was published."""
        row = PlanVersion(
            document=version.plan.model_dump_json(),
            published_by=version.by[:100],
            published_ms=version.at_ms,
            why=version.why,
            approved_by=version.approved_by,
            approved_ms=version.approved_ms,
            made_ms=made_ms,
            registry_version=registry,
        )
        with told(), Session(self._engine) as session, session.begin():
            session.add(row)

    def keep_approved(self, version: Version, made_ms: int, registry: int) -> None:
        """The draft is approved."""
        values = {"approved_by": version.approved_by[:100], "approved_ms": version.approved_ms}
        self._newest({**values, "made_ms": made_ms, "registry_version": registry})

    def keep_made(self, made_ms: int, registry: int) -> None:
        """Programmes were made anew."""
        self._newest({"made_ms": made_ms, "registry_version": registry})

    def _newest(self, values: dict[str, object]) -> None:
        with told(), Session(self._engine) as session, session.begin():
            newest = select(func.max(PlanVersion.id)).scalar_subquery()
            session.execute(update(PlanVersion).where(PlanVersion.id == newest).values(**values))


def _version(row: PlanVersion) -> Version | None:
    try:
        plan = Plan.model_validate_json(row.document)
    except ValidationError as error:
        log.error("the plan of %s can't be read any more (%s): publish it again", row.published_by, error)
        return None
    return Version(plan, row.published_by, row.published_ms, row.why, row.approved_by, row.approved_ms)
