"""A chat template asks a model as training has asked it, and an answer is split as the template splits it."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_parsing import ResponseParser, parse_response

from dianoia.base.records import Conversation, Turn
from dianoia.config import TemplateSettings
from dianoia.text.chat_template import anchor_of, chat_template, response_template
from dianoia.text.dialogue import samples_of
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES, Template, template_of

OWN = {
    "chatty": TemplateSettings(
        prompt="<<{system}>>\n\"Q\": {question}\\n'A': ",
        system='Be "brief" {{ now }} {% raw %}.',
        tags=["<think>", "</think>"],
    ),
    "opened": TemplateSettings(
        prompt="{question} <think>\n",
        later="\n\n{question} <think>\n",
        tags=["<think>", "</think>"],
    ),
    "bare": TemplateSettings(prompt="Ответь: {question}"),
    "own tags": TemplateSettings(
        prompt="Problem: {question}\nLösung:\n", tags=["[T]", "[/T]", "[A]", "[/A]"]
    ),
}
NAMES = [*(name for name, template in TEMPLATES.items() if not template.chat), *OWN]
WORDS = (
    "How many apples are left?", "12 + 30 = ", " two\n\nlines ", "Wie viele? 北京有多少人？", "{{ braces }} {% if %} {question}",
    "tab\tand quote \" ' \\n", "User: x\nAssistant: y", "x", "  ",
)  # fmt: skip
THOUGHTS = ("2+2 is 4", "\n long\n\n thought \n", "x", "")


def conversations(template: Template, count: int, seed: int) -> list[tuple[Turn, ...]]:
    """Return conversations that end with a question, with and without system texts, earlier turns and thoughts."""
    draw = random.Random(seed)
    tags = template.tags or TEMPLATES["r1"].tags
    assert tags is not None

    def answer() -> Turn:
        text, thought = draw.choice(WORDS), draw.choice(THOUGHTS)
        category = draw.randrange(3)
        if category == 0:
            return Turn("assistant", text)
        if category == 1:
            return Turn("assistant", text, thought or "t")
        return Turn("assistant", f"{tags.open_thought}{thought}{tags.close_thought}\n{text}")

    def conversation() -> tuple[Turn, ...]:
        turns = [Turn("system", draw.choice(WORDS))] if draw.random() < 0.5 else []
        for _ in range(draw.randrange(3)):
            turns += [Turn("user", draw.choice(WORDS)), answer()]
            if draw.random() < 0.2:
                turns.append(Turn("system", draw.choice(WORDS)))
        return (*turns, Turn("user", draw.choice(WORDS)))

    return [conversation() for _ in range(count)]


def messages_of(turns: Sequence[Turn], key: str = "reasoning_content") -> list[dict[str, str]]:
    return [
        {"role": message.role, "content": message.text}
        | ({} if message.thought is None else {key: message.thought})
        for message in turns
    ]


@pytest.mark.parametrize("name", NAMES)
def test_prompts_have_the_ids_of_training(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    template = template_of(name, OWN)
    prompts = conversations(template, 200, seed=7)
    expected = Prompts(tokenizer, template)(prompts)
    jinja = chat_template(template, end=tokenizer.eos_token)
    for turns, ids in zip(prompts, expected, strict=True):
        text = rendered(tokenizer, turns, jinja)
        assert text == tokenizer.decode(list(ids)), turns
        # Nothing in these two ends a token between a question and an earlier answer.
        if name in ("bare", "opened", "chatty") and any(t.role == "assistant" for t in turns):
            continue
        assert tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) == ids, turns


def rendered(
    tokenizer: PreTrainedTokenizerFast,
    turns: Sequence[Turn],
    jinja: str,
    key: str = "reasoning_content",
    **options: bool,
) -> str:
    text = tokenizer.apply_chat_template(
        messages_of(turns, key),
        chat_template=jinja,
        tokenize=False,
        **{"add_generation_prompt": True, **options},
    )
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_conversation_is_a_sample_of_training(
    name: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The last answer is written as it is learnt, with its thought; so are earlier ones where training keeps them."""
    template = template_of(name, OWN)
    end = tokenizer.eos_token
    for keep in (False, True):
        jinja = chat_template(template, end=end, keep_thoughts=keep)
        for number, turns in enumerate(conversations(template, 100, seed=8)):
            last = Turn("assistant", WORDS[number % 4], THOUGHTS[number % 3])
            whole = Conversation((*turns, last), "test", first_learnt=len(turns))
            (sample,) = samples_of(whole, template, keep_thoughts=keep)
            text = "".join(piece.text + ("" if piece.part == "prompt" else end) for piece in sample)
            options = {"add_generation_prompt": False}
            assert rendered(tokenizer, whole.turns, jinja, **options) == text


def test_a_thought_has_three_names(tokenizer: PreTrainedTokenizerFast) -> None:
    jinja = chat_template(TEMPLATES["r1"], end="<e>")
    turns = (Turn("user", "1+1?"), Turn("assistant", "2", "one and one"))
    texts = {
        key: rendered(tokenizer, turns, jinja, key, add_generation_prompt=False)
        for key in ("reasoning_content", "reasoning", "thinking")
    }
    assert set(texts.values()) == {"User: 1+1?\nAssistant: <think>\none and one\n</think>\n2<e>"}


def test_without_a_generation_prompt_the_answer_is_not_begun(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    jinja = chat_template(TEMPLATES["r1-prefilled"])
    turns = (Turn("user", "1+1?"),)
    assert rendered(tokenizer, turns, jinja, add_generation_prompt=False) == "User: 1+1?"
    assert rendered(tokenizer, turns, jinja) == "User: 1+1?\nAssistant: <think>"


def test_an_answer_can_be_continued(tokenizer: PreTrainedTokenizerFast) -> None:
    jinja = chat_template(TEMPLATES["r1"], end="<e>")
    turns = (Turn("user", "1+1?"), Turn("assistant", "<think>\nOne and"))
    options = {"add_generation_prompt": False, "continue_final_message": True}
    text = rendered(tokenizer, turns, jinja, **options)
    assert text == "User: 1+1?\nAssistant: <think>\nOne and"


def test_parts_are_joined_and_other_parts_and_roles_are_refused(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    jinja = chat_template(TEMPLATES["r1"], prefix="<s>")

    def render(*messages: dict[str, object]) -> object:
        return tokenizer.apply_chat_template(
            [*messages], chat_template=jinja, add_generation_prompt=True, tokenize=False
        )

    parts = [{"type": "text", "text": "1+"}, {"type": "text", "text": "1?"}]
    system = {"role": "developer", "content": "Be brief."}
    text = "<s>Be brief.\nUser: 1+1?\nAssistant:"
    assert render(system, {"role": "user", "content": parts}) == text
    with pytest.raises(TemplateError, match="a part of type image"):
        render({"role": "user", "content": [{"type": "image", "url": "x"}]})
    with pytest.raises(TemplateError, match="not of tool"):
        render({"role": "tool", "content": "x"})


# Answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_transformers_splits_an_answer_into_thought_and_content(
    name: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    template, end = template_of(name, OWN), tokenizer.eos_token
    spec = response_template(
        template.tags, template.final, anchor_of(template), template.opens_thought, {end, "<|x|>"}
    )
    for question in ("User: 1\nAssistant: 2", "What?", "How\nmany? "):
        prefix = template.render(question)
        for ending in (end, "<|x|>", "", f"\n{end}"):
            for thought in ("One and one.", "\n two\nlines\n", ""):
                answer = template.respond(thought, "It is\n2.") + ending
                parsed = tokenizer.parse_response(answer, spec, prefix=prefix)
                expected = {"role": "assistant", "content": "It is\n2."}
                if template.tags is None:
                    expected["content"] = answer.removesuffix(ending).strip()
                elif thought:
                    expected["reasoning_content"] = thought.strip()
                assert parsed == expected, answer
                assert streamed(spec, prefix, answer) == expected, answer


def streamed(spec: dict[str, Any], prefix: str, answer: str) -> dict[str, Any]:
    """Return the message that a server makes of an answer that comes letter by letter."""
    parser = ResponseParser(spec, prefix=prefix)
    for letter in answer:
        parser.feed(letter)
    message, _ = parser.finalize()
    return message


@pytest.mark.parametrize(
    ("answer", "thought", "content"),
    [
        (" <think>\nOne and", "One and", None),  # cut at max_tokens
        (" 2<|e|>", None, "2"),
        (" It is <answer>2</answer><|e|>", None, "It is\n2"),
        (" <think>\na\n</think>\n2<|e|>", "a", "2"),
        (" <think>\na\n</think>\n<answer>2</answer>\nReally.\n<|e|>", "a", "2\nReally."),
        (" <think>\na <answer>1</answer>\n</think>\n<answer>2", "a <answer>1</answer>", "2"),
    ],
)
def test_no_text_of_a_malformed_answer_is_lost(
    answer: str, thought: str | None, content: str | None
) -> None:
    template = TEMPLATES["r1-zero"]
    spec = response_template(template.tags, "answer", anchor_of(template), False, {"<|e|>"})
    parsed = parse_response(answer, spec, prefix=template.render("1+1?"))
    assert (parsed.get("reasoning_content"), parsed.get("content")) == (thought, content)
    assert streamed(spec, template.render("1+1?"), answer) == parsed
