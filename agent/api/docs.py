"""The page of the HTTP API, made from its OpenAPI document, without scripts or other hosts.

Both are the same for every caller and take long to make, so each is made once per process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix
from django.utils.cache import get_conditional_response
from django.utils.safestring import SafeString
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

from agent.markdown.html import to_html

Schema = dict[str, Any]
View = Callable[..., HttpResponse]

#: Base paths for which answers are kept; more come only from clients that make them up.
_MOST_BASE_PATHS = 8

_BOUNDS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "minLength": "length from",
    "maxLength": "length to",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter, a response or a field: its name, its type with bounds, and its meaning."""

    name: str
    kind: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    summary: str
    description: SafeString
    parameters: list[Row]
    body: str
    answers: list[Row]


def made_once(view: View) -> View:
    """A view whose answer depends on the base path alone, made at the first request for it.

    A client that has the response already, by its `ETag`, gets 304.
    """
    made: dict[str, tuple[bytes, str, str]] = {}

    def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse | None:
        base_path = get_script_prefix()
        if base_path not in made:
            response = view(request, **kwargs)
            if len(made) >= _MOST_BASE_PATHS:
                made.clear()
            content = response.content
            made[base_path] = content, response["Content-Type"], sha256(content).hexdigest()
        content, kind, digest = made[base_path]
        headers = {"ETag": f'"{digest}"', "Cache-Control": "no-cache"}
        full = HttpResponse(content, content_type=kind, headers=headers)
        return get_conditional_response(request, etag=headers["ETag"], response=full)

    return answer  # type: ignore[return-value]  # None only without a response


class Docs(DocsBase):
    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        document = api.get_openapi_schema()
        schemas = document["components"]["schemas"]
        context = {
            "info": document["info"],
            "description": to_html(document["info"]["description"]),
            "operations": list(_operations(document["paths"])),
            "objects": [(name, _fields(schema)) for name, schema in schemas.items()],
        }
        return render(request, "agent/api.html", context)


def _operations(paths: Schema) -> Iterator[Operation]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield Operation(
                id=operation["operationId"],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                description=to_html(operation.get("description", "")),
                parameters=[_parameter(each) for each in operation["parameters"]],
                body=_content(operation.get("requestBody", {})),
                answers=[
                    Row(str(status), _content(answer), answer["description"])
                    for status, answer in sorted(operation["responses"].items())
                ],
            )


def _parameter(parameter: Schema) -> Row:
    name = parameter["name"] + (" (required)" if parameter["required"] else "")
    return Row(name, _kind(parameter["schema"]), f"in the {parameter['in']}")


def _fields(schema: Schema) -> list[Row]:
    required = schema.get("required", ())
    return [
        Row(
            name + (" (required)" if name in required else ""),
            _kind(field),
            field.get("description", ""),
        )
        for name, field in schema["properties"].items()
    ]


def _content(message: Schema) -> str:
    kinds = (
        f"{media}: {_kind(content['schema'])}" if "schema" in content else media
        for media, content in message.get("content", {}).items()
    )
    return ", ".join(kinds)


def _kind(schema: Schema) -> str:
    """A JSON schema as a phrase."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    bounds = [f"{phrase} {schema[name]}" for name, phrase in _BOUNDS.items() if name in schema]
    default = [f"default {schema['default']}"] if schema.get("default") not in (None, "") else []
    return ", ".join([str(schema.get("type", "anything")), *bounds, *default])
