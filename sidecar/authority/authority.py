"""The authority as the rest of the sidecar sees it: contexts by name, and files that applications trust."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from sidecar.authority.bundle import Bundle, unwritable
from sidecar.authority.ca import Issuer, constraint_of, pem, shown
from sidecar.authority.leaf import Leaves
from sidecar.authority.names import Hosts, dns_name, say_forbidden
from sidecar.authority.own import OwnCa
from sidecar.authority.record import Record, constraint_row
from sidecar.authority.supplied import CERT_SETTING, KEY_SETTING, SuppliedCa
from sidecar.errors import SettingsError

log = logging.getLogger(__name__)

LIFE_S: Final = 30 * 86400.0
STATE_SETTING: Final = "--state / SIDECAR_STATE"


class WallClock(Protocol):
    """What is needed of a `Clock`."""

    def wall(self) -> float: ...


class Source(Protocol):
    """Where the issuer comes from: made here, or supplied."""

    issuer: Issuer

    @property
    def stamps(self) -> Mapping[str, str]:
        """Of the files that `issuer` was read from, by their paths."""
        ...

    @property
    def renew_at_s(self) -> float | None:
        """When the next certificate is made; None where others do."""
        ...

    def refresh(self, hosts: Hosts, now_s: float) -> None:
        """Bring `issuer` up to date. Raises OSError or SettingsError when that fails, and leaves it as it was."""
        ...


class Authority:
    """Signs for the hosts of the policies, and publishes what makes applications believe it."""

    @classmethod
    def open(
        cls,
        state: Path,
        ca_dir: Path,
        hosts: Iterable[str],
        clock: WallClock,
        *,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        life_s: float = LIFE_S,
    ) -> Authority:
        """Our own authority, kept in `state`, or the supplied one; published in `ca_dir`. Raises SettingsError."""
        wanted = Hosts.of(hosts)
        source: Source
        if cert_file is not None and key_file is not None:
            source = SuppliedCa(cert_file, key_file, clock.wall())
        elif cert_file is not None or key_file is not None:
            raise SettingsError(f"{CERT_SETTING}, {KEY_SETTING}: expected both or neither, got one")
        else:
            source = _own(state, wanted, clock.wall(), life_s)
        bundle = Bundle(ca_dir)
        try:
            bundle.publish(pem(source.issuer.anchors))
        except OSError as error:
            raise unwritable(ca_dir, error) from None
        authority = cls(source, bundle, state, wanted, clock)
        try:
            authority.record().write(state)
        except OSError as error:
            raise _unkept(state, error) from None
        return authority

    def __init__(self, source: Source, bundle: Bundle, state: Path, hosts: Hosts, clock: WallClock) -> None:
        self._source = source
        self._state = state
        self._bundle = bundle
        self._hosts = hosts
        self._clock = clock
        self._leaves = Leaves(source.issuer)
        self.trouble = ""
        """Why it could not be brought up to date; empty while it is."""
        say_forbidden(hosts, source.issuer.permits)

    def context_for(self, host: str) -> ssl.SSLContext | None:
        """What to present for `host`; None where nothing may be: no policy has it, or the constraint does not."""
        now_s = self._clock.wall()
        return self._leaves.find(host, now_s) or self._look_up(host, now_s)

    def _look_up(self, host: str, now_s: float) -> ssl.SSLContext | None:
        name = dns_name(host)
        issuer = self._leaves.issuer
        if name is None or not self._hosts.has(name) or not issuer.permits(name) or not issuer.in_force(now_s):
            return None
        return self._leaves.find(name, now_s) or self._leaves.make(name, now_s)

    def adopt(self, hosts: Iterable[str]) -> None:
        """Sign for these from now on; for those that need a wider certificate, as soon as it is published."""
        self._hosts = Hosts.of(hosts)
        self._leaves.retain(self._hosts)
        self.tick()
        say_forbidden(self._hosts, self._leaves.issuer.permits)

    def tick(self) -> None:
        """Renew what is due, read what was replaced, mend what was published. To be called about once a minute.

        Trouble is said in the log, once, and tried again at the next tick; what was in force stays so.
        """
        try:
            self._source.refresh(self._hosts, self._clock.wall())
            self._bundle.publish(pem(self._source.issuer.anchors))
            self._follow(self._source.issuer)
            self.record().write(self._state)
        except (OSError, SettingsError) as error:
            self._say(error)
            return
        self.trouble = ""

    def late(self, host: str) -> bool:
        """Whether an application that read the roots some time ago may rightly distrust us for `host`: it read a
        certificate that is still in force and does not permit it."""
        name = dns_name(host)
        older = self._leaves.issuer.older
        return name is not None and any(not constraint_of(certificate).permits(name) for certificate in older)

    def certificates(self) -> Sequence[Mapping[str, Any]]:
        """For people: who signs, first, with `published` true; then what the same key had before and is in force."""
        issuer = self._leaves.issuer
        published = dict.fromkeys((issuer.certificate, *issuer.sent, *issuer.anchors), True)
        rows = {**published, **dict.fromkeys(issuer.older, False)}
        return [{**shown(certificate), "published": is_published} for certificate, is_published in rows.items()]

    def expires_in_s(self) -> float:
        """How long the issuer's certificate is in force yet; negative once it is not."""
        return self._leaves.issuer.ends_s - self._clock.wall()

    def record(self) -> Record:
        """What the next process, or one that has not read the key yet, may go by."""
        issuer = self._leaves.issuer
        return Record(
            supplied=self._source.renew_at_s is None,
            stamps=self._source.stamps,
            begins_s=issuer.begins_s,
            ends_s=issuer.ends_s,
            renew_at_s=self._source.renew_at_s,
            constraints=tuple(map(constraint_row, issuer.constraints)),
            anchors=pem(issuer.anchors).decode("ascii"),
            certificates=self.certificates(),
        )

    def _follow(self, issuer: Issuer) -> None:
        """Sign as `issuer` from now on: what applications need for it is published."""
        before = self._leaves.issuer
        if issuer is before:
            return
        if before.certificate in issuer.older:
            self._leaves.issuer = issuer  # The same key under the same name: the leaves that there are go on.
        else:
            self._leaves = Leaves(issuer)

    def _say(self, error: OSError | SettingsError) -> None:
        trouble = str(error)
        if trouble != self.trouble:
            self.trouble = trouble
            log.error(
                "the authority could not be brought up to date; the one in force stays", extra={"reason": trouble}
            )


def _own(state: Path, hosts: Hosts, now_s: float, life_s: float) -> OwnCa:
    try:
        return OwnCa(state, hosts, now_s, life_s)
    except OSError as error:
        raise _unkept(state, error) from None


def _unkept(state: Path, error: OSError) -> SettingsError:
    reason = (error.strerror or "an error").lower()
    return SettingsError(
        f"{STATE_SETTING}: expected a directory in which the authority can be kept, got {str(state)!r} ({reason})"
    )
