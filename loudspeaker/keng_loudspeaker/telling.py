"""What the commands tell the person at the machine: Vietnamese, and indented below it the same in English."""

from __future__ import annotations

import shutil
import textwrap
from typing import NamedTuple

from keng_contracts.errors import Problem

#: Wider than that nothing is written, however wide the terminal.
WIDEST = 96


class Both(NamedTuple):
    """The same in Vietnamese and in English."""

    vi: str
    en: str


def same(text: str) -> Both:
    """A name or a number, which needs no second language."""
    return Both(text, text)


def lines(told: Both, lead: str = "") -> str:
    """``told`` after ``lead``, the English line below the Vietnamese, neither wider than the terminal.

    >>> print(lines(Both("đồng hồ: không ai giữ", "clock: nobody keeps it"), "! "))
    ! đồng hồ: không ai giữ
        clock: nobody keeps it
    """
    width = min(shutil.get_terminal_size().columns, WIDEST)
    indent = " " * len(lead)
    written = _wrapped(told.vi, width, lead, indent)
    return written if told.en == told.vi else f"{written}\n{_wrapped(told.en, width, f'{indent}  ', f'{indent}  ')}"


def _wrapped(text: str, width: int, first: str, then: str) -> str:
    wrap = textwrap.TextWrapper(
        width, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )
    return wrap.fill(text)


class Trouble(Problem):
    """A problem that is told in both languages.

    >>> print(Trouble(Both("không nghe thấy gì", "nothing was heard"), where="null"))
    null: không nghe thấy gì
            null: nothing was heard
    """

    def __init__(self, what: Both, *, where: str = "", todo: Both | None = None) -> None:
        super().__init__(what.en, where=where, todo=todo.en if todo else "")
        self._vi = Problem(what.vi, where=where, todo=todo.vi if todo else "")

    @classmethod
    def of(cls, problem: Problem, vi: str) -> Trouble:
        """A problem that was found elsewhere, with what it is in Vietnamese."""
        return cls(Both(vi, problem.what), where=problem.where, todo=Both("xem dòng dưới", problem.todo))

    def __str__(self) -> str:
        start = "keng: "  # the command line puts it before
        return lines(Both(str(self._vi), super().__str__()), start).removeprefix(start)
