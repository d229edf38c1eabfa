"""Every annotation: what it may be, what is said of what it may not, and that the page about them has them all."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sidecar.kube.annotations import (
    BY_NAME,
    VOCABULARY,
    Defaults,
    PodSettings,
    asks,
    misspelt_prefixes,
    read_annotations,
)
from sidecar.kube.values import Range

PAGE = Path(__file__).parents[2] / "docs/kubernetes/inject.md"
ROW = re.compile(
    r"^\| `(?P<name>sidecar/[a-z-]+)` \| (?P<form>.+?) \| (?P<default>.+?) \| (?P<help>.+) \|$", re.MULTILINE
)


def read(annotations: dict[str, Any], defaults: Defaults = Defaults()) -> PodSettings:  # noqa: B008
    problems: list[str] = []
    found = read_annotations(annotations, defaults, problems)
    assert problems == []
    assert found is not None
    return found


def problem(name: str, value: Any) -> str:
    problems: list[str] = []
    assert read_annotations({name: value}, Defaults(), problems) is None
    (found,) = problems
    assert found.startswith(f"{name}: ")
    return found.removeprefix(f"{name}: ")


@pytest.mark.parametrize(
    ("word", "text", "value"),
    [
        ("inject", "true", True),
        ("inject", "false", False),
        ("policies", "a, b,a", ("a", "b")),
        ("policies", "team.providers", ("team.providers",)),
        ("mode", "transparent", "transparent"),
        ("form", "classic", "classic"),
        ("containers", "app,worker", ("app", "worker")),
        ("base-urls", "A=stripe, B=openai/v1/", (("A", "stripe"), ("B", "openai/v1"))),
        ("secrets", "one", ("one",)),
        ("state", "emptyDir", None),
        ("state", "emptydir", None),
        ("state", "claim", "claim"),
        ("image", "host:5000/team/sidecar:0.1@sha256:aa", "host:5000/team/sidecar:0.1@sha256:aa"),
        ("cpu", "1", Range("1")),
        ("cpu", "50m/500m", Range("50m", "500m")),
        ("memory", "96Mi", Range("96Mi", "256Mi")),
        ("memory", "1Gi", Range("1Gi", "1Gi")),
        ("memory", "96Mi/128Mi", Range("96Mi", "128Mi")),
        ("log-level", "debug", "debug"),
        ("drain", "1m", "1m"),
        ("user", "1000", 1000),
        ("exclude-ports", "5432, 8000-8100", "5432,8000-8100"),
        ("exclude-ports", "none", ""),
        ("exclude-networks", "10.0.0.0/8,fd00::/8", "10.0.0.0/8,fd00::/8"),
        ("exclude-networks", "none", ""),
        ("env", "SIDECAR_GRACE=2s", (("SIDECAR_GRACE", "2s"),)),
        (
            "env",
            "OTEL_RESOURCE_ATTRIBUTES=a=b,c=d, SIDECAR_GRACE=2s,",
            (("OTEL_RESOURCE_ATTRIBUTES", "a=b,c=d"), ("SIDECAR_GRACE", "2s")),
        ),
        ("env", "SIDECAR_ADMIN_TOKEN=secret:tokens/admin", (("SIDECAR_ADMIN_TOKEN", "secret:tokens/admin"),)),
    ],
)
def test_what_it_may_be(word: str, text: str, value: object) -> None:
    assert getattr(read({f"sidecar/{word}": text}), word.replace("-", "_")) == value
    if word != "inject":
        assert getattr(read({}, Defaults(**{word.replace("-", "_"): text})), word.replace("-", "_")) == value


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("inject", "yes", "expected true or false, got 'yes'; did you mean true?"),
        ("inject", "ture", "expected true or false, got 'ture'; did you mean true?"),
        ("inject", True, 'an annotation is a text; quote it: "true"'),
        ("user", 1000, 'an annotation is a text; quote it: "1000"'),
        ("mode", "transperent", "got 'transperent'; did you mean transparent?"),
        ("mode", "x", "expected proxy, transparent or base-url, got 'x'"),
        ("form", "Native", "did you mean native?"),
        ("policies", "My_Policies", "did you mean my-policies?"),
        ("policies", "a,,b", "something is missing beside a comma"),
        ("base-urls", "STRIPE", "such as STRIPE_API_BASE=stripe"),
        ("base-urls", "A=https://api.stripe.com", "expected a provider behind A=, as it is called in the policies"),
        ("base-urls", "A=b,A=c", "A is there twice"),
        ("state", "Claim", "did you mean claim?"),
        ("image", "sidecar 1", "expected an image"),
        ("cpu", "0", "a limit is no less than the request, which is not 0"),
        ("memory", "96MB", "did you mean 96M?"),
        ("memory", "256Mi/96Mi", "a limit is no less than the request"),
        ("log-level", "warn", "did you mean warning?"),
        ("drain", "25", "did you mean 25s?"),
        ("user", "0", "the sidecar does not run as root"),
        ("user", "nobody", "expected a user's number"),
        ("exclude-ports", "http", "expected ports such as"),
        ("exclude-networks", "10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("env", "GRACE", "expected settings of the sidecar such as"),
        ("env", "SIDECAR_GRAEC=2s", "did you mean SIDECAR_GRACE?"),
        ("env", "FOO=1", "FOO is neither"),
        ("env", "SIDECAR_GRACE=2", "did you mean 2s?"),
        ("env", "SIDECAR_DRAIN=2s", "SIDECAR_DRAIN is set by sidecar/drain"),
        ("env", "SIDECAR_LISTEN=:80", "SIDECAR_LISTEN is fixed in a pod"),
        ("env", "SIDECAR_ADMIN_TOKEN=correct-horse", "a secret's value is taken from a Secret"),
        ("env", "OTEL_EXPORTER_OTLP_HEADERS=secret:tokens", "the Secret's name, a slash, and the key in it"),
        ("env", "SIDECAR_GRACE=1s,SIDECAR_GRACE=2s", "SIDECAR_GRACE is there twice"),
        ("polices", "a", "there is no such annotation; did you mean sidecar/policies?"),
        ("base_urls", "a", "did you mean sidecar/base-urls?"),
        ("zzz", "a", "there is no such annotation; there are inject, policies, mode"),
    ],
)
def test_what_it_may_not_be(word: str, value: Any, said: str) -> None:
    found = problem(f"sidecar/{word}", value)
    assert said in found
    assert "\n" not in found


def test_a_secret_in_the_wrong_place_is_not_shown() -> None:
    assert "hunter2-hunter2" not in problem("sidecar/env", "SIDECAR_ADMIN_TOKEN=hunter2-hunter2")


def test_everything_at_once_and_defaults_by_their_flags() -> None:
    problems: list[str] = []
    assert read_annotations({"sidecar/mode": "x", "sidecar/foo": "y"}, Defaults(drain="soon"), problems) is None
    assert [one.split(": ")[0] for one in problems] == [
        "sidecar/foo",
        "sidecar/mode",
        "sidecar/drain (a default, from --drain)",
    ]


def test_other_annotations_and_ours_are_no_mistakes() -> None:
    assert read({"prometheus.io/scrape": "true", "sidecar/status": "{}", "sidecar.istio.io/inject": "x"}) == read({})


def test_an_empty_annotation_counts_as_none() -> None:
    assert read({"sidecar/mode": "", "sidecar/policies": ""}) == read({})


@pytest.mark.parametrize(("said", "answer"), [("true", True), ("false", False), ("maybe", None), (None, None)])
def test_what_inject_says(said: str | None, answer: bool | None) -> None:
    assert asks({} if said is None else {"sidecar/inject": said}) is answer


def test_a_misspelt_prefix_is_suspected() -> None:
    assert misspelt_prefixes({"sidecars/mode": "", "sidecar.corp.example/mode": "", "sidecars/else": ""}) == [
        "sidecars/mode is left alone; did you mean sidecar/mode?"
    ]


def test_there_is_a_default_for_every_word_but_the_one_that_asks() -> None:
    assert [field.name for field in fields(Defaults)] == [one.field for one in VOCABULARY if one.field != "inject"]
    assert [one.parse(one.default) for one in VOCABULARY if one.default]


def test_the_page_has_every_annotation_as_it_is() -> None:
    rows = {row["name"]: (row["form"], row["default"], row["help"]) for row in ROW.finditer(PAGE.read_text())}
    expected = {
        one.name: (one.form, one.shown or (f"`{one.default}`" if one.default else "none"), one.help)
        for one in BY_NAME.values()
    }
    rows.pop("sidecar/status", None)
    assert rows == expected
