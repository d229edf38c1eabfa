"""The values that the keys of `cache` and `fallback` take: a store, tags, fields, bodies.

What may live here: one value in, one normal form out, with its JSON Schema. Mappings of keys are `degrade.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from sidecar.policy.attached import read_attached
from sidecar.policy.fields import switched_off, text_schema
from sidecar.policy.names import parse_header_name
from sidecar.policy.units import NotUnderstood, parse_duration

MADE_HERE = frozenset({"cache-status", "proxy-status", "sidecar"})
"""Fields that say what the sidecar did."""
FRAMING = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields that belong to the connection or frame the message."""

RULES = ("private", "shared")
"""The two sets of RFC 9111's rules."""
_TAG = re.compile(r"[!-+\--~]{1,200}")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A cache's own time for every reply, in place of what the provider says."""

    ttl_s: float


def _store(value: object) -> str | Lifetime | None:
    value = switched_off(value)
    if value is None or value in RULES or isinstance(value, Lifetime):
        return value
    if isinstance(value, Mapping) and set(value) == {"ttl"}:
        return Lifetime(parse_duration(value["ttl"]))
    raise NotUnderstood("private, shared, off or {ttl: 60s}", _meant_store(value))


def _meant_store(value: object) -> str:
    if isinstance(value, str) and value.lower() in RULES:
        return f"did you mean {value.lower()}?"
    try:
        parse_duration(value)
    except NotUnderstood:
        return ""
    return f"did you mean {{ttl: {value}}}?"


Store: TypeAlias = Annotated[
    Literal["private", "shared"] | Lifetime | None,
    PlainValidator(_store),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["private", "shared", "off", False]},
                {
                    "type": "object",
                    "properties": {"ttl": {"type": "string", "examples": ["60s"]}},
                    "required": ["ttl"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


def _targeted_field(value: object) -> str:
    name = parse_header_name(value)
    if name.lower() in ("cache-control", "expires"):
        raise NotUnderstood("a targeted header such as CDN-Cache-Control", f"{name} counts without being named")
    return name


def _tag(value: object) -> str:
    if isinstance(value, str) and _TAG.fullmatch(value):
        return value
    hint = "at most 200 ASCII characters, without spaces and commas" if isinstance(value, str) else _quoted(value)
    raise NotUnderstood("a tag such as invoices or customer-{id}", hint)


def _field_value(value: object) -> str:
    if isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip(" "):
        return value
    raise NotUnderstood("a header's value in printable ASCII, without spaces around it", _quoted(value))


def _quoted(value: object) -> str:
    return f'quote it: "{str(value).lower()}"' if isinstance(value, int | float) else ""


def _own_field(value: object) -> str:
    name = parse_header_name(value)
    if name.lower() in MADE_HERE | FRAMING:
        raise NotUnderstood("a header that the sidecar does not write itself", f"leave {name} out")
    return name


TargetedField: TypeAlias = Annotated[
    str, PlainValidator(_targeted_field), text_schema("^[!-9;-~]+$", "CDN-Cache-Control")
]
Tag: TypeAlias = Annotated[str, PlainValidator(_tag), text_schema("^[!-+\\--~]+$", "invoices", "customer-{id}")]
FieldValue: TypeAlias = Annotated[str, PlainValidator(_field_value), text_schema("^[ -~]*$", "max-age=60")]
OwnField: TypeAlias = Annotated[str, PlainValidator(_own_field), text_schema("^[!-9;-~]+$", "Content-Type")]


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A JSON document: mappings, lists and scalars."""

    value: object


def _json_body(value: object) -> JsonBody:
    return value if isinstance(value, JsonBody) else JsonBody(_json(value))


def _json(value: object) -> object:
    match value:
        case dict():
            return {key: _json(below) for key, below in value.items()}
        case list() | tuple():
            return [_json(below) for below in value]
        case date():
            return value.isoformat()
    return value


JsonDocument: TypeAlias = Annotated[
    JsonBody, PlainValidator(_json_body), WithJsonSchema({"examples": [{"object": "list", "data": []}]})
]


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file as it was when the policy was read."""

    path: str
    data: bytes


def _file_body(value: object) -> FileBody:
    if isinstance(value, FileBody):
        return value
    if not isinstance(value, str):
        raise NotUnderstood("a path, relative to the policy file")
    return FileBody(value, read_attached(value))


AttachedFile: TypeAlias = Annotated[FileBody, PlainValidator(_file_body), text_schema("^.+$", "fallbacks/flags.json")]
