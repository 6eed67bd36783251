"""A checkpoint answers in `transformers serve`, a process of its own, as it answers here."""

import importlib.util
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dianoia.models.loading import load_tokenizer
from tests.servers.conftest import CONVERSATIONS, MAX_TOKENS, Answer, post, serving

_MISSING = [
    name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_MISSING), reason=f"transformers[serving] lacks {_MISSING}"),
]


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def command(port: int) -> list[str]:
        program = "from transformers.cli.transformers import main; main()"
        options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
        return [sys.executable, "-c", program, "serve", ".", *options]

    log = tmp_path_factory.mktemp("log") / "serve.txt"
    with serving(command, checkpoint, log, 180, HF_HUB_OFFLINE="1") as address:
        yield address


def test_messages_are_answered_with_thought_and_content(
    server: str, checkpoint: Path, answers: list[Answer]
) -> None:
    tokenizer = load_tokenizer(checkpoint)
    thoughts = 0
    for messages, answer in zip(CONVERSATIONS, answers, strict=True):
        # This server hands the thought of an earlier answer to no template.
        body = {"model": ".", "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0}
        reply = post(f"{server}/v1/chat/completions", body)
        message, usage = reply["choices"][0]["message"], reply["usage"]
        expected = tokenizer.parse_response(answer.text, prefix=answer.prompt_ids)
        assert usage["prompt_tokens"] == len(answer.prompt_ids)
        assert message["content"] == expected.get("content", "")
        assert message.get("reasoning_content") == expected.get("reasoning_content")
        assert reply["choices"][0]["finish_reason"] == "stop"
        thoughts += message.get("reasoning_content") is not None
    assert thoughts, "or nothing was split"


def test_a_stream_brings_the_same_in_parts(
    server: str, checkpoint: Path, answers: list[Answer]
) -> None:
    body = {
        "model": ".",
        "messages": CONVERSATIONS[0],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "stream": True,
    }
    request = urllib.request.Request(
        f"{server}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    parts: dict[str, str] = {"content": "", "reasoning_content": ""}
    with urllib.request.urlopen(request, timeout=120) as reply:
        for line in reply:
            data = line.decode().removeprefix("data: ").strip()
            if not data.startswith("{"):
                continue
            for choice in json.loads(data)["choices"]:
                for key in parts:
                    parts[key] += choice["delta"].get(key) or ""
    tokenizer: Any = load_tokenizer(checkpoint)
    expected = tokenizer.parse_response(answers[0].text, prefix=answers[0].prompt_ids)
    assert parts["content"].strip() == expected.get("content", "")
    assert parts["reasoning_content"].strip() == expected.get("reasoning_content", "")
