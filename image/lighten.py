"""Takes out of the environment that runs this what nothing at run time reads, and compiles the rest to bytecode.

Sources stay, since tracebacks in the log quote their lines. The bytecode is not checked against them when it is loaded:
nothing changes in an image, and a builder that sets all times to one would otherwise make every start compile anew.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

PACKAGES = Path(sysconfig.get_path("purelib"))
PROGRAMS = Path(sys.prefix, "bin")
FOR_BUILDING = (".c", ".cpp", ".h", ".hash", ".pxd", ".pxi", ".pyi", ".pyx")
FOR_TESTING = ("testdata", "tests")


def _heavy() -> Iterator[Path]:
    for path in PACKAGES.rglob("*"):
        if path.suffix in FOR_BUILDING or (path.is_dir() and path.name in FOR_TESTING):
            yield path
    for path in PROGRAMS.iterdir():
        if path.name != "sidecar" and not path.name.startswith("python"):
            yield path


def _size_bytes() -> int:
    return sum(path.lstat().st_size for path in Path(sys.prefix).rglob("*") if not path.is_dir())


def main() -> None:
    before_bytes = _size_bytes()
    for path in list(_heavy()):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # Symbols that only a debugger reads; those that the linker needs stay.
    subprocess.run(["strip", "--strip-debug", *map(str, sorted(PACKAGES.rglob("*.so")))], check=True)
    if not compileall.compile_dir(
        PACKAGES, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, legacy=False
    ):
        sys.exit("some of the packages cannot be compiled")
    print(f"{sys.prefix}: {before_bytes / 1e6:.0f} MB made {_size_bytes() / 1e6:.0f} MB, bytecode included")


main()
