"""``keng-firmware-sim``: simulated sensors on serial ports, with scenarios and faults."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from keng_contracts.errors import Problem
from keng_firmware_sim import chart, control, files, orders
from keng_firmware_sim.faults import Kind
from keng_firmware_sim.gateway import GatewayPort
from keng_firmware_sim.installation import Installation, models
from keng_firmware_sim.ports import Port, PtyPort, TcpPort, claim
from keng_firmware_sim.radio import Radio
from keng_firmware_sim.run import run as run_simulation
from keng_firmware_sim.scenario import Scenario
from keng_firmware_sim.simulation import Simulation
from keng_runtime import logs, service
from keng_runtime.cli import Group

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """``500ms``, ``5s``, ``2m`` or ``1h``, in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if match is None or float(match[1]) == 0:
        raise Problem(f"{text!r} is no duration", where=param.opts[0], todo="write for example 500ms, 5s, 2m or 1h")
    return float(match[1]) * _UNITS_S[match[2]]


control_option = click.option(
    "--control",
    "socket",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Control socket of the running simulator.",
)


@click.group(
    name="keng-firmware-sim",
    cls=Group,
    epilog="""\b
Examples:
  keng-firmware-sim show quang-tho-2025-11
  keng-firmware-sim run --dir /run/keng-sim --lapse 1800 --control /run/keng-sim/control
  keng-firmware-sim fault --control /run/keng-sim/control river-level silence --for 5s""",
)
def cli() -> None:
    """Simulated sensors: Modbus RTU slaves on pseudo-terminals that follow a scenario, and fail when told to."""


@cli.command(
    epilog="""\b
Examples:
  keng-firmware-sim run --dir /run/keng-sim
  keng-firmware-sim run --scenario dien-tap --dir /run/keng-sim --begin read
  keng-firmware-sim run --dir /run/keng-sim --tcp bus-song=0.0.0.0:7001

An edge then reads DIR/bus-song (or socket://HOST:7001) as it reads /dev/ttyUSB0."""
)
@click.option("--scenario", default="quang-tho-2025-11", show_default=True, help="Name, or path of a .toml file.")
@click.option("--installation", default="tram-phu-oc", show_default=True, help="Name, or path of a .toml file.")
@click.option("--lapse", type=click.FloatRange(0, 1e6), default=1.0, show_default=True, help="Scenario s per s.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same noise.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the ports, one link a bus.",
)
@click.option("--control", "socket", type=click.Path(path_type=Path, dir_okay=False), help="Control socket to make.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to which every answered frame is added as one line of JSON.",
)
@click.option(
    "--begin",
    type=click.Choice(["now", "read", "order"]),
    default="now",
    show_default=True,
    help="When the scenario begins: at once, with the first request, or by 'keng-firmware-sim begin'.",
)
@click.option(
    "--tcp", multiple=True, metavar="BUS=HOST:PORT", help="Serve a bus as a serial device server instead of a port."
)
@click.option(
    "--modbus-tcp", multiple=True, metavar="BUS=HOST:PORT", help="Serve a bus behind a Modbus TCP gateway instead."
)
@click.option("--mqtt", metavar="HOST:PORT", help="Broker to which the LoRaWAN devices' events go, as ChirpStack's do.")
@click.option("--ready-fd", type=int, help="File descriptor to which 'ready' is written when all is up.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO")
def run(
    scenario: str,
    installation: str,
    lapse: float,
    seed: int,
    folder: Path,
    socket: Path | None,
    journal: Path | None,
    begin: str,
    tcp: tuple[str, ...],
    modbus_tcp: tuple[str, ...],
    mqtt: str | None,
    ready_fd: int | None,
    log_level: str,
) -> None:
    """Make the ports of an installation and let its sensors answer, until SIGTERM or Ctrl-C."""
    logs.set_up("firmware-sim", log_level)
    plan = files.load(Installation, "installations", installation)
    simulation = Simulation(
        plan,
        models(),
        files.load(Scenario, "scenarios", scenario),
        seed=seed,
        lapse=lapse,
        begin_on_read=begin == "read",
    )
    buses = {bus.name for bus in plan.buses}
    by_tcp: dict[str, Port] = {name: TcpPort(*at) for name, at in _addresses(tcp, buses, "--tcp").items()}
    by_tcp |= {name: GatewayPort(*at) for name, at in _addresses(modbus_tcp, buses, "--modbus-tcp").items()}
    if plan.lorawan and mqtt is None:
        raise Problem("its LoRaWAN devices need a broker", where=installation, todo="say --mqtt HOST:PORT")
    radio = Radio(*_address(mqtt, "--mqtt")) if mqtt is not None else None
    claim(folder)  # for as long as the process lives
    ports: dict[str, Port] = {
        name: by_tcp.get(name) or PtyPort(folder / name, bus.baud, *bus.bauds) for name, bus in simulation.buses.items()
    }
    sys.exit(
        service.run(
            lambda stop: run_simulation(
                simulation,
                ports,
                stop,
                control_path=socket,
                journal_path=journal,
                begin=begin == "now",
                radio=radio,
                lines=[(line, PtyPort(folder / line.name, line.baud)) for line in plan.lines],
                ready_fd=ready_fd,
            )
        )
    )


@cli.command()
def scenarios() -> None:
    """List the scenarios that come with the simulator."""
    for name in files.names("scenarios"):
        click.echo(f"{name:20}{files.load(Scenario, 'scenarios', name).title}")


@cli.command(epilog="\b\nExample:\n  keng-firmware-sim show quang-tho-2025-11")
@click.argument("scenario")
@click.option("--rows", type=click.IntRange(5, 500), default=40, show_default=True, help="About how many lines.")
def show(scenario: str, rows: int) -> None:
    """Draw a scenario's river and rain as text."""
    for line in chart.draw(files.load(Scenario, "scenarios", scenario), rows):
        click.echo(line)


@cli.command()
def devices() -> None:
    """List the models of sensors and their registers."""
    for model in models().values():
        click.echo(f"{model.model}: {model.title} (FC{model.function:02d})")
        for register in model.registers:
            what = f"{register.quantity}, x {register.scale:g} {register.unit}" if register.quantity else register.word
            click.echo(f"  {register.at:5}  {register.name:14}{what}")


@cli.command(
    epilog="""\b
Examples:
  keng-firmware-sim fault --control SOCK list
  keng-firmware-sim fault --control SOCK river-level silence --for 5s
  keng-firmware-sim fault --control SOCK river-level crc --rate 0.2
  keng-firmware-sim fault --control SOCK river-level spike --add 3.0 --answers 2
  keng-firmware-sim fault --control SOCK rain missing --for 1m
  keng-firmware-sim fault --control SOCK rain reboot
  keng-firmware-sim fault --control SOCK river-level off
  keng-firmware-sim fault --control SOCK all off"""
)
@control_option
@click.argument("slave", metavar="SENSOR")
@click.argument("kind", required=False)
@click.option("--for", "for_s", metavar="DURATION", callback=_seconds, help="How long; without it until 'off'.")
@click.option("--rate", type=click.FloatRange(0, 1), help="crc: which part of the answers is broken.  [default: 1]")
@click.option("--add", type=float, help="spike: what is added, in the quantity's unit.")
@click.option("--answers", type=click.IntRange(1), help="spike: for how many answers.  [default: 1]")
@click.option("--quantity", help="spike: which quantity.  [default: the sensor's first]")
def fault(
    socket: Path,
    slave: str,
    kind: str | None,
    for_s: float | None,
    rate: float | None,
    add: float | None,
    answers: int | None,
    quantity: str | None,
) -> None:
    """Begin a fault on SENSOR, end its faults with 'off', or list all faults with 'list' in place of SENSOR.

    SENSOR is the name of a sensor on any line, or of the line of a LoRa radio: then the radio itself fails.
    """
    given: dict[str, Any] = {"rate": rate, "add": add, "answers": answers, "quantity": quantity}
    given = {name: value for name, value in given.items() if value is not None}
    meant = {Kind.CRC: {"rate"}, Kind.SPIKE: {"add", "answers", "quantity"}}
    kinds = [each.value for each in Kind]
    if kind is None and slave == "list":
        _show_faults(control.send(socket, orders.Faults()))
    elif kind not in (*kinds, "off"):
        raise Problem(f"there is no fault {kind!r}" if kind else "which fault?", todo=f"say {', '.join(kinds)} or off")
    elif kind == "off":
        ended = control.send(socket, orders.Off(slave="" if slave == "all" else slave))["ended"]
        click.echo(f"{slave}: {ended} fault{'' if ended == 1 else 's'} ended")
    else:
        if odd := sorted(given.keys() - meant.get(Kind(kind), set())):
            raise Problem(f"--{odd[0]} has no meaning with {kind}", todo="leave it away")
        if kind == Kind.SPIKE and "add" not in given:
            raise Problem("how much?", where="spike", todo="say --add, in the quantity's unit")
        control.send(socket, orders.Fault(slave=slave, kind=Kind(kind), for_s=for_s, **given))


@cli.command(
    epilog="""\b
Examples:
  keng-firmware-sim hold --control SOCK level 5.0 --for 30s
  keng-firmware-sim hold --control SOCK level off"""
)
@control_option
@click.argument("quantity")
@click.argument("value")
@click.option("--for", "for_s", metavar="DURATION", callback=_seconds, help="How long; without it until 'off'.")
def hold(socket: Path, quantity: str, value: str, for_s: float | None) -> None:
    """Hold a quantity of the world at VALUE whatever the scenario says, or give it back with 'off'."""
    if value == "off":
        control.send(socket, orders.LetGo(quantity=quantity))
        return
    try:
        number = float(value)
    except ValueError:
        raise Problem(f"{value!r} is no number", where=quantity, todo="say a number, or off") from None
    control.send(socket, orders.Hold(quantity=quantity, value=number, for_s=for_s))


@cli.command()
@control_option
def begin(socket: Path) -> None:
    """Begin the scenario of a simulator that waits for it (run --begin order)."""
    control.send(socket, orders.Begin())


@cli.command()
@control_option
def state(socket: Path) -> None:
    """Tell scenario time, true values and how many requests each slave has answered."""
    told = control.send(socket, orders.State())
    phase = "has ended" if told["ended"] else "runs" if told["began"] else "waits"
    click.echo(f"{told['scenario']}: {phase}, {told['scenario_time']} (x {told['lapse']:g})")
    for quantity, value in told["values"].items():
        click.echo(f"  {quantity:18}{value:10.3f}")
    for slave, answered in told["answered"].items():
        click.echo(f"  {slave:18}{answered:10} answered")


def _show_faults(told: dict[str, Any]) -> None:
    for each in told["faults"]:
        left = "until off" if each["left_s"] is None else f"{each['left_s']:.1f} s left"
        rest = ", ".join(f"{name} {each[name]:g}" for name in ("rate", "add", "answers_left") if name in each)
        click.echo(f"{each['slave']:18}{each['kind']:10}{left}{', ' + rest if rest else ''}".replace("_", " "))
    for quantity, value in told["held"].items():
        click.echo(f"{quantity:18}held at {value:g}")
    if not told["faults"] and not told["held"]:
        click.echo("no faults")


def _addresses(given: tuple[str, ...], buses: set[str], option: str) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for one in given:
        bus, _, address = one.partition("=")
        if bus not in buses:
            raise Problem(f"there is no bus {bus!r}", where=option, todo=f"take one of {', '.join(sorted(buses))}")
        found[bus] = _address(address, option)
    return found


def _address(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Problem(f"{text!r} is no HOST:PORT", where=option, todo="say for example 127.0.0.1:7001")
    return host.strip("[]"), int(port)


def main() -> None:
    """The command ``keng-firmware-sim``."""
    cli(prog_name="keng-firmware-sim")
