"""Files that others read while they are replaced: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def replace(path: Path, data: bytes, mode: int) -> None:
    """Whoever opens `path` finds all of the old or all of the new, with `mode` whatever the umask. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _flush_names(path.parent)


def replace_if_other(path: Path, data: bytes, mode: int) -> bool:
    """`replace`, unless `path` holds just that with that mode already; whether it was replaced."""
    try:
        with path.open("rb") as file:
            if file.read() == data and os.fstat(file.fileno()).st_mode & 0o777 == mode:
                return False
    except OSError:
        pass  # Missing, or not to be read: both are mended by a new one.
    replace(path, data, mode)
    return True


def sweep(path: Path) -> None:
    """Remove what a process left beside `path` that was killed while it wrote. Raises OSError."""
    for left in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 16}"):
        left.unlink(missing_ok=True)


def stamp(path: Path) -> str:
    """Another as soon as the file is replaced, written or given another mode; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_ino}:{status.st_mtime_ns}:{status.st_size}:{status.st_mode:o}"


def _flush_names(directory: Path) -> None:
    """A rename lasts through a crash of the machine only once its directory is flushed, too."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
