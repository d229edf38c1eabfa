"""What a step is. Nothing here knows a particular step."""

from __future__ import annotations

from typing import Protocol

from sidecar.call import Handler


class Step(Protocol):
    """One resilience step. `bind` runs once per compile, its product once per call (or per attempt, below retry).

    A step that is switched off returns `inner` itself, and so costs nothing.
    """

    name: str

    def bind(self, inner: Handler) -> Handler: ...
