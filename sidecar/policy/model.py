"""What a policy says, validated: one class a mapping of the YAML, one field a key, durations as seconds.

What may live here: shapes, ranges and defaults. No files and no merging: what arrives is already one tree.
A step that is switched off is None. `as` of a classify rule is the field `verdict`, since Python keeps the word.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from sidecar.errors import Verdict
from sidecar.policy.bodies import OwnField
from sidecar.policy.degrade import Cache, Fallback
from sidecar.policy.fields import (
    BodyTest,
    HeaderName,
    HeaderTest,
    Host,
    Method,
    Methods,
    Name,
    OneOrSeveral,
    OrOff,
    PathTemplate,
    Pointer,
    Several,
    StatusTest,
    Upstream,
)
from sidecar.policy.names import Origin, parse_origin
from sidecar.policy.outgoing import OutgoingProxy
from sidecar.policy.quantities import Duration, Rate, Ratio
from sidecar.policy.shape import Model


class About(Model):
    """What the integration is, for people. Anything else about it goes into `docs`."""

    purpose: str = Field("", max_length=200, description="What the application uses the provider for.")
    owner: str = Field("", max_length=200, description="The team to ask.")
    docs: str = Field(
        "", max_length=2000, pattern="^(https?://.+)?$", description="Where the provider's API is documented."
    )
    updated: date | None = Field(None, description="When somebody last checked this policy against the provider.")


class Tls(Model):
    """How the provider is verified. Paths are relative to the policy file."""

    ca_file: str | None = Field(None, description="Roots to trust instead of the system's, as PEM.")
    min: Literal["1.2", "1.3"] = Field("1.2", description='The oldest TLS accepted, quoted: "1.2" or "1.3".')
    client_cert: str | None = Field(None, description="Certificate chain to present, as PEM.")
    client_key: str | None = Field(None, description="Key of `client_cert`, as PEM, without a passphrase.")


class Timeouts(Model):
    """Seconds that a call may take. An incoming Sidecar-Timeout or Request-Timeout may only shorten `total`."""

    connect: Duration = Field(2.0, gt=0, description="Until a connection and its TLS stand.")
    attempt: Duration = Field(10.0, gt=0, description="Until the head of one attempt's reply.")
    total: Duration = Field(30.0, gt=0, description="For the call with all its attempts and waits.")
    idle: Duration = Field(60.0, gt=0, description="Between two pieces of a reply's body.")


class When(Model):
    """What a reply must look like; everything named must hold, and something must be named."""

    status: StatusTest = Field(frozenset(), description='409, a list, "5xx" or "500-599"; any when left out.')
    header: dict[HeaderName, HeaderTest] = Field(
        {}, description='Header name to its value, a glob such as "api-*" (case counts), or {present: true}.'
    )
    body: dict[Pointer, BodyTest] = Field({}, description="JSON pointer into the reply's body to its value, or a list.")


class ClassifyRule(Model):
    """One rule: the first whose `when` holds decides."""

    when: When = Field(description="What the reply must look like.")
    verdict: Annotated[Verdict, Field(strict=False)] = Field(
        alias="as", description="What such a reply means to retry, breaker and limit."
    )
    wait: Duration | None = Field(None, description="How long to stay away when the reply does not say.")


class Backoff(Model):
    """Seconds between attempts: `base` doubled with each, at most `cap`."""

    base: Duration = Field(0.2, gt=0, description="Before the second attempt.")
    cap: Duration = Field(10.0, gt=0, description="The longest wait between two attempts.")
    jitter: Literal["full", "none"] = Field(
        "full", description="full draws evenly between zero and the wait; none waits it out."
    )


class HintUnit(StrEnum):
    """How a hint header says when to come back."""

    RETRY_AFTER = "retry_after"
    """Seconds, whole or not, or an HTTP-date (RFC 9110 10.2.3)."""
    EPOCH_S = "epoch_s"
    """The instant, as seconds of Unix time."""
    DELTA_S = "delta_s"
    """Seconds from now."""
    MS = "ms"
    """Milliseconds from now."""
    DURATION = "duration"
    """Such as `6m30s` or `20ms`."""
    RFC3339 = "rfc3339"
    """The instant, as `2026-11-22T12:00:00Z`."""


class HintHeader(Model):
    """A header by which the provider says how long to wait."""

    header: HeaderName = Field(description="The header's name.")
    unit: Annotated[HintUnit, Field(strict=False)] = Field(
        HintUnit.RETRY_AFTER, description="How to read it; retry_after is seconds or an HTTP-date."
    )


def _hint_header(value: object) -> object:
    return {"header": value} if isinstance(value, str) else value


class Hint(Model):
    """Whose word on waiting to take, and how far."""

    headers: Several[Annotated[HintHeader, BeforeValidator(_hint_header, json_schema_input_type=str | HintHeader)]] = (
        Field((HintHeader(header="Retry-After"),), description="Headers to read, the first present one wins.")
    )
    cap: Duration = Field(60.0, gt=0, description="A longer wait than this ends the call instead.")


class Budget(Model):
    """How much retries may add to a provider's load, over all its routes."""

    ratio: Ratio = Field(0.2, description="Retries for each first attempt.")
    floor: Rate = Field(3.0, description="Retries that are always allowed, however little traffic there is.")


class Retry(Model):
    """When and how often a failed attempt is repeated."""

    attempts: int = Field(3, ge=1, le=20, description="How many there may be, the first included.")
    backoff: Backoff = Field(Backoff(), description="The wait between attempts.")
    hint: OrOff[Hint] = Field(Hint(), description="The provider's own word on waiting, or off.")
    methods: Methods = Field(
        "safe",
        description="safe: idempotent methods, and others when an idempotency key is on the call; all; or a list.",
    )
    budget: OrOff[Budget] = Field(Budget(), description="The bound on all retries of the provider, or off.")


class FailureRatio(Model):
    """Trip when too large a share of recent attempts failed."""

    over: Ratio = Field(0.5, gt=0, description="Trips when a larger share than this failed.")
    window: Duration = Field(10.0, ge=1, le=3600, description="How far back attempts count.")
    min_calls: int = Field(20, ge=1, le=1_000_000, description="With fewer attempts in the window it never trips.")


class OpenTime(Model):
    """How long a tripped breaker refuses before it lets a trial through."""

    base: Duration = Field(1.0, gt=0, description="After it tripped; doubles with each failed trial.")
    cap: Duration = Field(60.0, gt=0, description="The longest, unless the provider itself asked for more.")


class Breaker(Model):
    """When to stop calling a provider that fails. Either rule trips."""

    consecutive: OrOff[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        7, description="Failures in a row that trip, or off."
    )
    failure_ratio: OrOff[FailureRatio] = Field(FailureRatio(), description="The share of failures that trips, or off.")
    open: OpenTime = Field(OpenTime(), description="How long it stays open.")
    trials: int = Field(1, ge=1, le=1000, description="How many attempts at once may try whether it is well again.")
    scope: Literal["provider", "operation", "credential"] = Field(
        "operation", description="What trips together: all of the provider, one route, or one credential."
    )


class Limit(Model):
    """How fast and how wide the application may call. Off unless a policy has it."""

    rate: OrOff[Annotated[Rate, Field(gt=0)]] = Field(None, description="Attempts in a time, or off.")
    burst: int | None = Field(
        None, ge=1, le=1_000_000_000, description="How many may come at once; a second's worth of `rate` when left out."
    )
    concurrency: OrOff[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        None, description="Attempts in flight at once, or off."
    )
    max_wait: Duration = Field(2.0, description="How long an attempt may wait for its turn before it is refused.")
    learn: bool = Field(
        False, description="Slow down when the provider throttles, then speed up again, never past `rate`."
    )


class RewriteUrls(Model):
    """Which headers of replies bring a client back to the listener that it called. Off unless a policy has it."""

    headers: Several[OwnField] = Field(
        ("Location", "Link", "Content-Location"),
        description="Response headers in which the provider's own URLs become the listener's.",
    )


STEPS_BY_KEY: Final = {"timeouts": "deadline", "rewrite_urls": "rewrite"}
DryRunStep: TypeAlias = Annotated[
    Literal["fallback", "rewrite", "deadline", "cache", "classify", "retry", "breaker", "limit"],
    BeforeValidator(lambda step: STEPS_BY_KEY.get(step, step) if isinstance(step, str) else step),
    WithJsonSchema(
        {
            "enum": [
                "fallback",
                "rewrite",
                "rewrite_urls",
                "deadline",
                "timeouts",
                "cache",
                "classify",
                "retry",
                "breaker",
                "limit",
            ]
        }
    ),
]
"""A step's name; where its key is another word, that will do, too."""


class Settings(Model):
    """What a provider says of its calls, and a route may say otherwise."""

    timeouts: OrOff[Timeouts] = Field(Timeouts(), description="How long things may take, or off.")
    classify: OrOff[Several[ClassifyRule]] = Field(
        (),
        description="What replies mean, the first match wins; what is left falls to the built-in rules, as with off.",
    )
    retry: OrOff[Retry] = Field(Retry(), description="When to try again, or off.")
    breaker: OrOff[Breaker] = Field(Breaker(), description="When to stop trying, or off.")
    limit: OrOff[Limit] = Field(None, description="How fast to call, or off.")
    cache: OrOff[Cache] = Field(None, description="What to keep and serve again, or off.")
    fallback: OrOff[Several[Fallback]] = Field(
        (), description="What to answer when nothing better is left, the first that holds, or off."
    )
    rewrite_urls: OrOff[RewriteUrls] = Field(
        None, description="Which response headers have URLs that should lead back through the sidecar, or off."
    )
    dry_run: Several[DryRunStep] = Field((), description="Steps that decide and report, but do not act.")


class RouteMatch(Model):
    """Which calls a route is for."""

    method: OneOrSeveral[Method] = Field((), description="A method or a list; any when left out.")
    path: PathTemplate = Field(
        "/{rest...}", description="A template: {id} stands for one segment, a last {rest...} for any number of them."
    )


class Route(Settings):
    """A narrower rule. Once loaded, it carries all its settings, the provider's where it says nothing."""

    name: Name = Field(description="Its name in metrics, spans and headers.")
    match: RouteMatch = Field(description="Which calls it is for; the first route that matches wins.")


def _on_or_off(value: object) -> object:
    """YAML 1.1 reads the bare words as booleans."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class ProviderPolicy(Settings):
    """One provider, with everything that holds for it."""

    provider: Name = Field(description="The name in reverse URLs, metrics, spans and the catalog.")
    about: About = Field(About(), description="What the integration is, for people.")
    hosts: Several[Host] = Field((), description="Which calls are this provider's; *.example.com for all hosts below.")
    upstream: Upstream | None = Field(
        None, description="Where the bytes go, and the Host and SNI sent; https:// and the first host when left out."
    )
    extends: Name | None = Field(
        None, description="A shipped pack, or a provider beside this file, that this one overrides."
    )
    tls: Tls = Field(Tls(), description="How the provider is verified.")
    intercept: Annotated[
        Literal["on", "off"], BeforeValidator(_on_or_off, json_schema_input_type=Literal["on", "off"] | bool)
    ] = Field("on", description="Whether its HTTPS calls through CONNECT are opened, or tunnelled with off.")
    upstream_proxy: OrOff[OutgoingProxy] = Field(
        None, description="The forward proxy by which connections to the provider leave, or off."
    )
    routes: Several[Route] = Field((), description="Narrower rules; the first match wins.")

    @property
    def origin(self) -> Origin | None:
        """Where a call goes that names no host: `upstream`, or https to the first host; None if that is a wildcard."""
        return self.origin_for(None)

    @cached_property
    def caches(self) -> bool:
        """Whether replies to any of its calls are kept, so that all others may have to invalidate them."""
        return any(one.cache is not None and one.cache.store is not None for one in (self, *self.routes))

    def origin_for(self, host: str | None) -> Origin | None:
        """Where a call goes that asked for one of `hosts`: `upstream` if it is written, else https to that host."""
        if self.upstream is not None:
            return self.upstream
        host = host or next(iter(self.hosts), "*.")
        return None if host.startswith("*.") else parse_origin(f"https://{host}")


class Egress(Model):
    """Where calls may go that no policy names. Stands in defaults.yaml only."""

    unknown: Literal["allow", "deny"] = Field("allow", description="Whether hosts without a policy may be called.")
    ports: Several[Annotated[int, Field(ge=1, le=65535)]] = Field(
        (80, 443), description="Ports that calls to such hosts may use."
    )
    verify_sni: bool = Field(
        False, description="Refuse redirected TLS whose server name does not resolve to the address that was called."
    )


class Defaults(Settings):
    """What defaults.yaml may say: settings for every provider beside it, and what is process-wide."""

    about: About = Field(About(), description="What holds for every integration, such as the owner.")
    tls: Tls = Field(Tls(), description="How every provider is verified.")
    upstream_proxy: OrOff[OutgoingProxy] = Field(
        None, description="The forward proxy by which all connections leave, also those that no policy names, or off."
    )
    egress: Egress = Field(Egress(), description="Where calls may go that no policy names.")
