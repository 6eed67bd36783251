"""`/v1/chat/completions`: a conversation in, answers out, their thoughts apart, at once or as a stream.

A message has its thought as `reasoning_content` and as `reasoning`, since clients read either. The streamed parts, joined, are the
message that comes at once.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dianoia.base.errors import ConfigError
from dianoia.base.records import Turn
from dianoia.inference.chat_messages import turns_of
from dianoia.inference.generation import Delta, GenerationRequest
from dianoia.inference.loaded_model import Model, asked_key
from dianoia.inference.thought_stream import Parts, ThoughtStream
from dianoia.serve.answers import Answering, client_of, respond
from dianoia.serve.api_errors import ApiError
from dianoia.serve.request_types import ChatRequest, Message
from dianoia.serve.service import Service, drawn_seed
from dianoia.serve.token_texts import TokenTexts
from dianoia.text.dialogue import without_thought


@dataclass(slots=True)
class _Choice:
    """One answer of a request."""

    split: ThoughtStream
    thought: str = ""
    content: str = ""
    reasoning_tokens: int = 0

    def add(self, parts: Parts) -> Parts:
        self.thought += parts.thought
        self.content += parts.content
        return parts


@dataclass(slots=True)
class _Chat:
    """A request that is being answered."""

    answering: Answering
    model: Model
    request: ChatRequest
    texts: TokenTexts
    choices: list[_Choice] = field(default_factory=list)

    def take(self, delta: Delta) -> Parts:
        """Split a delta into thought and content, and count the thought's tokens at the end."""
        choice = self.choices[delta.sample]
        # The last delta brings text and the end, so what was held back follows at once.
        first = choice.add(choice.split.push(delta.text))
        if delta.finish is None:
            return first
        last = choice.add(choice.split.finish())
        choice.reasoning_tokens = self._reasoning_tokens(delta.sample, choice.split)
        return Parts(first.thought + last.thought, first.content + last.content)

    def _reasoning_tokens(self, sample: int, split: ThoughtStream) -> int:
        generation = self.answering.generations[0]
        if not split.has_thought:
            return 0
        # The thought was never closed: all tokens are its own.
        if split.thought_end is None:
            return len(generation.results[sample].ids)
        return generation.tokens_within(sample, split.thought_end)

    def logprobs(self, scores: Any) -> dict[str, Any] | None:
        return self.texts.of_chat(scores) if self.request.logprobs else None

    def usage(self) -> dict[str, Any]:
        return self.answering.usage(sum(choice.reasoning_tokens for choice in self.choices))

    def body(self) -> dict[str, Any]:
        """Return the whole answer."""
        results = self.answering.generations[0].results
        choices = []
        for index, (result, choice) in enumerate(zip(results, self.choices, strict=True)):
            # The same path as a stream, so that both split a response alike.
            self.take(Delta(index, result.text, result.scores, result.finish))
            thought = choice.thought if choice.split.has_thought else None
            message = {
                "role": "assistant",
                "content": choice.content,
                "reasoning_content": thought,
                "reasoning": thought,
                "refusal": None,
            }
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "logprobs": self.logprobs(result.scores),
                    "finish_reason": result.finish,
                }
            )
        return {
            **self.answering.head("chat.completion"),
            "choices": choices,
            "usage": self.usage(),
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects of a stream."""
        options = self.request.stream_options
        with_usage = options is not None and options.include_usage
        head = self.answering.head("chat.completion.chunk")
        # With usage asked for, every chunk has the field.
        tail = {"usage": None} if with_usage else {}
        for index in range(len(self.choices)):
            begin = {"role": "assistant", "content": ""}
            yield {**head, "choices": [_choice(index, begin)], **tail}
        deltas = self.answering.deltas()
        try:
            async for _, delta in deltas:
                for choice in self._streamed(delta):
                    yield {**head, "choices": [choice], **tail}
        finally:
            # A client that leaves closes `chunks` only; the generator below it would stay open, and with it the slots.
            await deltas.aclose()  # type: ignore[attr-defined]
        if with_usage:
            yield {**head, "choices": [], "usage": self.usage()}

    def _streamed(self, delta: Delta) -> list[dict[str, Any]]:
        parts = self.take(delta)
        fields: dict[str, Any] = {}
        if parts.thought:
            fields |= {"reasoning_content": parts.thought, "reasoning": parts.thought}
        if parts.content:
            fields["content"] = parts.content
        scores = self.logprobs(delta.scores) if delta.scores else None
        # None for text that is held back, since a tag may have begun in it.
        choices = [_choice(delta.sample, fields, scores)] if fields or scores else []
        if delta.finish is not None:
            # In a chunk of its own and with an empty delta, as OpenAI's API ends a choice.
            choices.append(_choice(delta.sample, {}, finish=delta.finish))
        return choices


def _choice(
    index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


async def chat_completions(service: Service, http: Request) -> Response:
    """Answer a request. Raises ApiError and ClientGone."""
    return await respond(service, http, ChatRequest, _submitted)


def _submitted(
    service: Service, name: str, model: Model, request: ChatRequest, http: Request
) -> _Chat:
    """Begin to answer a conversation."""
    prompt_ids = _prompt(model, request)
    params = service.sampling_params(model, name, request, len(prompt_ids), _max_tokens(request))
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true.", field="top_logprobs")
    seed = drawn_seed(request.seed)
    generation = service.submit(
        name,
        GenerationRequest(
            prompt_ids,
            params,
            asked_key(seed),
            samples=request.samples,
            stop=request.stops,
            likeliest=(request.top_logprobs or 0) if request.logprobs else None,
            streamed=bool(request.stream),
            client=client_of(http, request.user),
        ),
    )
    answering = Answering(service, "chat", name, [generation], seed, "chatcmpl")
    opened = model.opens_thought(prompt_ids)
    choices = [_Choice(ThoughtStream(model.template, opened)) for _ in range(request.samples)]
    return _Chat(answering, model, request, service.token_texts(name), choices)


def _max_tokens(request: ChatRequest) -> int | None:
    old, new = request.max_tokens, request.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise ApiError(
            400,
            f"max_tokens is {old:,} and max_completion_tokens {new:,}, which mean the same; give one of them.",
            field="max_tokens",
        )
    return old if new is None else new


def _prompt(model: Model, request: ChatRequest) -> tuple[int, ...]:
    """Return the ids of a conversation's prompt. Raises ApiError (400) for one that the model cannot be asked."""
    try:
        turns = turns_of([_message(model, message) for message in request.messages])
        (prompt_ids,) = model.prompts([turns], ["messages"])
    except ConfigError as error:
        raise ApiError(400, f"messages: {error}.", field="messages") from None
    return prompt_ids


def _message(model: Model, message: Message) -> Turn | dict[str, Any]:
    """Return a message without its thought: a model was trained to see earlier answers only."""
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text for part in content or ())
    if message.role == "assistant":
        return Turn("assistant", without_thought(text, model.template))
    if content is None:
        raise ConfigError(f"a message of the role {message.role!r} has no content")
    return {"role": message.role, "content": text}
