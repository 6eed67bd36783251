"""The text of a completion is what TRL decodes, from its first tag on."""

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.judge.completion_text import CompletionText
from dianoia.text.template import TEMPLATES, Tags, Template

WORDS = ["<eos>", "<pad>", "<|start|>", "<think>", "</think>", "<answer>", "so", "Ġso", "5", "Ċ"]
PLAIN = Problem("a", "2+3?", "5", "number")
R1 = TEMPLATES["r1"]


def tokenizer_of(special_tags: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of single words with a special token that has no name, and tags that may be special."""
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, "so"))
    backend.pre_tokenizer, backend.decoder = ByteLevel(add_prefix_space=False), Decoder()
    backend.add_special_tokens(["<|start|>", *(WORDS[3:6] if special_tags else [])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<eos>", pad_token="<pad>"
    )  # fmt: skip


def rollout(tokenizer: Any, *words: str, stopped: bool = True) -> Rollout:
    """A rollout of these tokens, decoded as the sampler does."""
    ids = tuple(WORDS.index(word) for word in words)
    text = tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False)
    completion = Completion(ids, (0.0,) * len(ids), stopped)
    return Rollout(PLAIN, 0, (9,), completion, text, RolloutStatus.FINISHED)


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        ("<think>", "so", "Ġso", "</think>", "Ċ", "5"),
        ("<think>", "so", "<|start|>", "<pad>", "</think>", "<|start|>", "5"),
        ("<|start|>",),
        (),
    ],
)
def test_special_tokens_are_left_out_as_trl_does(words: tuple[str, ...], stopped: bool) -> None:
    tokenizer = tokenizer_of()
    ended = rollout(tokenizer, *words, *(["<eos>"] if stopped else []), stopped=stopped)
    text = CompletionText(R1, tokenizer)(ended)
    (theirs,) = tokenizer.batch_decode([list(ended.completion.ids)], skip_special_tokens=True)
    assert text == theirs
    assert "<|start|>" not in text and "<pad>" not in text
    assert ("<|start|>" in ended.text) is ("<|start|>" in words), "the rollout itself keeps them"


def test_tags_that_are_special_tokens_stay() -> None:
    tokenizer = tokenizer_of(special_tags=True)
    ended = rollout(tokenizer, "<think>", "<|start|>", "so", "</think>", "5", "<eos>")
    assert tokenizer.decode(ended.completion.ids, skip_special_tokens=True) == "so5"
    assert CompletionText(R1, tokenizer)(ended) == "<think>so</think>5"
    # Without tags in the template nothing of the kind is expected.
    assert CompletionText(TEMPLATES["plain"], tokenizer)(ended) == "so5"


def test_spaces_are_cleaned_up_where_the_tokenizer_does_so() -> None:
    tokenizer = tokenizer_of()
    ended = rollout(tokenizer, "so", "Ġso", "<eos>")
    tokenizer.clean_up_tokenization_spaces = True
    (theirs,) = tokenizer.batch_decode([list(ended.completion.ids)], skip_special_tokens=True)
    assert CompletionText(R1, tokenizer)(ended) == theirs


def text_of(text: str, template: Template | None, prompt: str = "") -> str:
    """The text of a completion, without a tokenizer and with one, whose results are the same."""
    plain = replace(rollout(tokenizer_of(), "5"), text=text)
    result = CompletionText(template)(plain)
    letters = Letters()
    ids = tuple(map(ord, prompt))
    asked = replace(
        plain, prompt_ids=ids, completion=Completion(tuple(map(ord, text)), (0.0,) * len(text), False)
    )  # fmt: skip
    assert CompletionText(template, letters)(asked) == result
    return result


class Letters:
    """A tokenizer of letters without special tokens."""

    all_special_ids: tuple[int, ...] = ()
    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012

    def decode(self, ids: Any) -> str:
        return "".join(map(chr, ids))


def test_a_response_begins_with_its_first_tag() -> None:
    assert text_of(" \n<think>so</think>5 ", R1) == "<think>so</think>5 "
    assert text_of(" 5\n", TEMPLATES["plain"]) == text_of(" 5\n", None) == " 5\n"


def test_a_response_to_a_chat_template_is_left_as_it_is() -> None:
    """As TRL has it, white space too; but for the tag that the rendered prompt ends with."""
    thinking = replace(TEMPLATES["chat"], name="thinking", tags=Tags(), final="answer")
    assert text_of("\n<think>so</think>5", thinking) == "\n<think>so</think>5"
    assert text_of(" 5\n", TEMPLATES["chat"]) == " 5\n"
    opening = replace(thinking, opens_thought=True)
    prompt = "<user>Is <think> a tag?<assistant>\n<think>\n"
    plain = replace(rollout(tokenizer_of(), "5"), prompt_ids=tuple(map(ord, prompt)))
    plain = replace(
        plain, completion=Completion(tuple(map(ord, "so</think>5")), (0.0,) * 11, False)
    )
    plain = replace(plain, text="so</think>5")
    assert CompletionText(opening, Letters())(plain) == "<think>\nso</think>5"


@pytest.mark.parametrize(
    ("prompt", "text", "whole"),
    [
        ("{question} <think>", "so</think>5", "<think>so</think>5"),
        ("{question}<think>\n", "so\n</think>\n5", "<think>\nso\n</think>\n5"),
        ("Use <think> </think>. {question} <think>\n\n", "so</think>5", "<think>\n\nso</think>5"),
        ("{question} <think>", " <think>so</think>5", "<think>so</think>5"),
    ],
)
def test_what_the_prompt_opened_comes_first(prompt: str, text: str, whole: str) -> None:
    """With the white space behind it, which open-r1's `format_reward` asks for; and is written once."""
    template = replace(TEMPLATES["r1-prefilled"], prompt=prompt, later=prompt)
    assert text_of(text, template, template.render("2+3?")) == whole
