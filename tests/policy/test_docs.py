"""docs/policies.md names every key, default and choice of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from sidecar.errors import Verdict
from sidecar.policy.model import Defaults, HintUnit, ProviderPolicy
from sidecar.policy.schema import defaults_as_written
from sidecar.policy.units import parse_duration
from sidecar.policy.wording import field_models
from tests.policy.documents import load

PAGES = Path(__file__).parents[2] / "docs"
DOCS = (PAGES / "policies.md").read_text()
ROWS = {
    key: cells
    for line in DOCS.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    for key in re.findall(r"`([^`]+)`", cells[0])
}


def keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Each key with its path as the page has it: a rule's and a route's keys begin anew."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield f"{path}{key}", model, key
        for below in field_models(model).get(key, ()):
            in_list = "tuple" in str(field.annotation)
            yield from keys(below, "" if in_list else f"{path}{key}.")


ALL = {full: (model, key) for top in (ProviderPolicy, Defaults) for full, model, key in keys(top)}
IN_PROSE = ("header", "unit")
"""Keys of a hint header, which the row of `retry.hint.headers` shows."""


@pytest.mark.parametrize("key", sorted(ALL))
def test_every_key_is_documented(key: str) -> None:
    grouped = any(other.startswith(f"{key}.") for other in ROWS)
    assert key in ROWS or grouped or key in IN_PROSE, f"docs/policies.md has no row for {key}"


@pytest.mark.parametrize("key", sorted(key for key in ALL if key in ROWS))
def test_every_default_is_documented(key: str) -> None:
    model, name = ALL[key]
    default = defaults_as_written(model).get(name)
    if not isinstance(default, str | int) or default == "" or key in ("name", "as"):
        return
    shown = ROWS[key][1].strip("`").strip('"')
    if re.fullmatch(r"\d+(ms|s|m|h|d)", str(default)):
        assert parse_duration(shown) == parse_duration(default)
    elif key in ("limit", "cache", "rewrite_urls"):
        assert f"### `{key}` (off by default)" in DOCS
    elif key != "match.path":
        assert shown == (str(default).lower() if isinstance(default, bool) else str(default))


def choices() -> Iterator[str]:
    yield from Verdict
    yield from HintUnit
    for model, key in ALL.values():
        for name, field in model.model_fields.items():
            if (field.alias or name) == key and get_origin(field.annotation) is Literal:
                yield from get_args(field.annotation)


@pytest.mark.parametrize("choice", sorted(set(choices())))
def test_every_choice_is_documented(choice: str) -> None:
    assert f"`{choice}`" in DOCS or f'`"{choice}"`' in DOCS


def test_the_example_is_a_policy(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    assert yaml.safe_load(example)["provider"] == "acme"
    assert not load(tmp_path, acme=example).problems


def test_the_examples_of_caching_belong_into_a_policy(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (PAGES / "caching.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        assert not load(tmp_path, block=f"provider: acme\nhosts: [api.acme.com]\n{block}").problems


def test_the_error_shown_is_the_error_given(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```text\nacme.yaml:8:12: (.*?)\n```", DOCS)
    loaded = load(tmp_path, acme="provider: acme\nhosts: [a.com]\ntimeouts: {total: 30}\n")
    assert loaded.problems[0].text().endswith(shown)
