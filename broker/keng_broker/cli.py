"""``keng-broker``: make the commune's identities, and run mosquitto with them."""

from __future__ import annotations

import asyncio
import os
import socket
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import ValidationError

from keng_broker.home import make_home
from keng_broker.provision import first_end, services
from keng_broker.provision import provision as make_identities
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_runtime.cli import Group
from keng_runtime.settings import explain


@click.group(cls=Group)
def cli() -> None:
    """The broker of a commune: its identities, and mosquitto with the shipped configuration.

    \b
    Examples:
      keng-broker provision --registry commune.toml --out /root/keng --server-name broker.quang-tho.lan
      keng-broker keys --folder /root/keng --commune quang-tho --renew alerts --broker 192.168.1.10
      keng-broker run --credentials /etc/keng/broker --home /var/lib/keng-broker
    """


@cli.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="What provision made.")
@click.option("--commune", required=True, help="Id of the commune.")
@click.option("--renew", multiple=True, metavar="ISSUER", help="Give alerts or console a new signing key.")
@click.option("--revoke", multiple=True, metavar="KEY", help="Id of a key that is to be obeyed no more.")
@click.option("--broker", "host", default="localhost", show_default=True, help="Name of the broker.")
@click.option("--port", default=8883, show_default=True, help="Its TLS port.")
def keys(folder: Path, commune: str, renew: tuple[str, ...], revoke: tuple[str, ...], host: str, port: int) -> None:
    """Renew or revoke signing keys, and tell every loudspeaker through the broker.

    Copy the new signing.jwk to its service afterwards and start it again. Without --renew and --revoke the last
    document is told once more. Loudspeakers alone follow it: other nodes get their keys by 'keng provision'.

    \b
    Examples:
      keng-broker keys --folder /root/keng --commune quang-tho --renew alerts --broker 192.168.1.10
      keng-broker keys --folder /root/keng --commune quang-tho --revoke console-1a2b3c4d
    """
    from keng_broker.keys import change_keys
    from keng_broker.teller import tell_keys

    token = change_keys(folder, commune, renew=renew, revoke=revoke)
    asyncio.run(tell_keys(token, commune, folder / "root", host, port))
    click.echo(f"told: {host}:{port} keeps it for every loudspeaker")


@cli.command()
@click.option(
    "--registry",
    "registry_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The commune's registry (commune.toml); its edge nodes and loudspeakers get identities.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for all of it.")
@click.option(
    "--server-name",
    "server_names",
    multiple=True,
    help="Name or address by which clients reach the broker; give each of them.  [default: as before, at first "
    "localhost and 127.0.0.1]",
)
@click.option("--replicas", default=1, show_default=True, help="How many ingest services share the telemetry.")
@click.option("--secret", "secrets", multiple=True, help="Also make a random password, in a file of this name.")
@click.option(
    "--radio-node",
    "radio_nodes",
    multiple=True,
    type=(str, int),
    metavar="EDGE NUMBER",
    help="Also make the key of this LoRa node, for the edge node that hears it; give both where two hear it.",
)
def provision(
    registry_file: Path,
    out: Path,
    server_names: tuple[str, ...],
    replicas: int,
    secrets: tuple[str, ...],
    radio_nodes: tuple[tuple[str, int], ...],
) -> None:
    """Make the commune's authority, certificates and signing keys, or bring them up to date.

    Run again it keeps every key, adds who is new in the registry, and renews certificates that end within 60 days.

    \b
    Examples:
      keng provision --registry commune.toml --out /root/keng --server-name 192.168.1.10
      keng provision --registry commune.toml --out /root/keng --server-name 192.168.1.10 --replicas 2
      keng provision --registry commune.toml --out /root/keng --radio-node tram-phu-oc 17
    """
    registry = _registry(registry_file)
    edges = list(dict.fromkeys(sensor.node for sensor in registry.sensors))
    speakers = [speaker.id for speaker in registry.speakers]
    with _files_that_can_be_written():
        made = make_identities(
            out,
            commune=registry.commune.id,
            nodes=[*edges, *speakers],
            server_names=server_names,
            replicas=replicas,
            secrets=secrets,
            radio_nodes=radio_nodes,
        )
    purposes = {"ca": "stays off line: who has ca.key can be anyone", "broker": "the broker's machine"}
    purposes |= {"root": "stays off line: it says which signing keys loudspeakers obey"}
    purposes |= {service: f"the machine of {service}" for service in services(replicas)}
    purposes |= dict.fromkeys(edges, "that edge node")
    purposes |= dict.fromkeys(speakers, "that loudspeaker")
    purposes |= dict.fromkeys(secrets, "a password")
    width = max(map(len, purposes))
    click.echo(f"Identities of {registry.commune.name} ({registry.commune.id}) in {out}:\n")
    for name, purpose in purposes.items():
        click.echo(f"  {name:{width}}  {_state(name, made):8}  {purpose}")
    if made:
        click.echo(
            "\nCopy each folder that is new or renewed to its machine and to no other, readable by the service's user"
        )
        click.echo("alone, and restart the service. Its setting broker.credentials says where the folder lies.")
    click.echo(f"\nThe first certificate ends on {first_end(out):%Y-%m-%d}. Run this again in the 60 days before.")


@cli.command()
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder broker/ that 'keng provision' made.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder in which mosquitto runs and keeps its data; made if it is not there.",
)
@click.option("--port", default=8883, show_default=True, type=click.IntRange(1, 65535), help="TLS port.")
@click.option("--bind", help="Address to listen on; every one if not given.")
def run(credentials: Path, home: Path, port: int, bind: str | None) -> None:
    """Lay out mosquitto's home folder and become mosquitto.

    \b
    Examples:
      keng-broker run --credentials /etc/keng/broker --home /var/lib/keng-broker
      keng-broker run --credentials secrets/broker --home ./home --port 18883 --bind 127.0.0.1
    """
    _check_port(port, bind)
    with _files_that_can_be_written():
        command = make_home(home, credentials, port=port, bind=bind)
    os.execvp(command[0], command)


def main() -> None:
    cli(prog_name="keng-broker")


def _registry(file: Path) -> Registry:
    try:
        return Registry.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise Problem(f"can't be read ({error.strerror})", where=str(file), todo="check --registry") from None
    except ValidationError as error:
        raise Problem(explain(error), where=str(file), todo="mend the registry") from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise Problem(f"is not TOML: {error}", where=str(file), todo="mend that line") from None


def _state(name: str, made: list[str]) -> str:
    files = [file for file in made if file == name or file.startswith(f"{name}/")]
    if not files:
        return "kept"
    return "new" if any(file == name or file.endswith(".key") for file in files) else "renewed"


def _check_port(port: int, bind: str | None) -> None:
    """mosquitto says no more than 'Address already in use'."""
    family = socket.AF_INET6 if bind is not None and ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mosquitto does
        try:
            probe.bind((bind or "", port))
        except OSError as error:
            where = f"{bind or '*'}:{port}"
            todo = "stop what uses that port, or choose another --port or --bind"
            raise Problem(f"can't listen there ({error.strerror or error})", where=where, todo=todo) from None


@contextmanager
def _files_that_can_be_written() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Problem(
            f"can't be used ({error.strerror})",
            where=str(error.filename or ""),
            todo="check owner, mode and free space",
        ) from None
