"""What the tests of servers share: a checkpoint, its own answers to compare with, and a server as a process."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from dianoia.base.records import Problem, SamplingParams, Turn
from dianoia.bases import shipped_model
from dianoia.learner.checkpoint_folder import Draw, Usage, save_checkpoint
from dianoia.models.loading import load_model, load_tokenizer
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES

VLLM = os.environ.get("DIANOIA_VLLM") or shutil.which("vllm")
"""The program of vLLM, if there is one."""
NEEDS_VLLM = [
    pytest.mark.vllm,
    pytest.mark.skipif(VLLM is None, reason="DIANOIA_VLLM names no program, and there is no vllm"),
]
VLLM_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # On a CPU: small, and beside other work.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    # The server has an environment of its own.
    "PYTHONPATH": "",
}
MAX_TOKENS = 160
QUESTIONS = (
    "Tom has 12 apples. He gives 5 to Ann. How many apples does he have?",
    "What is 7 + 8 - 3?",
    "小明有9个苹果，吃了4个，还剩几个？",
)
CONVERSATIONS: list[list[dict[str, str]]] = [
    *([{"role": "user", "content": question}] for question in QUESTIONS),
    [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": "5", "reasoning_content": "2+3=5"},
        {"role": "user", "content": QUESTIONS[0]},
    ],
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the checkpoint answers here, without a server, drawing the likeliest token."""

    prompt_ids: list[int]
    ids: list[int]
    text: str


@pytest.fixture(scope="session", params=["r1-zero", "r1-zero-prefilled"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that thinks under a template, as a stage writes it."""
    source = shipped_model("miniature-base")
    if source is None:
        pytest.skip("the miniature's base is not there yet")
    folder = tmp_path_factory.mktemp("servers") / "checkpoint"
    model, tokenizer = load_model(source), load_tokenizer(source)
    template = TEMPLATES[request.param]
    _teach(model, Prompts(tokenizer, template, {0}))
    save_checkpoint(folder, model, tokenizer, Usage(template, {0}, Draw()))
    return folder


def _teach(model: Any, prompts: Prompts) -> None:
    """Teach the model a thought and an answer to each of the conversations: the base would answer at once."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    asked = prompts([_turns(messages) for messages in CONVERSATIONS])
    for step in range(60):
        number = step % len(asked)
        response = prompts.template.respond(f"12-5=7\n7+{number}={7 + number}", str(7 + number))
        ids = [*prompts.tokenizer(response, add_special_tokens=False)["input_ids"], 0]
        labels = torch.tensor([[-100] * len(asked[number]) + ids])
        loss = model(input_ids=torch.tensor([[*asked[number], *ids]]), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="session")
def answers(checkpoint: Path) -> list[Answer]:
    """Our own greedy answer to each of the conversations."""
    config = json.loads((checkpoint / "config.json").read_text())
    template = TEMPLATES[config["dianoia_template"]]
    model, tokenizer = load_model(checkpoint), load_tokenizer(checkpoint)
    sampler = RolloutSampler(make_sampler(model, slots=4), Prompts(tokenizer, template, {0}))
    params = SamplingParams(MAX_TOKENS, frozenset({0}), temperature=0)
    problems = [
        Problem(str(number), turns[-1].text, "0", "number", context=turns[:-1])
        for number, turns in enumerate(map(_turns, CONVERSATIONS))
    ]
    rollouts = [rollout for (rollout,) in sampler(problems, 1, params, (1,))]
    return [Answer([*r.prompt_ids], [*r.completion.ids], r.text) for r in rollouts]


def _turns(messages: Sequence[Mapping[str, str]]) -> tuple[Turn, ...]:
    return tuple(
        Turn(message["role"], message["content"], message.get("reasoning_content"))
        for message in messages
    )


# Servers -------------------------------------------------------------------------------------------


def post(url: str, body: Mapping[str, Any], timeout: float = 120) -> dict[str, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=timeout) as reply:
        assert reply.status == 200
        value: dict[str, Any] = json.load(reply)
        return value


@contextmanager
def serving(
    command: Callable[[int], list[str]], folder: Path, log: Path, seconds: float, **env: str
) -> Iterator[str]:
    """Run a server in the folder until the block ends; yields its address once `/health` answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(port), cwd=folder, env=os.environ | env, stdout=output, stderr=output
        )
    try:
        _wait(process, address, log, seconds)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str, log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no answer in {seconds} s: {log.read_text(errors='replace')[-3000:]}")
