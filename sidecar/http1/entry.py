"""How a connection came in, as far as that says where its calls want to go."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One connection that a gate has let in. Plain HTTP connections have none."""

    mode: str
    """`connect` or `transparent`."""
    host: str
    """What the client asked for, in lower case: CONNECT's authority or the server name of its hello; an address where
    it named nothing."""
    port: int
    secure: bool = False
    """The client speaks TLS, and it ends here."""
    address: tuple[str, int] | None = None
    """Where the client's packets were going before they were redirected."""
    peer: tuple[str, int] | None = None
    """The client's own end, on the transparent listener."""
    name: bytes = field(init=False, compare=False, repr=False)
    """`host` as it stands in a request."""
    authority: bytes = field(init=False, compare=False, repr=False)
    """The same with the port."""

    def __post_init__(self) -> None:
        name = self.host.encode("ascii")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "authority", b"%b:%d" % (name, self.port))
