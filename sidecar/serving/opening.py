"""The authority of one process: opened before calls are taken, kept up to date, told of reloads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.clock import Clock
from sidecar.errors import SettingsError
from sidecar.policy.sources import LoadedPolicies
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.authority.lazy import LazyAuthority

log = logging.getLogger(__name__)

TICK_S: Final = 60.0
SOON_S: Final = 0.5
"""How long to the next look while something is being made."""
USUAL_CA_DIR: Final = "/run/sidecar/ca"


class Opening:
    """Who signs for the hosts whose HTTPS is opened. Nothing is imported or written where that is off."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.authority: LazyAuthority | None = None
        """None until a policy has a host to open."""
        self._directory: Path | None = None

    def open(self, loaded: LoadedPolicies, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Where something has to be made first, `meanwhile` is called while it is. Raises `SettingsError` where the
        authority cannot be had or published."""
        settings, hosts = self._settings, hosts_to_open(loaded)
        if settings.ca_dir is None or not hosts:
            return
        from sidecar.authority.hardening import no_core_files  # noqa: PLC0415 - for those that open HTTPS
        from sidecar.authority.lazy import LazyAuthority  # noqa: PLC0415
        from sidecar.authority.record import Places  # noqa: PLC0415

        no_core_files()
        directories = [settings.ca_dir]
        if str(settings.ca_dir) == USUAL_CA_DIR:
            # Outside a pod there may be no such place, and nobody has asked for it.
            directories.append(settings.state / "ca")
        for directory in directories:
            try:
                places = Places(settings.state, directory, settings.ca_cert, settings.ca_key)
                self.authority = LazyAuthority.open(places, hosts, self._clock, meanwhile)
            except SettingsError:
                if directory is directories[-1]:
                    raise
            else:
                self._directory = directory
                log.info("HTTPS is opened", extra={"file": str(directory / "bundle.crt"), "count": len(hosts)})
                self._clock.at(self._clock.now() + TICK_S, self._tick)
                return

    def adopt(self, loaded: LoadedPolicies) -> None:
        """After a reload."""
        if self.authority is not None:
            self.authority.adopt(hosts_to_open(loaded))
            self._look_soon(self.authority)
            return
        try:
            self.open(loaded)
        except SettingsError as error:
            log.error("HTTPS cannot be opened and is tunnelled", extra={"reason": str(error)})

    @property
    def trouble(self) -> str:
        """Why who signs could not be brought up to date; empty while it is."""
        return "" if self.authority is None else self.authority.trouble

    def as_json(self) -> dict[str, Any]:
        """What may be known of who signs; nothing of it is secret."""
        authority = self.authority
        if authority is None:
            return {"kind": None, "directory": None, "expires_in_s": None, "certificates": []}
        return {
            "kind": "supplied" if authority.supplied else "own",
            "directory": str(self._directory),
            "expires_in_s": round(authority.expires_in_s(), 3),
            "certificates": authority.certificates(),
        }

    def _tick(self) -> None:
        if self.authority is not None:
            self.authority.tick()
            self._look_soon(self.authority)
        self._clock.at(self._clock.now() + TICK_S, self._tick)

    def _look_soon(self, authority: LazyAuthority) -> None:
        """While a child makes something, so that what it says is heard at once."""
        if authority.is_making:
            self._clock.at(self._clock.now() + SOON_S, lambda: self._look(authority))

    def _look(self, authority: LazyAuthority) -> None:
        authority.tick()
        self._look_soon(authority)


def hosts_to_open(loaded: LoadedPolicies) -> list[str]:
    """Names without ports."""
    hosts = (host for policy in loaded.providers if policy.intercept == "on" for host in policy.hosts)
    return list(dict.fromkeys(host.rpartition(":")[0] or host for host in hosts))
