"""The recipes of docs/caching-recipes.md compile, and degrade as they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sidecar.call import Outcome, Reply
from sidecar.policy import translate
from sidecar.policy.compile import compile_pipeline
from sidecar.policy.match import RouteIndex
from sidecar.policy.model import ProviderPolicy, Route
from tests.fakes import make_call, make_failure
from tests.policy.documents import load
from tests.policy.test_compile import Workshop

PAGE = (Path(__file__).parents[2] / "docs" / "caching-recipes.md").read_text()
RECIPES = {yaml.safe_load(text)["provider"]: text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)}


def policy_of(name: str, directory: Path) -> ProviderPolicy:
    loaded = load(directory, recipe=RECIPES[name])
    assert loaded.problems == ()
    return loaded.providers[0]


async def send(policy: ProviderPolicy, workshop: Workshop, method: str, target: str) -> Outcome:
    index: RouteIndex[Route | None] = RouteIndex([(r.match.method, r.match.path, r) for r in policy.routes], None)
    pipeline = compile_pipeline(policy, index.find(method, target.encode()), "", workshop.ports)
    return await pipeline.handle(make_call(method, target))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_compiles(name: str, tmp_path: Path) -> None:
    policy, workshop = policy_of(name, tmp_path), Workshop()
    pipelines = [compile_pipeline(policy, route, "", workshop.ports) for route in (None, *policy.routes)]
    assert all("cache" in pipeline.steps for pipeline in pipelines)


def test_reference_data_is_fresh_for_five_minutes_and_good_for_a_day(tmp_path: Path) -> None:
    for route in policy_of("reference-data", tmp_path).routes:
        settings = translate.cache(route)
        assert settings is not None
        assert (settings.ttl_s, settings.stale_s, settings.override) == (300.0, 86400.0, False)


def test_contacts_stand_in_against_the_providers_word_and_balances_never(tmp_path: Path) -> None:
    balance, contacts = (translate.cache(route) for route in policy_of("contacts", tmp_path).routes)
    assert balance is None
    assert contacts is not None
    assert (contacts.ttl_s, contacts.stale_s, contacts.override) == (None, 3600.0, True)
    assert contacts.vary_on == (b"x-account",)


@pytest.mark.parametrize(
    ("method", "target", "status", "document"),
    [
        ("GET", "/v1/flags/dark-mode", 200, {"key": "dark-mode", "enabled": False, "source": "fallback"}),
        ("GET", "/v1/flags", 200, {"flags": []}),
        ("POST", "/v1/exposures", 202, None),
    ],
)
async def test_flags_are_never_an_error(tmp_path: Path, method: str, target: str, status: int, document: Any) -> None:
    outcome = await send(policy_of("flags", tmp_path), Workshop(make_failure()), method, target)
    assert isinstance(outcome, Reply)
    body = outcome.body.whole()
    assert outcome.status == status
    assert body is not None
    assert (orjson.loads(body) if body else None) == document
