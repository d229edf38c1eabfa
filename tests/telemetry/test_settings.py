from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import SettingsError
from sidecar.telemetry.settings import TelemetrySettings, read_settings


def test_an_empty_environment_exports_nothing() -> None:
    assert read_settings({}) == TelemetrySettings()


def test_empty_variables_count_as_unset() -> None:
    names = ("OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_BSP_MAX_QUEUE_SIZE")
    assert read_settings(dict.fromkeys(names, " ")) == TelemetrySettings()


@pytest.mark.parametrize("base", ["http://collector:4318", "http://collector:4318/"])
def test_the_general_endpoint_is_a_base(base: str) -> None:
    settings = read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": base})
    assert settings.traces is not None
    assert settings.metrics is not None
    assert settings.traces.endpoint == "http://collector:4318/v1/traces"
    assert settings.metrics.endpoint == "http://collector:4318/v1/metrics"


def test_a_signals_own_settings_win() -> None:
    settings = read_settings(
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces/in",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Bearer%20x, b = 2",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1500",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
        }
    )
    assert settings.metrics is None
    assert settings.traces is not None
    assert settings.traces.endpoint == "https://traces/in"
    assert settings.traces.headers == {"Authorization": "Bearer x", "b": "2"}
    assert settings.traces.timeout_s == 1.5
    assert settings.traces.compression == "gzip"


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "prometheus"},
    ],
)
def test_exporting_can_be_switched_off(environ: dict[str, str]) -> None:
    settings = read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", **environ})
    assert (settings.traces, settings.metrics) == (None, None)


def test_the_resource() -> None:
    environ = {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "service.name=x,k8s.pod.name=a%2Cb"}
    assert read_settings(environ, version="1.2").resource == {
        "service.name": "shop",
        "service.version": "1.2",
        "k8s.pod.name": "a,b",
    }


def test_batches() -> None:
    settings = read_settings(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_METRIC_EXPORT_INTERVAL": "2000",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.25",
        }
    )
    assert (settings.spans_queued, settings.spans_per_export, settings.spans_delay_s) == (100, 100, 0.25)
    assert settings.metrics_interval_s == 2.0
    assert (settings.sampler, settings.sample_ratio) == ("parentbased_traceidratio", 0.25)


ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}
BAD = [
    {"OTEL_SDK_DISABLED": "maybe"},
    {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
    {"OTEL_TRACES_SAMPLER_ARG": "2"},
    {"OTEL_TRACES_SAMPLER_ARG": "nan"},
    {"OTEL_TRACES_SAMPLER_ARG": "often"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "grpc://collector:4317"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:port"},
    {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://[c"},
    {"OTEL_TRACES_EXPORTER": "zipkin"},
    {"OTEL_METRICS_EXPORTER": "console"},
    ON | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ON | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
    ON | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization"},
    ON | {"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"},
    ON | {"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
    ON | {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"},
    {"OTEL_RESOURCE_ATTRIBUTES": "=x"},
    {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
    {"OTEL_BSP_MAX_QUEUE_SIZE": "1.5"},
    {"OTEL_BSP_MAX_QUEUE_SIZE": "inf"},
    {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096"},
    {"OTEL_BSP_SCHEDULE_DELAY": "-1"},
    {"OTEL_METRIC_EXPORT_INTERVAL": "1"},
    {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "both"},
]


@pytest.mark.parametrize("environ", BAD, ids="-".join)
def test_a_bad_value_is_one_line_that_names_its_variable(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ)
    text = str(caught.value)
    assert text.startswith(list(environ)[-1] + ": expected ")
    assert "\n" not in text


def test_errors_and_reprs_keep_headers_and_urls_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http//user:hunter2@c"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        read_settings(ON | {"OTEL_EXPORTER_OTLP_HEADERS": "a=b,hunter2"})
    assert "hunter2" not in str(caught.value)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hunter2@c", "OTEL_EXPORTER_OTLP_HEADERS": "a=hunter2"}
    assert "hunter2" not in repr(read_settings(environ))


@given(st.text(max_size=30), st.sampled_from(sorted({name for environ in BAD for name in environ})))
def test_no_value_makes_another_error(value: str, name: str) -> None:
    with suppress(SettingsError):
        assert isinstance(read_settings(ON | {name: value}), TelemetrySettings)
