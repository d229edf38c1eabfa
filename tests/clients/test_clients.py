"""Every client in every mode, for real; and docs/clients.md, which says what came of it."""

from __future__ import annotations

import platform

import pytest

from tests.clients.clients import CLIENTS, Client, Mode, Works
from tests.clients.install import PROGRAMS
from tests.clients.namespace import need_namespaces
from tests.clients.page import PAGE, page
from tests.clients.run import CELL, FULL, Result, doubts, run_all
from tests.real import need

PARTS = ("curl", "wget", "npm", "java", "javac", "unshare", "ip", "nft")


@pytest.mark.clients
@pytest.mark.timeout(600)
def test_every_client_gets_through_as_its_cell_says() -> None:
    for part in PARTS:
        need(part)
    need_namespaces()
    if platform.machine() != "x86_64":
        pytest.skip("the locked Node programs are for x86-64")

    results = run_all()

    assert doubts(results) == []
    assert {(result.client, result.mode) for result in results} == {
        (client.name, mode) for client in CLIENTS for mode in Mode
    }


def test_the_page_says_what_the_cells_say() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.clients --write`"


def test_every_program_is_run() -> None:
    assert {client.program for client in CLIENTS} == {file.name for file in PROGRAMS.iterdir() if file.is_file()}
    assert len({client.name for client in CLIENTS}) == len(CLIENTS)


THROUGH = Result("aiohttp", Mode.CONNECT, CELL, True, ("connect",), 0, "")


@pytest.mark.parametrize(
    "result",
    [
        Result("aiohttp", Mode.CONNECT, CELL, False, (), 0, "it failed"),
        Result("aiohttp", Mode.CONNECT, CELL, True, (), 0, ""),
        Result("aiohttp", Mode.CONNECT, CELL, True, ("forward",), 0, ""),
        Result("aiohttp", Mode.CONNECT, CELL, True, ("connect",), 1, ""),
        Result("aiohttp", Mode.CONNECT, FULL, True, ("connect",), 0, ""),
        Result("aiohttp", Mode.CONNECT, "SSL_CERT_FILE", True, ("connect",), 0, ""),
        Result("simple-salesforce", Mode.BASE, FULL, True, ("reverse",), 0, ""),
    ],
    ids=["no answer", "not counted", "another mode", "around", "no option needed", "no variable needed", "it can"],
)
def test_a_run_that_contradicts_its_cell_is_a_doubt(result: Result) -> None:
    assert doubts([THROUGH]) == []
    assert len(doubts([THROUGH, result])) == 1


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_needs_the_proxy_names_it(client: Client) -> None:
    cell = client.connect
    if isinstance(cell, Works):
        assert {"HTTPS_PROXY", "HTTP_PROXY", "JAVA_TOOL_OPTIONS"} & {*cell.variables, *cell.fills}
