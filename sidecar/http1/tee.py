"""One body for several readers as it comes, and for whoever keeps it once it is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from sidecar.http1.message import Body


@final
class Tee:
    """Everything is kept until it grows past `keep_bytes`; so long, readers may still join, and nobody is waited for.

    After that nothing is kept and the slowest reader sets the pace. `on_end` is told what was kept: None for a body
    that was too large or did not come to its end. A body without a known end (`endless`) is given up with its last
    reader, since a stream of events may go on for ever.
    """

    __slots__ = ("_endless", "_keep_bytes", "_kept", "_kept_bytes", "_on_end", "_readers", "_source", "keeps")

    def __init__(
        self, source: Body, keep_bytes: int, on_end: Callable[[bytes | None], None], *, endless: bool = False
    ) -> None:
        self._source = source
        self._endless = endless
        self._keep_bytes = keep_bytes
        self._on_end = on_end
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._readers: list[Reader] = []
        self.keeps = True
        """All that has come is at hand, so that a reader can begin with the first byte."""

    def start(self) -> None:
        """Begin to take from the source; the first reader should be there already."""
        self._source.divert(self._feed)
        self._source.when_done(self._end)

    def reader(self) -> Body:
        """A body of one's own, from the first byte on. Only while `keeps`."""
        reader = Reader(self)
        self._readers.append(reader)
        for piece in self._kept:
            reader.body.feed(piece)
        return reader.body

    def settle(self) -> None:
        """A reader has stopped, goes on, or is gone: see what that means for the source."""
        if self.keeps:
            return
        if not self._readers:
            self._source.discard()
        elif any(reader.slow for reader in self._readers):
            self._source.hold()
        else:
            self._source.let_go_on()

    def leave(self, reader: Reader) -> None:
        """A reader wants no more. What is being kept is read to its end all the same, if that is known to come."""
        if reader in self._readers:
            self._readers.remove(reader)
        if self.keeps and self._endless and not self._readers:
            self._give_up_keeping()
        self.settle()

    def _feed(self, data: bytes) -> None:
        for reader in list(self._readers):
            reader.body.feed(data)
        if self.keeps:
            self._kept.append(data)
            self._kept_bytes += len(data)
            if self._kept_bytes > self._keep_bytes:
                self._give_up_keeping()
                self.settle()

    def _give_up_keeping(self) -> None:
        self.keeps = False
        self._kept.clear()
        self._on_end(None)

    def _end(self, complete: bool) -> None:
        if self.keeps:
            self.keeps = False
            whole = b"".join(self._kept) if complete else None
            self._kept.clear()
            self._on_end(whole)
        source = self._source
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.body.trailers = source.trailers
            if complete:
                reader.body.finish()
            else:
                reader.body.fail(source.error or ConnectionError("the body was given up"))


@final
class Reader:
    """One reader's place at a tee (`message.Flow`)."""

    __slots__ = ("_tee", "body", "slow")

    def __init__(self, tee: Tee) -> None:
        self._tee = tee
        self.slow = False
        """It has more waiting than it should."""
        self.body = Body(self)

    def pause_reading(self) -> None:
        self.slow = True
        self._tee.settle()

    def resume_reading(self) -> None:
        self.slow = False
        self._tee.settle()

    def abandon(self) -> None:
        self._tee.leave(self)
