"""Prometheus metrics on loopback; names are ``keng_<part>_<what>_<unit>_total``."""

from __future__ import annotations

from keng_contracts.errors import Problem


def serve(port: int) -> None:
    """Serve this process's metrics on 127.0.0.1 (port 0: not at all)."""
    if not port:
        return
    from prometheus_client import start_http_server  # not before it is wanted: a Pi's memory is small

    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise Problem(
            f"the metrics port is taken ({error.strerror})",
            where=f"127.0.0.1:{port}",
            todo="choose another metrics_port",
        ) from None
