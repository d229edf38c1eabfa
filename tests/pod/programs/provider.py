"""A payment provider: HTTPS on 443 with the certificate in /tls, in the words of Stripe's API. On port 8000 a test asks
what it has seen (`GET /`, JSON) and sets how it answers (`PUT /` with `{"status": 503, "age_s": 60, "delay_s": 0}`)."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from typing import Any

seen: dict[str, Any] = {"calls": 0, "via": 0, "last": "", "connections": 0}
manner: dict[str, Any] = {}
USUAL = {"status": 200, "age_s": 0, "delay_s": 0.0}


async def head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes] | None:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return lines[0], fields, body


def answer(status: int, document: object, extra: str = "") -> bytes:
    body = json.dumps(document).encode()
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}"
    return f"HTTP/1.1 {status} Fine\r\n{fields}\r\n".encode() + body


async def shop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    seen["connections"] += 1
    while (request := await head(reader)) is not None:
        line, fields, _ = request
        seen["calls"] += 1
        seen["via"] += "via" in fields
        seen["last"] = line
        if manner["delay_s"]:
            await asyncio.sleep(manner["delay_s"])
        if manner["status"] >= 400:
            writer.write(answer(manner["status"], {"error": {"type": "api_error", "message": "out of order"}}))
            continue
        age = f"Cache-Control: max-age={manner['age_s']}\r\n" if manner["age_s"] else ""
        name = line.split(" ")[1].rpartition("/")[2].partition("?")[0]
        writer.write(answer(200, {"id": name, "object": "customer", "number": seen["calls"]}, age))
    writer.close()


async def desk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await head(reader)
    if request is not None:
        line, _, body = request
        if line.startswith("PUT"):
            manner.update(USUAL | json.loads(body))
        writer.write(answer(200, seen, "Connection: close\r\n"))
    writer.close()


async def main() -> None:
    manner.update(USUAL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await asyncio.start_server(shop, port=443, ssl=context, backlog=1024)
    await asyncio.start_server(desk, port=8000)
    await ended.wait()


asyncio.run(main())
