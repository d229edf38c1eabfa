"""What the standard `OTEL_*` variables ask for.

What may live here: reading and checking them. `docs/telemetry.md` lists those that count; others are left alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sidecar.errors import SettingsError
from sidecar.telemetry.sampling import SAMPLERS

SERVICE_NAME: Final = "sidecar"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one signal goes by OTLP over HTTP."""

    endpoint: str = field(repr=False)
    """The whole URL. Not for logs: it may hold a credential."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    compression: str = "none"
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    disabled: bool = False
    """OTEL_SDK_DISABLED: nothing is exported, and trace fields pass as if we were not there."""
    resource: Mapping[str, str] = field(default_factory=lambda: {"service.name": SERVICE_NAME})
    sampler: str = "parentbased_always_on"
    sample_ratio: float = 1.0
    traces: Destination | None = None
    metrics: Destination | None = None
    spans_queued: int = 2048
    spans_per_export: int = 512
    spans_delay_s: float = 5.0
    metrics_interval_s: float = 60.0
    temporality: str = "cumulative"


class _Variables:
    """The environment, read one variable at a time; an empty one counts as unset, as the specification says."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, *names: str, default: str = "") -> tuple[str, str]:
        """(name, value) of the first that is set."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                return name, value
        return names[-1], default

    def number(self, *names: str, default: float, low: float = 0.0, high: float = math.inf, what: str) -> float:
        name, text = self.text(*names)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or math.isinf(value):
            raise SettingsError(f"{name}: expected {what}, got {text!r}")
        return value

    def milliseconds(self, *names: str, default_s: float, low_s: float = 0.0) -> float:
        number = self.number(*names, default=default_s * 1e3, low=low_s * 1e3, what="a number of milliseconds")
        return number / 1e3

    def count(self, name: str, default: int) -> int:
        value = self.number(name, default=default, low=1, what="a whole number above 0")
        if value != int(value):
            raise SettingsError(f"{name}: expected a whole number above 0, got {value}")
        return int(value)

    def choice(self, *names: str, among: Sequence[str], default: str) -> str:
        name, text = self.text(*names, default=default)
        if text.lower() not in among:
            raise SettingsError(f"{name}: expected one of {', '.join(among)}, got {text!r}")
        return text.lower()

    def pairs(self, *names: str) -> dict[str, str]:
        """`key=value,key=value` with percent-encoding (W3C Baggage). Values are never part of an error."""
        name, text = self.text(*names)
        found = {}
        for piece in filter(None, map(str.strip, text.split(","))):
            key, equals, value = piece.partition("=")
            if not key.strip() or not equals:
                raise SettingsError(f"{name}: expected key=value pairs with commas between them")
            found[unquote(key.strip())] = unquote(value.strip())
        return found


def read_settings(environ: Mapping[str, str] = os.environ, *, version: str = "") -> TelemetrySettings:
    """The telemetry that the environment asks for; `SettingsError` names the first variable that cannot be used."""
    variables = _Variables(environ)
    disabled = variables.choice("OTEL_SDK_DISABLED", among=("true", "false"), default="false") == "true"
    spans_queued = variables.count("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
    spans_per_export = variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(512, spans_queued))
    if spans_per_export > spans_queued:
        raise SettingsError("OTEL_BSP_MAX_EXPORT_BATCH_SIZE: expected at most OTEL_BSP_MAX_QUEUE_SIZE")
    return TelemetrySettings(
        disabled=disabled,
        resource=_resource(variables, version),
        sampler=variables.choice("OTEL_TRACES_SAMPLER", among=SAMPLERS, default="parentbased_always_on"),
        sample_ratio=variables.number(
            "OTEL_TRACES_SAMPLER_ARG", default=1.0, high=1.0, what="a ratio from 0 to 1, such as 0.01"
        ),
        traces=None if disabled else _destination(variables, "TRACES", ("otlp", "none")),
        metrics=None if disabled else _destination(variables, "METRICS", ("otlp", "none", "prometheus")),
        spans_queued=spans_queued,
        spans_per_export=spans_per_export,
        spans_delay_s=variables.milliseconds("OTEL_BSP_SCHEDULE_DELAY", default_s=5.0, low_s=0.001),
        metrics_interval_s=variables.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", default_s=60.0, low_s=0.1),
        temporality=variables.choice(
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            among=("cumulative", "delta", "lowmemory"),
            default="cumulative",
        ),
    )


def _resource(variables: _Variables, version: str) -> dict[str, str]:
    attributes = {"service.name": SERVICE_NAME}
    if version:
        attributes["service.version"] = version
    attributes |= variables.pairs("OTEL_RESOURCE_ATTRIBUTES")
    _, name = variables.text("OTEL_SERVICE_NAME")
    if name:
        attributes["service.name"] = name
    return attributes


def _destination(variables: _Variables, signal: str, exporters: Sequence[str]) -> Destination | None:
    """None unless an endpoint is named for this signal and nothing says that it is not to be exported."""
    exporter_name, wanted = variables.text(f"OTEL_{signal}_EXPORTER", default="otlp")
    wanted_exporters = [each.strip().lower() for each in wanted.split(",")]
    if not set(wanted_exporters) <= set(exporters):
        raise SettingsError(f"{exporter_name}: expected one of {', '.join(exporters)}, got {wanted!r}")

    def of_signal(suffix: str) -> tuple[str, str]:
        return f"OTEL_EXPORTER_OTLP_{signal}_{suffix}", f"OTEL_EXPORTER_OTLP_{suffix}"

    endpoint = _endpoint(variables, signal)
    if endpoint is None or "otlp" not in wanted_exporters:
        return None
    protocol_name, protocol = variables.text(*of_signal("PROTOCOL"), default="http/protobuf")
    if protocol != "http/protobuf":
        hint = "the sidecar exports by http/protobuf only (port 4318 of most collectors)"
        raise SettingsError(f"{protocol_name}: expected http/protobuf, got {protocol!r}: {hint}")
    return Destination(
        endpoint=endpoint,
        headers=variables.pairs(*of_signal("HEADERS")),
        timeout_s=variables.milliseconds(*of_signal("TIMEOUT"), default_s=10.0, low_s=0.001),
        compression=variables.choice(*of_signal("COMPRESSION"), among=("none", "gzip", "deflate"), default="none"),
        ca_file=_file(variables.text, *of_signal("CERTIFICATE")),
        client_cert_file=_file(variables.text, *of_signal("CLIENT_CERTIFICATE")),
        client_key_file=_file(variables.text, *of_signal("CLIENT_KEY")),
    )


def _endpoint(variables: _Variables, signal: str) -> str | None:
    name, url = variables.text(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"{name}: expected a URL such as http://collector:4318")
    # The general endpoint is a base, a signal's own is used as it is (OTLP exporter specification).
    return url if name.endswith(f"{signal}_ENDPOINT") else f"{url.removesuffix('/')}/v1/{signal.lower()}"


def _file(text: Callable[..., tuple[str, str]], *names: str) -> str | None:
    name, path = text(*names)
    if path and not Path(path).is_file():
        raise SettingsError(f"{name}: expected a file that can be read, got {path!r}")
    return path or None
