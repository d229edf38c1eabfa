"""The types of a policy's quantities: read, written and described in the schema as `units.py` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from sidecar.policy.units import (
    parse_duration,
    parse_rate,
    parse_ratio,
    parse_size,
    show_duration,
    show_rate,
    show_ratio,
    show_size,
)

Unit = tuple[BeforeValidator, PlainSerializer, WithJsonSchema]


def _quantity(parse: Callable[[object], float], show: Callable[[float], str], form: str, example: str) -> Unit:
    """What pydantic needs of one unit. A default is a number already, and is not validated."""
    schema = {"type": "string", "pattern": form, "examples": [example]}
    return BeforeValidator(parse), PlainSerializer(show, return_type=str), WithJsonSchema(schema)


_D = r"^\d+(\.\d+)?"
Duration = Annotated[float, *_quantity(parse_duration, show_duration, rf"{_D}(ms|s|m|h|d)$", "2s")]
"""Seconds, written as `200ms`, `2s`, `1m`, `1h` or `7d`."""
Size = Annotated[int, *_quantity(parse_size, show_size, rf"{_D}(B|KB|MB|GB|KiB|MiB|GiB)$", "64KiB")]
"""Bytes, written as `64KiB`."""
Rate = Annotated[float, *_quantity(parse_rate, show_rate, rf"{_D}/\d*(ms|s|m|h|d)$", "100/s")]
"""Events per second, written as `100/s`."""
Ratio = Annotated[float, *_quantity(parse_ratio, show_ratio, rf"{_D}%$", "20%")]
"""From 0 to 1, written as `20%`."""
