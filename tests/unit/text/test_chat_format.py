"""Ten public chat templates: a prompt is what `apply_chat_template` gives, and what `sft` learns stands behind it."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.records import Conversation, Turn
from dianoia.config import TemplateSettings
from dianoia.text.dialogue import Part
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES as BUILT_IN
from dianoia.text.template import recorded_template, template_of
from tests.unit.text.chat_models import ENDS, TEMPLATES, chat_tokenizer

NO_SYSTEM = ("gemma", "drops-system")
WORDS = ["2+3?", "Why {question}?", "北京 🐦", "{{ m }}", "<|im_end|>", "\\boxed{5}", "a  b\n\nc", "[INST]", "{system}"]  # fmt: skip
THINKING = ["<think>", "</think>"]


def own(**more: Any) -> Any:
    return template_of("own", {"own": TemplateSettings(chat=True, **more)})


def conversations(
    count: int, *, system: bool = True, thoughts: bool = True
) -> list[tuple[Turn, ...]]:
    """Conversations of one to four questions, all but the last one answered; a third with thoughts."""
    rng = random.Random(f"{count}-{system}-{thoughts}")

    def words() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))

    made = []
    for number in range(count):
        turns = [Turn("system", f"Be {words()}.")] if system and number % 2 else []
        for _ in range(rng.randint(0, 3)):
            thought = f"<think>\nhm {words()}\n</think>\n\n" if thoughts and number % 3 == 0 else ""
            turns += [Turn("user", words()), Turn("assistant", f"{thought}So {words()}.")]
        made.append((*turns, Turn("user", words())))
    return made


def applied(name: str, turns: tuple[Turn, ...], prompt: bool = True, **arguments: Any) -> list[int]:
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    ids = chat_tokenizer(name).apply_chat_template(
        messages, add_generation_prompt=prompt, return_dict=False, **arguments
    )
    assert isinstance(ids, list)
    return ids


# Prompts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_what_apply_chat_template_gives(name: str) -> None:
    tokenizer = chat_tokenizer(name)
    talks = conversations(50, system=name not in NO_SYSTEM)
    prompts = Prompts(tokenizer, BUILT_IN["chat"])(talks)
    assert [list(ids) for ids in prompts] == [applied(name, turns) for turns in talks]
    for ids, turns in zip(prompts, talks, strict=True):
        # What the conversation itself writes aside, there is one begin, and no end behind the prompt.
        assert ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)
        assert ids[-1] != tokenizer.eos_token_id
        text = tokenizer.decode(list(ids))
        assert all(turn.text in text for turn in turns if turn.role == "system")


@pytest.mark.parametrize("name", NO_SYSTEM)
def test_a_system_message_without_a_place_is_refused(name: str) -> None:
    talk = (Turn("system", "So"), Turn("user", "So what?"))
    with pytest.raises(ConfigError, match=f"'chat'.*{name}.*problem 'p'.*system.*templates.NAME"):
        Prompts(chat_tokenizer(name), BUILT_IN["chat"])([talk], ["problem 'p'"])
    conversation = Conversation((*talk, Turn("assistant", "So.")), "data.jsonl, row 7")
    with pytest.raises(ConfigError, match="data.jsonl, row 7"):
        Prompts(chat_tokenizer(name), BUILT_IN["chat"]).samples([conversation])
    with pytest.raises(ConfigError, match="system"):
        Prompts(chat_tokenizer(name), own(system="Be kind."))


def test_an_earlier_turn_that_is_left_out_or_refused() -> None:
    tokenizer = chat_tokenizer("chatml")
    before = tokenizer.chat_template
    try:
        tokenizer.chat_template = before.replace("in messages", "in messages[-1:]")
        talk = (Turn("user", "2?"), Turn("assistant", "Two."), Turn("user", "3?"))
        with pytest.raises(ConfigError, match="leaves message 1 of problem 'p'.*'user'"):
            Prompts(tokenizer, BUILT_IN["chat"])([talk], ["problem 'p'"])
    finally:
        tokenizer.chat_template = before
    with pytest.raises(ConfigError, match="refuses.*roles must alternate"):
        Prompts(chat_tokenizer("mistral"), BUILT_IN["chat"])([(Turn("user", "2?"), Turn("user", "3?"))])  # fmt: skip


@pytest.mark.parametrize("thinks", [True, False])
def test_arguments_and_a_system_text_of_the_recipe(thinks: bool) -> None:
    template = own(arguments={"enable_thinking": thinks}, system="Be kind.")
    talks = [(Turn("user", "2?"),), (Turn("system", "Be brief."), Turn("user", "2?"))]
    first, second = Prompts(chat_tokenizer("qwen3"), template)(talks)
    kind = (Turn("system", "Be kind."), *talks[0])
    assert list(first) == applied("qwen3", kind, enable_thinking=thinks)
    assert list(second) == applied("qwen3", talks[1], enable_thinking=thinks)
    assert recorded_template(template.record()) == template


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_thought_is_opened_once(name: str) -> None:
    talk = (Turn("user", "2?"),)
    prompts = Prompts(chat_tokenizer(name), own(tags=THINKING, opens_thought=True))
    (ids,) = prompts([talk])
    opened = applied(name, talk)
    if name != "deepseek-distill":  # which opens the thought itself
        opened += chat_tokenizer(name)("<think>", add_special_tokens=False)["input_ids"]
    assert list(ids) == opened and prompts.template.opens_thought
    named = Prompts(chat_tokenizer(name), own(tags=THINKING)).template
    assert named.opens_thought == (name == "deepseek-distill")
    assert not Prompts(chat_tokenizer(name), BUILT_IN["chat"]).template.opens_thought


def test_tags_without_a_place_for_the_thought() -> None:
    off = {"enable_thinking": False}
    with pytest.raises(ConfigError, match="'own'.*empty thought.*remove tags"):
        Prompts(chat_tokenizer("qwen3"), own(tags=THINKING, arguments=off))
    Prompts(chat_tokenizer("qwen3"), own(arguments=off))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_end_of_an_answer_ends_a_sample(name: str) -> None:
    tokenizer = chat_tokenizer(name)
    prompts = Prompts(tokenizer, BUILT_IN["chat"], [tokenizer.eos_token_id])
    end = tokenizer.convert_tokens_to_ids(ENDS.get(name, "<|im_end|>"))
    assert prompts.end_id == end and prompts.stop_ids == {end, tokenizer.eos_token_id}


def test_a_tokenizer_without_a_chat_template() -> None:
    tokenizer = chat_tokenizer("chatml")
    before, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(ConfigError, match="'chatml' has no chat template.*base"):
            Prompts(tokenizer, BUILT_IN["chat"])
    finally:
        tokenizer.chat_template = before


def test_a_date_in_the_prompt_is_reported(
    logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = chat_tokenizer("chatml")
    dated = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}"
    monkeypatch.setattr(tokenizer, "chat_template", dated + tokenizer.chat_template)
    (ids,) = Prompts(tokenizer, own(arguments={"date_string": "26 Jul 2024"}))(
        [(Turn("user", "2?"),)]
    )
    assert tokenizer.decode(list(ids)).startswith("26 Jul 2024<|im_start|>") and not logged()
    Prompts(tokenizer, BUILT_IN["chat"])
    assert "date_string" in logged() and "'chatml'" in logged()


# What sft learns ---------------------------------------------------------------------------------


def shows_all(name: str, text: str) -> bool:
    """Whether a template shows the last answer whole."""
    return name not in ("deepseek-distill", "strips-thoughts") or "</think>" not in text


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_sft_learns_is_what_the_template_writes(name: str) -> None:
    tokenizer = chat_tokenizer(name)
    prompts = Prompts(tokenizer, BUILT_IN["chat"])
    for talk in conversations(50, system=name not in NO_SYSTEM):
        turns = (*talk, Turn("assistant", "<think>\nhm\n</think>\n\n5." if len(talk) % 4 else "5."))
        (samples,) = prompts.samples([Conversation(turns, "data.jsonl, row 1")])
        ends = [index for index, turn in enumerate(turns) if turn.role == "assistant"]
        responses = []
        for sample in samples:
            ids: list[int] = []
            for piece in sample:
                if piece.part is Part.RESPONSE:
                    end = ends[len(responses)]
                    # The same prompt as in rl, sample and evaluate.
                    assert tuple(ids) == prompts([turns[:end]])[0]
                    responses.append(piece.ids)
                    ids += piece.ids
                    if shows_all(name, turns[end].text) and name != "deepseek-distill":
                        whole = applied(name, turns[: end + 1], prompt=False)
                        assert ids == whole[: len(ids)], tokenizer.decode(ids)
                else:
                    ids += piece.ids
        # Every answer is learnt once, with its thought, and ends once.
        assert len(responses) == len(ends)
        for end, response in zip(ends, responses, strict=True):
            text = tokenizer.decode(response[:-1])
            assert response[-1] == prompts.end_id
            assert turns[end].text.rpartition("</think>")[2].strip() in text
            assert "</think>" not in turns[end].text or "hm" in text.partition("</think>")[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", [["2?", "3?"]]),  # thoughts stay: one sample
        ("qwen3", [["2?"], ["3?"]]),  # earlier thoughts go: one sample per answer
        ("strips-thoughts", [["2?"], ["3?"]]),
        ("deepseek-distill", [["2?"], ["3?"]]),
    ],
)
def test_one_sample_per_answer_where_thoughts_are_stripped(
    name: str, expected: list[list[str]]
) -> None:
    turns = (
        Turn("user", "2?"), Turn("assistant", "Two.", thought="x"), Turn("user", "3?"), Turn("assistant", "Three.", thought="y"),
    )  # fmt: skip
    tokenizer = chat_tokenizer(name)
    (samples,) = Prompts(tokenizer, own(tags=THINKING)).samples([Conversation(turns, "f, row 1")])
    learnt = [
        [tokenizer.decode(piece.ids[:-1]) for piece in sample if piece.part is Part.RESPONSE]
        for sample in samples
    ]
    assert [len(texts) for texts in learnt] == [len(texts) for texts in expected]
    first, second = (text for texts in learnt for text in texts)
    opening = "" if name == "deepseek-distill" else "<think>\n"
    assert first.startswith(f"{opening}x\n</think>\n") and first.rstrip().endswith("Two.")
    assert second.startswith(f"{opening}y\n</think>\n") and second.rstrip().endswith("Three.")


def test_only_learnt_answers_are_learnt() -> None:
    turns = (Turn("user", "2?"), Turn("assistant", "Two."), Turn("user", "3?"), Turn("assistant", "Three."))  # fmt: skip
    tokenizer = chat_tokenizer("chatml")
    (((prompt, response),),) = Prompts(tokenizer, BUILT_IN["chat"]).samples(
        [Conversation(turns, "f, row 1", first_learnt=3)]
    )
    assert prompt.ids == applied("chatml", turns[:3])
    assert tokenizer.decode(response.ids) == "Three.<|im_end|>"


# Reward models and tables ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama3", "gemma", "chatml"])
def test_a_reward_model_reads_the_conversation(name: str) -> None:
    (ids,) = Prompts(chat_tokenizer(name), BUILT_IN["chat"]).scored(
        [[Turn("user", "2?")]], ["Two."]
    )
    turns = (Turn("user", "2?"), Turn("assistant", "Two."))
    assert list(ids) == applied(name, turns, prompt=False)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "says nothing about prompts"),
        ({"chat": True, "prompt": "{question}"}, "both prompt and chat"),
        ({"chat": True, "later": "{question}"}, "later is set with chat = true"),
        ({"prompt": "{question}", "arguments": {"x": 1}}, "arguments is set with prompt"),
        ({"prompt": "{question}", "opens_thought": True, "tags": THINKING}, "end prompt with the tag"),
        ({"chat": True, "opens_thought": True}, "without tags"),
        ({"chat": True, "arguments": {"tokenize": False}}, "arguments.tokenize is set by Dianoia"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_work_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TemplateSettings.model_validate(table)
