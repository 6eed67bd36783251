"""The application: all routes of the server, and what every response has in common.

In: a `Service` and who may ask. Out: an ASGI application.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dianoia.inference.live_engine import EngineStats
from dianoia.serve.access import Access, Guard
from dianoia.serve.api_errors import ApiError
from dianoia.serve.chat_endpoint import chat_completions
from dianoia.serve.completion_endpoint import completions
from dianoia.serve.event_stream import ClientGone
from dianoia.serve.page_routes import PageContent, PageModel, file_routes, lookup_routes
from dianoia.serve.request_types import openapi_schema
from dianoia.serve.service import Service

log = logging.getLogger(__name__)

Endpoint = Callable[[Service, Request], Awaitable[Response]]
Bound = Callable[[Request], Awaitable[Response]]
"""An endpoint with its service."""

_GONE = 499
"""Status of a request whose client went away, as nginx counts it; nobody receives it."""


def make_app(service: Service, access: Access, title: str = "") -> ASGIApp:
    """Return the application. title: of the page, such as the name of a run."""
    page = PageContent(
        [PageModel(name, item.source) for name, item in service.checkpoints.items()],
        service.default,
        title,
    )
    schema = openapi_schema(access.key is not None)
    posts = {
        "/v1/chat/completions": _counted(service, chat_completions),
        "/v1/completions": _counted(service, completions),
    }
    routes = [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
        Route("/v1/models", _counted(service, _models), methods=["GET"]),
        Route("/v1/models/{model:path}", _counted(service, _model), methods=["GET"]),
        Route("/health", _bound(service, _health), methods=["GET"]),
        Route("/metrics", _bound(service, _metrics), methods=["GET"]),
        Route("/openapi.json", lambda _: JSONResponse(schema), methods=["GET"]),
        *lookup_routes(page),
        *file_routes(),
    ]
    handlers: dict[Any, Any] = {
        ApiError: lambda _, error: error.response(),
        HTTPException: http_error,
        Exception: failure,
    }
    # The guard is outermost: whoever may not ask reaches neither of the two.
    return Guard(_Direct(posts, Starlette(routes=routes, exception_handlers=handlers)), access)


class _Direct:
    """Calls an endpoint that is asked often without the framework's routing and error handling, half of a request's time."""

    def __init__(self, posts: Mapping[str, Bound], app: ASGIApp) -> None:
        """posts: endpoints by path. app: has everything else."""
        self._posts, self._app = posts, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        endpoint = self._posts.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except ApiError as error:
            response = error.response()
        except HTTPException as error:
            response = await http_error(request, error)
        except Exception as error:  # noqa: BLE001 - the log has it
            response = await failure(request, error)
        await response(scope, receive, send)


def _bound(service: Service, endpoint: Endpoint) -> Bound:
    async def bound(request: Request) -> Response:
        return await endpoint(service, request)

    return bound


def _counted(service: Service, endpoint: Endpoint) -> Bound:
    """Return an endpoint that counts its requests by status."""
    name = endpoint.__name__.strip("_")

    async def counted(request: Request) -> Response:
        # Counted also where the endpoint raises something that no handler expects.
        status = 500
        try:
            response = await endpoint(service, request)
            status = response.status_code
        except ApiError as error:
            status = error.status
            raise
        # The answer goes nowhere; it keeps the server from logging a failure.
        except ClientGone:
            status = _GONE
            response = Response(status_code=_GONE)
        finally:
            service.metrics.count("requests_total", endpoint=name, status=str(status))
        return response

    return counted


def _model_entry(service: Service, name: str) -> dict[str, Any]:
    checkpoint = service.checkpoints[name]
    entry: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": service.created,
        "owned_by": "dianoia",
        "root": checkpoint.source,
    }
    # The context is known only once the model is loaded.
    if name in service.loaded:
        entry["max_model_len"] = service.engine.context(name)
    return entry


async def _models(service: Service, _request: Request) -> Response:
    # The default first: clients that ask whichever is there take the first one.
    names = sorted(service.checkpoints, key=lambda name: name != service.default)
    return JSONResponse({"object": "list", "data": [_model_entry(service, name) for name in names]})


async def _model(service: Service, request: Request) -> Response:
    name = service.name_of(request.path_params["model"])
    return JSONResponse(_model_entry(service, name))


async def _health(service: Service, _request: Request) -> Response:
    def figures(stats: EngineStats) -> dict[str, int]:
        return {"running": stats.running, "waiting": stats.waiting, "slots": stats.slots}

    models = {name: figures(service.engine.stats(name)) for name in service.loaded}
    return JSONResponse({"status": "ok", "models": models})


async def _metrics(service: Service, _request: Request) -> Response:
    text = service.metrics.text(service.gauges())
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def http_error(_request: Request, error: HTTPException) -> Response:
    """Return what routing refuses, in the form of the API."""
    message = {404: "There is no such path.", 405: "This path does not take this method."}.get(
        error.status_code, error.detail
    )
    return ApiError(error.status_code, message, headers=error.headers).response()


async def failure(_request: Request, error: Exception) -> Response:
    """Return an error of the program; the log has its traceback."""
    log.error("A request failed.", exc_info=error)
    return ApiError(500, f"The server failed: {type(error).__name__}.", code="failed").response()
