"""The official client against a server: what it asks for is what it gets, and what each request gets alone."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from dianoia.inference.incremental_text import StopStrings
from tests.unit.serve.conftest import QUESTION, Running

openai = pytest.importorskip("openai")

MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]
LONG = {"ignore_eos": True}
"""Goes on behind the end, so that a test can rely on the length."""


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_chat(server: Running, client: Any) -> None:
    """The same as `Model.ask` under the same seed."""
    chat = client.chat.completions.create(model="zero", messages=MESSAGES, n=3, seed=11)
    expected = server.service.model("zero").ask(QUESTION, 3, seed=11)
    for choice, response in zip(chat.choices, expected, strict=True):
        message = choice.message
        assert message.content == response.content
        assert message.reasoning_content == message.reasoning == response.thought
        assert choice.finish_reason == "stop"
    usage = chat.usage
    assert usage.prompt_tokens == expected[0].prompt_tokens
    assert usage.completion_tokens == sum(response.tokens for response in expected)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens


def test_a_streamed_chat_is_the_same(client: Any) -> None:
    whole = client.chat.completions.create(model="zero", messages=MESSAGES, n=2, seed=5)
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model="zero", messages=MESSAGES, n=2, seed=5, stream=True, stream_options=options
    )
    contents, thoughts, finishes, usages = ["", ""], ["", ""], [None, None], []
    for chunk in stream:
        if chunk.usage is not None:
            usages.append(chunk.usage)
        for choice in chunk.choices:
            contents[choice.index] += choice.delta.content or ""
            thoughts[choice.index] += getattr(choice.delta, "reasoning_content", "") or ""
            finishes[choice.index] = choice.finish_reason or finishes[choice.index]
    assert contents == [choice.message.content for choice in whole.choices]
    assert thoughts == [choice.message.reasoning_content for choice in whole.choices]
    assert finishes == [choice.finish_reason for choice in whole.choices]
    assert usages == [whole.usage]


def test_completion_and_its_limits(client: Any) -> None:
    first = client.completions.create(
        model="zero", prompt="2+3=", seed=1, max_tokens=12, extra_body=LONG
    )
    again = client.completions.create(
        model="zero", prompt="2+3=", seed=1, max_tokens=12, extra_body=LONG
    )
    other = client.completions.create(
        model="zero", prompt="2+3=", seed=2, max_tokens=12, extra_body=LONG
    )
    assert first.choices[0].text == again.choices[0].text != other.choices[0].text
    assert first.usage.completion_tokens == 12 and first.choices[0].finish_reason == "length"
    default = client.completions.create(model="zero", prompt="2+3=", extra_body=LONG)
    assert default.usage.completion_tokens == 16


def test_stop_strings(client: Any) -> None:
    parameters: dict[str, Any] = {"model": "zero", "prompt": "a", "seed": 4, "max_tokens": 80, "extra_body": LONG}  # fmt: skip
    text = client.completions.create(**parameters).choices[0].text
    stop = text[20:24]
    expected = StopStrings([stop]).push(text)
    (choice,) = client.completions.create(stop=["\x00", stop], **parameters).choices
    assert (choice.text, choice.finish_reason) == (expected, "stop")
    pieces = [
        chunk.choices[0]
        for chunk in client.completions.create(stop=stop, stream=True, **parameters)
    ]
    assert "".join(piece.text for piece in pieces) == expected
    assert pieces[-1].finish_reason == "stop"


def test_logprobs_of_a_chat(client: Any) -> None:
    parameters: dict[str, Any] = {
        "model": "zero",
        "messages": MESSAGES,
        "seed": 3,
        "max_tokens": 20,
    }
    whole = client.chat.completions.create(logprobs=True, top_logprobs=2, **parameters)
    (choice,) = whole.choices
    entries = choice.logprobs.content
    assert len(entries) == whole.usage.completion_tokens - (choice.finish_reason == "stop")
    text = b"".join(bytes(entry.bytes) for entry in entries).decode()
    assert choice.message.content in text and "<think>" in text
    for entry in entries:
        assert len(entry.top_logprobs) == 2
        assert entry.top_logprobs[0].logprob >= max(entry.logprob, entry.top_logprobs[1].logprob)
    plain = client.chat.completions.create(**parameters)
    assert plain.choices[0].message == choice.message, "they change no token"
    chunks = client.chat.completions.create(
        logprobs=True, top_logprobs=2, stream=True, **parameters
    )
    streamed = [
        entry
        for chunk in chunks
        for piece in chunk.choices
        if piece.logprobs
        for entry in piece.logprobs.content
    ]
    assert [entry.to_dict() for entry in streamed] == [entry.to_dict() for entry in entries]


def test_log_likelihoods(client: Any) -> None:
    """As evaluation harnesses ask: token ids, echo, no or one token to draw."""
    ids = [17, 42, 99, 300, 7, 1500]
    scored = client.completions.create(
        model="zero", prompt=ids, echo=True, logprobs=1, max_tokens=0
    )
    (choice,) = scored.choices
    logprobs = choice.logprobs
    assert scored.usage.completion_tokens == 0
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(ids)
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
    assert logprobs.text_offset == sorted(logprobs.text_offset)
    with_one = client.completions.create(
        model="zero", prompt=[ids, ids[:3]], echo=True, logprobs=1, max_tokens=1, temperature=0
    )
    first, second = with_one.choices
    assert first.logprobs.token_logprobs[:-1] == logprobs.token_logprobs
    assert second.logprobs.token_logprobs[:-1] == logprobs.token_logprobs[:3]
    # The drawn token of a greedy sample is the likeliest one.
    (likeliest,) = first.logprobs.top_logprobs[-1].items()
    assert likeliest == (first.logprobs.tokens[-1], first.logprobs.token_logprobs[-1])


def test_an_aborted_stream_frees_its_slots(server: Running, client: Any) -> None:
    stream = client.completions.create(
        model="zero", prompt="a", max_tokens=1000, n=40, stream=True, extra_body=LONG
    )
    chunks = iter(stream)
    next(chunks)
    assert server.service.engine.stats("zero").running
    stream.close()
    server.settle()


def _variety(number: int) -> dict[str, Any]:
    """Parameters of one request, no two alike."""
    return {
        "model": ("zero", "base")[number % 2],
        "prompt": f"{number} + {number} =",
        "seed": number,
        "max_tokens": 5 + number % 40,
        "temperature": (0.0, 0.6, 1.0, 1.3)[number % 4],
        "top_p": (1.0, 0.9)[number % 2],
        "n": 1 + number % 2,
        "logprobs": (None, None, 2)[number % 3],
        "extra_body": {"top_k": (0, 5)[number // 4 % 2], **LONG},
    }


@pytest.mark.parametrize("count", [12, pytest.param(64, marks=pytest.mark.slow)])
def test_many_at_once_are_what_each_is_alone(server: Running, client: Any, count: int) -> None:
    async def all_at_once() -> list[Any]:
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1", api_key="x", max_retries=0
        ) as many:
            calls = (many.completions.create(**_variety(number)) for number in range(count))
            return await asyncio.gather(*calls)

    crowd = asyncio.run(all_at_once())
    for number, together in enumerate(crowd):
        alone = client.completions.create(**_variety(number))
        assert [c.to_dict() for c in together.choices] == [c.to_dict() for c in alone.choices]
        assert together.usage == alone.usage
    server.settle()


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["zero", "base"]
    assert client.models.retrieve("small").id == "base"
    with pytest.raises(openai.NotFoundError, match="did you mean 'zero'"):
        client.chat.completions.create(model="zeroo", messages=MESSAGES)


def test_a_refusal_names_the_field(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="zero", messages=MESSAGES, temperature=3)
    assert refusal.value.param == "temperature"
    assert json.loads(refusal.value.response.text)["error"]["type"] == "invalid_request_error"
