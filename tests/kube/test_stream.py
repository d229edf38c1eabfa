"""Whole streams: places, what is missing among them, and what stays as it is."""

from __future__ import annotations

from sidecar.kube.annotations import Defaults
from sidecar.kube.stream import Injected, inject_stream
from tests.kube.goldens import HERE, golden

POD = "kind: Pod\nmetadata:\n  name: shop\nspec:\n  containers:\n  - name: app\n    image: app:1\n"
SERVICE = "kind:  Service # as it is\nmetadata: {name: shop}\n"


def injected(text: str, defaults: Defaults = Defaults(), *, asked: bool = True) -> Injected:  # noqa: B008
    return inject_stream(text, "stdin", defaults, asked=asked)


def test_what_is_no_workload_stays_to_the_byte() -> None:
    found = injected(f"{SERVICE}---\n{POD}---\n{SERVICE}")
    assert found.text.startswith(f"{SERVICE}---\nkind: Pod\n")
    assert found.text.endswith(f"---\n{SERVICE}")
    assert found.changed == ["stdin:4"]


def test_comments_and_anchors_stay_where_they_were() -> None:
    before = (HERE / "manifests/stream.yaml").read_text().splitlines()
    after = golden(HERE / "manifests/stream.yaml").read_text().splitlines()
    kept = iter(after)
    assert all(line in kept for line in before), "a line of the author's is gone, or stands elsewhere"


def test_problems_of_all_documents_with_their_lines() -> None:
    typo = POD.replace("name: shop\n", "name: shop\n  annotations: {sidecar/mode: prxy}\n")
    found = injected(f"{typo}---\nkind: Pod\nspec: [\n---\n{typo}")
    assert [problem.split(": ")[0] for problem in found.problems] == ["stdin:1", "stdin:12:1", "stdin:13"]
    assert all("\n" not in problem for problem in found.problems)


def test_a_config_map_that_is_not_among_them_is_told_where_others_are() -> None:
    config_map = "kind: ConfigMap\nmetadata: {name: acme}\n"
    found = injected(f"{config_map}---\n{POD}", Defaults(policies="acme,acne"))
    assert found.warnings == [
        "stdin:4: pod/shop: sidecar/policies: no ConfigMap acne is among these manifests; there are acme"
    ]
    assert injected(POD, Defaults(policies="acne")).warnings == []
    assert injected(f"{config_map}---\n{POD}", Defaults(policies="acme")).warnings == []


def test_a_list_may_hold_them() -> None:
    inner = POD.replace("\n", "\n    ").rstrip()
    items = f"kind: List\nitems:\n  - {inner}\n  - kind: ConfigMap\n    metadata: {{name: acme}}\n"
    (warning,) = injected(items, Defaults(policies="other")).warnings
    assert "no ConfigMap other is among these manifests; there are acme" in warning


def test_a_document_that_is_written_anew_is_told_of() -> None:
    text = "kind: Pod\nmetadata: &m {name: shop}\nspec: {containers: [{name: app}]}\nother: *m\n"
    (warning,) = injected(text).warnings
    assert "written anew, without its comments" in warning


def test_nothing_is_nothing() -> None:
    assert injected("") == Injected()
    assert injected("# only a comment\n---\n").text == "# only a comment\n---\n"
    assert injected("just a text\n").text == "just a text\n"


def test_a_record_of_a_pod_that_nobody_asked_about_is_not_read() -> None:
    text = POD.replace("name: shop\n", "name: shop\n  annotations: {sidecar/status: broken}\n")
    assert injected(text, asked=False) == Injected(text=text)


def test_who_was_not_asked_changes_nothing() -> None:
    assert injected(f"{POD}---\n{SERVICE}", asked=False) == Injected(text=f"{POD}---\n{SERVICE}")
