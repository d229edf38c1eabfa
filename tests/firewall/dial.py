"""`python -m tests.firewall.dial UID TARGET…`: the first line that each target said to that user.

A target is `HOST PORT`, or `udp HOST PORT` for an echo.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - while the interpreter's files can still be read
import os
import socket
import sys

ANSWER_S = 5.0


def tcp(host: str, port: int) -> str:
    with socket.create_connection((host, port), ANSWER_S) as connection, connection.makefile() as lines:
        return lines.readline().strip()


def udp(host: str, port: int) -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(ANSWER_S)
        sock.connect((host, port))
        sock.send(b"echo")
        return sock.recv(100).decode()


def dial(words: list[str]) -> str:
    *kind, host, port = words
    try:
        return udp(host, int(port)) if kind else tcp(host, int(port))
    except OSError as error:
        return f"nobody: {error}"


if __name__ == "__main__":
    if uid := int(sys.argv[1]):
        os.setuid(uid)
    for target in sys.argv[2:]:
        print(dial(target.split()))
