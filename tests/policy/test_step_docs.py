"""The pages on steps are held to the code: their YAML loads, and every key has its place."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from sidecar.errors import Verdict
from sidecar.policy import degrade, model
from sidecar.policy.sources import load_policies

STEPS = Path(__file__).parents[2] / "docs" / "steps"
KEYS: dict[str, list[type[BaseModel]]] = {
    "classify": [model.ClassifyRule, model.When],
    "deadline": [model.Timeouts],
    "retry": [model.Retry, model.Backoff, model.Hint, model.HintHeader, model.Budget],
    "breaker": [model.Breaker, model.FailureRatio, model.OpenTime],
    "limit": [model.Limit],
    "cache": [degrade.Cache, degrade.Stale],
    "fallback": [degrade.Fallback, degrade.FallbackWhen],
    "rewrite": [model.RewriteUrls],
}
PARTS = ("YAML", "What it reports", "When it fails", "Dry run", "Anti-patterns")


@pytest.mark.parametrize("step", KEYS)
def test_its_yaml_is_a_policy(step: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (STEPS / f"{step}.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        path = tmp_path / "policy.yaml"
        path.write_text(f"provider: stripe\nhosts: [api.stripe.com]\n{block}")
        assert load_policies([path]).problems == ()


@pytest.mark.parametrize("step", KEYS)
def test_it_names_every_key_and_has_every_part(step: str) -> None:
    page = (STEPS / f"{step}.md").read_text()
    for shape in KEYS[step]:
        for name, field in shape.model_fields.items():
            assert re.search(rf"\b{field.alias or name}\b", page), f"{step}.md does not mention {field.alias or name}"
    for part in PARTS:
        assert f"\n## {part}\n" in page
    assert f"dry_run: [{step}]" in page


def test_every_verdict_is_explained() -> None:
    page = (STEPS / "classify.md").read_text()
    for verdict in Verdict:
        assert f"| `{verdict}` |" in page
