"""The authority as a daemon holds it: what the record tells, until a connection must be opened; then the real one.

Nothing that is imported at its start needs `cryptography`. What has to be made meanwhile, a child makes.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sidecar.authority.bundle import Bundle, unwritable
from sidecar.authority.making import Making
from sidecar.authority.names import Hosts, dns_name, say_forbidden
from sidecar.authority.record import Places, Record
from sidecar.clock import Clock
from sidecar.errors import SettingsError

if TYPE_CHECKING:
    from sidecar.authority.authority import Authority

log = logging.getLogger(__name__)


class LazyAuthority:
    """As `Authority`, whose key is read when the first leaf is asked for."""

    @classmethod
    def open(
        cls, places: Places, hosts: Iterable[str], clock: Clock, meanwhile: Callable[[], object] = lambda: None
    ) -> LazyAuthority:
        """What the record tells, if all is as it says; else a child makes it, and `meanwhile` is called. Raises
        SettingsError."""
        wanted, now_s = Hosts.of(hosts), clock.wall()
        bundle = Bundle(places.ca_dir)
        record = Record.read(places.state)
        if record is not None and record.serves(places, wanted, now_s):
            try:
                bundle.publish(record.anchors.encode())
            except OSError as error:
                raise unwritable(places.ca_dir, error) from None
            say_forbidden(wanted, record.permits)
        else:
            making = Making(places, wanted, now_s)
            meanwhile()
            record = _made(making, places)
        return cls(places, bundle, wanted, clock, record)

    def __init__(self, places: Places, bundle: Bundle, hosts: Hosts, clock: Clock, record: Record) -> None:
        self._places = places
        self._bundle = bundle
        self._hosts = hosts
        self._clock = clock
        self._record = record
        self._making: Making | None = None
        self._trouble = ""
        self._real: Authority | None = None

    @property
    def is_making(self) -> bool:
        """Whether a child is at work, and `tick` should be called soon to take over what it makes."""
        return self._making is not None

    @property
    def trouble(self) -> str:
        """Why it could not be brought up to date; empty while it is."""
        return self._trouble if self._real is None else self._real.trouble

    @property
    def supplied(self) -> bool:
        return self._record.supplied

    def context_for(self, host: str) -> ssl.SSLContext | None:
        """As `Authority.context_for`. The first for a name that may be signed stalls for as long as an import takes."""
        if self._real is None:
            name = dns_name(host)
            if name is None or not self._hosts.has(name):
                return None
            if self._making is not None:
                # For whoever calls a new host at once, a moment is better than going past its policy.
                self._take_over(self._making)
            if not self._record.permits(name) or not self._record.in_force(self._clock.wall()):
                return None
            self._real = self._load()
        return None if self._real is None else self._real.context_for(host)

    def adopt(self, hosts: Iterable[str]) -> None:
        """Sign for these from now on; for those that need a wider certificate, as soon as it is published."""
        hosts = tuple(hosts)
        self._hosts = Hosts.of(hosts)
        if self._real is not None:
            self._real.adopt(hosts)
            return
        self.tick()
        if self._making is None:
            say_forbidden(self._hosts, self._record.permits)

    def tick(self) -> None:
        """Renew what is due, read what was replaced, mend what was published. To be called about once a minute."""
        if self._real is not None:
            self._real.tick()
            return
        if self._making is not None:
            if not self._making.is_over:
                return
            if not self._take_over(self._making):
                return
        now_s = self._clock.wall()
        try:
            if self._record.due(self._places, self._hosts, now_s):
                self._making = Making(self._places, self._hosts, now_s)
            else:
                self._bundle.publish(self._record.anchors.encode())
                self._trouble = ""
        except OSError as error:
            self._say(str(error))

    def late(self, host: str) -> bool:
        """As `Authority.late`."""
        if self._real is not None:
            return self._real.late(host)
        name = dns_name(host)
        return name is not None and self._record.late(name)

    def certificates(self) -> Sequence[Mapping[str, Any]]:
        return self._record.certificates if self._real is None else self._real.certificates()

    def expires_in_s(self) -> float:
        return self._record.ends_s - self._clock.wall() if self._real is None else self._real.expires_in_s()

    def _take_over(self, making: Making) -> bool:
        """What the child has made is in force from now on; False if it failed."""
        self._making = None
        report = making.report()
        if report.error != self._trouble or not report.error:
            report.relay()
        record = Record.read(self._places.state)
        if report.error or record is None:
            self._say(report.error or "what was made cannot be read")
            return False
        self._record = record
        return True

    def _load(self) -> Authority | None:
        from sidecar.authority.authority import Authority  # noqa: PLC0415 - 12 MiB, for those that open HTTPS
        from sidecar.authority.hardening import no_core_dumps  # noqa: PLC0415

        no_core_dumps()
        places = self._places
        try:
            return Authority.open(
                places.state,
                places.ca_dir,
                self._hosts.as_policies(),
                self._clock,
                cert_file=places.cert_file,
                key_file=places.key_file,
            )
        except SettingsError as error:
            self._say(str(error))
            return None

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.error(
                "the authority could not be brought up to date; the one in force stays", extra={"reason": trouble}
            )


def _made(making: Making, places: Places) -> Record:
    """Raises SettingsError, in the child's words."""
    report = making.report()
    report.relay()
    record = Record.read(places.state)
    if report.error or record is None:
        raise SettingsError(report.error or f"the authority was made, and its record in {str(places.state)!r} is gone")
    return record
