"""Who puts a programme on air: one person publishes it, another one approves it. Pure.

=========================================  =========  ==========================================================
what is done                               rule       then
=========================================  =========  ==========================================================
a plan is published                        required   it is the draft, in place of the one before; what is in
                                                      force goes on
a plan is published                        none       it is in force
the draft is approved by who published it  required   refused: another person has to
… by one who is not among ``approvers``    required   refused
… by another name than the draft has now   required   refused: it was changed since it was looked at
… by another person, by its name           required   it is in force
there is nothing to approve                           refused
=========================================  =========  ==========================================================

People are Unix users, as the kernel names them. Emergencies need no approval, and what the buttons at the loudspeakers
play does not wait for it (:func:`in_force`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from keng_console.speakers.programme import Plan
from keng_console.speakers.quota import Quota
from keng_contracts.errors import Problem


class ProgrammeSettings(BaseModel):
    """What the loudspeakers play by themselves, and who decides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval: Literal["required", "none"] = Field(
        "required",
        description='"required": a second person approves a plan before it is in force; "none": nobody has to',
    )
    approvers: list[str] = Field(
        [], description="Unix users who may approve, those of the commune's leadership; none: any but who published it"
    )
    quota: Quota = Field(Quota(), description="how much a programme may sound")


@dataclass(frozen=True, slots=True)
class Version:
    """A plan as somebody published it. ``approved_ms`` is None of a draft, ``approved_by`` empty where nobody had to;
    ``why`` is why it may be more than the quota allows."""

    plan: Plan
    by: str
    at_ms: int
    why: str = ""
    approved_by: str = ""
    approved_ms: int | None = None

    @property
    def name(self) -> str:
        """By what it is approved: another plan has another one.

        >>> len(Version(Plan(), "lan", 0).name)
        8
        """
        return hashlib.sha256(f"{self.plan.model_dump_json()} {self.at_ms}".encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The plan in force, and the draft that waits for approval."""

    in_force: Version | None = None
    draft: Version | None = None


def publish(version: Version, rule: ProgrammeSettings) -> Version:
    """A plan that was published: a draft, or in force at once."""
    if rule.approval == "required":
        return version
    return Version(version.plan, version.by, version.at_ms, version.why, "", version.at_ms)


def approve(shelf: Shelf, name: str, by: str, at_ms: int, rule: ProgrammeSettings) -> Version:
    """The draft, approved; raises :class:`Problem`."""
    draft = shelf.draft
    where = f"programme {name}"
    show = "look at it with 'keng console programme show'"
    if draft is None:
        raise Problem("không có bản nháp nào chờ duyệt (no draft waits for approval)", where=where, todo=show)
    if name != draft.name:
        what = f"bản nháp hiện nay là {draft.name} (the draft is {draft.name} now)"
        raise Problem(what, where=where, todo=f"{show}, then approve that")
    if by == draft.by and rule.approval == "required":
        what = f"{by} đã lập chương trình này, người khác phải duyệt (another person has to approve it)"
        todo = 'let a second Unix user do it; where there is only one, set programme.approval to "none"'
        raise Problem(what, where=where, todo=todo)
    if rule.approvers and by not in rule.approvers:
        what = f"{by} không có quyền duyệt (may not approve)"
        raise Problem(what, where=where, todo=f"these may, by programme.approvers: {', '.join(rule.approvers)}")
    return Version(draft.plan, draft.by, draft.at_ms, draft.why, by, at_ms)


def in_force(shelf: Shelf) -> Plan | None:
    """What the loudspeakers are given: the entries of the plan in force, and the emergency set of the newest plan that
    has one, for that is not delayed. None if there is nothing yet."""
    entries = shelf.in_force.plan.entries if shelf.in_force else []
    draft = shelf.draft.plan.emergency if shelf.draft else []
    emergency = draft or (shelf.in_force.plan.emergency if shelf.in_force else [])
    return Plan(entries=entries, emergency=emergency) if shelf.in_force or emergency else None
