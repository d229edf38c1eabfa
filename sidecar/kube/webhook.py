"""The injector's HTTPS server: reviews in, answers out, and what probes and Prometheus ask.

Nothing here decides; that is `review.py`'s. It holds callers to the bounds, and never answers with a traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson
from aiohttp import web

from sidecar.kube.admission import NotAReview, Request, read_review
from sidecar.kube.body import BODY_MAX_BYTES, Refused, read_body
from sidecar.kube.certificate import ServingCertificate, UnusableCertificate
from sidecar.kube.counts import Counts
from sidecar.kube.review import Result, Reviewed, Rules, check, review

log = logging.getLogger(__name__)

HANDSHAKE_S: Final = 10.0
FIRST_REQUEST_S: Final = 20.0
"""How long a new connection may stay without a whole request head, its handshake included."""
IDLE_S: Final = 120.0
"""Longer than the API server keeps a connection that it does not use, so that it is the one to close it."""
POLL_S: Final = 1.0
BIG_BYTES: Final = 256 * 1024
"""Larger reviews are done in a thread, so that others and the probes do not wait for them; one at a time, since each
takes a dozen times its size of memory."""

Decide: TypeAlias = Callable[[Request], Reviewed]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """How the server serves, durations in seconds."""

    verify_clients: bool = False
    drain_s: float = 10.0
    grace_s: float = 5.0


class Webhook:
    """One process's server. `serve` returns after a signal."""

    def __init__(self, rules: Rules, certificate: ServingCertificate, settings: WebhookSettings) -> None:
        self._rules = rules
        self._certificate = certificate
        self._settings = settings
        self._draining = False
        self._stop = asyncio.Event()
        self._stopped_by = ""
        self._newcomers: dict[object, asyncio.TimerHandle] = {}
        self._aside = ThreadPoolExecutor(1, "sidecar-reviews")
        self.counts = Counts()
        self.counts.show_expiry(certificate.pair.expires)

    # What is asked.

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_MAX_BYTES, middlewares=[self._around])
        app.router.add_post("/inject", self._reviewer(lambda asked: review(asked, self._rules, every=False)))
        app.router.add_post("/inject/all", self._reviewer(lambda asked: review(asked, self._rules, every=True)))
        app.router.add_post("/check", self._reviewer(lambda asked: check(asked, self._rules)))
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        return app

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if timer := self._newcomers.pop(request.protocol, None):
            timer.cancel()
        try:
            response = await handler(request)
        except web.HTTPException as refusal:
            # Its text is aiohttp's own, and short.
            response = _text(refusal.status, refusal.reason)
            if "Allow" in refusal.headers:
                response.headers["Allow"] = refusal.headers["Allow"]
        if self._draining or response.status >= 400:
            response.force_close()
        return response

    def _reviewer(self, decide: Decide) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            began_s = time.perf_counter()
            try:
                asked = read_review(await read_body(request, self._settings.verify_clients))
            except NotAReview as error:
                self.counts.count_malformed()
                log.warning("a body that is no review", extra={"problem": str(error)})
                return _text(400, str(error))
            except Refused as refusal:
                self.counts.count_malformed()
                return _text(refusal.status, str(refusal))
            reviewed = await self._decided(decide, asked, request.content_length or BIG_BYTES)
            duration_s = time.perf_counter() - began_s
            self.counts.count_review(reviewed.result, duration_s)
            _note(asked, reviewed, duration_s)
            return web.Response(body=orjson.dumps(reviewed.answer), content_type="application/json")

        return answer

    async def _decided(self, decide: Decide, asked: Request, size_bytes: int) -> Reviewed:
        if size_bytes < BIG_BYTES:
            return decide(asked)
        return await asyncio.get_running_loop().run_in_executor(self._aside, decide, asked)

    async def _livez(self, request: web.Request) -> web.Response:
        # That the loop came round to answer is all there is to know.
        return _text(200, "ok")

    async def _readyz(self, request: web.Request) -> web.Response:
        if self._draining:
            return _text(503, "draining")
        if self._certificate.expired:
            return _text(503, "the certificate has expired")
        return _text(200, "ok")

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self.counts.expose(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    # Life.

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a listening socket until SIGTERM or SIGINT, and finish what has begun."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number)
        runner = web.AppRunner(
            self.app(),
            access_log=None,
            keepalive_timeout=IDLE_S,
            shutdown_timeout=self._settings.grace_s,
            auto_decompress=False,
        )
        await runner.setup()
        accept = runner.server
        assert accept is not None
        server = await loop.create_server(
            lambda: self._welcome(accept()),
            sock=listener,
            ssl=self._certificate.context,
            ssl_handshake_timeout=HANDSHAKE_S,
        )
        watching = loop.create_task(self._watch())
        host, port = listener.getsockname()[:2]
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        log.info("listening", extra={"listener": "injector", "address": f"https://{where}", **self._shown()})
        await self._stop.wait()
        await self._drain()
        server.close()
        await runner.cleanup()
        self._aside.shutdown(wait=False, cancel_futures=True)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        log.info("stopped", extra={"signal": self._stopped_by})

    def _welcome(self, newcomer: web.RequestHandler) -> web.RequestHandler:
        """Whoever connects and says nothing is sent away."""
        loop = asyncio.get_running_loop()
        self._newcomers[newcomer] = loop.call_later(FIRST_REQUEST_S, self._send_away, newcomer)
        return newcomer

    def _send_away(self, newcomer: web.RequestHandler) -> None:
        del self._newcomers[newcomer]
        newcomer.force_close()

    def stop(self, number: signal.Signals) -> None:
        """Drain after SIGTERM, stop without that after SIGINT, and at once after a second of either."""
        if self._stopped_by:
            os._exit(128 + number)
        self._stopped_by = number.name
        self._stop.set()

    async def _drain(self) -> None:
        """Serve on, unready, until those who send reviews have heard that this replica goes away."""
        self._draining = True
        if self._stopped_by == "SIGTERM" and self._settings.drain_s:
            log.info("draining", extra={"drain_s": self._settings.drain_s})
            await asyncio.sleep(self._settings.drain_s)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                self.refresh()
            except Exception:
                # Whoever stops looking never meets the next certificate.
                log.exception("the certificate could not be looked at")

    def refresh(self) -> None:
        """Take up a changed certificate; one that cannot be used leaves the old one in force."""
        try:
            if not self._certificate.refresh():
                return
        except UnusableCertificate as error:
            self.counts.count_reload(fit=False)
            log.error("a changed certificate is not fit: the old one stays", extra={"problem": str(error)})
            return
        self.counts.count_reload(fit=True)
        self.counts.show_expiry(self._certificate.pair.expires)
        log.info("a changed certificate is in force", extra=self._shown())

    def _shown(self) -> dict[str, str]:
        pair = self._certificate.pair
        return {"serial": pair.serial, "expires": pair.expires.isoformat()}


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")


LEVELS: Final = {Result.INJECTED: logging.INFO, Result.PASSED: logging.WARNING, Result.REFUSED: logging.WARNING}


def _note(asked: Request, reviewed: Reviewed, duration_s: float) -> None:
    """One line a review that mattered. `suppressed`: each stands for itself, however many there are."""
    level = logging.ERROR if reviewed.fault else LEVELS.get(reviewed.result, logging.DEBUG)
    extra = {
        "outcome": str(reviewed.result),
        "kind": asked.kind,
        "namespace": asked.namespace,
        "object": asked.name,
        "review": asked.uid,
        "problems": reviewed.problems or None,
        "duration_s": round(duration_s, 6),
        "suppressed": None,
    }
    log.log(level, "reviewed", extra=extra, exc_info=reviewed.fault)
