"""The values a policy's keys take, beyond quantities: types that check and normalise one value each.

What may live here: one value in, one normal form out, with its JSON Schema. Mappings of keys are `model.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from sidecar.policy.names import (
    Origin,
    parse_header_name,
    parse_host,
    parse_method,
    parse_name,
    parse_origin,
    parse_pointer,
)
from sidecar.policy.template import parse_template
from sidecar.policy.units import NotUnderstood

T = TypeVar("T")


def switched_off(value: object) -> object:
    """YAML 1.1 reads a bare `off` as false; editors and YAML 1.2 keep the word."""
    return None if value is False or value == "off" else value


def several(value: object) -> object:
    """A lone text is a list of one."""
    return (value,) if isinstance(value, str) else value


def text_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


OrOff: TypeAlias = Annotated[T | None, BeforeValidator(switched_off)]
Several: TypeAlias = Annotated[tuple[T, ...], Field(strict=False)]
OneOrSeveral: TypeAlias = Annotated[Several[T], BeforeValidator(several, json_schema_input_type=str | tuple[str, ...])]

Name: TypeAlias = Annotated[str, PlainValidator(parse_name), text_schema("^[a-z0-9][a-z0-9_-]{0,62}$", "stripe")]
Host: TypeAlias = Annotated[
    str, PlainValidator(parse_host), text_schema("^[^/]+$", "api.stripe.com", "*.my.salesforce.com")
]
Upstream: TypeAlias = Annotated[
    Origin, PlainValidator(parse_origin), text_schema("^https?://[^/]+/?$", "https://api.stripe.com")
]
HeaderName: TypeAlias = Annotated[str, PlainValidator(parse_header_name), text_schema("^[!-9;-~]+$", "Retry-After")]
Method: TypeAlias = Annotated[str, PlainValidator(parse_method), text_schema("^[!-`{-~]+$", "GET", "POST")]
Pointer: TypeAlias = Annotated[str, PlainValidator(parse_pointer), text_schema("^(/.*)?$", "/error/code")]
PathTemplate: TypeAlias = Annotated[
    str, PlainValidator(parse_template), text_schema("^/", "/v1/customers/{id}", "/v1/{rest...}")
]


@dataclass(frozen=True, slots=True)
class Present:
    """A header test that asks only whether the field is there."""

    present: bool


def _header_test(value: object) -> str | Present:
    if isinstance(value, str | Present):
        return value
    if isinstance(value, Mapping) and set(value) == {"present"} and isinstance(value["present"], bool):
        return Present(value["present"])
    hint = f'quote it: "{str(value).lower()}"' if isinstance(value, bool | int | float) else ""
    raise NotUnderstood('a text, a glob such as "api-*", or {present: true}', hint)


HeaderTest: TypeAlias = Annotated[
    str | Present,
    PlainValidator(_header_test),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"present": {"type": "boolean"}},
                    "required": ["present"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]

JsonScalar: TypeAlias = str | bool | int | float


def _body_test(value: object) -> tuple[JsonScalar, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    if values and all(isinstance(one, str | bool | int | float) for one in values):
        return values
    raise NotUnderstood("a JSON text, number or boolean, or a list of them")


_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}
BodyTest: TypeAlias = Annotated[
    tuple[JsonScalar, ...],
    PlainValidator(_body_test),
    WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1}]}),
]


def _status_test(value: object) -> frozenset[int]:
    if isinstance(value, frozenset):
        return value
    values = value if isinstance(value, list | tuple) else (value,)
    return frozenset(status for one in values for status in _statuses(one))


def _statuses(value: object) -> range:
    expected = 'a status such as 409, "5xx" or "500-599", or a list of them'
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if len(text) == 3 and text[0] in "12345" and text[1:].lower() == "xx":
        return range(int(text[0]) * 100, int(text[0]) * 100 + 100)
    low, dash, high = text.partition("-")
    high = high if dash else low
    if not (
        low.isascii() and low.isdigit() and high.isascii() and high.isdigit() and 100 <= int(low) <= int(high) <= 599
    ):
        raise NotUnderstood(expected, f"{text} is none" if text else "")
    return range(int(low), int(high) + 1)


_STATUS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": "^([1-5]([xX][xX]|[0-9][0-9](-[1-5][0-9][0-9])?))$"},
    ]
}
StatusTest: TypeAlias = Annotated[
    frozenset[int],
    PlainValidator(_status_test),
    WithJsonSchema({"anyOf": [*_STATUS_SCHEMA["anyOf"], {"type": "array", "items": _STATUS_SCHEMA, "minItems": 1}]}),
]


def _methods(value: object) -> object:
    if isinstance(value, str) and value not in ("safe", "all"):
        raise NotUnderstood("safe, all, or a list of methods", f"did you mean [{value.upper()}]?")
    if isinstance(value, list | tuple):
        return tuple(parse_method(method) for method in value)
    return value


Methods: TypeAlias = Annotated[
    Literal["safe", "all"] | tuple[str, ...],
    BeforeValidator(_methods),
    WithJsonSchema({"anyOf": [{"enum": ["safe", "all"]}, {"type": "array", "items": {"type": "string"}}]}),
]
