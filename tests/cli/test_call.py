"""`sidecar call`: the reply's bytes on stdout, the decisions on stderr, an exit code for each end, no secret shown."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.main import main
from tests.menu import Answer, chunked, echo, hang_up, name_target, raw, reply, serve, stall
from tests.policy.documents import write
from tests.providers import Provider, Stage
from tests.wire.client import eventually

SECRET = "sk_live_4242"
BINARY = bytes(range(256)) * 300


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if re.match("SIDECAR_|OTEL_", name):
            monkeypatch.delenv(name)


class Acme:
    """A provider with its policy, and the command that calls it."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self._stage = stage
        self._directory = directory
        self.provider = Provider(serve(reply(200, b"well")))
        stage.run(self.provider.start())
        self.policy()

    def policy(self, *more: str) -> None:
        head = ["provider: acme", "hosts: [api.acme.test]", f"upstream: http://127.0.0.1:{self.provider.port}"]
        quick = "retry: {attempts: 3, backoff: {base: 1ms, cap: 2ms, jitter: none}}"
        route = 'routes: [{name: get-thing, match: {method: GET, path: "/things/{id}"}}]'
        write(self._directory, acme="\n".join([*head, *(more or (quick,)), route]))

    def answers(self, *answers: Answer) -> None:
        self.provider.script = serve(*answers)

    def stop(self) -> None:
        self._stage.run(self.provider.stop())

    def call(self, *args: str, data: bytes | None = None) -> Result:
        words = ["call", *args, "--policies", str(self._directory)]
        return CliRunner().invoke(main, words, input=data, prog_name="sidecar")

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "sidecar", "call", *args, "--policies", str(self._directory)]


@pytest.fixture
def acme(stage: Stage, tmp_path: Path) -> Iterator[Acme]:
    acme = Acme(stage, tmp_path / "policies")
    yield acme
    acme.stop()
    assert acme.provider.errors == []


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("acme/things/7?q=1", "reverse"),
        ("/acme/things/7?q=1", "reverse"),
        ("http://127.0.0.1:7600/acme/things/7?q=1", "reverse"),
        ("http://api.acme.test/things/7?q=1", "forward"),
        ("https://api.acme.test/things/7?q=1#part", "forward"),
    ],
)
def test_every_form_of_the_url_is_the_same_call(acme: Acme, url: str, mode: str) -> None:
    acme.answers(name_target)

    result = acme.call("get", url)

    assert (result.exit_code, result.stdout) == (0, "/things/7?q=1")
    assert result.stderr.startswith(f"acme · get-thing · {mode}\n")


def test_each_decision_has_its_step_and_its_time(acme: Acme) -> None:
    acme.answers(reply(503, b"busy"), reply(200, b"well"))

    result = acme.call("GET", "acme/things/7")

    assert result.exit_code == 0
    assert result.stdout == "well"
    lines = result.stderr.splitlines()
    assert re.fullmatch(r"  \+\d+\.\d ms  retry  attempt 1 transient, next in 0.001 s", lines[1])
    assert lines[2].startswith("  let it pass: trace, ")
    assert "retry" not in lines[2]
    assert re.fullmatch(r"200 OK · \d+\.\d ms · 2 attempts, ok · 4 bytes", lines[3])
    assert re.match(r'Sidecar: provider=acme, route="get-thing", attempts=2, outcome=ok, id="[0-9a-f]{16}"', lines[4])


def test_the_body_is_bytes(acme: Acme) -> None:
    acme.answers(chunked(BINARY, BINARY))
    result = acme.call("GET", "acme/x")
    assert result.stdout_bytes == BINARY + BINARY


def test_what_is_sent(acme: Acme, tmp_path: Path) -> None:
    acme.answers(echo())
    (tmp_path / "body").write_bytes(BINARY)

    for data, given, sent in (
        ("a=ä", None, "a=ä".encode()),
        (f"@{tmp_path}/body", None, BINARY),
        ("@-", b"x\n", b"x\n"),
    ):
        result = acme.call("POST", "acme/x", "-d", data, "-H", "X-A: 1", "-H", "x-a:  2 ", "-H", "Accept:", data=given)
        assert result.stdout_bytes == sent
        request = acme.provider.requests[-1]
        assert request.body == sent
        assert request.all(b"x-a") == [b"1", b"2"]
        assert request.all(b"accept") == []
        assert request.one(b"content-type") == b"application/x-www-form-urlencoded"
        assert request.one(b"user-agent").startswith(b"sidecar/")


def test_a_field_that_is_given_replaces_the_usual_one(acme: Acme) -> None:
    acme.call("POST", "acme/x", "-d", "{}", "-H", "content-type: application/json", "-H", "User-Agent: mine")
    request = acme.provider.requests[-1]
    assert (request.one(b"content-type"), request.one(b"user-agent")) == (b"application/json", b"mine")


def test_include_shows_the_head_as_the_application_gets_it(acme: Acme) -> None:
    acme.answers(reply(201, b"made", b"X-Kind: thing"))
    head, _, body = acme.call("POST", "acme/x", "-i").stdout_bytes.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 Created\r\nX-Kind: thing\r\nContent-Length: 4\r\nSidecar: provider=acme, ")
    assert body == b"made"


def test_output_takes_the_body(acme: Acme, tmp_path: Path) -> None:
    result = acme.call("GET", "acme/x", "-o", str(tmp_path / "kept"))
    assert (result.stdout, (tmp_path / "kept").read_bytes()) == ("", b"well")


def test_json_is_one_document(acme: Acme) -> None:
    acme.answers(reply(503), reply(200, b'{"a": 1}', b"X-Kind: thing"))

    shown: dict[str, Any] = json.loads(acme.call("GET", "acme/things/1", "--json", "-i").stdout)

    assert (shown["status"], shown["body"], shown["body_bytes"], shown["failure"]) == (200, '{"a": 1}', 8, None)
    assert ["X-Kind", "thing"] in shown["headers"]
    assert (shown["provider"], shown["route"], shown["outcome"], shown["attempts"]) == ("acme", "get-thing", "ok", 2)
    assert [row["step"] for row in shown["decisions"]] == ["retry"]
    assert shown["steps"][0] == "trace"
    assert re.fullmatch("[0-9a-f]{32}", shown["trace_id"])


def test_json_keeps_bytes_that_are_no_text(acme: Acme, tmp_path: Path) -> None:
    acme.answers(reply(200, b"\xff\x00"))
    assert json.loads(acme.call("GET", "acme/x", "--json").stdout)["body_base64"] == "/wA="
    shown = json.loads(acme.call("GET", "acme/x", "--json", "-o", str(tmp_path / "kept")).stdout)
    assert shown.keys().isdisjoint({"body", "body_base64"})
    assert (tmp_path / "kept").read_bytes() == b"\xff\x00"


def test_trace_shows_the_ids_that_were_sent(acme: Acme) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    result = acme.call("GET", "acme/x", "--trace", "-H", f"traceparent: 00-{trace}-b7ad6b7169203331-01")
    assert f"\ntrace {trace}\n" in result.stderr
    found = re.search(r"^call ([0-9a-f]{16})$", result.stderr, re.MULTILINE)
    assert found is not None
    assert acme.provider.requests[-1].one(b"traceparent") == f"00-{trace}-{found[1]}-01".encode()


@pytest.mark.parametrize(("answer", "code"), [(reply(302), 0), (reply(404, b"no"), 22), (reply(500, b"no"), 22)])
def test_the_exit_code_tells_the_status(acme: Acme, answer: Answer, code: int) -> None:
    acme.policy("retry: off")
    acme.answers(answer)
    assert acme.call("GET", "acme/x").exit_code == code


def test_a_provider_that_is_gone_is_one_line_and_1(acme: Acme) -> None:
    acme.stop()
    result = acme.call("GET", "acme/x")
    assert result.exit_code == 1
    assert re.match("sidecar: connect-failed: .+", result.stderr.splitlines()[-1])
    assert "Proxy-Status: sidecar; error=connection_refused" in result.stderr
    assert json.loads(result.stdout)["reason"] == "connect-failed"


def test_a_reply_that_breaks_off_is_1(acme: Acme) -> None:
    acme.policy("retry: off")
    acme.answers(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", close=True))
    result = acme.call("GET", "acme/x")
    assert (result.exit_code, result.stdout) == (1, "half")
    assert "sidecar: reply-incomplete: " in result.stderr


def test_a_call_that_nobody_takes_is_1(acme: Acme) -> None:
    result = acme.call("GET", "nobody/x")
    assert result.exit_code == 1
    assert "sidecar: unknown-provider: no policy has the name `nobody`" in result.stderr


def test_a_host_without_a_policy_goes_as_it_came_or_not_at_all(acme: Acme) -> None:
    denied = acme.call("GET", "http://nobody.invalid:81/x")
    assert (denied.exit_code, "sidecar: egress-denied: " in denied.stderr) == (1, True)
    carried = acme.call("GET", "http://nobody.invalid/x")
    assert carried.exit_code == 1
    assert "\n  no policy has this host, so the call went as it came\n" in carried.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["GET", "ftp://acme/x"], "expected http://…, https://… or provider/path"),
        (["GET", "http://[::1/x"], "this is no URL"),
        (["G T", "acme/x"], "expected ASCII characters without spaces"),
        (["NONE", "acme/x"], "This cannot be sent"),
        (["GET", "acme/x", "-H", "no colon"], "expected 'Name: value'"),
        (["GET", "acme/x", "-H", "Host: other"], "Host follows from the URL and the data"),
        (["GET", "acme/x", "-H", "A: b\r\nC: d"], "the value of A has a line end in it"),
        (["GET", "acme/x", "-d", "@/does/not/exist"], "cannot be read (No such file or directory)"),
        (["GET", "acme/x", "-o", "/does/not/exist"], "cannot be written (No such file or directory)"),
        (["GET", f"acme/{'x' * 9000}"], "a request target of more than 8192 bytes"),
    ],
)
def test_wrong_usage_is_one_line_and_2(acme: Acme, args: list[str], said: str) -> None:
    result = acme.call(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert acme.provider.requests == []


def test_unfit_and_missing_policies_are_2(acme: Acme, tmp_path: Path) -> None:
    acme.policy("retry: {attempts: many}")
    result = acme.call("GET", "acme/x")
    assert result.exit_code == 2
    assert "acme.yaml:4:19: retry.attempts: expected" in result.stderr
    missing = CliRunner().invoke(main, ["call", "GET", "acme/x", "--policies", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert missing.stderr.startswith("sidecar: --policies / SIDECAR_POLICIES: expected a file or a directory")


def test_a_policy_that_caches_leaves_nothing_behind(
    acme: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.policy("cache: {ttl: 60s, stale: 1h}")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("SIDECAR_REDIS", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SIDECAR_STATE", str(home / "state"))
    result = acme.call("GET", "acme/things/7")
    assert (result.exit_code, result.stdout) == (0, "well")
    assert re.search(r"^Cache-Status: sidecar; fwd=.*stored", result.stderr, re.MULTILINE)
    assert list(home.iterdir()) == []


def test_a_fallback_is_an_answer(acme: Acme) -> None:
    acme.policy("retry: off", "fallback: [{status: 200, text: kept}]")
    acme.stop()
    result = acme.call("GET", "acme/things/7")
    assert (result.exit_code, result.stdout) == (0, "kept")
    assert "served=fallback;reason=connect-failed" in result.stderr


@pytest.mark.parametrize("more", [[], ["--json"], ["-i", "--trace"]])
@pytest.mark.parametrize("answer", [reply(200, b"well"), hang_up, reply(500)])
def test_no_secret_is_shown(acme: Acme, more: list[str], answer: Answer) -> None:
    acme.answers(answer)
    words = ["-H", f"Authorization: Bearer {SECRET}", "-H", f"X-Api-Key: {SECRET}", "-d", f"key={SECRET}", *more]
    result = acme.call("POST", f"acme/x?key={SECRET}", *words)
    assert acme.provider.requests[-1].one(b"authorization") == f"Bearer {SECRET}".encode()
    assert SECRET not in result.output


def test_ctrl_c_ends_it_without_a_word(acme: Acme, stage: Stage) -> None:
    acme.policy("timeouts: {attempt: 30s}")
    acme.answers(stall)
    process = subprocess.Popen(acme.command("GET", "acme/x"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        try:
            eventually(lambda: acme.provider.requests)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, out, err.strip()) == (130, b"", b"")


def test_a_reader_that_left_is_no_fault(acme: Acme) -> None:
    acme.answers(reply(200, b"x" * 4_000_000))
    command = acme.command("GET", "acme/x")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"x"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
