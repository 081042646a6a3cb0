"""The page as it is now, in every language that somebody looks at, and what has changed since a given revision.

A viewer holds a revision and asks for what is newer; nothing is queued for anyone, so a slow or sleeping phone costs
nothing and catches up with one message. Revisions are named ``<boot>-<number>``: one of another boot means "send all".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from keng_console.pages import Rendering, Section


@dataclass(frozen=True, slots=True)
class Update:
    """What a viewer lacks. ``reload`` when the page has other sections now: then only a new page helps."""

    revision: str
    rendering: Rendering
    sections: tuple[Section, ...]
    reload: bool = False


@dataclass(slots=True)
class _Sheet:
    """One language: the last rendering and at which revision each section last changed."""

    rendering: Rendering
    changed: dict[str, int]
    layout: int  # the revision at which the list of sections last changed
    viewers: int = 0
    marks: dict[str, str] = field(default_factory=dict)


class Board:
    """``render`` draws the page in a language, now."""

    def __init__(self, boot: str, render: Callable[[str], Rendering]) -> None:
        self._boot = boot
        self._render = render
        self._revision = 0
        self._sheets: dict[str, _Sheet] = {}
        self._news = asyncio.Event()
        self.closed = False

    def refresh(self, language: str) -> Rendering:
        """Draw again; what differs gets a new revision and wakes the viewers."""
        rendering = self._render(language)
        marks = {section.id: section.mark for section in rendering.sections}
        sheet = self._sheets.get(language)
        if sheet is None:
            self._sheets[language] = _Sheet(
                rendering, dict.fromkeys(marks, self._revision), self._revision, marks=marks
            )
            return rendering
        different = [id_ for id_, mark in marks.items() if sheet.marks.get(id_) != mark]
        moved = list(marks) != list(sheet.marks)
        sheet.rendering, sheet.marks = rendering, marks
        if different or moved:
            self._revision += 1
            sheet.changed = {id_: sheet.changed.get(id_, self._revision) for id_ in marks}
            sheet.changed.update(dict.fromkeys(different, self._revision))
            if moved:
                sheet.layout = self._revision
            self._wake()
        return rendering

    def refresh_watched(self) -> None:
        """Draw again in every language that has a viewer."""
        for language, sheet in self._sheets.items():
            if sheet.viewers:
                self.refresh(language)

    @property
    def revision(self) -> str:
        return f"{self._boot}-{self._revision}"

    @property
    def viewers(self) -> int:
        return sum(sheet.viewers for sheet in self._sheets.values())

    def since(self, language: str, revision: str) -> Update | None:
        """What a viewer who holds ``revision`` lacks, None for nothing."""
        sheet = self._sheets[language]
        boot, _, number = revision.rpartition("-")
        known = int(number) if boot == self._boot and number.isdecimal() else -1
        if known >= max(sheet.changed.values(), default=0):
            return None
        sections = tuple(s for s in sheet.rendering.sections if sheet.changed[s.id] > known)
        return Update(self.revision, sheet.rendering, sections, reload=known < sheet.layout)

    @contextmanager
    def watch(self, language: str) -> Iterator[None]:
        """A viewer is here for the length of a ``with``."""
        self.refresh(language)
        sheet = self._sheets[language]
        sheet.viewers += 1
        try:
            yield
        finally:
            sheet.viewers -= 1

    async def news(self, timeout_s: float) -> bool:
        """Wait for the next change of anything, at most ``timeout_s``; whether one came."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """No more news: viewers are told to go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
