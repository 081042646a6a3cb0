"""The one way in which a part says that something is wrong.

A :class:`Problem` is written for the person who has to act: what happened, where, what to do
about it, and whether the program tries again by itself. The command line prints it as one
line and exits with status 2; no operator's mistake ends in a stack trace.
"""

from __future__ import annotations


class Problem(Exception):
    """Something that an operator or technician can mend.

    >>> print(Problem("the port is not there", where="/dev/ttyUSB0", todo="plug the adapter in", retried=True))
    /dev/ttyUSB0: the port is not there; plug the adapter in (retried by itself)
    """

    def __init__(self, what: str, *, where: str = "", todo: str = "", retried: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.todo = todo
        self.retried = retried

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.todo:
            text += f"; {self.todo}"
        if self.retried:
            text += " (retried by itself)"
        return text
