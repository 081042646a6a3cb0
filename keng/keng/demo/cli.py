"""``keng demo``."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import click

from keng.demo.plan import Plan
from keng.demo.run import Demo


@click.command()
@click.option(
    "--lapse",
    default=2400.0,
    show_default=True,
    type=click.FloatRange(1, 20_000),
    help="Seconds of the river in one second; 2400 lets 40 minutes pass in each.",
)
@click.option("--until", type=click.Choice(["siren"]), help="End by itself once báo động 3's siren is confirmed.")
@click.option("--json", "as_json", is_flag=True, help="The last line is one JSON object with what was measured.")
@click.option("--store", "store_url", default="", help="Another store, e.g. http://localhost:8086/keng for InfluxDB.")
@click.option("--device", default="auto", show_default=True, help="Sound device: auto, null, or a sink's name.")
@click.option("--seed", default=1, show_default=True, help="Seed of the sensors' noise.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
@click.option("--timeout", "timeout_s", default=180.0, show_default=True, help="With --until: give up after this long.")
def demo(
    lapse: float,
    until: str | None,
    as_json: bool,
    store_url: str,
    device: str,
    seed: int,
    keep: Path | None,
    timeout_s: float,
) -> None:
    """A flood at Quảng Thọ, seen and heard.

    The Bồ river rises at Phú Ốc as on 16 and 17 November 2025; báo động 1, 2 and 3 are raised, two loudspeakers sound,
    and a page in the browser shows it all. Everything runs on this machine, on free ports, and is gone when it ends
    (Ctrl-C).

    \b
    Examples:
      keng demo
      keng demo --lapse 600
      keng demo --until siren --json
      keng demo --keep ./demo
    """
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-demo-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def say(line: str) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')}  {line}", err=as_json)

    plan = Plan(folder, lapse, seed=seed, store_url=store_url, device=device)
    run = Demo(plan, say, stop)
    try:
        run.start()
        say(f"→ Mở trang này trong trình duyệt · open this page: {plan.page}")
        if until is None:
            say("  Ctrl-C để dừng · to stop")
        sounded = run.watch(until == "siren", timeout_s)
        if until is not None:
            figures = run.measure(sounded)
            confirmed = bool(sounded)
            if not confirmed:
                say("✗ không loa nào xác nhận còi báo động 3 · no loudspeaker has confirmed the siren")
            if as_json:
                click.echo(json.dumps(figures, ensure_ascii=False))
            else:
                say(json.dumps(figures, ensure_ascii=False, indent=2))
            sys.exit(0 if confirmed else 1)
    except KeyboardInterrupt:
        pass
    finally:
        run.take_down()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
