"""Prometheus metrics on loopback; names are ``keng_<part>_<what>_<unit>_total``.

A Pi's memory is small and by default nobody asks it for metrics, so what runs there declares each as a :class:`Metric`;
the 2 MiB of prometheus_client are spent only where they are served.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from keng_contracts.errors import Problem


class Metric:
    """A metric of prometheus_client, declared with the arguments of its class; counts from :func:`serve` on."""

    def __init__(self, kind: Literal["Counter", "Gauge", "Histogram"], *args: Any, **more: Any) -> None:
        self._kind, self._args, self._more = kind, args, more
        self._served: Any = None
        _declared.append(self)

    def _serve(self) -> None:
        import prometheus_client

        if self._served is None:
            self._served = getattr(prometheus_client, self._kind)(*self._args, **self._more)

    def labels(self, *values: str) -> Self | Any:
        return self if self._served is None else self._served.labels(*values)

    def inc(self, amount: float = 1) -> None:
        if self._served is not None:
            self._served.inc(amount)

    def set(self, value: float) -> None:
        if self._served is not None:
            self._served.set(value)

    def observe(self, value: float) -> None:
        if self._served is not None:
            self._served.observe(value)


_declared: list[Metric] = []


def serve(port: int) -> None:
    """Serve this process's metrics on 127.0.0.1 (port 0: not at all)."""
    if not port:
        return
    from prometheus_client import start_http_server

    for metric in _declared:
        metric._serve()
    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise Problem(
            f"the metrics port is taken ({error.strerror})",
            where=f"127.0.0.1:{port}",
            todo="choose another metrics_port",
        ) from None
