"""Templates: short, literal, and what the paper's prompt asks for."""

import pytest

from dianoia.text.template import TEMPLATES, Tags, Template


def test_r1_zero_ends_where_the_assistant_begins() -> None:
    assert TEMPLATES["r1-zero"].render("2+3?").endswith("\nUser: 2+3?\nAssistant:")


def test_r1_zero_shows_every_tag_and_asks_for_structure_only() -> None:
    prompt = TEMPLATES["r1-zero"].prompt
    tags = Tags()
    for tag in (tags.open_thought, tags.close_thought, tags.open_answer, tags.close_answer):
        assert prompt.split().count(tag) == 1, "no punctuation touches a tag"
    assert not {"verify", "check", "reflect", "step"} & set(prompt.lower().split())
    assert 30 <= len(prompt.split()) <= 45 and prompt.isascii()


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_braces_in_the_question_survive(template: Template) -> None:
    question = "what is {x: {question}} % of {0}?"
    assert question in template.render(question)


def test_prefilled_prompt_ends_with_the_open_thought() -> None:
    assert TEMPLATES["r1-zero-prefilled"].render("2+3?").endswith("Assistant: <think>")


def test_plain_has_no_tags() -> None:
    assert TEMPLATES["plain"].render("2+3?") == "2+3?\n"
    assert TEMPLATES["plain"].tags is None


def test_a_template_must_hold_its_question_once() -> None:
    with pytest.raises(AssertionError, match="exactly once"):
        Template("bad", "no question", Tags())
