"""The injector from outside: recorded reviews over TLS, what is no review, certificates that change, its end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sidecar.kube import webhook as module
from sidecar.kube.admission import read_review
from sidecar.kube.annotations import Defaults
from sidecar.kube.certificate import ServingCertificate
from sidecar.kube.review import Fail, Rules, check, review
from sidecar.kube.webhook import Webhook, WebhookSettings
from tests.kube.injector import REVIEW, Injector, until
from tests.kube.pki import Authority, MountedSecret, client_context, serial_of
from tests.kube.recorded import NAMES, SECRETS, admitted, body_of, patch_of, recorded

MIB = 1024 * 1024


@contextmanager
def running(root: Path, *args: str, **environ: str) -> Iterator[Injector]:
    injector = Injector(root, *args, **environ)
    try:
        yield injector
    finally:
        injector.end(signal.SIGINT)


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injector]:
    with running(tmp_path_factory.mktemp("injector")) as injector:
        yield injector


# Reviews.


@pytest.mark.parametrize("name", NAMES)
def test_recorded_reviews_are_answered_as_they_are_decided(injector: Injector, name: str) -> None:
    document = recorded(name)
    request, rules = read_review(body_of(document)), Rules(Defaults())
    assert injector.review(document) == review(request, rules, every=False).answer
    assert injector.review(document, "/inject/all?timeout=5s") == review(request, rules, every=True).answer
    assert injector.review(document, "/check?timeout=5s") == check(request, rules).answer


def test_a_connection_carries_many_reviews(injector: Injector) -> None:
    connection = injector.connect()
    for name in NAMES * 2:
        connection.request("POST", "/inject", body_of(recorded(name)), REVIEW)
        assert json.loads(connection.getresponse().read())["response"]["uid"] == recorded(name)["request"]["uid"]
    connection.close()


def test_an_injected_pod_gets_an_empty_patch(injector: Injector) -> None:
    document = recorded("pod")
    document["request"]["object"] = admitted(document, injector.review(document))
    assert injector.review(document)["response"] == {"uid": document["request"]["uid"], "allowed": True}


def test_a_review_of_megabytes_is_answered(injector: Injector) -> None:
    document = recorded("pod")
    env = document["request"]["object"]["spec"]["containers"][0]["env"]
    env.extend({"name": f"A{number}", "value": "x" * 1000} for number in range(1000))
    assert patch_of(injector.review(document))


# What is no review.


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "says"),
    [
        ("POST", "/inject", b"{", REVIEW, 400, "not JSON"),
        ("POST", "/inject", b"", REVIEW, 400, "not JSON"),
        ("POST", "/inject", b"{}", REVIEW, 400, "AdmissionReview"),
        ("POST", "/inject/all", b"[" * 1000, REVIEW, 400, "not JSON"),
        ("POST", "/check", b'{"kind": "AdmissionReview"}', REVIEW, 400, "apiVersion"),
        ("POST", "/inject", b"{}", {"Content-Type": "text/plain"}, 415, "application/json"),
        ("POST", "/inject", b"{}", {}, 415, "application/json"),
        ("POST", "/inject", b"{}", {**REVIEW, "Content-Encoding": "gzip"}, 415, "Content-Encoding"),
        ("POST", "/inject", b" " * (3 * MIB + 1), REVIEW, 413, "at most 3145728 bytes"),
        ("GET", "/inject", None, {}, 405, "Not Allowed"),
        ("POST", "/", b"{}", REVIEW, 404, "Not Found"),
        ("GET", "/../etc/passwd", None, {}, 404, "Not Found"),
    ],
)
def test_what_is_no_review_is_told_why(
    injector: Injector, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, says: str
) -> None:
    answer = injector.ask(method, path, body, headers)
    assert answer.status == status
    assert says in answer.text
    assert "Traceback" not in answer.text
    assert injector.ask("GET", "/livez").status == 200


def test_a_body_without_a_length_is_bounded_too(injector: Injector) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * (64 * 1024)

    answer = injector.ask("POST", "/inject", pieces())
    assert answer.status == 413


def test_a_body_that_stalls_ends_by_the_time_that_the_caller_names(injector: Injector) -> None:
    head = (
        "POST /inject?timeout=0.2s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    with raw(injector) as connection:
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(65536).splitlines()[0]


def test_a_caller_that_hangs_up_harms_nobody(injector: Injector) -> None:
    for part in (b"", b"POST /inj", b"POST /inject HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
        with raw(injector) as connection:
            connection.sendall(part)
    with socket.create_connection(("127.0.0.1", injector.port)) as plain:
        plain.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
    assert injector.ask("GET", "/livez").text == "ok\n"
    assert [line for line in injector.lines if line["level"] == "error"] == []


@contextmanager
def raw(injector: Injector) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", injector.port), 20) as plain,
        injector.trust.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=True) as connection,
    ):
        yield connection


def test_old_tls_is_refused(injector: Injector) -> None:
    old = client_context(injector.authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        injector.ask("GET", "/livez", trust=old)


# What it says of itself.


def test_reviews_are_counted_by_how_they_ended(injector: Injector) -> None:
    def counts() -> dict[str, float]:
        names = ("injected", "passed", "malformed", "skipped")
        return {name: injector.count(f'sidecar_injector_reviews_total{{result="{name}"}}') for name in names}

    before = counts()
    injector.review(recorded("pod"))
    injector.review(recorded("pod-typo"))
    injector.review(recorded("configmap"))
    injector.ask("POST", "/inject", b"{")
    assert {name: count - before[name] for name, count in counts().items()} == dict.fromkeys(before, 1.0)
    assert injector.count("sidecar_injector_review_seconds_count") >= 3
    expires = injector.count("sidecar_injector_certificate_expiry_timestamp_seconds")
    assert expires == pytest.approx(ServingCertificate(injector.secret.root).pair.expires.timestamp())


def test_every_injection_leaves_a_line_and_no_value_of_the_pod(injector: Injector) -> None:
    before = len(injector.said("reviewed"))
    for _ in range(20):
        injector.review(recorded("pod-init-containers"))
    injector.review(recorded("pod-typo"))
    lines = until(lambda: len(found := injector.said("reviewed")[before:]) >= 21 and found)
    assert lines[0].keys() >= {"outcome", "kind", "namespace", "object", "review", "duration_s"}
    assert (lines[0]["outcome"], lines[0]["object"]) == ("injected", "shop-7d9c6bf5d8-*")
    assert (lines[-1]["outcome"], lines[-1]["level"], len(lines[-1]["problems"])) == ("passed", "warning", 2)
    assert not any(secret in json.dumps(injector.lines) for secret in SECRETS)


# Settings.


def test_fail_closed_keeps_out_what_cannot_be_injected(tmp_path: Path) -> None:
    with running(tmp_path, "--default-policies", "common", SIDECAR_INJECTOR_FAIL="closed") as injector:
        response = injector.review(recorded("pod-typo"))["response"]
        assert (response["allowed"], response["status"]["code"]) == (False, 422)
        assert "did you mean sidecar/policies?" in response["status"]["message"]
        request = read_review(body_of(recorded("pod")))
        rules = Rules(Defaults(policies="common"), Fail.CLOSED)
        assert injector.review(recorded("pod")) == review(request, rules, every=False).answer


def test_with_a_client_authority_only_its_clients_get_answers_and_probes_need_none(tmp_path: Path) -> None:
    clients = Authority("apiserver-ca")
    (tmp_path / "ca.crt").write_bytes(clients.pem)
    for signer in (clients, Authority("stranger")):
        for name, pem in zip(("crt", "key"), signer.pair(f"{signer.name}-client"), strict=True):
            (tmp_path / f"{signer.name}.{name}").write_bytes(pem)
    with running(tmp_path, "--client-ca", str(tmp_path / "ca.crt")) as injector:

        def trust(name: str) -> ssl.SSLContext:
            return client_context(injector.authority, (tmp_path / f"{name}.crt", tmp_path / f"{name}.key"))

        body = body_of(recorded("pod"))
        assert injector.ask("GET", "/readyz").status == 200
        refused = injector.ask("POST", "/inject", body)
        assert (refused.status, "--client-ca" in refused.text) == (403, True)
        assert injector.ask("POST", "/inject", body, trust=trust("apiserver-ca")).status == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            injector.ask("POST", "/inject", body, trust=trust("stranger"))


# Certificates.


def test_certificates_change_under_load_and_no_handshake_fails(tmp_path: Path) -> None:
    with running(tmp_path) as injector:
        body = body_of(recorded("pod"))
        failures: list[BaseException] = []
        answered = 0
        over = threading.Event()
        lock = threading.Lock()

        def call() -> None:
            nonlocal answered
            while not over.is_set():
                try:
                    assert injector.ask("POST", "/inject?timeout=5s", body).status == 200
                except BaseException as error:
                    failures.append(error)
                    return
                with lock:
                    answered += 1

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        try:
            for _ in range(3):
                certificate, key = injector.authority.pair()
                injector.secret.swap(certificate, key)
                until(lambda: failures or shown(injector) == serial_of(certificate))  # noqa: B023
        finally:
            over.set()
            for caller in callers:
                caller.join(20)
        assert failures == []
        assert answered > 50
        assert injector.count('sidecar_injector_certificate_reloads_total{result="ok"}') == 3
        assert injector.process.poll() is None


def shown(injector: Injector) -> int:
    with raw(injector) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return serial_of(ssl.DER_cert_to_PEM_cert(der).encode())


def test_a_broken_certificate_keeps_the_old_one_and_is_said(tmp_path: Path) -> None:
    with running(tmp_path) as injector:
        serial = shown(injector)
        injector.secret.swap(injector.authority.pair()[0], injector.authority.pair()[1])
        [line] = until(lambda: injector.said("a changed certificate is not fit: the old one stays"))
        assert (line["level"], line["problem"]) == (
            "error",
            f"{injector.secret.root}/tls.key: this is not the key of tls.crt",
        )
        assert shown(injector) == serial
        assert injector.count('sidecar_injector_certificate_reloads_total{result="unfit"}') == 1
        assert injector.ask("GET", "/readyz").status == 200


# The end.


def test_sigterm_drains_unready_and_answers_to_the_end(tmp_path: Path) -> None:
    injector = Injector(tmp_path, "--drain", "2s")
    try:
        injector.process.send_signal(signal.SIGTERM)
        until(lambda: injector.ask("GET", "/readyz").status == 503)
        answer = injector.ask("POST", "/inject", body_of(recorded("pod")))
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert injector.process.wait(20) == 0
        until(lambda: injector.said("stopped"))
    finally:
        injector.end()


def test_sigint_stops_at_once_and_a_second_signal_too(tmp_path: Path) -> None:
    assert Injector(tmp_path / "a").end(signal.SIGINT) == 0
    injector = Injector(tmp_path / "b", "--drain", "1h")
    injector.process.send_signal(signal.SIGTERM)
    until(lambda: injector.said("draining"))
    assert injector.end(signal.SIGTERM) == 128 + signal.SIGTERM


# In this process, where bounds can be made short.


@pytest.fixture
async def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Webhook, int, Any]]:
    monkeypatch.setattr(module, "FIRST_REQUEST_S", 0.1)
    authority = Authority()
    secret = MountedSecret(tmp_path / "tls", *authority.pair())
    webhook = Webhook(Rules(Defaults()), ServingCertificate(secret.root), WebhookSettings(grace_s=0.1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(webhook.serve(listener))
        yield webhook, listener.getsockname()[1], client_context(authority)
        webhook.stop(signal.SIGINT)
        await serving


async def test_whoever_says_nothing_is_sent_away(short: tuple[Webhook, int, Any]) -> None:
    _, port, trust = short
    for said in (b"", b"POST /inject HTT"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
        writer.write(said)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def test_nothing_is_kept_of_connections_that_never_ask(short: tuple[Webhook, int, Any]) -> None:
    webhook, port, _ = short
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(10):
        while webhook._newcomers:  # noqa: ASYNC110 - it comes about by itself, and tells nobody
            await asyncio.sleep(0)


async def test_a_look_that_fails_is_not_the_last(
    short: tuple[Webhook, int, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = asyncio.Semaphore(0)

    def refresh(certificate: ServingCertificate) -> bool:
        looks.release()
        raise RuntimeError("of no kind that is expected")

    monkeypatch.setattr(ServingCertificate, "refresh", refresh)
    monkeypatch.setattr(module, "POLL_S", 0.0)
    async with asyncio.timeout(10):
        await looks.acquire()
        await looks.acquire()
    assert "the certificate could not be looked at" in caplog.messages


async def test_an_expired_certificate_makes_it_unready(
    short: tuple[Webhook, int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port, trust = short
    monkeypatch.setattr(ServingCertificate, "expired", True)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"the certificate has expired\n")
    writer.close()
    with suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
