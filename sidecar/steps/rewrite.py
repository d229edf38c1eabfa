"""Keeps clients that follow a provider's URLs with the sidecar, where they came by a base URL of its listener."""

from __future__ import annotations

from sidecar.call import Call, Handler, Outcome, Reply
from sidecar.clock import Clock
from sidecar.http1.message import Headers
from sidecar.rules.rewrite import Owns, rewrite_fields


class Rewrite:
    """Rewrites fields of replies to calls that have a `base`. `names` are in lower case."""

    name = "rewrite"

    def __init__(self, names: frozenset[bytes], owns: Owns, clock: Clock, *, dry_run: bool = False) -> None:
        self._names = names
        self._owns = owns
        self._clock = clock
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        names, rewritten = self._names, self._rewritten

        async def rewrite(call: Call) -> Outcome:
            outcome = await inner(call)
            base = call.base
            if base is not None and isinstance(outcome, Reply) and not names.isdisjoint(outcome.headers.index):
                rewritten(call, base, outcome)
            return outcome

        return rewrite

    def _rewritten(self, call: Call, base: bytes, reply: Reply) -> None:
        fields = reply.headers.fields
        values = rewrite_fields(fields, self._names, base, self._owns)
        changed = [name for (name, old), new in zip(fields, values, strict=True) if old is not new and old != new]
        if not changed:
            return
        says = "would rewrite" if self._dry_run else "rewrites"
        said = ", ".join(dict.fromkeys(name.decode("latin-1") for name in changed))
        call.note("rewrite", f"{says} {said}", self._clock.now())
        if not self._dry_run:
            # In a copy: a kept reply's fields are shared with whoever is served it next, by whatever name of ours.
            reply.headers = Headers((name, new) for (name, _), new in zip(fields, values, strict=True))
