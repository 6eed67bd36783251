"""From a file of messages to a fine-tuned model under `template = "chat"`, with the real commands."""

import json
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from dianoia.bases import shipped_model
from dianoia.cli import main
from dianoia.datasets.tokenized import Corpus
from dianoia.models.loading import load_tokenizer
from dianoia.sampler.native.engine import NativeSampler
from dianoia.stages import sft
from tests.unit.text.chat_models import chat_tokenizer

BASE = shipped_model("miniature-base")
assert BASE is not None
RECIPE = """
name = "tiny-chat"
threads = 1
[templates.thinking]
chat = true
system = "Think first."
tags = ["<think>", "</think>"]
opens_thought = true
[stages.zero]
kind = "rl"
start = "FOLDER"
problems = "FILE"
template = "chat"
steps = 1
group_size = 2
problems_per_rollout = 4
[stages.zero.sampling]
max_tokens = 32
slots = 16
[stages.zero.optimizer]
learning_rate = 1e-4
[stages.zero.progress]
problems = 0
[stages.samples]
kind = "sample"
start = "zero"
problems = "FILE"
template = "chat"
prompts = 6
samples = 16
sampling = { max_tokens = 48 }
keep = { correct = false, shortest = 0, language = 0.0 }
[stages.tuned]
kind = "sft"
start = "zero"
template = "chat"
datasets = [{ path = "samples" }]
evaluation_share = 0.0
epochs = 1
max_length = 400
tokens_per_step = 800
optimizer = { learning_rate = 1e-4 }
[stages.evaluation]
kind = "evaluate"
checkpoints = ["zero", "tuned"]
problems = "FILE"
whole_file = true
template = "chat"
samples = 2
max_tokens = 16
[stages.thinking]
kind = "evaluate"
checkpoints = ["zero", "tuned"]
problems = "FILE"
whole_file = true
template = "thinking"
samples = 2
max_tokens = 16
"""
NAME = "qwen2.5"
SYSTEM = "Answer in one word: {braces} stay."


def messages(number: int) -> list[dict[str, str]]:
    """A system message in every second row, an earlier question and its answer in every third."""
    talk = [{"role": "system", "content": SYSTEM}] if number % 2 else []
    if number % 3 == 0:
        talk += [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "Two."}]
    return [*talk, {"role": "user", "content": f"What is {number}+{number}?"}]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tokenizer = chat_tokenizer(NAME)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    folder, file = tmp_path / "instruct", tmp_path / "sums.jsonl"
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = [{"prompt": messages(n), "answer": str(2 * n), "id": str(n)} for n in range(12)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = tmp_path / "chat.toml"
    text = RECIPE.replace("FOLDER", folder.as_posix()).replace("FILE", file.as_posix())
    path.write_text(text, encoding="utf-8")
    return path


def test_every_stage_reads_what_apply_chat_template_gives(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it is loaded from the folder: transformers may split words otherwise than the object that was saved.
    tokenizer = load_tokenizer(recipe.parent / "instruct")
    think, end = tokenizer.convert_tokens_to_ids(["<think>", "<|im_end|>"])
    queries: dict[bool, set[tuple[int, ...]]] = {False: set(), True: set()}
    corpora: list[Corpus] = []
    generate, load_corpus = NativeSampler.generate, sft.load_corpus

    def applied(talk: list[dict[str, str]]) -> tuple[int, ...]:
        return tuple(
            tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
        )

    def remember(self: Any, requests: Any, params: Any, *options: Any) -> Any:
        for request in requests:
            queries[request.prompt_ids[-1] == think].add(request.prompt_ids)
        assert {end, tokenizer.eos_token_id} <= params.stop_ids
        return generate(self, requests, params, *options)

    def read(*arguments: Any) -> Corpus:
        corpora.append(load_corpus(*arguments))
        return corpora[-1]

    with monkeypatch.context() as patched:
        patched.setattr(NativeSampler, "generate", remember)
        patched.setattr(sft, "load_corpus", read)
        assert main(["run", str(recipe), "--out", str(tmp_path / "run")]) == 0
    # rl, sample and the first evaluation read the same prompts: with the file's system message, or the template's own.
    prompts = {applied(messages(number)) for number in range(12)}
    assert queries[False] == prompts
    # The second evaluation: the recipe's system text where the row has none, and an opened thought.
    thinking = [
        talk if talk[0]["role"] == "system" else [{"role": "system", "content": "Think first."}, *talk]
        for talk in map(messages, range(12))
    ]  # fmt: skip
    assert queries[True] == {(*applied(talk), think) for talk in thinking}
    # What is learnt begins with such a prompt, and ends with the end of an answer.
    (corpus,) = corpora
    assert corpus.training
    for sample in corpus.training:
        ids, learnt = sample.ids_L.tolist(), sample.learnt_L.tolist()
        start = learnt.index(True)
        assert tuple(ids[:start]) in prompts and all(learnt[start:]) and ids[-1] == end
    rows = pq.read_table(tmp_path / "run/stages/samples/data.parquet").to_pylist()
    assert len(rows) == len(corpus.training)
    assert {row["problem"]: row["prompt"] for row in rows} == {
        row["problem"]: messages(int(row["problem"])) for row in rows
    }
    results = json.loads((tmp_path / "run/results.json").read_text("utf-8"))
    names = ["zero", "tuned", "zero under thinking", "tuned under thinking"]
    assert list(results["evaluations"]) == names
    assert main(["report", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("zero.start=BARE", ["stages.zero.template = 'chat'", "no chat template"]),
        ("tuned.earlier_thoughts=keep", ["tuned.earlier_thoughts", "remove"]),
        ("thinking.template=chat", ["templates.thinking: no stage names"]),
        ('templates.chat={prompt="{question}"}', ["templates.chat", "built-in"]),
        ("templates.thinking.opens_thoughts=true", ["opens_thoughts", "did you mean 'opens_thought'"]),
        ('templates.thinking={prompt="What?"}', ["templates.thinking", "{question}"]),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_work(
    override: str, parts: list[str], recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    bare = tmp_path / "bare"
    copytree(BASE, bare, ignore=ignore_patterns("chat_template.jinja"))
    override = override.replace("BARE", bare.as_posix())
    assert main(["run", str(recipe), "--out", str(tmp_path / "run"), "--set", override]) == 2
    stderr = " ".join(capsys.readouterr().err.split())
    assert all(part in stderr for part in parts), stderr
    assert not (tmp_path / "run/stages").exists()
