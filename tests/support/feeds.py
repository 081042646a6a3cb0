"""The other ends of sources that are no serial line: a Modbus TCP server, ChirpStack's broker, a machine's files."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.processes import Process, eventually, free_port, listens


class ModbusTcpServer:
    """Answers functions 3 and 4 with the registers of each ``(unit, function)``. ``spoil`` makes of an answer what goes
    over the wire. Its own MBAP, so that a mistake in the code under test is not repeated here."""

    def __init__(self, registers: Mapping[tuple[int, int], Mapping[int, int]]) -> None:
        self.registers = registers
        self.number = free_port()
        self.requests: list[bytes] = []
        self.spoil: Callable[[bytes, bytes], bytes] = lambda request, answer: answer
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self.plug_in()

    @property
    def port(self) -> str:
        return f"tcp://127.0.0.1:{self.number}"

    def plug_in(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.number))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def pull_out(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for one in self._open:
            one.close() if one.fileno() < 0 else one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            self._open.append(one)
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        with one:
            while True:
                try:
                    request = one.recv(12, socket.MSG_WAITALL)
                    if len(request) < 12:
                        return
                    self.requests.append(request)
                    one.sendall(self.spoil(request, self._right(request)))
                except OSError:
                    return

    def _right(self, request: bytes) -> bytes:
        unit, function = request[6], request[7]
        first, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        own = self.registers.get((unit, function))
        if own is None:
            body = bytes([unit, function | 0x80, 11])
        elif any(first + i not in own for i in range(count)):
            body = bytes([unit, function | 0x80, 2])
        else:
            words = b"".join(own[first + i].to_bytes(2, "big") for i in range(count))
            body = bytes([unit, function, len(words)]) + words
        return request[:4] + len(body).to_bytes(2, "big") + body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.pull_out()


def event(eui: str, data: bytes, at_ms: int, **more: Any) -> bytes:
    """An uplink as ChirpStack v4 publishes it."""
    return json.dumps(
        {
            "deduplicationId": f"{eui}-{at_ms}",
            "time": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "deviceInfo": {"applicationName": "xa", "devEui": eui, "deviceName": eui},
            "devAddr": "01ab23cd",
            "fCnt": at_ms % 65536,
            "fPort": 85,
            "data": base64.b64encode(data).decode(),
            "rxInfo": [{"gatewayId": "a84041ffff1e2d3c", "rssi": -97, "snr": 7.5}],
            "txInfo": {"frequency": 923200000},
            **more,
        }
    ).encode()


class PlainBroker:
    """mosquitto as ChirpStack's quick start has it: plain, for anybody or by name and password; over TLS with the
    ``server.crt`` and ``server.key`` in the folder ``tls``."""

    def __init__(self, folder: Path, *, password: str = "", tls: Path | None = None) -> None:
        self.number = free_port()
        self._folder = folder
        lines = [f"listener {self.number} 127.0.0.1"]
        if password:
            passwords = folder / "passwords"
            done = Process(["mosquitto_passwd", "-c", "-b", passwords, "keng", password], log=folder / "passwd.log")
            eventually(lambda: not done.running)
            passwords.chmod(0o644)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines += ["allow_anonymous true"]
        self._scheme = "mqtt"
        if tls is not None:
            self._scheme = "mqtts"
            lines += [f"certfile {tls / 'server.crt'}", f"keyfile {tls / 'server.key'}"]
        (folder / "mosquitto.conf").write_text("\n".join([*lines, "user root", ""]))
        self._process: Process | None = None
        self.plug_in()

    @property
    def port(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.number}"

    def plug_in(self) -> None:
        command = ["mosquitto", "-c", self._folder / "mosquitto.conf"]
        self._process = Process(command, log=self._folder / "mosquitto.log")
        eventually(lambda: listens(self.number), within=10)

    def pull_out(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


class Publisher:
    """Publishes in a thread what ``say`` gives, again and again, as long as the broker is there."""

    def __init__(self, number: int, say: Callable[[], list[tuple[str, bytes]]], every_s: float = 0.1) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", number)
        self._client.loop_start()
        self._over = threading.Event()
        self._say, self._every_s = say, every_s
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            if self._client.is_connected():
                for topic, payload in self._say():
                    self._client.publish(topic, payload, qos=1)
            time.sleep(self._every_s)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()
