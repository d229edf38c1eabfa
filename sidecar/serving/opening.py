"""The authority of one process: opened before calls are taken, kept up to date, told of reloads."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sidecar.clock import Clock
from sidecar.errors import SettingsError
from sidecar.policy.sources import LoadedPolicies
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.authority.authority import Authority

log = logging.getLogger(__name__)

TICK_S: Final = 60.0
USUAL_CA_DIR: Final = "/run/sidecar/ca"


class Opening:
    """Who signs for the hosts whose HTTPS is opened. Nothing is imported or written where that is off."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.authority: Authority | None = None
        """None until a policy has a host to open."""

    def open(self, loaded: LoadedPolicies) -> None:
        """Raises `SettingsError` where the authority cannot be had or published."""
        settings, hosts = self._settings, hosts_to_open(loaded)
        if settings.ca_dir is None or not hosts:
            return
        from sidecar.authority.authority import Authority  # noqa: PLC0415 - for those that open HTTPS
        from sidecar.authority.hardening import no_core_dumps  # noqa: PLC0415

        no_core_dumps()
        directories = [settings.ca_dir]
        if str(settings.ca_dir) == USUAL_CA_DIR:
            # Outside a pod there may be no such place, and nobody has asked for it.
            directories.append(settings.state / "ca")
        for directory in directories:
            try:
                self.authority = Authority.open(
                    settings.state,
                    directory,
                    hosts,
                    self._clock,
                    cert_file=settings.ca_cert,
                    key_file=settings.ca_key,
                )
            except SettingsError:
                if directory is directories[-1]:
                    raise
            else:
                log.info("HTTPS is opened", extra={"file": str(directory / "bundle.crt"), "count": len(hosts)})
                self._clock.at(self._clock.now() + TICK_S, self._tick)
                return

    def adopt(self, loaded: LoadedPolicies) -> None:
        """After a reload."""
        if self.authority is not None:
            self.authority.adopt(hosts_to_open(loaded))
            return
        try:
            self.open(loaded)
        except SettingsError as error:
            log.error("HTTPS cannot be opened and is tunnelled", extra={"reason": str(error)})

    def _tick(self) -> None:
        if self.authority is not None:
            self.authority.tick()
        self._clock.at(self._clock.now() + TICK_S, self._tick)


def hosts_to_open(loaded: LoadedPolicies) -> list[str]:
    """Names without ports."""
    hosts = (host for policy in loaded.providers if policy.intercept == "on" for host in policy.hosts)
    return list(dict.fromkeys(host.rpartition(":")[0] or host for host in hosts))
