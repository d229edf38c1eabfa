"""The admin listener's aiohttp application: the route table behind a guard, every error as a problem."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sidecar.admin.answers import RequestError, problem_answer
from sidecar.admin.guard import Guard
from sidecar.admin.port import State
from sidecar.admin.routes import ROUTES, Answer

log = logging.getLogger(__name__)

LARGEST_BODY_BYTES: Final = 16 * 1024
EVERYWHERE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def make_app(state: State, guard: Guard) -> web.Application:
    """An application that reads and changes `state` for those whom `guard` lets through."""
    app = web.Application(middlewares=[_answering(guard)], client_max_size=LARGEST_BODY_BYTES)
    for route in ROUTES:
        handle = _with_state(route.answer, state)
        # Before the path itself, whose last segment may be a variable that would take `.json` for its own.
        if route.twin:
            app.router.add_get(route.twin, handle)
        app.router.add_route(route.method, route.path, handle)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handle)
    return app


def _with_state(answer: Answer, state: State) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(state, request)

    return handle


def _answering(guard: Guard) -> Middleware:
    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = _denied(guard, request) or await _answered(request, handler)
        response.headers.update(EVERYWHERE)
        return response

    return answering


def _denied(guard: Guard, request: web.Request) -> web.Response | None:
    denial = guard.denial(request.method, request.headers)
    if denial is None:
        return None
    response = problem_answer(denial.status, denial.detail)
    if denial.challenge:
        response.headers["WWW-Authenticate"] = denial.challenge
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestError as error:
        return problem_answer(400, str(error))
    except web.HTTPNotFound:
        return problem_answer(404, "There is no such path: / lists those that there are.")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": allowed})
        response = problem_answer(405, f"This path takes {allowed}.")
        response.headers["Allow"] = allowed
        return response
    except web.HTTPRequestEntityTooLarge:
        return problem_answer(413, f"A body may have {LARGEST_BODY_BYTES} bytes.")
    except Exception:
        log.exception("an admin request failed")
        return problem_answer(500, "The sidecar failed to answer; its log says how.")
