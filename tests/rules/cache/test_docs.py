"""The table in docs/caching.md: every test that it names is there, and every module and section of the RFC is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs/caching.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w./]*test_\w+)::(test_\w+)`", PAGE)))
SECTIONS = {"1.2.2", "2", "3", "3.1", "3.2", "3.3", "3.5", "4", "4.1", "4.2", "4.2.1", "4.2.2", "4.2.3", "4.2.4"} | {
    *(f"4.3.{number}" for number in range(1, 6)),
    *(f"5.2.2.{number}" for number in range(2, 11)),
    *("4.4", "5.1", "5.2", "5.2.1.4", "5.2.1.5", "5.2.1.7", "5.2.3", "5.3", "5.4", "7.1", "7.3"),
}


def source_of(module: str) -> str:
    folder = TESTS if module.startswith(("steps/", "wire/")) else TESTS / "rules/cache"
    return (folder / f"{module}.py").read_text()


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_every_test_that_the_table_names_is_there(module: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", source_of(module), re.MULTILINE)


def test_every_section_that_requires_something_has_a_row() -> None:
    assert {section for section in SECTIONS if f"\n| {section} |" not in PAGE} == set()


def test_every_module_decides_something() -> None:
    modules = {path.stem for path in (TESTS.parent / "sidecar/rules/cache").glob("[a-z]*.py")}
    assert {
        module for module in modules - {"entry", "settings", "health", "shown"} if f"`{module}`" not in PAGE
    } == set()
