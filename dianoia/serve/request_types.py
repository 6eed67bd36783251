"""The bodies of requests: what is read, what is accepted and ignored, and what is refused by name.

In: a JSON object. Out: a `ChatRequest` or `CompletionRequest`, with the names of the fields that were ignored, or an ApiError
that names the field. A field that would change the answer is never ignored. Their OpenAPI description is made here, too.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dianoia import __version__
from dianoia.base.errors import nearest
from dianoia.serve.api_errors import ApiError

MOST_SAMPLES = 128
MOST_LIKELIEST = 20
COLDEST = 0.001
"""Lowest temperature but 0: colder ones overflow."""
_INT64 = 2**63
_FORMS = ("str", "list")
"""Names that pydantic gives to the forms of a value."""

IGNORED = (
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
)
"""Known fields of OpenAI's API that change no answer."""
# Clients send these unasked, with the value that means nothing; any other value asks for another answer.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
    "response_format": ({"type": "text"},),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "min_p": (0,),
    "min_tokens": (0,),
    "best_of": (1,),
    "suffix": ("",),
    "modalities": (["text"],),
    "use_beam_search": (False,),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "reasoning": (),
    "verbosity": (),
    "web_search_options": (),
    "chat_template": (),
    "chat_template_kwargs": ({},),
}
"""Known fields that are not supported, with the values under which they change nothing; null always does."""

Stop = Annotated[str, Field(min_length=1, max_length=500)]
Token = Annotated[int, Field(ge=0, lt=_INT64)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class TextPart(_Strict):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class Message(_Strict):
    """A message of a conversation. Thoughts of earlier answers are accepted and left out of the prompt."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    # What a client's own record of an answer holds besides.
    refusal: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None


class StreamOptions(_Strict):
    """What a stream holds besides."""

    include_usage: bool = False
    """A last chunk with the number of tokens."""
    include_obfuscation: bool = False
    """Accepted; nothing is obfuscated."""


class _Sampling(_Strict):
    model: str | None = Field(None, description="One of /v1/models; the default if missing.")
    n: int | None = Field(None, ge=1, le=MOST_SAMPLES)
    seed: int | None = Field(
        None, ge=-_INT64, lt=_INT64, description="The same seed gives the same answer."
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description=f"0 is greedy; else at least {COLDEST}."
    )
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=_INT64, description="0 and -1 keep all tokens.")
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="Users take turns when many requests wait."
    )
    ignore_eos: bool | None = Field(None, description="Go on behind the end token.")

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        stop = self.stop or []
        return (stop,) if isinstance(stop, str) else tuple(stop)

    @property
    def samples(self) -> int:
        """Answers to each prompt."""
        return self.n or 1


class ChatRequest(_Sampling):
    """Body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = Field(None, ge=1, lt=_INT64)
    max_completion_tokens: int | None = Field(None, ge=1, lt=_INT64)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LIKELIEST)


class CompletionRequest(_Sampling):
    """Body of /v1/completions."""

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=256)]
        | Annotated[list[Token], Field(min_length=1)]
        | Annotated[
            list[Annotated[list[Token], Field(min_length=1)]], Field(min_length=1, max_length=256)
        ]
    )
    max_tokens: int | None = Field(None, ge=0, lt=_INT64, description="16 if missing.")
    logprobs: int | None = Field(None, ge=0, le=MOST_LIKELIEST)
    echo: bool | None = Field(None, description="Begin each text with its prompt.")


RequestT = TypeVar("RequestT", ChatRequest, CompletionRequest)


def read_request(
    request_type: type[RequestT], body: object, has_escapes: bool = True
) -> tuple[RequestT, list[str]]:
    """Return a request and the names of its fields that are ignored. Raises ApiError, which names the field at fault.

    has_escapes: False if the body has no escaped characters, so that its texts need not be looked at.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "The body has to be a JSON object.")
    # A copy: fields are taken out of it below.
    fields, ignored = dict(body), []
    if has_escapes:
        _check_text(fields)
    for name in list(fields):
        if name in IGNORED:
            # Null means "not given" in OpenAI's API, so it is not reported as ignored.
            if fields.pop(name) is not None:
                ignored.append(name)
        elif name in _NEUTRAL:
            value = fields.pop(name)
            if value is not None and not any(_equal(value, neutral) for neutral in _NEUTRAL[name]):
                raise ApiError(
                    400,
                    f"{name} is not supported, and without it the answer would be another one than asked for; leave it out.",
                    field=name,
                    code="unsupported_parameter",
                )
    # A client's record of a message may name its author, which no template has a place for.
    for message in fields["messages"] if isinstance(fields.get("messages"), list) else ():
        if isinstance(message, dict) and isinstance(message.get("name"), str):
            message.pop("name")
            ignored.append("messages.name")
    try:
        request = request_type.model_validate(fields)
    except ValidationError as error:
        raise refusal(request_type, error) from None
    if request.temperature is not None and 0 < request.temperature < COLDEST:
        raise ApiError(
            400, f"temperature: use 0 for greedy, or at least {COLDEST}.", field="temperature"
        )
    return request, sorted(set(ignored))


def _equal(value: object, neutral: object) -> bool:
    """Compare without taking True for 1."""
    # In Python True == 1 and False == 0, and in JSON they are not the same.
    return value == neutral and isinstance(value, bool) == isinstance(neutral, bool)


def _check_text(value: object, field: str = "") -> None:
    """Raise ApiError for half of a surrogate pair, which is no text that could be tokenized or sent back."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            name = field or "body"
            raise ApiError(
                400, f"{name} holds half of a surrogate pair.", field=field or None
            ) from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item, field or key)
    elif isinstance(value, list):
        for item in value:
            # Prompts may be thousands of token ids.
            if not isinstance(item, int):
                _check_text(item, field)


def refusal(request_type: type[BaseModel], error: ValidationError) -> ApiError:
    """Return the error for a body with a wrong field: its first fault."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    first = faults[0]["loc"][0] if faults[0]["loc"] else ""

    # Of a field with several forms: the fault of the form that the value has, which is the deepest one.
    def nearness(fault: Any) -> tuple[bool, int]:
        return not fault["type"].endswith("_type"), len(fault["loc"])

    # Pydantic tells a fault for each form that the field might have had.
    fault = max(
        (candidate for candidate in faults if candidate["loc"][:1] == (first,)), key=nearness
    )
    # Pydantic names the form too, such as `list[TextPart]`, which says nothing to a client.
    parts = [part for part in fault["loc"] if isinstance(part, int) or part.isidentifier()]
    path = ".".join(str(part) for part in parts if part not in _FORMS)
    if fault["type"] == "extra_forbidden":
        suggestion = (
            nearest(str(fault["loc"][-1]), request_type.model_fields)
            if len(fault["loc"]) == 1
            else ""
        )
        message = f"{path}: there is no such field{suggestion}, and nothing is ignored silently; leave it out."
        return ApiError(400, message, field=path, code="unknown_parameter")
    return ApiError(400, f"{path}: {fault['msg']}.", field=str(first) or None)


# The OpenAPI description of the API, published at `/openapi.json` ----------------------------------

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
