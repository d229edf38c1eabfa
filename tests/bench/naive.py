"""The naive way: aiohttp's server and aiohttp's client back to back on uvloop, and nothing else."""

from __future__ import annotations

import argparse
import ssl
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict

HOP_BY_HOP = frozenset({"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


def end_to_end(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


def proxy(upstreams: dict[str, str], ca_file: str) -> web.Application:
    """An application that sends `/NAME/PATH` on to that upstream's `/PATH`."""
    application = web.Application(client_max_size=0)
    sessions: list[ClientSession] = []

    async def session(_: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=0, ssl=ssl.create_default_context(cafile=ca_file))
        async with ClientSession(
            connector=connector, auto_decompress=False, timeout=ClientTimeout(total=300)
        ) as client:
            sessions.append(client)
            yield

    async def handle(request: web.Request) -> web.StreamResponse:
        url = f"{upstreams[request.match_info['name']]}/{request.match_info['path']}"
        body = request.content if request.can_read_body else None
        headers = end_to_end(request.headers)  # type: ignore[arg-type]
        async with sessions[0].request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            reply = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))  # type: ignore[arg-type]
            await reply.prepare(request)
            async for piece in answer.content.iter_any():
                await reply.write(piece)
            await reply.write_eof()
            return reply

    application.cleanup_ctx.append(session)
    application.router.add_route("*", "/{name}/{path:.*}", handle)
    return application


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--upstream", action="append", default=[], metavar="NAME=URL")
    options = parser.parse_args()
    upstreams = dict(pair.split("=", 1) for pair in options.upstream)
    web.run_app(
        proxy(upstreams, options.ca_file),
        host="127.0.0.1",
        port=options.port,
        loop=uvloop.new_event_loop(),
        print=None,
        access_log=None,
        keepalive_timeout=300,
        backlog=4096,
    )


if __name__ == "__main__":
    main()
