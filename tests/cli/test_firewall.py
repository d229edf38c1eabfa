"""`sidecar firewall`: options to rules, an exit code for each end. What a kernel makes of it: `tests/firewall`."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sidecar.cli import firewall as module
from sidecar.cli.main import main
from tests.firewall.machines import NOBODY, FakeMachine, always, iptables_programs


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    machine = FakeMachine("nft", *iptables_programs("-legacy"))
    monkeypatch.setattr(module, "ThisMachine", lambda: machine)
    return machine


PAGE = Path(__file__).parents[2] / "docs/transparent.md"


def run(*args: str, **environ: str) -> Result:
    return CliRunner(env={"SIDECAR_TRANSPARENT": None, **environ}).invoke(main, ["firewall", *args])


def test_a_dry_run_prints_and_asks_nothing(machine: FakeMachine) -> None:
    result = run("up", "--dry-run")
    assert (result.exit_code, machine.asked) == (0, [])
    assert result.stdout.startswith("# nft -f -\ntable inet sidecar\n")


def test_every_option_reaches_the_rules(machine: FakeMachine) -> None:
    args = "--to 7700 --uid 1,2 --uid 3 --ports 80,443 --ports 8443 --exclude 10.0.0.0/8,fd00::/8 --exclude-port 9,10"
    shown = run("up", "--dry-run", *args.split(), "--no-ipv6").stdout
    for line in (
        "meta nfproto ipv6 return",
        "meta skuid { 1, 2, 3 } return",
        "ip daddr { 10.0.0.0/8 } return",
        "ip6 daddr { fd00::/8 } return",
        "tcp dport { 9-10 } return",
        "tcp dport { 80, 443, 8443 } redirect to :7700",
    ):
        assert f"\t\t{line}\n" in shown


def test_a_dry_run_of_another_tool(machine: FakeMachine) -> None:
    shown = run("up", "--dry-run", "--tool", "iptables").stdout
    assert [line for line in shown.splitlines() if line.startswith("#")] == [
        "# iptables-legacy-restore --noflush",
        "# ip6tables-legacy-restore --noflush",
    ]


def test_the_port_of_the_listener_setting(machine: FakeMachine) -> None:
    assert "redirect to :7700" in run("up", "--dry-run", SIDECAR_TRANSPARENT="[::]:7700").stdout
    assert "redirect to :7800" in run("up", "--dry-run", "--to", "7800", SIDECAR_TRANSPARENT="[::]:7700").stdout
    assert "redirect to :7603" in run("up", "--dry-run", SIDECAR_TRANSPARENT="").stdout


def test_up_says_what_it_did(machine: FakeMachine) -> None:
    result = run("up")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "TCP connections are redirected to port 7603, by nft\n"
    assert len(machine.told("nft")) == 1


def test_down_says_nothing(machine: FakeMachine) -> None:
    result = run("down")
    assert (result.exit_code, result.output) == (0, "")


def test_show(machine: FakeMachine) -> None:
    result = run("show")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "no rule of the sidecar's is in force\n")
    machine.answers["nft"] = always(0, "table inet sidecar\n")
    result = run("show")
    assert (result.exit_code, result.stdout) == (0, "table inet sidecar\n")


@pytest.mark.parametrize("command", ["up", "down", "show"])
def test_without_privilege(machine: FakeMachine, command: str) -> None:
    machine.files["/proc/self/status"] = NOBODY
    result = run(command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "sidecar: nft may not change the firewall (this process lacks NET_ADMIN): "
        "run it with NET_ADMIN, as the init container does\n"
    )


@pytest.mark.parametrize("command", ["up", "down", "show"])
def test_without_a_tool(machine: FakeMachine, command: str) -> None:
    machine.programs = ()
    result = run(command)
    assert result.exit_code == 1
    assert result.stderr.startswith("sidecar: neither nft nor iptables is installed")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--ports 80-", "Invalid value for '--ports': expected ports such as 443, 80,443 or 8000-8100, got '80-'."),
        ("--exclude 10.1.0.0/8", "'10.1.0.0/8'; did you mean 10.0.0.0/8? See"),
        ("--uid root", "expected a user's number such as 65532, got 'root'."),
        ("--to 0", "expected a port from 1 to 65535, got '0'."),
        ("--tool ufw", "'ufw' is not one of"),
    ],
)
def test_an_option_that_is_not_fit(machine: FakeMachine, args: str, message: str) -> None:
    result = run("up", *args.split())
    assert (result.exit_code, result.stdout, machine.asked) == (2, "", [])
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_option_and_exit_code_is_documented() -> None:
    text = PAGE.read_text()
    options = [name for one in module.up.params if isinstance(one, click.Option) for name in one.opts]
    assert [name for name in options if name.replace("--ipv6", "--no-ipv6") not in text] == []
    assert all(f"| {code} | " in text for code in (0, 1, 2, module.NOTHING_IN_FORCE))
