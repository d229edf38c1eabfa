"""The JSON Schema: fresh, and of the same mind as the model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.policy.files import shipped_policies
from sidecar.policy.model import Breaker, Limit, Settings, Timeouts
from sidecar.policy.schema import defaults_as_written, policy_schema, schema_text


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(below)


def test_the_committed_schema_is_fresh() -> None:
    committed = (shipped_policies() / "schema.json").read_text()
    assert committed == schema_text(), "run `sidecar schema > policies/schema.json`"


def test_every_key_is_described() -> None:
    schema = policy_schema()
    for model in (schema, *(one for one in schema["$defs"].values() if "properties" in one)):
        assert model["additionalProperties"] is False
        for key, entry in model["properties"].items():
            assert entry.get("description"), key


def test_no_null_is_offered_and_off_is() -> None:
    assert {"type": "null"} not in list(mappings(policy_schema()))
    for step in ("timeouts", "classify", "retry", "breaker", "limit", "cache", "fallback"):
        assert {"enum": ["off", False]} in policy_schema()["properties"][step]["anyOf"]


def test_defaults_read_as_they_are_written() -> None:
    assert defaults_as_written(Timeouts) == {"connect": "2s", "attempt": "10s", "total": "30s", "idle": "1m"}
    assert defaults_as_written(Limit)["rate"] == "off"
    assert defaults_as_written(Settings)["limit"] == "off"
    assert defaults_as_written(Breaker)["failure_ratio"]["over"] == "50%"


def test_examples_and_defaults_fit_their_patterns() -> None:
    for entry in mappings(policy_schema()):
        if "pattern" in entry:
            texts = [*entry.get("examples", []), *([entry["default"]] if "default" in entry else [])]
            assert all(re.search(entry["pattern"], text) for text in texts), entry


@pytest.mark.parametrize("pack", sorted(shipped_policies().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_pack_names_the_schema(pack: Path) -> None:
    assert "# yaml-language-server: $schema=schema.json" in pack.read_text().splitlines()[:3]


def test_it_is_json() -> None:
    assert json.loads(schema_text())["$schema"] == "https://json-schema.org/draft/2020-12/schema"
