"""Compiles modules by mypyc into one extension, in the light of a run: `python hot_path/compile.py OUT MODULE...`.

Twice, unless SIDECAR_TRAIN is `off`: first with counters in every branch, then, when `train.py` has had the daemon
serve calls, with what they counted. The compiler then lays out together what calls pass through, and makes small what
they do not: about 5 % less CPU for a small call, and a library a fifth smaller. No two runs count quite the same, so
neither are two libraries the same byte for byte; with `off` they are. The counts are as gcc keeps them.

A process of its own, where setuptools finds no pyproject.toml that it would read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mypyc.build import mypycify
from setuptools import Distribution, Extension

TRAIN = Path(__file__).with_name("train.py")
COUNTING = "-fprofile-generate", "-fprofile-update=single"
COUNTED = "-fprofile-use", "-fprofile-correction"
"""`-correction`, since two threads may count at once, one of them in vain."""


def main(out: Path, modules: list[str]) -> None:
    """Compile `modules` into `out`/lib."""
    extensions = mypycify(
        modules, opt_level="2", debug_level="0", target_dir=f"{out}/c", group_name="sidecar", multi_file=True
    )
    if os.environ.get("SIDECAR_TRAIN") == "off":
        build(extensions, out)
        return
    build(extensions, out, *COUNTING)
    train(out)
    build(extensions, out, *COUNTED)


def build(extensions: list[Extension], out: Path, *flags: str) -> None:
    """Compile and link all of them. Objects keep their places, beside which gcc writes and seeks the counts."""
    own = [(extension.extra_compile_args, extension.extra_link_args) for extension in extensions]
    for extension in extensions:
        extension.extra_compile_args = [*extension.extra_compile_args, *flags]
        extension.extra_link_args = [*extension.extra_link_args, *flags]
    command: Any = Distribution({"name": "sidecar", "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = f"{out}/lib", f"{out}/tmp"
    command.force = True
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.build_extensions = lambda: build_apart(command)
    command.run()
    for extension, (compiling, linking) in zip(extensions, own, strict=True):
        extension.extra_compile_args, extension.extra_link_args = compiling, linking


def build_apart(command: Any) -> None:
    """`build_extensions`, with the many sources of the one large extension compiled on all cores, too."""
    compile_all = command.compiler.compile

    def compile_apart(sources: list[str], **options: Any) -> list[str]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = pool.map(lambda source: compile_all([source], **options), sources)
            return [name for names in objects for name in names]

    command.compiler.compile = compile_apart
    type(command).build_extensions(command)


def train(out: Path) -> None:
    """Have the daemon serve calls, as it would be installed."""
    tree = out / "train"
    shutil.copytree("sidecar", tree / "sidecar", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(out / "lib", tree, dirs_exist_ok=True)
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(tree)}
    ended = subprocess.run([sys.executable, "-P", TRAIN, out / "trained"], env=environ, check=False)
    if ended.returncode:
        sys.exit("the run that the library is compiled for failed, see above; SIDECAR_TRAIN=off compiles it without")
    shutil.rmtree(tree)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
