"""What `sidecar doctor` says of a small program, inside a network namespace: see test_doctor.py."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Final

from tests.authority import Authority
from tests.clients.field import REDIRECTED
from tests.clients.namespace import enter, firewall
from tests.menu import reply
from tests.providers import Connection, Stage
from tests.wire.daemon import Sidecar

ADDRESS: Final = "203.0.113.7"
OPENER: Final = {
    "through": "",
    "around": "request.install_opener(request.build_opener(request.ProxyHandler({})));",
}
"""The second is what a library does that reads no proxy variables."""
PROGRAM: Final = "import sys; from urllib import request; {} print(request.urlopen('http://shop.example/').read())"


async def _answer(connection: Connection) -> None:
    while (request := await connection.request()) is not None:
        await reply(200, b"fine")(connection, request)


class Slow:
    """The provider itself, as far away as others are: who calls it is there to be seen."""

    def __init__(self) -> None:
        self._socket = socket.create_server((ADDRESS, 80))
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(0.3)
                try:
                    while connection.recv(4096):
                        pass
                except TimeoutError:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine")


def main() -> None:
    stage = Stage()
    with TemporaryDirectory(prefix="doctor-") as directory:
        home = Path(directory)
        enter({"shop.example": ADDRESS}, home / "hosts")
        Slow()
        sidecar = Sidecar(home, stage, Authority(home), "--ca-dir", "off", "--transparent", REDIRECTED)
        try:
            sidecar.provider(_answer, hosts=["shop.example"])
            told = {name: _doctor(sidecar, home, opener) for name, opener in OPENER.items()}
            told["astray"] = _doctor(sidecar, home, OPENER["around"], "--transparent")
            with firewall():
                told["redirected"] = _doctor(sidecar, home, OPENER["around"], "--transparent")
            sidecar.clear()
        finally:
            sidecar.stop()
    json.dump(told, sys.stdout)


def _doctor(sidecar: Sidecar, home: Path, opener: str, *flags: str) -> Any:
    report = home / "report.json"
    command = [sys.executable, "-m", "sidecar", "doctor", "--json", "-o", str(report), "--ca-dir", "off"]
    command += ["--listen", sidecar.authority, "--admin", f"127.0.0.1:{sidecar.admin_port}", *flags]
    command += ["--", sys.executable, "-c", PROGRAM.format(opener)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(report.read_text())


if __name__ == "__main__":
    main()
