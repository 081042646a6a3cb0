"""The command line of dashboards: generate the files, or push them into a running Grafana."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click

from keng_contracts.errors import Problem
from keng_dashboards.generate import dashboards, differing, read_registry, write
from keng_runtime.cli import Group

_FILE = click.Path(path_type=Path, dir_okay=False)

registry_option = click.option(
    "--registry", "registry_file", type=_FILE, required=True, help="The commune's registry (commune.toml)."
)
on_option = click.option(
    "--on",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Take the thresholds that hold on this day (default: today).",
)


@click.group(cls=Group)
def cli() -> None:
    """Grafana's dashboards as code: generated from the commune's registry.

    \b
    Examples:
      keng dashboards generate --registry commune.toml --out dashboards
      keng dashboards generate --registry commune.toml --out dashboards --check
      keng dashboards push --registry commune.toml --url https://grafana.example.vn --token-file grafana.token
    """


@cli.command()
@registry_option
@on_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files.")
@click.option("--check", is_flag=True, help="Write nothing; status 1 if a file there is not what would be written.")
def generate(registry_file: Path, on: datetime | None, out: Path, check: bool) -> None:
    """Write the dashboards as JSON files. The same registry gives the same bytes.

    \b
    Example:
      keng dashboards generate --registry console/keng_console/sample/commune.toml --out dashboards
    """
    files = dashboards(read_registry(registry_file), _day(on))
    if check:
        for path in (old := differing(files, out)):
            click.echo(f"{path} is out of date", err=True)
        raise SystemExit(1 if old else 0)
    changed = write(files, out)
    for name in sorted(files):
        click.echo(f"{out / name}{'' if out / name in changed else ' (unchanged)'}")


@cli.command()
@registry_option
@on_option
@click.option("--url", required=True, help="Grafana's address, e.g. http://127.0.0.1:3000.")
@click.option("--token-file", type=_FILE, required=True, help="File with a service account's token (role Editor).")
@click.option("--influx-url", help="Also set the data source (role Admin): InfluxDB as Grafana reaches it.")
@click.option("--influx-database", default="keng", show_default=True, help="Its database or bucket.")
@click.option("--influx-token-file", type=_FILE, help="File with its token, if it wants one.")
def push(
    registry_file: Path,
    on: datetime | None,
    url: str,
    token_file: Path,
    influx_url: str | None,
    influx_database: str,
    influx_token_file: Path | None,
) -> None:
    """Put the dashboards into a running Grafana, over what is there under their names.

    \b
    Examples:
      keng dashboards push --registry commune.toml --url http://127.0.0.1:3000 --token-file grafana.token
      keng dashboards push --registry commune.toml --url http://127.0.0.1:3000 --token-file grafana.token \\
          --influx-url http://influxdb:8086 --influx-token-file influxdb.token
    """
    from keng_dashboards.push import Grafana, Influx  # an HTTP client that generating does not need

    files = dashboards(read_registry(registry_file), _day(on))
    grafana = Grafana(url, _secret(token_file))
    if influx_url:
        token = _secret(influx_token_file) if influx_token_file else ""
        grafana.set_datasource(Influx(influx_url, influx_database, token))
    for address in grafana.push(files):
        click.echo(address)


def _day(on: datetime | None) -> date:
    return on.date() if on else date.today()


def _secret(file: Path) -> str:
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        todo = f"make it with: install -m 600 /dev/null {file} && cat > {file} (paste the token, then Ctrl-D)"
        raise Problem(f"the token can't be read ({reason})", where=str(file), todo=todo) from None
    if not secret:
        raise Problem("the file with the token is empty", where=str(file), todo="paste the token into it")
    return secret


def main() -> None:
    cli(prog_name="keng-dashboards")
