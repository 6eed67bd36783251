"""The routes of the chat page: its files, which anybody may read, and its lookups, which are behind the server's key.

In: what is served. Out: the page at `/`, `/page/examples` (questions of the miniature, where a model of the miniature is served)
and `/page/verdict` (whether an answer to one of them is right). The lookups run no model. A content security policy lets the page
load nothing from elsewhere, and run no script but its own, whatever a model writes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dianoia.inference.known_questions import assess, examples, is_of_miniature, known_problem

_FILES = files("dianoia.serve").joinpath("page")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The page belongs to the version of the server that sends it.
    "Cache-Control": "no-cache",
}
_MOST_NAMED = 4
"""Models that the page lists in words."""
_MOST_CHARACTERS = 100_000
"""Of a question and of an answer; a known question has some hundred."""


@dataclass(frozen=True, slots=True)
class PageModel:
    """A model as the page needs to know it."""

    name: str
    """As requests name it."""
    source: str
    """Its folder or hub name."""


@dataclass(frozen=True, slots=True)
class PageContent:
    """What the page says about the server."""

    models: Sequence[PageModel]
    default: str
    """The model that is asked when nobody has chosen one."""
    title: str = ""
    """The name of the run, or of the model."""

    @property
    def of_miniature(self) -> bool:
        """True if any model knows the miniature's questions."""
        return any(is_of_miniature(model.source) for model in self.models)


class VerdictRequest(BaseModel):
    """Body of `/page/verdict`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: str = Field(max_length=_MOST_CHARACTERS)
    answer: str = Field(max_length=_MOST_CHARACTERS)
    """What the model said after its thought."""
    finish_reason: str | None = None
    """As the API gave it; anything but `stop` is an answer that was cut off."""


def file_routes() -> list[Route]:
    """Return the routes of the page's files."""
    # A fixed table, so that no path of a request ever reaches the file system.
    kinds = {
        "/": ("index.html", "text/html"),
        "/page/style.css": ("style.css", "text/css"),
        "/page/page.js": ("page.js", "text/javascript"),
    }

    def route(path: str, name: str, media_type: str) -> Route:
        async def page_file(_request: Request) -> Response:
            return Response(_read(name), media_type=media_type, headers=_HEADERS)

        return Route(path, page_file, methods=["GET"], include_in_schema=False)

    return [route(path, name, media_type) for path, (name, media_type) in kinds.items()]


def lookup_routes(content: PageContent) -> list[Route]:
    """Return the routes of the lookups; the server puts them behind its key."""

    async def page_examples(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(_examples, content))

    async def page_verdict(request: Request) -> Response:
        try:
            body = VerdictRequest.model_validate_json(await request.body())
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}"
                for item in error.errors()
            )
            message = {"message": problems, "type": "invalid_request_error"}
            return JSONResponse({"error": message}, status_code=400)
        # Verifiers wait for worker processes or a sandbox.
        return JSONResponse(await run_in_threadpool(_verdict, body))

    return [
        Route("/page/examples", page_examples, methods=["GET"], include_in_schema=False),
        Route("/page/verdict", page_verdict, methods=["POST"], include_in_schema=False),
    ]


@cache
def _read(name: str) -> bytes:
    return _FILES.joinpath(name).read_bytes()


def _examples(content: PageContent) -> dict[str, object]:
    """Return what the page shows before the first question."""
    return {
        "title": content.title,
        "default": content.default,
        "single_turn": content.of_miniature,
        "about": _about(content),
        "questions": [asdict(item) for item in examples()] if content.of_miniature else [],
    }


def _about(content: PageContent) -> str:
    """Return a sentence on who answers."""
    names = [model.name for model in content.models]
    of_run = f" of {content.title}" if content.title not in ("", names[0]) else ""
    if len(names) == 1:
        return f"{names[0]}{of_run} answers."
    if len(names) > _MOST_NAMED:
        return f"{len(names)} checkpoints{of_run} answer, {content.default} if you choose no other."
    return f"{', '.join(names[:-1])} and {names[-1]}{of_run} answer."


def _verdict(body: VerdictRequest) -> dict[str, object]:
    problem = known_problem(body.question)
    if problem is None:
        return {"known": False}
    # An answer that was cut off is no answer, even if its beginning happens to be right.
    assessment = assess(problem, body.answer, complete=body.finish_reason in (None, "stop"))
    return {"known": True, "domain": problem.domain, **asdict(assessment)}
