"""What calls are answered from while there are no policies: nothing (`intercept.router.Directory`)."""

from __future__ import annotations

from typing import NoReturn

from sidecar.errors import ClientError, Reason

DETAIL = (
    "the policies of this sidecar are not fit, or not there, so nothing is sent: a call without its policy would go out"
    " without its protection; /readyz?verbose on the admin port names every problem, and mending them is enough"
)


class NotYet:
    """Refuses every call and every connection, those to hosts without a policy included: nobody can know yet which
    those are."""

    def by_name(self, name: bytes) -> NoReturn:
        raise _refusal()

    def by_host(self, authority: bytes) -> NoReturn:
        raise _refusal()

    def unknown(self, host: str, port: int, secure: bool) -> NoReturn:
        raise _refusal()

    def intercepts(self, authority: bytes) -> bool | None:
        return None

    def verifies_sni(self) -> bool:
        return False

    def tunnel(self, authority: bytes) -> NoReturn:
        raise _refusal()

    def unknown_tunnel(self, host: str, port: int) -> NoReturn:
        raise _refusal()


def _refusal() -> ClientError:
    return ClientError(Reason.STARTING, DETAIL)
