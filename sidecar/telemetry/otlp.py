"""What both signals share on their way to a collector. Imports the SDK: for a pump's thread only."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import requests
from opentelemetry.exporter.otlp.common.http import Compression
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from sidecar.telemetry.settings import Destination

_INSTANCE_ID = str(uuid4())

# The pump says once when a collector stops taking telemetry; the SDK would say it with each batch.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


def exporter_options(destination: Destination) -> dict[str, Any]:
    """Arguments for any of the SDK's OTLP/HTTP exporters."""
    session = requests.Session()
    # HTTP_PROXY may well be ourselves, and a .netrc is nobody's wish.
    session.trust_env = False
    return {
        "endpoint": destination.endpoint,
        "headers": dict(destination.headers),
        "timeout": destination.timeout_s,
        "compression": Compression(destination.compression),
        "certificate_file": destination.ca_file,
        "client_key_file": destination.client_key_file,
        "client_certificate_file": destination.client_cert_file,
        "session": session,
    }


def make_resource(attributes: Mapping[str, str]) -> Resource:
    """With an instance id, without which two replicas' metrics would be taken for one's."""
    return Resource.create({"service.instance.id": _INSTANCE_ID, **attributes})


def make_scope(attributes: Mapping[str, str]) -> InstrumentationScope:
    return InstrumentationScope("sidecar", attributes.get("service.version", ""))
