"""`/v1/completions`: prompts in, continuations out, as they are: no template, and thoughts are a part of the text.

With `echo` and `logprobs` the prompt's tokens are scored too, and with `max_tokens` 0 nothing else: so evaluation harnesses
measure log-likelihoods.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dianoia.inference.generation import Delta, Generation, GenerationRequest
from dianoia.inference.loaded_model import Model, asked_key
from dianoia.serve.answers import Answering, client_of, respond
from dianoia.serve.api_errors import ApiError
from dianoia.serve.request_types import CompletionRequest
from dianoia.serve.service import Service, drawn_seed
from dianoia.serve.token_texts import TokenTexts
from dianoia.text.prompts import encode_prompts

_MAX_TOKENS = 16
"""As OpenAI's API has it, if a request sets no limit."""


@dataclass(slots=True)
class _Completions:
    """A request that is being answered: one generation per prompt."""

    answering: Answering
    request: CompletionRequest
    prompts: list[str]
    """Texts of the prompts, if they are to be echoed."""
    texts: TokenTexts
    _offsets: dict[int, int] = field(default_factory=dict)
    """Characters of each choice that were streamed."""

    def body(self) -> dict[str, Any]:
        """Return the whole answer."""
        choices = [
            self._choice(number, Delta(sample, result.text, result.scores, result.finish))
            for number, generation in enumerate(self.answering.generations)
            for sample, result in enumerate(generation.results)
        ]
        head = self.answering.head("text_completion")
        return {**head, "choices": choices, "usage": self.answering.usage()}

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects of a stream."""
        options = self.request.stream_options
        with_usage = options is not None and options.include_usage
        head = self.answering.head("text_completion")
        tail = {"usage": None} if with_usage else {}
        deltas = self.answering.deltas()
        try:
            async for number, delta in deltas:
                yield {**head, "choices": [self._choice(number, delta)], **tail}
        finally:
            # Closed now: an async generator that is left early would cancel its generations only when it is collected.
            await deltas.aclose()  # type: ignore[attr-defined]
        if with_usage:
            yield {**head, "choices": [], "usage": self.answering.usage()}

    def _choice(self, number: int, delta: Delta) -> dict[str, Any]:
        """Return a delta as a choice; the first one of a sample begins with the prompt, if it is to be echoed."""
        # The numbers of OpenAI's API: all samples of the first prompt, then those of the next.
        index = number * self.request.samples + delta.sample
        text, scores = delta.text, delta.scores
        # The first delta of a choice: later ones find its offset, even where the first had no text.
        if self.request.echo and index not in self._offsets:
            text = self.prompts[number] + text
            scores = self.answering.generations[number].prompt_scores + scores
        offset = self._offsets.get(index, 0)
        self._offsets[index] = offset + len(text)
        likeliest = self.request.logprobs
        return {
            "index": index,
            "text": text,
            "logprobs": None
            if likeliest is None
            else self.texts.of_completion(scores, likeliest, offset),
            "finish_reason": delta.finish,
        }


async def completions(service: Service, http: Request) -> Response:
    """Answer a request. Raises ApiError and ClientGone."""
    return await respond(service, http, CompletionRequest, _submitted)


def _submitted(
    service: Service, name: str, model: Model, request: CompletionRequest, http: Request
) -> _Completions:
    """Begin to complete every prompt of a request."""
    if request.max_tokens == 0 and (not request.echo or request.samples > 1):
        raise ApiError(
            400,
            "max_tokens 0 asks for nothing; use it with echo, and with n 1.",
            field="max_tokens",
        )
    seed = drawn_seed(request.seed)
    prompts = _prompts(model, request)
    requests = [
        _generation_request(service, name, model, request, ids, seed, client_of(http, request.user))
        for ids in prompts
    ]
    generations: list[Generation] = []
    try:
        # Added one by one, so that those before an error are in the list and can be cancelled.
        generations += (service.submit(name, each) for each in requests)
    except ApiError:
        # All of a request or nothing of it.
        for generation in generations:
            generation.cancel()
        raise
    answering = Answering(service, "completions", name, generations, seed, "cmpl")
    echoed = _echoed(model, request, prompts) if request.echo else []
    return _Completions(answering, request, echoed, service.token_texts(name))


def _echoed(
    model: Model, request: CompletionRequest, prompts: Sequence[tuple[int, ...]]
) -> list[str]:
    """Return the texts of the prompts: as they were given, or decoded."""
    texts = request.prompt if isinstance(request.prompt, list) else [request.prompt]
    given = [text for text in texts if isinstance(text, str)]
    return given or [model.decode(ids) for ids in prompts]


def _prompts(model: Model, request: CompletionRequest) -> list[tuple[int, ...]]:
    """Return the ids of each prompt, those that the tokenizer puts before a text included. Raises ApiError (400)."""
    prompt: Any = request.prompt
    if isinstance(prompt, str):
        prompt = [prompt]
    # The four forms of OpenAI's API, each turned into the next: a text, ids, texts, lists of ids.
    if isinstance(prompt[0], int):
        prompt = [prompt]
    if isinstance(prompt[0], str):
        prompt = encode_prompts(model.tokenizer, prompt)
    if not all(prompt):
        raise ApiError(
            400, "prompt: it has no tokens, so there is nothing to continue.", field="prompt"
        )
    return [tuple(ids) for ids in prompt]


def _generation_request(
    service: Service,
    name: str,
    model: Model,
    request: CompletionRequest,
    prompt_ids: tuple[int, ...],
    seed: int,
    client: str,
) -> GenerationRequest:
    limit = _MAX_TOKENS if request.max_tokens is None else request.max_tokens
    # None, since SamplingParams has no limit of 0.
    params = service.sampling_params(model, name, request, len(prompt_ids), limit) if limit else None  # fmt: skip
    echoed = bool(request.echo) and request.logprobs is not None
    # Without tokens to draw the scores of the prompt are all there is, asked for or not.
    return GenerationRequest(
        prompt_ids,
        params,
        asked_key(seed),
        samples=request.samples,
        stop=request.stops,
        likeliest=request.logprobs,
        score_prompt=echoed or params is None,
        streamed=bool(request.stream),
        client=client,
    )
