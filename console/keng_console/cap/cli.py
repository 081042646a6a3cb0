"""``keng console cap``: look at a CAP message, and check whose it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from keng_contracts.errors import Problem
from keng_runtime.cli import Group

_CLASSES = {"khan-cap": "khẩn cấp", "uu-tien": "ưu tiên", "thong-thuong": "thông thường"}
_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group(cls=Group)
def cap() -> None:
    """CAP 1.2 messages, the commune's own and those of others.

    \b
    Examples:
      keng console cap show message.xml
      keng console cap verify message.xml --certificate /etc/keng/cap/tinh.crt
    """


@cap.command()
@_FILE
def show(file: Path) -> None:
    """Say in short what the CAP message in FILE says. Its signature is not looked at."""
    from keng_console.cap import xml
    from keng_console.cap.judge import bulletin_of

    try:
        message = xml.read(xml.parse(_bytes(file)))
    except xml.BadCap as error:
        raise Problem(str(error), where=str(file)) from None
    click.echo(f"{message.status} {message.msg_type} {message.identifier} of {message.sender}, sent {message.sent}")
    for reference in message.references:
        click.echo(f"  refers to {reference.identifier} of {reference.sender}")
    for info in message.infos:
        words = f"{info.urgency}, {info.severity}, {info.certainty}"
        click.echo(f"  {info.language}: {info.headline or info.event} ({words}: {_CLASSES[bulletin_of(info)]})")
        for area in info.areas:
            size = f"{len(area.polygons)} polygons, {len(area.circles)} circles, {len(area.codes)} codes"
            click.echo(f"    {area.desc} ({size})")


@cap.command()
@_FILE
@click.option(
    "--certificate",
    "certificates",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    required=True,
    help="Certificate (PEM) of somebody who is believed; may be given again.",
)
def verify(file: Path, certificates: tuple[Path, ...]) -> None:
    """Check that the CAP message in FILE is signed with the key of one of the certificates.

    Exit status 0 when it is, 2 when it is not.
    """
    from keng_console.cap import signature, xml

    signers = [signature.load_signer(path.name, path, []) for path in certificates]
    try:
        signed, who = signature.verify(xml.parse(_bytes(file)), signers, datetime.now(UTC))
        message = xml.read(signed)
    except (xml.BadCap, signature.NotSigned, signature.NotTrusted) as error:
        raise Problem(str(error), where=str(file), todo="don't act on it") from None
    click.echo(f"{file}: {message.identifier} of {message.sender} is signed with the key of {who.name}")


def _bytes(file: Path) -> bytes:
    from keng_console.cap.xml import MAX_BYTES

    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise Problem(f"can't be read ({error.strerror})", where=str(file), todo="check the name") from None
