"""aiocache, imported without Redis's client: `aiocache.backends.redis` is there for whoever asks for it by name."""

from __future__ import annotations

from sidecar.lean import import_without

import_without("aiocache", "redis")

from aiocache.base import BaseCache  # noqa: E402
from aiocache.serializers import BaseSerializer, NullSerializer  # noqa: E402

__all__ = ["BaseCache", "BaseSerializer", "NullSerializer"]
