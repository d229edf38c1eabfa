from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.telemetry.instruments import Meters
from sidecar.telemetry.prometheus import expose

RESOURCE = {"service.name": "sidecar", "k8s.pod.name": "shop-1"}


def filled() -> Meters:
    meters = Meters()
    meters.calls.child('str"ipe\n', "-", "ok", "reverse").add(3)
    meters.calls_active.child("stripe").add(2)
    meters.policy_age.watch(lambda: [((), 1.5)])
    meters.cache_size.watch(lambda: [(("memory",), 4096)])
    meters.request_duration.child("GET", "api.stripe.com", 443, None, "connect-failed", "http", "stripe", "-").observe(
        0.3
    )
    return meters


@pytest.mark.parametrize(
    ("accept", "parse", "content_type"),
    [
        ("", parse_text, "text/plain; version=0.0.4"),
        ("text/plain;version=0.0.4", parse_text, "text/plain; version=0.0.4"),
        (
            "application/openmetrics-text; version=1.0.0",
            parse_openmetrics,
            "application/openmetrics-text; version=1.0.0",
        ),
    ],
)
def test_both_formats_read_back(accept: str, parse: object, content_type: str) -> None:
    body, given = expose(filled().collect(), RESOURCE, accept)
    assert given.startswith(content_type)
    samples = {
        (sample.name, *sorted(value for value in sample.labels.values() if value)): sample.value
        for family in parse(body.decode())  # type: ignore[operator]
        for sample in family.samples
    }
    assert samples["sidecar_calls_total", "-", "ok", "reverse", 'str"ipe\n'] == 3
    assert samples["sidecar_calls_active", "stripe"] == 2
    assert samples["sidecar_policy_age_seconds",] == 1.5
    assert samples["sidecar_cache_size_bytes", "memory"] == 4096
    assert samples["target_info", "shop-1", "sidecar"] == 1
    labels = ("-", "443", "GET", "api.stripe.com", "connect-failed", "http", "stripe")
    assert samples["http_client_request_duration_seconds_count", *labels] == 1
    assert samples["http_client_request_duration_seconds_sum", *labels] == 0.3
    assert samples["process_cpu_seconds_total",] > 0
