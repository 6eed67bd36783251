"""A checkpoint answers in a real `vllm serve` as it answers here: the same prompt, the same tokens, the thought apart.

Not in the default run: `DIANOIA_VLLM=/path/to/vllm python -m pytest -m vllm tests/servers`, see CONTRIBUTING.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.conftest import (
    CONVERSATIONS,
    MAX_TOKENS,
    NEEDS_VLLM,
    VLLM,
    VLLM_ENVIRONMENT,
    Answer,
    post,
    serving,
)

pytestmark = NEEDS_VLLM


@dataclass(frozen=True, slots=True)
class Server:
    """A server at work, and what it prints."""

    address: str
    log: Path


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    def command(port: int) -> list[str]:
        assert VLLM is not None
        options = [
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--dtype",
            "float32",
            "--enforce-eager",
        ]
        parser = ["--reasoning-parser", "deepseek_r1"]
        return [VLLM, "serve", ".", "--served-model-name", "m", *options, *parser]

    log = tmp_path_factory.mktemp("log") / "vllm.txt"
    with serving(command, checkpoint, log, 300, **VLLM_ENVIRONMENT) as address:
        yield Server(address, log)


def test_the_prompt_is_that_of_training_and_the_thought_stands_apart(
    server: Server, answers: list[Answer]
) -> None:
    thoughts = 0
    for messages, answer in zip(CONVERSATIONS, answers, strict=True):
        body = {
            "model": "m",
            "messages": messages,
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
            "return_token_ids": True,
        }
        reply = post(f"{server.address}/v1/chat/completions", body)
        (choice,) = reply["choices"]
        assert reply["prompt_token_ids"] == answer.prompt_ids
        assert choice["token_ids"] == answer.ids
        thought, closed, rest = answer.text.partition("</think>")
        if closed:
            thoughts += 1
            assert (choice["message"]["reasoning"] or "").strip() == thought.replace(
                "<think>", ""
            ).strip()
            assert (choice["message"]["content"] or "").strip() == rest.strip()
    assert thoughts, "or nothing was split"


def test_the_sampling_is_that_of_the_checkpoint(server: Server) -> None:
    """Of requests that say nothing about it; vLLM reports what a folder's `generation_config.json` has changed."""
    line = "overridden by the model's `generation_config.json`: `{'temperature': 0.6, 'top_k': 0, 'top_p': 0.95}`"
    assert line in server.log.read_text(errors="replace")
