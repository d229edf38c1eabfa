"""Running programs, and reading why one failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.firewall.machine import (
    NET_ADMIN,
    NET_RAW,
    FirewallError,
    NotPermitted,
    ThisMachine,
    has_ipv6,
    require,
    run_checked,
)
from tests.firewall.machines import ADMIN_ONLY, NOBODY, ROOT, FakeMachine, always
from tests.real import need

SH = "/bin/sh"


def test_a_program_gets_its_input_and_an_english_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    done = ThisMachine().run([SH, "-c", 'cat; echo "$LC_ALL"; echo no >&2; exit 3'], "in\n")
    assert (done.code, done.out, done.err) == (3, "in\nC\n", "no\n")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FirewallError, match=r"nft cannot be run \(No such file or directory\)$"):
        run_checked(ThisMachine(), [str(tmp_path / "nft")])


def test_a_program_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.firewall.machine.RUN_S", 0.01)
    with pytest.raises(FirewallError, match=r"gave no answer within 0\.01 s$"):
        ThisMachine().run([need("tail"), "-f", "/dev/null"])


def test_tools_are_found_beside_an_ordinary_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nft"
    tool.write_text("")
    tool.chmod(0o755)
    monkeypatch.setattr("sidecar.firewall.machine.SYSTEM_PATH", (str(tmp_path),))
    monkeypatch.setenv("PATH", os.defpath)
    assert ThisMachine().find("nft") is not None
    assert ThisMachine().find("no-such-tool") is None


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    assert ThisMachine().read(str(tmp_path / "a")) == "text"
    assert ThisMachine().read(str(tmp_path / "b")) is None


@pytest.mark.parametrize(
    ("err", "error", "message"),
    [
        (
            "# Warning: something\niptables v1.8.9: Permission denied (you must be root)\n",
            NotPermitted,
            "tool may not change the firewall (iptables v1.8.9: Permission denied (you must be root)): "
            "run it with NET_ADMIN, as the init container does",
        ),
        (
            "Error: Could not process rule: Operation not supported\n",
            FirewallError,
            "the kernel lacks what tool needs, such as NAT's module "
            "(Error: Could not process rule: Operation not supported)",
        ),
        ("Fatal: can't open lock file: Permission denied\n", FirewallError, None),
        ("a\nb\n", FirewallError, "tool failed (a)"),
        ("", FirewallError, "tool failed (exit code 2)"),
    ],
)
def test_why_a_program_failed(err: str, error: type[FirewallError], message: str | None) -> None:
    machine = FakeMachine("tool")
    machine.answers["tool"] = always(2, err=err)
    with pytest.raises(FirewallError) as caught:
        run_checked(machine, ["/usr/sbin/tool"])
    assert type(caught.value) is error
    assert str(caught.value) == (message or f"tool failed ({err.strip()})")


def test_capabilities() -> None:
    require(FakeMachine(status=ROOT), "nft", NET_ADMIN, NET_RAW)
    require(FakeMachine(status=ADMIN_ONLY), "nft", NET_ADMIN)
    # Who cannot tell is let through to the tool, which will say.
    require(FakeMachine(status=None), "nft", NET_ADMIN)
    with pytest.raises(NotPermitted, match=r"this process lacks NET_ADMIN and NET_RAW\): run it with NET_ADMIN and"):
        require(FakeMachine(status=NOBODY), "nft", NET_ADMIN, NET_RAW)


def test_ipv6_is_there_when_an_interface_has_it() -> None:
    machine = FakeMachine()
    assert not has_ipv6(machine)
    machine.files["/proc/net/if_inet6"] = "00000000000000000000000000000001 01 80 10 80 lo\n"
    assert not has_ipv6(machine)
    machine.files["/proc/net/if_inet6"] += "fe800000000000000000000000000001 02 40 20 80 eth0\n"
    assert has_ipv6(machine)
