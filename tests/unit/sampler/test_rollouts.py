"""From problems to rollouts: who ends a sample, what the sampler is asked, what the text keeps."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Problem, RolloutStatus, SamplingParams, Turn
from dianoia.sampler.rollouts import RolloutSampler, stop_ids
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES
from tests.unit.text.chat_models import chat_tokenizer

RESPONSE = " <think>\n1+4=5 apples\n</think>\n<answer>5</answer>"


@pytest.mark.parametrize(
    ("generation", "config", "tokenizer", "expected"),
    [
        (1, None, None, {1}),
        (None, 2, None, {2}),
        (None, None, 3, {3}),
        ([1, 4], 2, 3, {1, 2, 3, 4}),
        ([151645, 151643], 151645, 151643, {151643, 151645}),  # Qwen, chat
        (0, 0, 0, {0}),  # the id 0 is an id
        (None, [5, 6], None, {5, 6}),
    ],
)
def test_every_place_that_names_an_end_counts(
    generation: Any, config: Any, tokenizer: Any, expected: set[int]
) -> None:
    model = SimpleNamespace(
        generation_config=SimpleNamespace(eos_token_id=generation),
        config=SimpleNamespace(eos_token_id=config),
    )
    assert stop_ids(model, SimpleNamespace(eos_token_id=tokenizer)) == expected


def test_a_model_without_an_end_is_refused() -> None:
    model = SimpleNamespace(generation_config=None, config=SimpleNamespace(eos_token_id=None))
    with pytest.raises(ConfigError, match="end-of-sequence.*eos_token_id"):
        stop_ids(model, SimpleNamespace(eos_token_id=None))
    assert stop_ids(model, SimpleNamespace(eos_token_id=7)) == {7}


def test_the_sampler_is_asked_what_the_caller_wants(
    roller: Callable[..., RolloutSampler],
    tokenizer: PreTrainedTokenizerFast,
    problems: list[Problem],
    params: SamplingParams,
) -> None:
    scripted = roller(lambda prompt, sample: RESPONSE)
    rollouts = scripted(problems, 3, params, (7, 40))
    ((requests, prompts),) = scripted.sampler.asked
    assert prompts == params
    assert [(r.samples, r.key) for r in requests] == [(3, (7, 40, 0)), (3, (7, 40, 1))]
    for request, problem, group in zip(requests, problems, rollouts, strict=True):
        prompt = TEMPLATES["r1-zero"].render(problem.question)
        assert request.prompt_ids == tuple(tokenizer(prompt)["input_ids"])
        assert [rollout.sample for rollout in group] == [0, 1, 2]
        assert {rollout.problem.id for rollout in group} == {problem.id}
        assert {rollout.prompt_ids for rollout in group} == {request.prompt_ids}


def test_keys_are_problem_numbers(
    roller: Callable[..., RolloutSampler], problems: list[Problem], params: SamplingParams
) -> None:
    scripted = roller(lambda *_: RESPONSE)
    scripted(problems, 1, params, (7,), first=40)
    scripted(problems[1:], 1, params, (7,), first=41)
    (whole, _), (half, _) = scripted.sampler.asked
    assert [request.key for request in whole] == [(7, 40), (7, 41)]
    assert half == whole[1:], "a rollout does not depend on how problems are batched"


def test_a_rollout_is_what_the_sampler_said(
    roller: Callable[..., RolloutSampler], problems: list[Problem], params: SamplingParams
) -> None:
    say = (RESPONSE, "", f"{RESPONSE}~", " 5").__getitem__
    scripted = roller(lambda prompt, sample: say(sample))
    whole, empty, cut, bare = scripted(problems[:1], 4, params, (1,))[0]
    assert (whole.text, whole.thought, whole.answer) == (RESPONSE, "\n1+4=5 apples\n", "5")
    assert whole.status is RolloutStatus.FINISHED and whole.fault is None
    assert whole.completion.ids[-1] == 0, "the end's id stays in what is learnt"
    assert (empty.text, empty.status, empty.fault) == ("", RolloutStatus.MALFORMED, "no_tags")
    assert len(empty.completion.ids) == 1
    assert (cut.text, cut.status) == (RESPONSE, RolloutStatus.TRUNCATED)
    assert (cut.answer, cut.thought, cut.fault) == (None, None, None)
    assert (bare.text, bare.status, bare.answer) == (" 5", RolloutStatus.MALFORMED, None)


def special_tags() -> PreTrainedTokenizerFast:
    """A tokenizer that calls the tags special, as some chat models' do."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tags = ("<think>", "</think>", "<answer>", "</answer>", "<|end|>")
    raw.add_special_tokens([AddedToken(tag, special=True) for tag in tags])
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>")


@pytest.mark.parametrize(
    "text", [RESPONSE, " a , b ' s n't  .\n\n", "苹果 🤔 é", "", "it 's <think> </think>"]
)
def test_text_is_kept_to_the_letter(text: str) -> None:
    tokenizer = special_tags()
    scripted = RolloutSampler(None, Prompts(tokenizer, TEMPLATES["r1-zero"]))
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    ended = (*ids, tokenizer.eos_token_id)
    assert scripted.text(Completion(ended, (0.0,) * len(ended), stopped=True)) == text
    assert scripted.text(Completion(ids, (0.0,) * len(ids), stopped=False)) == text


def test_tokens_are_counted_without_extras(
    roller: Callable[..., RolloutSampler], tokenizer: PreTrainedTokenizerFast
) -> None:
    scripted = roller(lambda *_: "")
    assert scripted.count_tokens([]) == []
    assert scripted.count_tokens(["", "7", "7\n7"]) == [0, 1, 3]


def test_messages_without_a_place_are_found_before_anything_is_sampled(
    problems: list[Problem],
) -> None:
    system = replace(problems[1], context=(Turn("system", "Be brief."),))
    chat = RolloutSampler(None, Prompts(chat_tokenizer("gemma"), TEMPLATES["chat"]))
    with pytest.raises(ConfigError, match="problem 'b'.*System role not supported"):
        chat.check_messages([problems[0], system])
    chat.check_messages(problems)
    RolloutSampler(None, Prompts(chat_tokenizer("gemma"), TEMPLATES["r1"])).check_messages([system])
