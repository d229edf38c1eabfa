"""What a start needs of the machine, and what it says when it cannot have it."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest

from sidecar.address import Address
from sidecar.errors import SettingsError
from sidecar.serving.ground import bind, check_paths, is_loopback, prepare_state, raise_file_limit


@pytest.mark.parametrize(
    ("address", "loopback", "family"),
    [
        (Address("127.0.0.1", 0), True, socket.AF_INET),
        (Address("localhost", 0), True, socket.AF_INET),
        (Address("::1", 0), True, socket.AF_INET6),
        (Address("0.0.0.0", 0), False, socket.AF_INET),
    ],
)
def test_a_listener_knows_whether_it_is_on_loopback(address: Address, loopback: bool, family: int) -> None:
    with bind(address, "admin", 10) as listener:
        assert is_loopback(listener) is loopback
        assert listener.family == family


def test_an_empty_host_takes_connections_of_both_families() -> None:
    with bind(Address("", 0), "admin", 10) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 5).close()
        assert not is_loopback(listener)


def test_a_port_in_use_names_the_setting() -> None:
    with bind(Address("127.0.0.1", 0), "admin", 10) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            bind(Address("127.0.0.1", port), "listen", 10)

    assert str(caught.value) == (
        "--listen / SIDECAR_LISTEN: expected an address that is free to listen on, "
        f"got '127.0.0.1:{port}' (address already in use)"
    )


def test_the_state_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    prepare_state(tmp_path / "a" / "b")
    prepare_state(tmp_path / "a" / "b")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(SettingsError, match="--state / SIDECAR_STATE: expected a directory that can be written"):
        prepare_state(tmp_path / "state")


def test_a_policy_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    check_paths([tmp_path])

    with pytest.raises(SettingsError, match=r"--policies / SIDECAR_POLICIES: .* got '.*missing'"):
        check_paths([tmp_path, tmp_path / "missing"])


def test_the_limit_on_open_files_becomes_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    raise_file_limit()
    raise_file_limit()

    assert limits == [(1024, 4096), (4096, 4096)]
