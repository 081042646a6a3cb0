"""``keng-broker``: make the commune's identities, and run mosquitto with them."""

from __future__ import annotations

import click

from keng_runtime.cli import Group


@click.group(cls=Group)
def cli() -> None:
    """The broker of a commune: its identities, and mosquitto with the shipped configuration."""


def main() -> None:
    cli(prog_name="keng-broker")
