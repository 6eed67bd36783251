"""The OpenAPI description of the API, published at `/openapi.json`."""

from typing import Any

from dianoia import __version__
from dianoia.serve.request_types import IGNORED, ChatRequest, CompletionRequest

_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    "400": "The request cannot be served as it is; the message names the field.",
    "401": "The key is missing or wrong.",
    "403": "Host or Origin is not allowed.",
    "404": "There is no such model.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "The queue is full; Retry-After says when to try again.",
}


def openapi_schema(server_has_key: bool) -> dict[str, Any]:
    """Return the description."""
    definitions: dict[str, Any] = {"Error": _error_schema()}
    for request_type in (ChatRequest, CompletionRequest):
        schema = request_type.model_json_schema(ref_template=_REFERENCE)
        definitions |= schema.pop("$defs", {})
        for name in IGNORED:
            schema["properties"][name] = {"description": "Accepted and ignored."}
        definitions[request_type.__name__] = schema
    posts = {
        "/v1/chat/completions": (ChatRequest, "Answers to a conversation, at once or as a stream."),
        "/v1/completions": (CompletionRequest, "Continuations of prompts, at once or as a stream."),
    }
    paths: dict[str, Any] = {
        path: {"post": _post(request_type.__name__, summary)}
        for path, (request_type, summary) in posts.items()
    }
    for path, summary, media_type in (
        ("/v1/models", "The models that are served.", "application/json"),
        ("/health", "Whether the server answers.", "application/json"),
        ("/metrics", "Figures in Prometheus' text format.", "text/plain"),
    ):
        errors = _errors("401", "403") if path.startswith("/v1") else _errors("403")
        paths[path] = {"get": {"summary": summary, "responses": {**_ok(media_type), **errors}}}
    description: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Dianoia", "version": __version__},
        "paths": paths,
        "components": {"schemas": definitions},
    }
    if server_has_key:
        description["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"key": []}]
    return description


def _post(request_name: str, summary: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model=request_name)}
    answer = _ok("application/json")
    answer["200"]["content"]["text/event-stream"] = {}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {**answer, **_errors(*_ERRORS)},
    }


def _ok(media_type: str) -> dict[str, Any]:
    return {"200": {"description": "It has worked.", "content": {media_type: {}}}}


def _errors(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def _error_schema() -> dict[str, Any]:
    text = {"type": ["string", "null"]}
    error = {
        "type": "object",
        "properties": {"message": {"type": "string"}, "type": text, "param": text, "code": text},
        "required": ["message", "type", "param", "code"],
    }
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}
