"""What pydantic found, in the words of somebody who writes a policy: expected, got, and a hint.

What may live here: from one validation error to one problem. No files.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sidecar.policy.model import Settings
from sidecar.policy.problem import PolicyProblem, show
from sidecar.policy.tree import Node, Path, show_path
from sidecar.policy.units import NotUnderstood, show_duration, show_rate, show_ratio, show_size

_KINDS = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "date_type": "a date such as 2026-11-22",
    "string_pattern_mismatch": "a link such as https://docs.example.com",
}
_BOUNDS = {"greater_than": ("gt", "more than"), "greater_than_equal": ("ge", "at least")}
_BOUNDS |= {"less_than": ("lt", "less than"), "less_than_equal": ("le", "at most")}

SWITCHES = frozenset({*(set(Settings.model_fields) - {"dry_run"}), "hint", "budget", "consecutive", "failure_ratio"})
SWITCHES |= {"rate", "concurrency", "ttl", "stale", "upstream_proxy", "credentials"}
"""Keys that may be off."""


SECRET = "credentials"
"""Below this key somebody may have written the secret itself."""


def describe(error: ErrorDetails, tree: Node, model: type[BaseModel], prefix: Path = ()) -> PolicyProblem:
    """One error of validating `tree` as `model`, at the place in the file where it can be mended."""
    path: Path = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown_key(path, tree, model, prefix)
    node, taken = tree.find(path)
    is_key = path[-1:] == ("[key]",)
    place = node.key_place if is_key else node.place
    shown = path[:-1] if is_key else path
    if error["type"] == "missing":
        got = "nothing"
    elif is_key or taken < len(shown):
        # A lone value that stands for a list of one has no index of its own in the file.
        shown, got = shown[:taken], show(error["input"] if is_key or node.items() else node.value)
    else:
        got = show(node.value)
    expected, hint = _explain(error, node)
    if SECRET in path and isinstance(node.value, str):
        got = "what is not shown"
    return PolicyProblem(*place, show_path((*prefix, *shown)), expected, got, hint)


def _explain(error: ErrorDetails, node: Node) -> tuple[str, str]:
    kind, context, raw = error["type"], error.get("ctx") or {}, node.value
    cause = context.get("error")
    if isinstance(cause, NotUnderstood):
        return cause.expected, cause.hint
    if kind == "missing":
        return f"the key {error['loc'][-1]}", ""
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {_bound(context[name], raw)}", ""
    if kind in ("literal_error", "enum"):
        return _choice(re.findall(r"'([^']*)'", str(context["expected"])), raw)
    if kind == "string_too_long":
        return f"at most {context['max_length']} characters", ""
    expected = _KINDS.get(kind, error["msg"].lower())
    if error["loc"] and error["loc"][-1] in SWITCHES:
        expected += " or off"
    return expected, _kind_hint(kind, raw)


def _bound(bound: float, raw: object) -> str:
    """A bound in the unit in which the value was written."""
    if not isinstance(raw, str):
        return f"{bound:g}"
    if raw.endswith("%"):
        return show_ratio(bound)
    if raw.endswith("B"):
        return show_size(bound)
    return show_rate(bound) if "/" in raw else show_duration(bound)


def _choice(choices: list[str], raw: object) -> tuple[str, str]:
    expected = " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
    return expected, _nearest(str(raw), choices, quote=not isinstance(raw, str))


def _kind_hint(kind: str, raw: object) -> str:
    if kind == "tuple_type" and not isinstance(raw, dict):
        return f"did you mean [{show(raw).strip(chr(34))}]?"
    if kind == "string_type" and isinstance(raw, int | float):
        return f'quote it: "{show(raw)}"'
    if kind == "int_type" and isinstance(raw, str) and raw.isdigit():
        return f"did you mean {int(raw)}?" if len(raw) < 16 else ""
    if kind == "model_type" and raw is True:
        return "leave the key out to have the defaults"
    return ""


def _unknown_key(path: Path, tree: Node, model: type[BaseModel], prefix: Path) -> PolicyProblem:
    node, _ = tree.find(path)
    key = str(path[-1])
    known = _keys_at(model, path[:-1])
    hint = _elsewhere(key, model) or _nearest(key, known)
    if key == "<<":
        hint = "merge keys are not read: use extends, or defaults.yaml"
    expected = f"one of {', '.join(known)}" if known else "no such key"
    return PolicyProblem(*node.key_place, show_path((*prefix, *path)), expected, f"the unknown key {show(key)}", hint)


def _nearest(word: str, known: list[str], *, quote: bool = False) -> str:
    if quote and word in known:
        return f'quote it: "{word}"'
    near = get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys of the mapping at a path, as they are written."""
    here: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, int):
            continue
        below = field_models(here).get(step) if here is not None else None
        here = below[0] if below else None
    if here is None:
        return []
    own_first = sorted(here.model_fields.items(), key=lambda item: item[0] not in here.__annotations__)
    return [field.alias or name for name, field in own_first]


def _elsewhere(key: str, model: type[BaseModel]) -> str:
    """Where a key that is unknown here belongs, if there is one such place."""
    for parent, below in field_models(model).items():
        for one in below:
            if key in one.model_fields:
                return f"it belongs under {parent}"
            if (nested := _elsewhere(key, one)).startswith("it belongs under "):
                return nested.replace("under ", f"under {parent}.", 1)
    return ""


def field_models(model: type[BaseModel]) -> dict[str, list[type[BaseModel]]]:
    """The keys of a model under which there are mappings of known keys, with their models."""
    found = {field.alias or name: _models_in(field.annotation) for name, field in model.model_fields.items()}
    return {key: models for key, models in found.items() if models}


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
