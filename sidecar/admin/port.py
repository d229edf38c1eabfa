"""What the admin listener needs of the daemon, and nothing else of it.

Rows are mappings as their owners describe themselves: a breaker, a limiter or a call knows best what a person would
ask of it, and the listener only passes it on. The keys are documented in `docs/admin.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = Mapping[str, Any]
"""One thing as JSON."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of being ready. `detail` says why not, or is empty."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong without keeping calls from being served."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which kept replies: those for which all that is given holds, and so all of them if nothing is."""

    provider: str | None = None
    route: str | None = None
    tag: str | None = None
    key: str | None = None
    """In hex; at least eight digits of its beginning."""
    url: str | None = field(default=None, repr=False)


class State(Protocol):
    """The daemon as the admin listener sees it."""

    @property
    def started(self) -> bool:
        """It has been ready once."""
        ...

    def checks(self) -> Sequence[Check]:
        """It is ready when all of them are well."""
        ...

    def troubles(self) -> Sequence[Trouble]:
        """What is done without just now, and somebody should look after."""
        ...

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, in the form that `accept` prefers."""
        ...

    def policies(self) -> Row:
        """What is in force, since when, and what the last attempt to replace it found wrong."""
        ...

    async def reload(self) -> bool:
        """Read the policies again; False when they are not fit, and those in force stay."""
        ...

    def breakers(self) -> Sequence[Row]: ...

    def force_breaker(self, provider: str, scope: str, state: str, for_s: float | None) -> Row | None:
        """Hold a breaker `forced-open` or `forced-closed`, until further notice or for a time, or let it go with
        `auto`. None when there is no such breaker."""
        ...

    def limits(self) -> Sequence[Row]: ...

    def unknown(self) -> Sequence[Row]:
        """Hosts that were called without a policy."""
        ...

    def authority(self) -> Row:
        """Who signs for the hosts whose HTTPS is opened; never a key."""
        ...

    def calls(self) -> Sequence[Row]:
        """The last calls, newest first, each with every step's decision."""
        ...

    async def cache(self, which: Selection, limit: int) -> Row:
        """What is kept and how full it is, and the most recent of the replies that are meant, at most `limit`."""
        ...

    async def cached(self, key: str) -> Sequence[Row]:
        """The replies under a key, or under all that begin so, each with what can be shown of it."""
        ...

    async def purge(self, which: Selection, soft: bool) -> int | None:
        """Forget replies, or with `soft` only take them for stale; how many. None when no policy has such a provider,
        route or host. Raises `ClientError` for a URL that cannot be read."""
        ...

    def catalog(self) -> Sequence[Row]:
        """Every provider: whose it is, and how it is."""
        ...
