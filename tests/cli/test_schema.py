"""`sidecar schema`: what is committed is what is printed."""

from __future__ import annotations

from click.testing import CliRunner

from sidecar.cli.schema import schema
from sidecar.policy.files import shipped_policies


def test_it_prints_the_committed_schema() -> None:
    result = CliRunner().invoke(schema, standalone_mode=False)
    assert result.return_value == 0
    assert result.stdout == (shipped_policies() / "schema.json").read_text()
