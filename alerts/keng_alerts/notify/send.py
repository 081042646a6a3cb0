"""One message to one address, in a process of its own: the only place that loads Apprise.

``python -m keng_alerts.notify.send`` reads one JSON object from its standard input: ``url``, ``title``, ``body``,
``severity`` and ``limit_s``, and if it comes from the outbox ``outbox``, ``message`` and ``address``. It says on its
standard output how that went, and writes it into the outbox itself. A gateway that hangs, a plug-in that crashes and
the memory that both take end with this process, after ``limit_s`` at the latest. SIGTERM does not end it: what is
on its way when the service stops is let out.

With ``check`` in place of the rest, a list of URLs, it says which of them Apprise does not understand.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from pathlib import Path
from typing import Any

_STATUS = re.compile(r"error=(\d{3})\b")


class _Reason(logging.Handler):
    """The kind of a failure from what Apprise logs, without its words: they may have parts of the URL in them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = "the gateway did not take it"

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        if status := _STATUS.search(words):
            self.text = f"the gateway answered {status[1]}"
        elif "onnection error" in words or "Connection" in words:
            self.text = "the gateway can't be reached"


def deliver(url: str, title: str, body: str, severity: int) -> str:
    """Send; returns the reason of a failure, empty when the gateway took it."""
    import apprise

    reason = _Reason()
    log = logging.getLogger("apprise")
    log.handlers, log.propagate = [reason], False
    log.setLevel(logging.WARNING)
    service = apprise.Apprise.instantiate(url)
    if service is None:
        return "Apprise does not understand this address"
    kind = {1: apprise.NotifyType.INFO, 2: apprise.NotifyType.WARNING}.get(severity, apprise.NotifyType.FAILURE)
    try:
        taken = bool(service.notify(body=body, title=title, notify_type=kind))
    except Exception as error:  # a plug-in's fault; its text may have the URL in it
        return f"its plug-in failed ({type(error).__name__})"
    return "" if taken else reason.text


def wrong(urls: list[str]) -> list[int]:
    """Which of the URLs Apprise does not understand, by place."""
    import apprise

    logging.getLogger("apprise").addHandler(logging.NullHandler())
    logging.getLogger("apprise").propagate = False
    return [place for place, url in enumerate(urls) if apprise.Apprise.instantiate(url) is None]


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    task: dict[str, Any] = json.load(sys.stdin)
    signal.alarm(max(1, round(task.get("limit_s", 30))))  # its default action ends the process, whatever hangs
    if "check" in task:
        print(json.dumps(wrong(task["check"])))
        return
    error = deliver(task["url"], task["title"], task["body"], task["severity"])
    if "outbox" in task:
        from keng_alerts.notify.outbox import Outbox
        from keng_runtime.clock import now_ms

        Outbox(Path(task["outbox"])).ended(task["message"], task["address"], error, now_ms())
    print(json.dumps({"error": error}))


if __name__ == "__main__":
    main()
