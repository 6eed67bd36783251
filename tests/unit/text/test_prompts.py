"""Messages to ids: a prompt is the beginning of what `sft` learns, whatever stands in the conversation."""

from typing import Any

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.records import Conversation, Turn
from dianoia.config import TemplateSettings
from dianoia.text.dialogue import Part
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES, recorded_template, template_of


class Letters:
    """A tokenizer of one token per letter; 1 begins a text and 0 ends it."""

    eos_token_id = 0

    def __call__(self, text: Any, *, add_special_tokens: bool = True) -> Any:
        if not isinstance(text, str):
            return {"input_ids": [self(item, add_special_tokens=add_special_tokens)["input_ids"] for item in text]}  # fmt: skip
        ids = [ord(letter) for letter in text]
        return {"input_ids": [1, *ids] if add_special_tokens else ids}


SYSTEM = Turn("system", "Be brief.")
TALK = (SYSTEM, Turn("user", "2+3?"), Turn("assistant", "<think>x</think> 5"), Turn("user", "4?"))
SHOTS = TemplateSettings(prompt="Q: 1?\nA: 1\n\nSystem: {system}\nQ: {question}\nA:")


def text_of(ids: tuple[int, ...]) -> str:
    assert ids[0] == 1 and 1 not in ids[1:], "one begin"
    return "".join("|" if token == 0 else chr(token) for token in ids[1:])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "Be brief.\n2+3?\n5|\n4?\n"),
        ("r1", "Be brief.\nUser: 2+3?\nAssistant: 5|\nUser: 4?\nAssistant:"),
        ("r1-prefilled", "Be brief.\nUser: 2+3?\nAssistant: 5|\nUser: 4?\nAssistant: <think>"),
        ("shots", "Q: 1?\nA: 1\n\nSystem: Be brief.\nQ: 2+3?\nA: 5|\nQ: 4?\nA:"),
    ],
)
def test_a_prompt_holds_the_whole_conversation(name: str, expected: str) -> None:
    (ids,) = Prompts(Letters(), template_of(name, {"shots": SHOTS}))([TALK])
    assert text_of(ids) == expected


@pytest.mark.parametrize("name", [*(n for n, t in TEMPLATES.items() if not t.chat), "shots"])
@pytest.mark.parametrize("turns", [TALK, TALK[1:], TALK[1:2], TALK[:2]])
def test_a_prompt_is_what_precedes_the_answer_that_sft_learns(
    name: str, turns: tuple[Turn, ...]
) -> None:
    prompts = Prompts(Letters(), template_of(name, {"shots": SHOTS}))
    conversation = Conversation((*turns, Turn("assistant", "8", thought="y")), "data.jsonl, row 1")
    (samples,) = prompts.samples([conversation])
    *before, answer = samples[-1]
    assert answer.part is Part.RESPONSE and answer.ids[-1] == 0
    (prompt,) = prompts([turns])
    assert prompt == tuple(token for piece in before for token in piece.ids)


@pytest.mark.parametrize(("local", "shown"), [("", "Be kind."), ("Be brief.", "Be brief.")])
def test_a_conversations_own_system_text_comes_first(local: str, shown: str) -> None:
    table = TemplateSettings(prompt="{question}\n", system="Be kind.")
    system = (Turn("system", local),) if local else ()
    (ids,) = Prompts(Letters(), template_of("x", {"x": table}))([(*system, Turn("user", "2?"))])
    assert text_of(ids) == f"{shown}\n2?\n"


def test_braces_of_a_question_are_its_own() -> None:
    (ids,) = Prompts(Letters(), template_of("shots", {"shots": SHOTS}))(
        [(Turn("system", "{question}"), Turn("user", "{system}{question}"))]
    )
    assert text_of(ids).endswith("System: {question}\nQ: {system}{question}\nA:")


@pytest.mark.parametrize(
    "table",
    [
        SHOTS,
        TemplateSettings(prompt="{question} <a>\n", tags=["<a>", "</a>"], system="s"),
        TemplateSettings(prompt="{question}", tags=["<a>", "</a>", "<b>", "</b>"], later=" {question}"),
    ],
)  # fmt: skip
def test_a_template_that_was_recorded_is_the_same(table: TemplateSettings) -> None:
    template = template_of("own", {"own": table})
    assert recorded_template(template.record()) == template
    assert template.opens_thought == bool(table.system)
    assert all(recorded_template(built_in.record()) is built_in for built_in in TEMPLATES.values())
    for other in (None, "none", {"prompt": "{question}"}, {"name": "x", "prompt": "no question"}):
        assert recorded_template(other) is None


def test_an_unknown_name_is_refused_with_the_names_that_exist() -> None:
    assert template_of("plain", {}) is TEMPLATES["plain"]
    with pytest.raises(ConfigError, match="'r1zero'.*mean 'r1-zero'.*plain.*shots"):
        template_of("r1zero", {"shots": SHOTS})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"prompt": "2+3?"}, "prompt holds {question} nowhere"),
        ({"prompt": "{question}{question}"}, "prompt holds {question} twice"),
        ({"prompt": "{question}{system}"}, "before the question"),
        ({"prompt": "{question}", "later": "x"}, "later holds {question} nowhere"),
        ({"prompt": "{question}", "later": "{system}{question}"}, "one system text"),
        ({"prompt": "{question}", "tags": ["<a>"]}, "write two, around the thought"),
        ({"prompt": "{question}", "tags": ["<a>", "<a>b"]}, "part of another tag"),
        ({"prompt": "{question}", "tags": ["<a>", " b"]}, "blanks around it"),
        ({"prompt": "{question}<a>", "later": "{question}", "tags": ["<a>", "b"]}, "only one of"),
    ],
)
def test_a_table_that_cannot_work_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TemplateSettings.model_validate(table)
