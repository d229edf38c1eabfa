"""From a request to a call, through the pipeline in force, and back to an answer. The one place where both meet."""

from __future__ import annotations

import logging
from functools import partial
from random import getrandbits
from typing import Final, Protocol

from sidecar.call import Call, Failure, Handler, Mode, Outcome, Reply, Served
from sidecar.clock import Clock
from sidecar.errors import ClientError, Reason, Verdict, WireError
from sidecar.http1.answer import Answer
from sidecar.http1.entry import Entry
from sidecar.http1.message import NO_BODY, Headers, ReplayBody
from sidecar.http1.raw import RawConnection
from sidecar.http1.request import Request
from sidecar.http1.splice import Dial, SpliceTarget
from sidecar.intercept.door import Credentials, connect_goal
from sidecar.intercept.problem import Refusal, problem
from sidecar.intercept.target import Destination, destination, split_prefix
from sidecar.rules.egress import METADATA_HOSTS, is_own_address

log = logging.getLogger(__name__)

MODES: Final = {mode.value: mode for mode in (Mode.CONNECT, Mode.TRANSPARENT)}
FAULT: Final = "a fault of the sidecar's own; its log has the cause under this id"


def new_id() -> str:
    """16 hex digits, not all of them zero, so that it can be a span's id too."""
    return (getrandbits(64) or 1).to_bytes(8, "big").hex()


class Connection(Protocol):
    """Where a call came from, as far as it concerns the call."""

    @property
    def entry(self) -> Entry | None:
        """How it was let in through a gate; None for plain HTTP to the listener."""
        ...

    def interim(self, status: int, phrase: bytes, headers: Headers) -> None: ...


class Pipeline(Protocol):
    """One route's compiled steps."""

    @property
    def provider(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def upstream(self) -> str: ...
    @property
    def handle(self) -> Handler: ...


class Provider(Protocol):
    """One provider's routes."""

    def pipeline(self, method: str, target: bytes, /) -> Pipeline:
        """The target is in origin form; its query does not count."""
        ...


class Directory(Protocol):
    """The policies in force. Replaced as a whole by a reload."""

    def by_name(self, name: bytes) -> Provider | None: ...
    def by_host(self, authority: bytes) -> Provider | None: ...
    def unknown(self, host: str, port: int, secure: bool) -> Pipeline | None:
        """What carries a call to a host without a policy; None where egress is denied. Counts the host."""
        ...

    def intercepts(self, authority: bytes) -> bool | None:
        """Whether HTTPS to this host is opened; None if no policy has it."""
        ...

    def verifies_sni(self) -> bool:
        """Whether `egress.verify_sni` is on."""
        ...

    def tunnel(self, authority: bytes) -> Pipeline | None:
        """What carries a connection to a policy's host that is not opened; None if no policy has it."""
        ...

    def unknown_tunnel(self, host: str, port: int) -> Pipeline | None:
        """The same for a host without a policy; None where egress is denied. Counts the host."""
        ...


class Router:
    """Answers requests with the directory in force when each began."""

    def __init__(  # noqa: PLR0917
        self,
        directory: Directory,
        clock: Clock,
        via_name: bytes,
        replay_bytes: int,
        credentials: Credentials | None = None,
        opens: bool = False,
    ) -> None:
        self.directory = directory
        self._credentials = credentials
        self._opens = opens
        """There is an authority to open HTTPS with."""
        self._now = clock.now
        self._via_name = via_name
        self._replay_bytes = replay_bytes

    async def handle(self, connection: Connection, request: Request) -> Answer:
        """Never raises but for cancellation."""
        call_id = new_id()
        try:
            self._refuse_loop(request.headers)
            if request.method == "CONNECT":
                opened = self._opened(request)
                if opened is not None:
                    return opened
                call, pipeline = self._tunnelled(request, call_id)
            else:
                call, pipeline = self._call(connection, request, call_id)
        except ClientError as error:
            return _refused(Refusal(error.reason, error.detail, call_id))
        except Exception:
            log.exception("a request could not be routed", extra={"call_id": call_id})
            return _refused(Refusal(Reason.INTERNAL, FAULT, call_id))
        try:
            outcome = await pipeline.handle(call)
        except ClientError as error:
            return _refused(
                Refusal(error.reason, error.detail, call_id, Verdict.REJECTED, call.provider, call.route, call.attempt)
            )
        except Exception:
            log.exception("a step failed", extra={"call_id": call_id, "provider": call.provider, "route": call.route})
            outcome = Failure(Reason.INTERNAL, FAULT, Verdict.LOCAL)
        return answer(call, pipeline, outcome)

    def _refuse_loop(self, headers: Headers) -> None:
        via = headers.get(b"via")
        if via is not None and self._via_name in via:
            text = "an upstream leads back to this sidecar; look at the policy's `upstream` and `upstream_proxy`"
            raise ClientError(Reason.LOOP, text)

    def _call(self, connection: Connection, request: Request, call_id: str) -> tuple[Call, Pipeline]:
        headers = request.headers
        if b"sidecar" in headers:
            headers.remove(b"sidecar")
        goal = destination(request.target, request.host)
        entry = connection.entry
        if entry is not None:
            mode, target, pipeline = self._find_inside(goal, request.method, entry)
        else:
            if self._credentials is not None and goal.mode is Mode.FORWARD:
                self._credentials.check(request.proxy_credentials)
            mode, target, pipeline = self._find(goal, request.method)
        provider = pipeline.provider
        return (
            Call(
                call_id,
                mode,
                request.method,
                target,
                headers,
                NO_BODY if request.body is None else ReplayBody(request.body, self._replay_bytes),
                provider,
                pipeline.route,
                self._now(),
                expects_continue=request.expects_continue,
                upgrade=request.upgrade,
                on_interim=connection.interim if request.version == "1.1" else None,
                base=_base(mode, goal, provider),
            ),
            pipeline,
        )

    # Connections.

    def _opened(self, request: Request) -> Answer | None:
        """The answer to a CONNECT whose connection will be opened; None for one that is tunnelled."""
        if self._credentials is not None:
            self._credentials.check(request.proxy_credentials)
        host, port = connect_goal(request.target)
        if not self._opens or not self.directory.intercepts(request.target):
            return None
        made = Answer(200, b"Connection established", Headers())
        made.gate = Entry(Mode.CONNECT.value, host, port)
        return made

    def _tunnelled(self, request: Request, call_id: str) -> tuple[Call, Pipeline]:
        host, port = connect_goal(request.target)
        pipeline = self.directory.tunnel(request.target) or self.directory.unknown_tunnel(host, port)
        if pipeline is None:
            raise _denied(host, port)
        return self.tunnel_call(Mode.CONNECT, request.target, pipeline, call_id), pipeline

    def tunnel_call(self, mode: Mode, target: bytes, pipeline: Pipeline, call_id: str) -> Call:
        """A connection that is not opened, as a call: the provider's steps guard its beginning."""
        return Call(
            call_id, mode, "CONNECT", target, Headers(), NO_BODY, pipeline.provider, pipeline.route, self._now()
        )

    def intercepts(self, authority: bytes) -> bool | None:
        """For the door: whether HTTPS to this host is opened; None if no policy has it."""
        return self.directory.intercepts(authority)

    def verifies_sni(self) -> bool:
        """For the door: whether a redirected connection's server name must resolve to the address that was called."""
        return self.directory.verifies_sni()

    def dial(self, entry: Entry) -> Dial | None:
        """For the door: connects to where an entry leads, as a call that its provider's steps guard; None where egress
        is denied."""
        target = entry.authority
        pipeline = self.directory.tunnel(target) or self.directory.unknown_tunnel(entry.host, entry.port)
        if pipeline is None:
            return None
        call = self.tunnel_call(MODES[entry.mode], target, pipeline, new_id())
        return partial(_dialled, pipeline.handle, call)

    # Calls.

    def _find_inside(self, goal: Destination, method: str, entry: Entry) -> tuple[Mode, bytes, Pipeline]:
        """For a request on a connection that was opened: what it was opened for says whose call it is."""
        host = entry.name
        if not entry.secure and goal.host:
            host = goal.host  # Redirected plain HTTP names its host in the request alone.
        elif goal.host and goal.host != host:
            raise ClientError(Reason.MISDIRECTED, f"this connection was opened for {entry.host}, not for another host")
        mode = MODES[entry.mode]
        provider = self.directory.by_host(entry.authority if host == entry.name else b"%b:%d" % (host, entry.port))
        if provider is not None:
            return mode, goal.target, provider.pipeline(method, goal.target)
        unknown = Destination(mode, host, entry.port, goal.target, secure=entry.secure)
        return mode, goal.target, self._unknown(unknown)

    def _find(self, goal: Destination, method: str) -> tuple[Mode, bytes, Pipeline]:
        """A policy's host wins over a prefix, since a host cannot be meant by accident."""
        directory, target, mode = self.directory, goal.target, goal.mode
        provider = directory.by_host(goal.authority)
        if provider is None and mode is Mode.HOST:
            name, rest = split_prefix(target)
            provider = directory.by_name(name)
            if provider is not None:
                mode, target = Mode.REVERSE, rest
            elif is_own_address(goal.host.decode("ascii")):
                raise ClientError(Reason.UNKNOWN_PROVIDER, _no_such(name))
        if provider is not None:
            return mode, target, provider.pipeline(method, target)
        return mode, target, self._unknown(goal)

    def _unknown(self, goal: Destination) -> Pipeline:
        host = goal.host.decode("ascii")
        port = goal.port or (443 if goal.secure else 80)
        if host in METADATA_HOSTS:
            raise ClientError(Reason.ADDRESS_DENIED, f"{host} hands out the machine's own credentials: never called")
        pipeline = self.directory.unknown(host, port, goal.secure)
        if pipeline is None:
            raise _denied(host, port)
        return pipeline


def _base(mode: Mode, goal: Destination, provider: str) -> bytes | None:
    """Where the client will look for what lies below the provider's prefix."""
    if mode is not Mode.REVERSE or not goal.authority:
        return None
    return b"http://%b/%b" % (goal.authority, provider.encode("ascii"))


async def _dialled(handle: Handler, call: Call) -> SpliceTarget:
    """Raises WireError."""
    outcome = await handle(call)
    if isinstance(outcome, Failure):
        raise WireError(outcome.reason, outcome.detail, sent=False)
    assert isinstance(outcome.tunnel, RawConnection)
    return SpliceTarget(outcome.tunnel)


def _denied(host: str, port: int) -> ClientError:
    return ClientError(
        Reason.EGRESS_DENIED,
        f"no policy has the host {host}, and egress to unknown hosts or to port {port} is denied;"
        " add a policy for it, or change `egress` in defaults.yaml",
    )


def answer(call: Call, pipeline: Pipeline, outcome: Outcome) -> Answer:
    """An outcome as the application sees it (PRODUCT: headers and errors)."""
    if isinstance(outcome, Failure):
        refusal = Refusal(
            outcome.reason,
            outcome.detail,
            call.id,
            outcome.verdict,
            call.provider,
            call.route,
            call.attempt,
            outcome.wait_s,
            pipeline.upstream,
        )
        return problem(refusal, sidecar_field(call, outcome.verdict, final=True))
    return _passed_on(call, outcome)


def _passed_on(call: Call, reply: Reply) -> Answer:
    headers = reply.headers
    if b"sidecar" in headers:
        headers.remove(b"sidecar")
    extra = [(b"Sidecar", sidecar_field(call, reply.verdict, call.final, reply.served))]
    if reply.extra is not None:
        extra += reply.extra
    return Answer(reply.status, reply.phrase, headers, extra, reply.body, reply.tunnel, reply.upgrade)


def sidecar_field(call: Call, verdict: Verdict, final: bool, served: Served | None = None) -> bytes:
    """The `Sidecar` field: a dictionary (RFC 9651 3.2)."""
    text = (
        f'provider={_item(call.provider)}, route="{call.route}", attempts={call.attempt},'
        f' outcome={verdict}, id="{call.id}"'
    )
    if served is not None:
        text += _served(served)
    if call.waited_s:
        text += f", waited={call.waited_s:.3f}"
    if final:
        text += ", retry=no"
    return text.encode("ascii")


def _served(served: Served) -> str:
    """What was served in place of the provider's fresh word, how old it is, in whole seconds, and why."""
    text = f", served={served.source}"
    if served.age_s is not None:
        text += f";age={int(served.age_s)}"
    return f"{text};reason={served.reason}" if served.reason else text


def _item(name: str) -> str:
    """A provider's name as a token, or quoted where a token may not begin with a digit."""
    return name if name[:1].isalpha() else f'"{name}"'


def refuse(reason: Reason, detail: str) -> Answer:
    """The answer to what could not be read as a request. For `http1.Server`."""
    return _refused(Refusal(reason, detail, new_id()))


CLOSING: Final = frozenset(
    (Reason.BAD_REQUEST, Reason.REQUEST_TIMEOUT, Reason.BODY_TOO_LARGE, Reason.NOT_IMPLEMENTED, Reason.HEAD_TOO_LARGE)
)


def _refused(refusal: Refusal) -> Answer:
    parts = [f"attempts={refusal.attempts}", f"outcome={refusal.verdict}", f'id="{refusal.id}"', "retry=no"]
    if refusal.provider is not None:
        parts[:0] = [f"provider={_item(refusal.provider)}", f'route="{refusal.route}"']
    made = problem(refusal, ", ".join(parts).encode("ascii"))
    made.close = refusal.reason in CLOSING
    return made


def _no_such(name: bytes) -> str:
    shown = name.decode("latin-1")[:64]
    plain = "".join(char if char.isalnum() or char in "-_." else "?" for char in shown)
    return (
        f"no policy has the name `{plain}`; calls go to /<provider>/<path>, and the admin's /policies lists providers"
    )
