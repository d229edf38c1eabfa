"""Requests become calls of the right provider, and outcomes become answers that say who decided what."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
import pytest

from sidecar.call import Call, Failure, Handler, Mode, Outcome, Reply, Served
from sidecar.errors import ClientError, Reason, Verdict
from sidecar.http1.answer import Answer
from sidecar.http1.entry import Entry
from sidecar.http1.message import Body, Headers
from sidecar.http1.request import Request
from sidecar.intercept.router import Router, refuse, sidecar_field
from tests.fakes import FakeClock, make_call


@dataclass
class Pipe:
    provider: str
    route: str
    upstream: str
    handle: Handler


@dataclass
class Provider:
    name: str
    seen: list[Call]
    outcome: Outcome | Exception
    handle: Handler | None = None

    def pipeline(self, method: str, target: bytes) -> Pipe:
        async def handle(call: Call) -> Outcome:
            call.attempt += 1
            self.seen.append(call)
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return self.outcome

        route = "charge" if target.partition(b"?")[0] == b"/v1/charges" else "-"
        return Pipe(self.name, route, "api.stripe.com", self.handle or handle)


@dataclass
class Policies:
    outcome: Outcome | Exception
    allows_unknown: bool = True
    handle: Handler | None = None
    seen: list[Call] = field(default_factory=list)

    def by_name(self, name: bytes) -> Provider | None:
        return Provider("stripe", self.seen, self.outcome, self.handle) if name == b"stripe" else None

    def by_host(self, authority: bytes) -> Provider | None:
        return Provider("stripe", self.seen, self.outcome) if authority.startswith(b"api.stripe.com") else None

    def intercepts(self, authority: bytes) -> bool | None:
        return True if authority.lower().startswith(b"api.stripe.com") else None

    def verifies_sni(self) -> bool:
        return False

    def tunnel(self, authority: bytes) -> Pipe | None:
        found = self.by_host(authority)
        return None if found is None else found.pipeline("CONNECT", b"")

    def unknown_tunnel(self, host: str, port: int) -> Pipe | None:
        return self.unknown(host, port, True)

    def unknown(self, host: str, port: int, secure: bool) -> Pipe | None:
        if not self.allows_unknown:
            return None
        return Provider(f"{host}:{port}:{secure}", self.seen, self.outcome).pipeline("GET", b"")  # type: ignore[return-value]


class Connection:
    entry: Entry | None = None

    def interim(self, status: int, phrase: bytes, headers: Headers) -> None: ...


def a_reply(**fields: object) -> Reply:
    return Reply(200, b"OK", Headers([(b"ETag", b"x")]), Body.of(b"{}"), **fields)  # type: ignore[arg-type]


async def ask(
    policies: Policies,
    target: bytes = b"/stripe/v1/charges?q",
    host: bytes = b"127.0.0.1:7600",
    method: str = "GET",
    headers: Headers | None = None,
) -> Answer:
    request = Request(method, target, "1.1", headers or Headers())
    request.host = host
    router = Router(policies, FakeClock(), b"sidecar-aa", 65536)
    return await router.handle(Connection(), request)  # type: ignore[arg-type]


def sidecar(answer: Answer) -> str:
    return dict(answer.extra)[b"Sidecar"].decode()


async def said(answer: Answer) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(await answer.body.read())
    return found


@pytest.mark.parametrize(
    ("target", "host", "mode", "goes_on"),
    [
        (b"/stripe/v1/charges?q", b"127.0.0.1:7600", Mode.REVERSE, b"/v1/charges?q"),
        (b"/v1/charges?q", b"api.stripe.com", Mode.HOST, b"/v1/charges?q"),
        (b"/stripe/v1/charges", b"api.stripe.com", Mode.HOST, b"/stripe/v1/charges"),
        (b"http://api.stripe.com/v1/charges", b"x", Mode.FORWARD, b"/v1/charges"),
        (b"https://api.stripe.com/v1/charges", b"x", Mode.FORWARD, b"/v1/charges"),
    ],
)
async def test_ways_in(target: bytes, host: bytes, mode: Mode, goes_on: bytes) -> None:
    policies = Policies(a_reply())
    await ask(policies, target, host)
    (call,) = policies.seen
    assert (call.mode, call.target, call.provider) == (mode, goes_on, "stripe")


async def test_a_reply_goes_back_as_it_came_with_one_field_more() -> None:
    answer = await ask(Policies(a_reply(verdict=Verdict.OK)))
    assert (answer.status, answer.headers.fields) == (200, [(b"ETag", b"x")])
    assert [name for name, _ in answer.extra] == [b"Sidecar"]
    text = sidecar(answer)
    assert text.startswith('provider=stripe, route="charge", attempts=1, outcome=ok, id="')
    assert "waited" not in text
    assert "retry=no" not in text


async def test_what_was_waited_and_done_is_told() -> None:
    async def patient(call: Call) -> Outcome:
        call.attempt, call.waited_s, call.final = 3, 0.81, True
        return a_reply(verdict=Verdict.TRANSIENT)

    policies = Policies(a_reply(), handle=patient)
    text = sidecar(await ask(policies))
    assert "attempts=3, outcome=transient" in text
    assert text.endswith("waited=0.810, retry=no")


async def test_a_failure_becomes_a_problem_with_the_same_id() -> None:
    failure = Failure(Reason.BREAKER_OPEN, "wait", Verdict.LOCAL, wait_s=4.2)
    answer = await ask(Policies(failure))
    body = await said(answer)
    assert (answer.status, dict(answer.extra)[b"Retry-After"]) == (503, b"5")
    assert (body["provider"], body["route"], body["reason"], body["attempts"]) == (
        "stripe",
        "charge",
        "breaker-open",
        1,
    )
    assert f'id="{body["id"]}"' in sidecar(answer)


@pytest.mark.parametrize(
    ("target", "host", "reason"),
    [
        (b"/nonesuch/x", b"127.0.0.1:7600", "unknown-provider"),
        (b"/", b"localhost", "unknown-provider"),
        (b"http://user:pw@api.stripe.com/", b"x", "bad-request"),
        (b"ftp://x/", b"x", "bad-request"),
        (b"http://metadata.google.internal/", b"x", "address-denied"),
    ],
)
async def test_what_goes_nowhere_is_refused(target: bytes, host: bytes, reason: str) -> None:
    policies = Policies(a_reply())
    body = await said(await ask(policies, target, host))
    assert body["reason"] == reason
    assert policies.seen == []


async def test_hosts_without_a_policy() -> None:
    policies = Policies(a_reply())
    for target, provider in (
        (b"http://other.test/x", "other.test:80:False"),
        (b"http://other.test:81/x", "other.test:81:False"),
        (b"https://other.test/x", "other.test:443:True"),
    ):
        await ask(policies, target)
        assert policies.seen.pop().provider == provider
    policies.allows_unknown = False
    assert (await said(await ask(policies, b"http://other.test/x")))["reason"] == "egress-denied"


async def connect(policies: Policies, target: bytes, *, opens: bool = False) -> Answer:
    request = Request("CONNECT", target, "1.1", Headers())
    request.host = target
    return await Router(policies, FakeClock(), b"sidecar-aa", 65536, opens=opens).handle(Connection(), request)  # type: ignore[arg-type]


async def test_a_connection_to_a_policys_host_is_opened_where_there_is_an_authority() -> None:
    policies = Policies(a_reply())
    answer = await connect(policies, b"api.stripe.com:443", opens=True)
    assert (answer.status, answer.gate) == (200, Entry("connect", "api.stripe.com", 443))
    assert policies.seen == []


async def test_else_it_is_tunnelled_as_a_call() -> None:
    policies = Policies(a_reply())
    answer = await connect(policies, b"api.stripe.com:443")
    (call,) = policies.seen
    assert (answer.status, answer.gate) == (200, None)
    assert (call.mode, call.method, call.target) == (Mode.CONNECT, "CONNECT", b"api.stripe.com:443")


async def test_a_connection_to_nowhere_is_refused() -> None:
    answer = await connect(Policies(a_reply(), allows_unknown=False), b"other.test:443")
    assert (await said(answer))["reason"] == "egress-denied"


@pytest.mark.parametrize(
    ("entry", "host", "status"),
    [
        (Entry("connect", "api.stripe.com", 443, secure=True), b"api.stripe.com", 200),
        (Entry("connect", "api.stripe.com", 443, secure=True), b"", 200),
        (Entry("connect", "api.stripe.com", 443, secure=True), b"other.test", 421),
        (Entry("transparent", "192.0.2.1", 80, address=("192.0.2.1", 80)), b"api.stripe.com", 200),
    ],
)
async def test_what_comes_through_a_gate_belongs_to_the_host_it_was_opened_for(
    entry: Entry, host: bytes, status: int
) -> None:
    policies = Policies(a_reply())
    request = Request("GET", b"/v1/charges", "1.1", Headers())
    request.host = host
    connection = Connection()
    connection.entry = entry
    answer = await Router(policies, FakeClock(), b"sidecar-aa", 65536).handle(connection, request)  # type: ignore[arg-type]
    assert answer.status == status
    assert [call.mode for call in policies.seen] == ([Mode(entry.mode)] if status == 200 else [])


async def test_a_call_that_comes_back_is_stopped() -> None:
    headers = Headers([(b"Via", b"1.1 elsewhere, 1.1 sidecar-aa")])
    policies = Policies(a_reply())
    assert (await said(await ask(policies, headers=headers)))["reason"] == "loop"
    assert policies.seen == []


async def test_the_field_of_ours_is_taken_from_neither_side() -> None:
    policies = Policies(Reply(200, b"OK", Headers([(b"Sidecar", b"forged"), (b"A", b"b")]), Body.of(b"")))
    answer = await ask(policies, headers=Headers([(b"sidecar", b"forged")]))
    assert b"sidecar" not in policies.seen[0].headers
    assert answer.headers.fields == [(b"A", b"b")]
    assert "forged" not in sidecar(answer)


async def test_a_client_that_breaks_its_body_is_told_so() -> None:
    answer = await ask(Policies(ClientError(Reason.REQUEST_TIMEOUT, "too slow")))
    assert (answer.status, answer.close) == (408, True)


async def test_a_fault_of_ours_is_a_500_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    answer = await ask(Policies(ZeroDivisionError("sk_live_secret")))
    body = await answer.body.read()
    assert answer.status == 500
    assert b"sk_live_secret" not in body
    assert caplog.records


def test_what_was_no_request_is_refused_in_the_same_shape() -> None:
    answer = refuse(Reason.HEAD_TOO_LARGE, "too large")
    body = answer.body.whole()
    assert body is not None
    assert orjson.loads(body)["provider"] is None
    assert sidecar(answer).startswith('attempts=0, outcome=local, id="')


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (Served("cache", 12.4), b"served=cache;age=12"),
        (Served("stale", 312.0, "breaker-open"), b"served=stale;age=312;reason=breaker-open"),
        (Served("fallback", None, "status-503"), b"served=fallback;reason=status-503"),
    ],
)
def test_the_sidecar_field_says_what_was_served(served: Served, said: bytes) -> None:
    field = sidecar_field(make_call(), Verdict.OK, False, served)
    assert field.endswith(b", " + said)


@pytest.mark.parametrize(
    ("target", "host", "base"),
    [
        (b"/stripe/v1/charges", b"127.0.0.1:7600", b"http://127.0.0.1:7600/stripe"),
        (b"/stripe", b"LocalHost", b"http://LocalHost/stripe"),
        (b"/stripe/v1", b"", None),
        (b"/stripe/v1", b"api.stripe.com", None),
        (b"http://api.stripe.com/v1", b"127.0.0.1:7600", None),
        (b"/", b"other.example", None),
    ],
)
async def test_only_a_call_by_base_url_knows_it(target: bytes, host: bytes, base: bytes | None) -> None:
    policies = Policies(a_reply())
    await ask(policies, target, host)
    assert [call.base for call in policies.seen] == [base]
