"""Policies that are compressed, since a ConfigMap holds 1 MiB: one gzip stream a file (RFC 1952).

What may live here: from bytes to bytes, bounded. Pure.
"""

from __future__ import annotations

from typing import Final

MAGIC: Final = b"\x1f\x8b"
GZIP_WINDOW: Final = 31
"""zlib's largest window, with gzip's head and checksum around it."""


class NotInflated(Exception):  # noqa: N818 - the file is at fault, and its problem says so
    """What was expected of the data, and what it is."""

    def __init__(self, expected: str, got: str, hint: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got
        self.hint = hint


def inflate(data: bytes, most_bytes: int) -> bytes | None:
    """What one whole gzip stream holds; None when that is more than `most_bytes`, of which no more is ever made.

    Raises `NotInflated`.
    """
    import zlib  # noqa: PLC0415 - for those that compress

    if not data.startswith(MAGIC):
        raise NotInflated("gzip data", "something else" if data else "an empty file", "leave .gz out of its name")
    stream = zlib.decompressobj(GZIP_WINDOW)
    try:
        plain = stream.decompress(data, most_bytes + 1)
    except zlib.error as error:
        raise NotInflated("gzip data", f"damaged data ({str(error).rpartition(': ')[2]})", AGAIN) from None
    if len(plain) > most_bytes:
        return None
    if not stream.eof:
        raise NotInflated("a whole gzip stream", "the beginning of one", AGAIN)
    if stream.unused_data:
        raise NotInflated("one gzip stream", f"{len(stream.unused_data)} bytes more behind it", AGAIN)
    return plain


AGAIN: Final = "compress it again: gzip -9n"
