"""What all command lines do with what a person must mend."""

from __future__ import annotations

import errno

import click
import pytest
from click.testing import CliRunner

from keng_contracts.errors import Problem
from keng_runtime.cli import Group


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Problem("is missing", where="a.toml", todo="write it"), "keng: a.toml: is missing; write it\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/var/lib/keng-edge/edge-outbox.db"),
            "keng: /var/lib/keng-edge/edge-outbox.db: is not for you; use sudo, or be in the group that owns it\n",
        ),
    ],
)
def test_it_is_one_line_and_status_2(error: Exception, said: str) -> None:
    @click.group(cls=Group)
    def outer() -> None: ...

    @outer.group(cls=Group)
    def inner() -> None: ...

    @inner.command()
    def command() -> None:
        raise error

    done = CliRunner().invoke(outer, ["inner", "command"])
    assert (done.exit_code, done.stderr) == (2, said)


def test_what_is_nobodys_mistake_keeps_its_trace() -> None:
    @click.group(cls=Group)
    def group() -> None: ...

    @group.command()
    def command() -> None:
        raise PermissionError("of no file")

    done = CliRunner().invoke(group, ["command"])
    assert isinstance(done.exception, PermissionError)
