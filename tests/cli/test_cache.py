"""`sidecar cache` against a small HTTP server that answers as a daemon's admin listener would."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.main import main
from tests.policy.documents import load

KEY = "3f2a9c1b" * 4 + "77aa01bc" * 4
ENTRY = {
    "key": KEY,
    "url": "https://api.stripe.com/v1/plans/a?expand=…",
    "status": 200,
    "provider": "stripe",
    "route": "get-plan",
    "tags": ["plan-a", "\x9b31mred"],
    "partition": "77aa01bc",
    "size_bytes": 2048,
    "age_s": 12.3,
    "ttl_s": 47.7,
    "stale_left_s": 3647.7,
}
OTHERS = [
    {**ENTRY, "key": "00ff" * 8, "age_s": 400, "ttl_s": -340, "stale_left_s": 7200, "tags": [], "route": "-"},
    {**ENTRY, "age_s": 400000, "ttl_s": 300.0, "stale_left_s": None},
    {**ENTRY, "age_s": 1, "ttl_s": -1, "stale_left_s": None},
    {**ENTRY, "age_s": 1, "ttl_s": None, "stale_left_s": None},
]
MEMORY = {"tier": "memory", "entries": 5, "size_bytes": 10240, "limit_bytes": 64 * 1024**2}
REDIS = {"tier": "redis", "entries": None, "size_bytes": None, "limit_bytes": None}
LISTING = {"stores": [MEMORY, REDIS], "providers": [], "entries": [ENTRY, *OTHERS]}
DETAILS = {
    **ENTRY,
    "received_s": 1.8e9,
    "lifetime_s": 60.0,
    "varies_by": ["accept"],
    "fields": [{"name": "Cache-Control", "value": "max-age=60"}, {"name": "Set-Cookie", "value": "…"}],
    "body_bytes": 512,
}
Answers = dict[str, tuple[int, Any]]


class Admin:
    """Answers by path, and remembers what was asked: (method, target, body, Authorization)."""

    def __init__(self) -> None:
        self.answers: Answers = {
            "/cache": (200, LISTING),
            f"/cache/{KEY}": (200, {"entries": [DETAILS, DETAILS]}),
            "/cache/purge": (200, {"purged": 3}),
        }
        self.asked: list[tuple[str, str, Any, str | None]] = []
        admin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(None)

            def do_POST(self) -> None:
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body: Any) -> None:
                admin.asked.append((self.command, self.path, body, self.headers["Authorization"]))
                nothing = (404, {"detail": "Nothing is kept under this key: /cache lists what is."})
                status, document = admin.answers.get(self.path.partition("?")[0], nothing)
                raw = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"

    def run(self, *args: str, stdin: str | None = None, **env: str) -> Result:
        environ = {"SIDECAR_ADMIN": self.address, "SIDECAR_ADMIN_TOKEN": "", **env}
        return CliRunner().invoke(main, ["cache", *args], input=stdin, prog_name="sidecar", env=environ)


@pytest.fixture
def admin() -> Iterator[Admin]:
    admin = Admin()
    thread = Thread(target=admin.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield admin
    admin.server.shutdown()
    thread.join()
    admin.server.server_close()


def test_a_list_for_people(admin: Admin) -> None:
    result = admin.run("ls")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    url = "https://api.stripe.com/v1/plans/a?expand=…"
    assert [re.split(" {2,}", line) for line in lines] == [
        ["KEY", "AGE", "LEFT", "SIZE", "STATUS", "ROUTE", "TAGS", "URL"],
        ["3f2a9c1b-77aa01bc", "12s", "48s", "2.0 KiB", "200", "stripe/get-plan", "plan-a,?31mred", url],
        ["00ff00ff-none", "7m", "stale 2h", "2.0 KiB", "200", "stripe/-", "-", url],
        ["3f2a9c1b-77aa01bc", "5d", "5m", "2.0 KiB", "200", "stripe/get-plan", "plan-a,?31mred", url],
        ["3f2a9c1b-77aa01bc", "1s", "stale -", "2.0 KiB", "200", "stripe/get-plan", "plan-a,?31mred", url],
        ["3f2a9c1b-77aa01bc", "1s", "?", "2.0 KiB", "200", "stripe/get-plan", "plan-a,?31mred", url],
    ]
    assert len({line.index("https:") for line in lines[1:]}) == 1
    assert result.stderr == "5 shown; memory: 5 replies, 10.0 KiB of 64.0 MiB\n"
    assert admin.asked == [("GET", "/cache?limit=100", None, None)]


def test_a_list_of_nothing(admin: Admin) -> None:
    admin.answers["/cache"] = (200, {"stores": [], "providers": [], "entries": []})
    result = admin.run("ls")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "0 shown\n")


def test_a_list_is_narrowed_by_the_daemon(admin: Admin) -> None:
    admin.run("ls", "--provider", "stripe", "--route", "get plan", "--tag", "a&b", "--limit", "7")

    assert admin.asked[0][1] == "/cache?provider=stripe&route=get+plan&tag=a%26b&limit=7"


@pytest.mark.parametrize("args", [("ls",), ("show", KEY), ("purge", "--tag", "x")])
def test_json_is_what_the_daemon_said(admin: Admin, args: tuple[str, ...]) -> None:
    result = admin.run(*args, "--json")

    assert json.loads(result.stdout) in [document for _, document in admin.answers.values()]


def test_one_reply_for_people(admin: Admin) -> None:
    result = admin.run("show", KEY)
    one, other = result.stdout.removesuffix("\n").split("\n\n")

    assert one == other
    assert one.splitlines() == [
        f"key        {KEY}",
        "url        https://api.stripe.com/v1/plans/a?expand=…",
        "status     200",
        "route      stripe/get-plan",
        "age        12s",
        "left       48s",
        "size       2.0 KiB, of it 512 B body",
        "tags       plan-a, ?31mred",
        "varies by  accept",
        "fields",
        "  Cache-Control: max-age=60",
        "  Set-Cookie: …",
    ]


def test_a_reply_that_is_not_there(admin: Admin) -> None:
    result = admin.run("show", "../purge?x")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "sidecar: Nothing is kept under this key: /cache lists what is.\n"
    assert admin.asked[0][1] == "/cache/..%2Fpurge%3Fx"


@pytest.mark.parametrize(
    ("args", "document"),
    [
        (["--provider", "stripe", "--yes"], {"provider": "stripe", "soft": False}),
        (["--provider", "stripe", "--soft"], {"provider": "stripe", "soft": True}),
        (["--provider", "stripe", "--route", "a"], {"provider": "stripe", "route": "a", "soft": False}),
        (["--url", "https://x.example/?a=b"], {"url": "https://x.example/?a=b", "soft": False}),
        (["--tag", "customer-1"], {"tag": "customer-1", "soft": False}),
        (["--key", "3f2a9c1b-77aa01bc"], {"key": "3f2a9c1b-77aa01bc", "soft": False}),
        (["--all", "--yes"], {"all": True, "soft": False}),
    ],
)
def test_a_purge(admin: Admin, args: list[str], document: dict[str, Any]) -> None:
    result = admin.run("purge", *args)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == ("took 3 replies for stale\n" if document["soft"] else "purged 3 replies\n")
    assert admin.asked == [("POST", "/cache/purge", document, None)]


def test_a_purge_of_one(admin: Admin) -> None:
    admin.answers["/cache/purge"] = (200, {"purged": 1})

    assert admin.run("purge", "--tag", "x").stdout == "purged 1 reply\n"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--soft"],
        ["--tag", "x", "--all"],
        ["--tag", "x", "--key", "y"],
        ["--route", "a"],
        ["--route", "a", "--tag", "x"],
        ["--all"],
        ["--provider", "stripe"],
    ],
    ids=" ".join,
)
def test_a_purge_that_nobody_could_have_meant(admin: Admin, args: list[str]) -> None:
    result = admin.run("purge", *args)

    assert (result.exit_code, result.stderr.count("\n"), admin.asked) == (2, 1, [])


@pytest.mark.parametrize(("said", "exit_code", "asked"), [("y\n", 0, 1), ("n\n", 130, 0)])
def test_whoever_sits_at_a_terminal_is_asked(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, said: str, exit_code: int, asked: int
) -> None:
    monkeypatch.setattr("sidecar.cli.cache.at_terminal", lambda: True)
    result = admin.run("purge", "--all", stdin=said)

    assert (result.exit_code, len(admin.asked)) == (exit_code, asked)
    assert "Purge everything?" in result.output


def test_changes_carry_the_token_and_questions_do_not(admin: Admin) -> None:
    admin.run("ls", SIDECAR_ADMIN_TOKEN="correct-horse")
    admin.run("purge", "--tag", "x", SIDECAR_ADMIN_TOKEN="correct-horse")

    assert [authorization for *_, authorization in admin.asked] == [None, "Bearer correct-horse"]


def test_a_token_that_is_none(admin: Admin) -> None:
    result = admin.run("purge", "--tag", "x", SIDECAR_ADMIN_TOKEN="hunter2 hunter2")

    assert result.exit_code == 2
    assert "at least 8 ASCII characters" in result.stderr
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {"detail": "The token is not the one of SIDECAR_ADMIN_TOKEN."}), "The token is not the one"),
        ((503, {"status": "starting"}), "said 503"),
        ((200, b"<html>"), "is no sidecar's admin listener"),
        ((200, []), "is no sidecar's admin listener"),
    ],
)
def test_a_daemon_that_does_not_do_it(admin: Admin, answer: tuple[int, Any], said: str) -> None:
    admin.answers["/cache/purge"] = answer
    result = admin.run("purge", "--tag", "x")

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert said in result.stderr


def test_no_daemon(admin: Admin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = admin.run("ls", "--admin", f"127.0.0.1:{port}")

    assert result.exit_code == 1
    assert result.stderr == (
        f"sidecar: no daemon answers at 127.0.0.1:{port} (connection refused): is it running? "
        "--admin or SIDECAR_ADMIN says where to ask\n"
    )


def test_something_else_that_answers(admin: Admin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 smtp.example ready\r\n")

        thread = Thread(target=answer)
        thread.start()
        result = admin.run("ls", "--admin", f"127.0.0.1:{other.getsockname()[1]}")
        thread.join()

    assert result.exit_code == 1
    assert "is no sidecar's admin listener" in result.stderr


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
def test_a_daemon_on_every_address_is_asked_on_loopback(admin: Admin, host: str) -> None:
    assert admin.run("ls", "--admin", f"{host}:{admin.server.server_port}").exit_code == 0


def test_an_address_that_is_none(admin: Admin) -> None:
    result = admin.run("ls", "--admin", "7601")

    assert result.exit_code == 2
    assert "did you mean 127.0.0.1:7601?" in result.stderr


@pytest.mark.parametrize("command", ["ls", "show", "purge"])
def test_every_command_explains_itself(admin: Admin, command: str) -> None:
    result = admin.run(command, "--help")

    assert result.exit_code == 0
    assert "--admin" in result.stdout
    assert "SIDECAR_ADMIN" in result.stdout


def test_every_command_of_the_page_is_one(admin: Admin) -> None:
    page = (Path(__file__).parents[2] / "docs" / "purging.md").read_text()
    commands = [shlex.split(line) for line in re.findall(r"^\$ sidecar cache (.+)$", page, re.MULTILINE)]
    admin.answers["/cache/3f2a9c1b-77aa01bc"] = admin.answers[f"/cache/{KEY}"]

    assert len(commands) >= 5
    for command in commands:
        result = admin.run(*command, *(["--yes"] if command[0] == "purge" else []))
        assert (result.exit_code, command) == (0, command)


def test_the_policy_of_the_page_is_fit(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "purging.md").read_text()
    [routes] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)

    assert not load(tmp_path, stripe=f"provider: stripe\nhosts: [api.stripe.com]\n{routes}").problems
