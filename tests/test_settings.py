"""Settings: every flag, variable and default, and what each wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.address import Address, parse_address
from sidecar.errors import SettingsError
from sidecar.policy.units import NotUnderstood
from sidecar.settings import SETTINGS, Setting, Written, read_settings

DOCS = Path(__file__).parent.parent / "docs" / "running.md"
BY_NAME = {setting.name: setting for setting in SETTINGS}
VALUES = {
    "listen": ("127.0.0.1:1", Address("127.0.0.1", 1)),
    "admin": ("[::1]:2", Address("::1", 2)),
    "policies": ("a:b", (Path("a"), Path("b"))),
    "unfit_policies": ("Wait", "wait"),
    "state": ("/var/lib/sidecar", Path("/var/lib/sidecar")),
    "drain_s": ("1m", 60.0),
    "grace_s": ("500ms", 0.5),
    "max_request_line_bytes": ("4KiB", 4096),
    "max_header_count": ("7", 7),
    "max_header_bytes": ("1KiB", 1024),
    "max_body_bytes": ("1MiB", 1048576),
    "replay_bytes": ("0B", 0),
    "max_connections": ("10", 10),
    "backlog": ("5", 5),
    "idle_timeout_s": ("1s", 1.0),
    "header_timeout_s": ("2s", 2.0),
    "min_body_rate_bytes_per_s": ("1KiB/s", 1024),
    "body_rate_grace_s": ("3s", 3.0),
    "pool_size": ("4", 4),
    "pool_idle_s": ("5s", 5.0),
    "dns_ttl_s": ("6s", 6.0),
    "cache_memory_bytes": ("8MiB", 8388608),
    "cache_disk_bytes": ("1GiB", 1073741824),
    "redis": ("rediss://u:p@cache.test:6380/1?x=1", "rediss://u:p@cache.test:6380/1?x=1"),
    "redis_timeout_s": ("20ms", 0.02),
    "cache_secret": ("sixteen characters", "sixteen characters"),
    "ca_dir": ("/shared/ca", Path("/shared/ca")),
    "ca_cert": ("/ca/tls.crt", Path("/ca/tls.crt")),
    "ca_key": ("/ca/tls.key", Path("/ca/tls.key")),
    "transparent": ("0.0.0.0:7603", Address("0.0.0.0", 7603)),
    "proxy_auth": ("user:pass:word", "user:pass:word"),
    "log_level": ("DEBUG", "debug"),
    "log_format": ("json", "json"),
    "admin_token": ("a-long-token", "a-long-token"),
}


def test_the_defaults_are_those_of_the_product() -> None:
    settings = read_settings({}, {})

    assert str(settings.listen) == "127.0.0.1:7600"
    assert str(settings.admin) == "127.0.0.1:7601"
    assert settings.policies == ()
    assert settings.state == Path(".sidecar")
    assert (settings.drain_s, settings.replay_bytes, settings.max_body_bytes) == (25.0, 65536, None)
    assert settings.admin_token is None
    assert (settings.cache_memory_bytes, settings.cache_disk_bytes) == (None, 256 * 1024**2)
    assert (settings.redis, settings.redis_timeout_s, settings.cache_secret) == (None, 0.005, None)


def test_every_setting_has_a_value_in_these_tests() -> None:
    assert VALUES.keys() == BY_NAME.keys()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_variable_wins_over_the_default(setting: Setting) -> None:
    written, value = VALUES[setting.name]

    assert getattr(read_settings({}, {setting.variable: written}), setting.name) == value


@pytest.mark.parametrize("setting", [s for s in SETTINGS if not s.secret], ids=lambda setting: setting.name)
def test_a_flag_wins_over_its_variable_even_when_that_is_wrong(setting: Setting) -> None:
    written, value = VALUES[setting.name]
    flag = tuple(written.split(":")) if setting.repeatable else written

    assert getattr(read_settings({setting.name: flag}, {setting.variable: "\0"}), setting.name) == value


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_an_empty_variable_counts_as_absent(setting: Setting) -> None:
    assert read_settings({}, {setting.variable: ""}) == read_settings({}, {})


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_wrong_value_is_told_in_one_line_that_names_flag_and_variable(setting: Setting) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {setting.variable: "\0nonsense\n"})

    message = str(caught.value)
    assert "\n" not in message
    assert setting.variable in message
    assert setting.secret or f"{setting.flag} / " in message
    assert ": expected " in message
    assert ", got " in message


@given(st.sampled_from([s for s in SETTINGS if not s.secret]), st.text())
def test_any_text_is_read_or_refused_in_one_line(setting: Setting, text: str) -> None:
    message = refusal({setting.name: (text,) if setting.repeatable else text})

    assert message.isprintable()
    assert len(message) < 600


def refusal(flags: dict[str, Written]) -> str:
    """What is said against these flags; empty if nothing is."""
    try:
        read_settings(flags, {})
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("drain_s", "5", "did you mean 5s?"),
        ("listen", "7600", "did you mean 127.0.0.1:7600?"),
        ("listen", "::1:7600", "did you mean [::1]:7600?"),
        ("listen", "127.0.0.1:99999", "a port is a number from 0 to 65535"),
        ("idle_timeout_s", "0s", "longer than zero"),
        ("max_connections", "0", "a whole number from 1"),
        ("min_body_rate_bytes_per_s", "64B", "a size per second such as 64B/s"),
        ("log_level", "loud", "debug, info, warning or error"),
    ],
)
def test_a_likely_mistake_gets_a_hint(name: str, written: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({name: written}, {})

    assert said in str(caught.value)
    assert repr(written) in str(caught.value)


def test_a_token_is_in_no_error_and_no_repr() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {"SIDECAR_ADMIN_TOKEN": "with space and more"})

    assert "with space" not in str(caught.value)
    assert "very-secret" not in repr(read_settings({}, {"SIDECAR_ADMIN_TOKEN": "very-secret"}))


@pytest.mark.parametrize(
    "url",
    ["redis://10.0.0.5", "redis://[::1]:6379/0", "rediss://:secret@cache.test:6380/12", "unix:///run/redis.sock?db=1"],
)
def test_a_redis_is_named_by_its_url(url: str) -> None:
    assert read_settings({"redis": url}, {}).redis == url


@pytest.mark.parametrize(
    ("url", "shown", "hint"),
    [
        ("10.0.0.5:6379", "10.0.0.5:6379", "it begins with redis://"),
        ("user:hunter2@10.0.0.5", "…@10.0.0.5", "it begins with redis://"),
        ("http://user:hunter2@cache.test", "http://…@cache.test", ""),
        ("redis://:hunter2@/0", "redis://…@/0", "the host is missing"),
        ("redis://u:hun@ter2@cache.test:70000", "redis://…@cache.test:70000", ""),
        ("redis://cache.test:0", "redis://cache.test:0", "a port is a number"),
        ("redis://cache.test/keys?password=hunter2", "redis://cache.test/keys?…", "the number of the database"),
        ("unix://run/redis.sock", "unix://run/redis.sock", "there are three of them"),
        ("redis://a b", "redis://a b", ""),
    ],
)
def test_a_wrong_redis_is_shown_without_its_password(url: str, shown: str, hint: str) -> None:
    message = refusal({"redis": url})

    assert f"got {shown!r} (from --redis)" in message
    assert hint in message
    assert "hunter2" not in message
    assert "ter2" not in message


def test_a_redis_and_the_secret_are_in_no_repr() -> None:
    settings = read_settings({"redis": "redis://:hunter2@cache.test"}, {"SIDECAR_CACHE_SECRET": "0123456789abcdef"})

    assert "hunter2" not in repr(settings)
    assert "0123456789abcdef" not in repr(settings)


def test_the_disk_may_be_left_out_of_it() -> None:
    assert read_settings({"cache_disk_bytes": "off"}, {}).cache_disk_bytes is None
    assert "a size larger than zero" in refusal({"cache_disk_bytes": "0B"})
    assert "a duration longer than zero, got '0' (from" in refusal({"redis_timeout_s": "0"})
    assert "or auto, got '0' (from --cache-memory)" in refusal({"cache_memory_bytes": "0"})


def test_both_listeners_on_one_address_are_refused_unless_the_port_is_any() -> None:
    with pytest.raises(SettingsError, match="different addresses"):
        read_settings({"listen": "127.0.0.1:9", "admin": "127.0.0.1:9"}, {})

    assert read_settings({"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}, {}).listen.port == 0


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:7600", Address("127.0.0.1", 7600), True),
        ("127.8.8.8:1", Address("127.8.8.8", 1), True),
        ("[::1]:7600", Address("::1", 7600), True),
        ("localhost:0", Address("localhost", 0), True),
        (":7600", Address("", 7600), False),
        ("0.0.0.0:7600", Address("0.0.0.0", 7600), False),
        ("[::]:7600", Address("::", 7600), False),
        ("pod.example:7600", Address("pod.example", 7600), False),
    ],
)
def test_an_address_is_read_and_shown_as_it_was_written(text: str, address: Address, loopback: bool) -> None:
    assert parse_address(text) == address
    assert str(address) == text
    assert address.loopback is loopback


@pytest.mark.parametrize(
    "text", ["", "host", "1.2.3:80", "256.0.0.1:80", "a b:80", "[]:80", "[x]:80", ":-1", ":٣", "-a:1", "a-:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_address(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_survives_the_round_trip(ip: object, port: int) -> None:
    address = Address(str(ip), port)

    assert parse_address(str(address)) == address


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_documented_with_its_default(setting: Setting) -> None:
    row = next((line for line in DOCS.read_text().splitlines() if f"`{setting.variable}`" in line), "")

    assert setting.secret or f"`{setting.flag}`" in row
    assert setting.default in row
    assert row
