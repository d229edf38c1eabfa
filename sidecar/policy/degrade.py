"""What a policy says of answers that are not the provider's fresh word: `cache` and `fallback`.

What may live here: shapes, ranges and defaults, as in `model.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from sidecar.policy.bodies import AttachedFile, FieldValue, JsonDocument, OwnField, Store, Tag, TargetedField
from sidecar.policy.fields import HeaderName, Method, OneOrSeveral, OrOff, Several, StatusTest, several
from sidecar.policy.quantities import Duration, Size
from sidecar.policy.shape import Model


def _stale(value: object) -> object:
    """A lone duration is how long."""
    return value if isinstance(value, dict | Stale) else {"for": value}


class Stale(Model):
    """How long a kept reply may stand in past its life when the provider fails."""

    length: Duration = Field(alias="for", gt=0, description="How long past its life a reply may stand in.")
    override: bool = Field(
        False, description="Stand in even for what the provider marks no-store or must-revalidate: you know better."
    )


class Cache(Model):
    """What is kept of a provider's replies, and served again. Off unless a policy has it."""

    store: Store = Field(
        "private",
        description="private or shared: RFC 9111's two sets of rules; {ttl: 60s}: overrule the provider.",
    )
    ttl: OrOff[Duration] = Field(
        None, description="Short for store: {ttl: 60s}: how long every reply is fresh, whatever the provider says."
    )
    stale: OrOff[Annotated[Stale, BeforeValidator(_stale, json_schema_input_type=str | Stale)]] = Field(
        None, description="How long a kept reply may stand in past its life when the provider fails, or off."
    )
    targets: Several[TargetedField] | None = Field(
        None,
        description="Response headers that are obeyed in place of Cache-Control and Expires, the most apt first; "
        "[CDN-Cache-Control] for store: shared, and none for private, when left out.",
    )
    vary_on: Several[HeaderName] = Field(
        (), description="Request headers that tell replies apart, whatever the provider's Vary says."
    )
    coalesce: bool = Field(True, description="Whether equal calls at the same time become one.")
    max_entry: Annotated[Size, Field(ge=1024, le=64 * 1024 * 1024)] = Field(
        1024 * 1024, description="The largest body that is kept, from 1KiB to 64MiB."
    )
    tags: Several[Tag] = Field(
        (), description="What entries can be purged by; {id} is what the route's path has there."
    )


FallbackReason: TypeAlias = Literal[
    "breaker-open",
    "rate-limited",
    "concurrency-limited",
    "pool-exhausted",
    "connect-failed",
    "connect-timeout",
    "dns-failed",
    "tls-failed",
    "proxy-failed",
    "proxy-denied",
    "attempt-timeout",
    "total-timeout",
    "connection-lost",
    "reply-malformed",
    "reply-incomplete",
    "reply-too-large",
    "not-cached",
]
FallbackOutcome: TypeAlias = Literal["rejected", "credential", "throttled", "exhausted", "transient", "unreachable"]


Reasons: TypeAlias = Annotated[
    Several[FallbackReason],
    BeforeValidator(several, json_schema_input_type=FallbackReason | tuple[FallbackReason, ...]),
]
Outcomes: TypeAlias = Annotated[
    Several[FallbackOutcome],
    BeforeValidator(several, json_schema_input_type=FallbackOutcome | tuple[FallbackOutcome, ...]),
]


class FallbackWhen(Model):
    """When a fallback stands in; everything named must hold, and something must be named."""

    reason: Reasons = Field((), description="Why the sidecar would answer itself, such as breaker-open.")
    outcome: Outcomes = Field((), description="What the last attempt's outcome means, such as transient.")
    status: StatusTest = Field(frozenset(), description='The provider\'s own status: 503, a list, "5xx" or "500-599".')
    method: OneOrSeveral[Method] = Field((), description="A method or a list.")


class Fallback(Model):
    """A reply made of the policy alone, for when nothing better is left. Without a body if it names none."""

    when: FallbackWhen | None = Field(
        None, description="When it stands in; for everything that a stale reply may stand in for when left out."
    )
    status: int = Field(200, ge=200, le=599, description="The reply's status.")
    headers: dict[OwnField, FieldValue] = Field(
        {}, description="The reply's headers; {id} is what the route's path has there."
    )
    document: JsonDocument | None = Field(
        None, alias="json", description="The body, as JSON; {id} in a text is what the route's path has there."
    )
    text: str | None = Field(None, description="The body, as text; {id} is what the route's path has there.")
    file: AttachedFile | None = Field(
        None, description="The body, from a file of at most 1MiB, relative to the policy file."
    )
