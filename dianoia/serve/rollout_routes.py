"""The routes of a server of rollouts: a subset of vLLM's, so that one client speaks to both.

In: a `RolloutEngine` and who may ask. Out: an ASGI application. Every route but `/health` is behind the key. A field that is not supported is
refused by name; vLLM ignores those that it does not know.
"""

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dianoia import __version__
from dianoia.base.records import Completion, SamplingParams
from dianoia.serve.access import Access, Guard
from dianoia.serve.answers import read_json
from dianoia.serve.api_errors import ApiError
from dianoia.serve.app import failure, http_error
from dianoia.serve.event_stream import ClientGone, timed_out, while_connected
from dianoia.serve.request_types import refusal
from dianoia.serve.rollout_engine import RolloutEngine

KEYED = (
    "/v1",
    "/inference",
    "/pause",
    "/resume",
    "/is_paused",
    "/collective_rpc",
    "/reset_prefix_cache",
    "/update_weight_version",
    "/weight_info",
    "/server_info",
)
"""Paths behind the key."""
_INT64 = 2**63
_GONE = 499

B = TypeVar("B", bound=BaseModel)
Endpoint = Callable[[RolloutEngine, Request], Awaitable[Any]]


class _Strict(BaseModel):
    # A parameter that is passed over without a word would change what is drawn, and nobody would see it in the tokens.
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class SamplingFields(_Strict):
    """Sampling parameters, under vLLM's names."""

    n: Literal[1] = 1
    # Required: without it a sample whose reply is lost could not be drawn again.
    seed: int = Field(ge=-_INT64, lt=_INT64)
    max_tokens: int = Field(ge=1, lt=_INT64)
    temperature: float = Field(default=1.0, ge=0, le=100)
    top_p: float = Field(default=1.0, gt=0, le=1)
    # -1 is vLLM's way to say "all"; 0 says so to us.
    top_k: int = Field(default=-1, ge=-1)
    stop_token_ids: list[int] = Field(default=[], max_length=1000)
    ignore_eos: bool = False
    logprobs: Literal[0] = 0
    detokenize: Literal[False] = False
    skip_special_tokens: Literal[False] = False
    # Accepted where they change nothing.
    min_p: float = Field(default=0.0, ge=0, le=0)
    repetition_penalty: float = Field(default=1.0, ge=1, le=1)
    presence_penalty: float = Field(default=0.0, ge=0, le=0)
    frequency_penalty: float = Field(default=0.0, ge=0, le=0)


class GenerateRequest(_Strict):
    """Body of /inference/v1/generate."""

    token_ids: list[int] = Field(min_length=1)
    sampling_params: SamplingFields
    model: str | None = None
    request_id: str | None = Field(default=None, max_length=200)


class _ReloadArguments(_Strict):
    weights_path: str = Field(min_length=1)


class ReloadRequest(_Strict):
    """Body of /collective_rpc."""

    method: Literal["reload_weights"]
    kwargs: _ReloadArguments


class VersionRequest(_Strict):
    """Body of /update_weight_version."""

    new_version: str = Field(min_length=1, max_length=200)


class LoadAdapterRequest(_Strict):
    """Body of /v1/load_lora_adapter."""

    lora_name: str = Field(min_length=1, max_length=200)
    lora_path: str = Field(min_length=1)


class UnloadAdapterRequest(_Strict):
    """Body of /v1/unload_lora_adapter."""

    lora_name: str = Field(min_length=1, max_length=200)


def make_rollout_app(engine: RolloutEngine, access: Access, timeout: float) -> ASGIApp:
    """Return the application. timeout: seconds that a response may take."""

    def route(path: str, endpoint: Endpoint, method: str = "POST") -> Route:
        return Route(path, _bound(engine, endpoint), methods=[method])

    routes = [
        route("/inference/v1/generate", functools.partial(_generate, timeout=timeout)),
        route("/pause", _pause),
        route("/resume", _resume),
        route("/is_paused", _is_paused, "GET"),
        route("/collective_rpc", _collective_rpc),
        route("/reset_prefix_cache", _reset_prefix_cache),
        route("/update_weight_version", _update_weight_version),
        route("/weight_info", _weight_info, "GET"),
        route("/v1/load_lora_adapter", _load_adapter),
        route("/v1/unload_lora_adapter", _unload_adapter),
        route("/v1/models", _models, "GET"),
        route("/server_info", _server_info, "GET"),
        route("/health", _health, "GET"),
    ]
    handlers: dict[Any, Any] = {
        ApiError: lambda _, error: error.response(),
        HTTPException: http_error,
        Exception: failure,
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), access, KEYED)


def _bound(engine: RolloutEngine, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def bound(request: Request) -> Response:
        try:
            return JSONResponse(await endpoint(engine, request))
        except ClientGone:
            # The answer goes nowhere; it keeps the server from logging a failure.
            return Response(status_code=_GONE)

    return bound


async def _read(request_type: type[B], http: Request) -> B:
    body = read_json(await http.body())
    if not isinstance(body, dict):
        raise ApiError(400, "The body has to be a JSON object.")
    try:
        return request_type.model_validate(body)
    except ValidationError as error:
        raise refusal(request_type, error) from None


# Samples -------------------------------------------------------------------------------------------


async def _generate(engine: RolloutEngine, http: Request, timeout: float) -> dict[str, Any]:
    request = await _read(GenerateRequest, http)
    fields = request.sampling_params
    stop_ids = frozenset(fields.stop_token_ids)
    if not fields.ignore_eos:
        stop_ids |= engine.stop_ids
    params = SamplingParams(
        fields.max_tokens, stop_ids, fields.temperature, fields.top_p, max(0, fields.top_k)
    )
    # No model is the server's own weights, whatever they are called: clients name a model only for an adapter.
    name = request.model or engine.name
    drawing = engine.draw(name, tuple(request.token_ids), params, fields.seed)
    try:
        # A client that goes away frees its slot.
        completion, version = await while_connected(http.receive, drawing, timeout)
    except TimeoutError:
        raise timed_out(timeout) from None
    return {
        "request_id": f"generate-tokens-{request.request_id or uuid4().hex}",
        "model": name,
        "usage": _usage(request, completion),
        "output_mode": "tokens",
        "choices": [_choice(completion, version)],
    }


def _choice(completion: Completion | None, version: str) -> dict[str, Any]:
    if completion is None:
        completion, finish = Completion((), (), False), "abort"
    else:
        finish = "stop" if completion.stopped else "length"
    entries = zip(completion.ids, completion.logprobs, strict=True)
    return {
        "index": 0,
        "finish_reason": finish,
        "token_ids": list(completion.ids),
        # One span: weights change only while nothing is drawn. vLLM may have several, of a response that went on.
        "weight_versions": [{"version": version, "start": 0, "end": len(completion.ids)}],
        "logprobs": {"content": [{"token_id": i, "logprob": value} for i, value in entries]},
    }


def _usage(request: GenerateRequest, completion: Completion | None) -> dict[str, int]:
    prompt, tokens = len(request.token_ids), len(completion.ids) if completion else 0
    return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}


# Weights -------------------------------------------------------------------------------------------


async def _pause(engine: RolloutEngine, http: Request) -> dict[str, Any]:
    await engine.pause(http.query_params.get("mode", "abort"))
    return {"status": "paused"}


async def _resume(engine: RolloutEngine, _http: Request) -> dict[str, Any]:
    engine.resume()
    return {"status": "resumed"}


async def _is_paused(engine: RolloutEngine, _http: Request) -> dict[str, Any]:
    return {"is_paused": engine.is_paused}


async def _collective_rpc(engine: RolloutEngine, http: Request) -> dict[str, Any]:
    request = await _read(ReloadRequest, http)
    await engine.reload(Path(request.kwargs.weights_path))
    # One result per worker of vLLM; there is one worker here.
    return {"results": [None]}


async def _reset_prefix_cache(engine: RolloutEngine, _http: Request) -> dict[str, Any]:
    return {"success": engine.reset_prefix_cache()}


async def _update_weight_version(engine: RolloutEngine, http: Request) -> dict[str, Any]:
    engine.weight_version = (await _read(VersionRequest, http)).new_version
    return {"success": True, "new_version": engine.weight_version}


async def _weight_info(engine: RolloutEngine, _http: Request) -> dict[str, Any]:
    return {"weight_version": engine.weight_version}


async def _load_adapter(engine: RolloutEngine, http: Request) -> str:
    request = await _read(LoadAdapterRequest, http)
    await engine.load_adapter(request.lora_name, Path(request.lora_path))
    return f"Success: LoRA adapter '{request.lora_name}' added successfully."


async def _unload_adapter(engine: RolloutEngine, http: Request) -> str:
    request = await _read(UnloadAdapterRequest, http)
    await engine.unload_adapter(request.lora_name)
    return f"Success: LoRA adapter '{request.lora_name}' removed successfully."


# State ---------------------------------------------------------------------------------------------


async def _models(engine: RolloutEngine, _http: Request) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "owned_by": "dianoia",
                "max_model_len": engine.context,
            }
            for name in engine.models
        ],
    }


async def _server_info(engine: RolloutEngine, _http: Request) -> dict[str, Any]:
    return {"dianoia": __version__, "vllm_config": engine.description()}


async def _health(engine: RolloutEngine, _http: Request) -> dict[str, Any]:
    return {"status": "ok", "models": engine.models}
