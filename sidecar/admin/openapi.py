"""The admin API as an OpenAPI 3.1 document, made from the route table so that it cannot drift from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from sidecar import __version__
from sidecar.admin.routes import Route

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to do next."},
    },
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sidecar admin",
            "version": __version__,
            "description": "Every GET path also answers with `.json` behind it.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "SIDECAR_ADMIN_TOKEN"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.answer.__name__,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {"200": _success(route), **_refusals(route)},
    }
    if route.body is not None:
        schema = route.body.model_json_schema(by_alias=True)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.method != "GET":
        # Either is enough: a listener on loopback asks for nothing.
        operation["security"] = [{"token": []}, {}]
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in route.query.items()
    ]


def _success(route: Route) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object" if route.content_type == "application/json" else "string"}
    if route.fields:
        schema["properties"] = {name: {"description": text} for name, text in route.fields.items()}
    return {"description": route.summary, "content": {route.content_type: {"schema": schema}}}


def _refusals(route: Route) -> dict[str, Any]:
    refusals = dict(route.refusals)
    if route.method != "GET":
        refusals |= {401: "The token is missing or wrong.", 403: "Changes are off, or come from another site."}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    same_shape = {"application/json": {"schema": {"type": "object"}}}
    return {
        str(status): {
            "description": text,
            "content": same_shape if status == HTTPStatus.SERVICE_UNAVAILABLE else problem,
        }
        for status, text in sorted(refusals.items())
    }
