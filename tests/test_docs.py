"""What users can meet is written down: every reason has its row, every link leads somewhere, the lists are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.errors import Reason
from sidecar.intercept.problem import ROWS
from sidecar.policy.order import ORDER

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
REASON_ROW = re.compile(r"^\| `(?P<reason>[a-z-]+)` \| (?P<status>\d{3}) \| .+ \| .+ \|$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def documented_statuses() -> dict[str, int]:
    text = (ROOT / "docs/errors.md").read_text()
    return {row["reason"]: int(row["status"]) for row in REASON_ROW.finditer(text)}


def anchors(page: Path) -> set[str]:
    """What a heading is called in a link."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_reason_is_explained_with_the_status_that_it_has() -> None:
    assert documented_statuses() == {reason.value: ROWS[reason].status for reason in Reason}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text()):
        target = (page.parent / link["target"]).resolve() if link["target"] else page
        assert target.exists(), f"{link[0]}: no such file"
        if link["anchor"]:
            assert link["anchor"] in anchors(target), f"{link[0]}: no such heading"


def test_architecture_names_every_part_of_the_package() -> None:
    parts = {path.stem for path in (ROOT / "sidecar").iterdir() if not path.name.startswith("__")}
    text = (ROOT / "docs/architecture.md").read_text()
    assert {part for part in parts if not re.search(rf"`{part}(\.py|/)`", text)} == set()


def test_architecture_shows_the_order_of_the_steps() -> None:
    rows = "\n".join(f"| {row.step} | {row.runs} | {row.reason} |" for row in ORDER)
    assert rows in (ROOT / "docs/architecture.md").read_text()


def test_the_makefile_stays_small_and_explains_itself() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = TARGET.findall(text)
    assert len(targets) <= 11
    assert {target for target in targets if not re.search(rf"^{target}:.*## ", text, re.MULTILINE)} == set()
