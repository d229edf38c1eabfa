"""The JSON Schema of a policy file, for editors: made of the model, committed as `policies/schema.json`.

What may live here: turning the model into a schema that reads well. A test keeps the committed file fresh.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sidecar.policy.model import Defaults, Egress, ProviderPolicy
from sidecar.policy.wording import field_models

Schema = dict[str, Any]

_PROVIDER_ONLY = ("hosts", "upstream", "extends", "routes")


def policy_schema() -> Schema:
    """Draft 2020-12, for a provider's file and for defaults.yaml, which is the one without `provider`."""
    schema = ProviderPolicy.model_json_schema(by_alias=True)
    egress = Defaults.model_json_schema(by_alias=True)
    definitions = {**egress["$defs"], **schema.pop("$defs")}
    schema["properties"]["egress"] = egress["properties"]["egress"]
    del schema["required"]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "sidecar policy",
        "description": "One provider, or, as defaults.yaml, what holds for every provider beside it.",
        "dependentRequired": {key: ["provider"] for key in _PROVIDER_ONLY},
        "$defs": definitions,
    }
    _tidy(schema, ProviderPolicy)
    for model in _models(ProviderPolicy) | {Egress}:
        _tidy(definitions[model.__name__], model)
    return schema


def schema_text() -> str:
    """The schema as it is committed and printed."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


def defaults_as_written(model: type[BaseModel]) -> dict[str, Any]:
    """The default of each key that has one, as somebody would write it: `2s`, not 2.0; off, not null."""
    fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
    instance = model.model_construct(**{name: field.get_default() for name, field in fields.items()})
    dumped = instance.model_dump(mode="json", by_alias=True, include=set(fields), warnings=False)
    return {key: _off_or(value, model, key) for key, value in dumped.items()}


def _off_or(value: Any, model: type[BaseModel], key: str) -> Any:
    field = _field(model, key)
    return "off" if value is None and field is not None and _may_be_off(field) else value


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    """The field that a key of the YAML means."""
    return next((field for name, field in model.model_fields.items() if key in (name, field.alias)), None)


def _may_be_off(field: FieldInfo) -> bool:
    return any(getattr(getattr(one, "func", None), "__name__", "") == "switched_off" for one in field.metadata)


def _tidy(schema: Schema, model: type[BaseModel]) -> None:
    """Defaults as written, `off` in place of null, and no titles that only repeat the key."""
    written = defaults_as_written(model)
    for key, entry in schema["properties"].items():
        entry.pop("title", None)
        entry.pop("default", None)
        field = _field(model, key)
        if field is None:
            continue
        options = entry.get("anyOf", [])
        if {"type": "null"} in options:
            options.remove({"type": "null"})
            if _may_be_off(field):
                options.append({"enum": ["off", False]})
        if len(options) == 1:
            del entry["anyOf"]
            entry.update(options[0])
        default = written.get(key)
        if isinstance(default, str | int) and default != "":
            entry["default"] = default


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Every model that a model is made of."""
    below = {one for models in field_models(model).values() for one in models}
    return below.union(*(_models(one) for one in below))
