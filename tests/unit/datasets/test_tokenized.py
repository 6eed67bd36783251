"""Conversations as tokens: what is learnt, how long samples are treated, and what a corpus holds."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError
from dianoia.base.records import Conversation, Turn
from dianoia.bases import shipped_model
from dianoia.datasets.tokenized import Corpus, Encoder, load_corpus
from dianoia.models.loading import load_tokenizer
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES

END = 0


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    folder = shipped_model("miniature-base")
    assert folder is not None
    return load_tokenizer(folder)


def encoder(tokenizer: PreTrainedTokenizerBase, **options: Any) -> Encoder:
    settings = {"keep_thoughts": False, "max_length": 200, "longer": "drop"} | options
    return Encoder(Prompts(tokenizer, TEMPLATES["r1-zero"]), **settings)


def talk(*texts: str) -> Conversation:
    turns = [Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]
    return Conversation(tuple(turns), "data.jsonl, row 7")


def test_the_response_and_its_end_are_learnt(tokenizer: PreTrainedTokenizerBase) -> None:
    ((sample,),) = encoder(tokenizer)([talk("2+3?", "<think>2+3=5</think> <answer>5</answer>")])
    ids, learnt = sample.ids_L.tolist(), sample.learnt_L.tolist()
    prompt = tokenizer(TEMPLATES["r1-zero"].render("2+3?"))["input_ids"]
    assert ids[: len(prompt)] == prompt  # what a sampler is given
    assert learnt == [False] * len(prompt) + [True] * (len(ids) - len(prompt))
    assert ids[-1] == END and ids.count(END) == 1
    answered = tokenizer.decode(ids[len(prompt) : -1])
    assert answered == " <think>2+3=5</think> <answer>5</answer>"


def test_an_earlier_answer_ends_and_is_not_learnt(tokenizer: PreTrainedTokenizerBase) -> None:
    dialogue = talk("2+3?", "<think>x</think> 5", "4+4?", "<think>y</think> 8")
    ((first, second),) = encoder(tokenizer)([dialogue])
    assert first.ids_L.tolist().count(END) == 1 and second.ids_L.tolist().count(END) == 2
    learnt = second.ids_L[second.learnt_L].tolist()
    assert tokenizer.decode(learnt[:-1]) == " <think>y</think> 8" and learnt[-1] == END
    read = tokenizer.decode(second.ids_L[~second.learnt_L].tolist())
    assert "Assistant: 5<|endoftext|>\nUser: 4+4?" in read
    ((remaining,),) = encoder(tokenizer, keep_thoughts=True)([dialogue])
    assert remaining.ids_L[remaining.learnt_L].tolist().count(END) == 2


def test_samples_do_not_depend_on_their_company(tokenizer: PreTrainedTokenizerBase) -> None:
    talks = [talk("a", "b"), talk("c", "d", "e", "<think>f</think> g"), talk("h", "i")]
    together = encoder(tokenizer)(talks)
    alone = [encoder(tokenizer)([item])[0] for item in talks]
    for ours, theirs in zip(together, alone, strict=True):
        assert [s.ids_L.tolist() for s in ours] == [s.ids_L.tolist() for s in theirs]


@pytest.mark.parametrize("longer", ["drop", "cut", "refuse"])
def test_longer_samples(longer: str, tokenizer: PreTrainedTokenizerBase) -> None:
    ((sample,),) = encoder(tokenizer)([talk("2+3?", "5" * 50)])
    fitting = encoder(tokenizer, max_length=len(sample), longer=longer)
    assert fitting.fit(sample, "x") is sample
    short = encoder(tokenizer, max_length=len(sample) - 10, longer=longer)
    if longer == "refuse":
        with pytest.raises(ConfigError, match=rf"row 7: .* {len(sample)} tokens, above max_length"):
            short.fit(sample, "data.jsonl, row 7")
        return
    cut = short.fit(sample, "x")
    assert (cut is None) == (longer == "drop")
    if cut is not None:
        assert len(cut) == len(sample) - 10 and cut.ids_L[-1] != END
    prompt_only = encoder(tokenizer, max_length=10, longer=longer)
    assert prompt_only.fit(sample, "x") is None  # nothing of the response would be left


def corpus(tmp_path: Path, tokenizer: PreTrainedTokenizerBase, **options: Any) -> Corpus:
    path = tmp_path / "data.jsonl"
    rows = [{"prompt": f"{n}+1?", "completion": str(n + 1) * (1 + n % 3)} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_corpus(encoder(tokenizer, **options), [(path, 2.0)], 0.2, None)


def test_a_corpus_counts(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    loaded = corpus(tmp_path, tokenizer)
    assert len(loaded.training) + len(loaded.heldout) == 60 and loaded.longer == 0
    assert loaded.epoch_samples == 2 * len(loaded.training) and loaded.heldout
    assert loaded.fingerprint() == corpus(tmp_path, tokenizer).fingerprint()
    longest = max(len(sample) for sample in loaded.training)
    fewer = corpus(tmp_path, tokenizer, max_length=longest - 1)
    assert fewer.longer > 0
    assert len(fewer.training) + len(fewer.heldout) == 60 - fewer.longer
    assert fewer.fingerprint() != loaded.fingerprint()


def test_nothing_that_fits_is_refused(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match="no sample is left to learn from .* max_length"):
        corpus(tmp_path, tokenizer, max_length=5)
