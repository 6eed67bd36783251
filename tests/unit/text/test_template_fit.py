"""Demonstrations that do not fit their template are told, with the template or the form that would."""

import pytest

from dianoia.base.records import Conversation, Turn
from dianoia.text.template import TEMPLATES
from dianoia.text.template_fit import MAX_TRIED, BetterTemplate, TemplateFit, better_template

BOX = "The answer is \\boxed{5}."
TRACE = f"<think>\n2 and 3 are 5.\n</think>\n\n{BOX}"
TAGGED = "<think>\n2+3=5\n</think>\n<answer>5</answer>"


def asked(response: str, question: str = "2+3?", thought: str | None = None) -> Conversation:
    turns = (Turn("user", question), Turn("assistant", response, thought))
    return Conversation(turns, "data.jsonl, row 1", 1)


def fit(template: str, *conversations: Conversation) -> TemplateFit:
    template_fit = TemplateFit(TEMPLATES[template])
    for conversation in conversations:
        template_fit.add(conversation)
    return template_fit


@pytest.mark.parametrize(
    ("template", "response"),
    [
        ("r1-zero", TAGGED),
        ("r1-zero", f"  {TAGGED}\n"),
        ("r1-zero-prefilled", TAGGED),
        ("r1-zero-prefilled", TAGGED.removeprefix("<think>")),
        ("r1", TRACE),
        ("r1", "<think>\n</think>\nHello, how can I help?"),
        ("r1", "<think>x</think>```python\nprint('\\boxed{')\n```"),
        ("r1-prefilled", TRACE),
        ("r1-prefilled", TRACE.removeprefix("<think>")),
        ("plain", "so\n5"),
    ],
)
def test_what_fits_is_not_told(template: str, response: str) -> None:
    template_fit = fit(template, *[asked(response)] * 3)
    assert template_fit.share == 1.0 and template_fit.misfit() is None


@pytest.mark.parametrize(
    ("template", "response", "fault", "cure"),
    [
        ("r1-zero", TRACE, "no_answer_tag", "set template = 'r1', which 100% of them fit"),
        ("r1-zero", TRACE.removeprefix("<think>"), "no_thought_tag", "template = 'r1-prefilled'"),
        ("r1-zero", TAGGED.removeprefix("<think>"), "no_thought_tag", "'r1-zero-prefilled'"),
        ("r1", TRACE.removeprefix("<think>"), "no_thought_tag", "template = 'r1-prefilled'"),
        ("r1-zero", "5", "no_tags", "<think>\\n2+3=5\\n</think>\\n<answer>5</answer>"),
        ("r1-zero", BOX, "no_tags", "template = 'plain'"),
        ("r1", "5", "no_tags", "columns of their own"),
        ("r1", "<think>first</think><think>second</think>5", "tag_repeated", "columns"),
        ("r1-zero-prefilled", BOX, "no_tags", "columns"),
        ("r1-zero", f"Sure! {TAGGED}", "text_before", "columns"),
        ("r1", TAGGED, "tags_of_another_template", "template = 'r1-zero'"),
        ("plain", TAGGED, "tags_of_another_template", "template = 'r1-zero'"),
        ("plain", TRACE, "tags_of_another_template", "template = 'r1'"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(
    template: str, response: str, fault: str, cure: str
) -> None:
    template_fit = fit(template, *[asked(response)] * 4)
    assert template_fit.share == 0.0
    misfit = template_fit.misfit()
    assert misfit is not None
    message, advice = misfit
    assert f"4 of 4 responses to learn (100%) do not fit template = {template!r}" in message
    assert fault in message and repr(response[:20])[1:-1] in message
    assert cure in advice


@pytest.mark.parametrize("template", ["r1", "r1-zero", "r1-prefilled"])
@pytest.mark.parametrize("end", ["<think>", "<think>\n", "\nAssistant: <think>\n\n"])
def test_a_thought_that_the_prompt_opens(template: str, end: str) -> None:
    response = (TAGGED if template == "r1-zero" else TRACE).removeprefix("<think>")
    template_fit = fit(template, *[asked(response, f"2+3?{end}")] * 4)
    misfit = template_fit.misfit()
    assert misfit is not None
    assert "4 of 4 prompts end with <think>" in misfit[0] and "never opens" in misfit[0]
    assert "to the beginning of the responses" in misfit[1]


@pytest.mark.parametrize(
    ("wrong", "reported"), [(0, False), (1, False), (5, False), (6, True), (100, True)]
)
def test_a_few_that_do_not_fit_are_not_told(wrong: int, reported: bool) -> None:
    rows = [asked("5")] * wrong + [asked(TAGGED)] * (100 - wrong)
    template_fit = fit("r1-zero", *rows)
    assert template_fit.share == pytest.approx(1 - wrong / 100)
    assert (template_fit.misfit() is not None) is reported


def test_thought_and_answer_in_columns_fit_every_template() -> None:
    for name in TEMPLATES:
        assert fit(name, asked("5", thought="2+3=5")).misfit() is None, name


@pytest.mark.parametrize(
    ("template", "text", "best"),
    [
        ("r1-zero", TRACE, "r1"),
        ("r1-zero", TRACE.removeprefix("<think>"), "r1-prefilled"),
        ("r1", TAGGED.removeprefix("<think>"), "r1-zero-prefilled"),
        ("r1-zero", "5", None),
        ("r1-zero", TAGGED, None),
        ("r1", TAGGED, "r1-zero"),  # a summary may be anything, but no verifier reads these tags
        ("plain", TRACE, "r1"),
        ("plain", TAGGED, "r1-zero"),
        ("plain", "so\n5", None),
        ("r1", TRACE, None),
    ],
)
def test_the_template_that_responses_fit(template: str, text: str, best: str | None) -> None:
    better = better_template([text] * 3, TEMPLATES[template])
    assert better == (None if best is None else BetterTemplate(best, 1.0, 0.0))
    assert better_template([], TEMPLATES[template]) is None


def test_only_what_is_learnt_counts() -> None:
    turns = (
        Turn("user", "a"),
        Turn("assistant", "no tags"),
        Turn("user", "b"),
        Turn("assistant", TAGGED),
    )
    assert fit("r1-zero", Conversation(turns, "x", 3)).responses == 1
    assert fit("r1-zero", Conversation(turns, "x", 0)).share == 0.5
    assert TemplateFit(TEMPLATES["r1"]).misfit() is None, "nothing to learn"


def test_all_responses_count_though_only_the_first_are_tried_under_every_template() -> None:
    template_fit = fit("r1-zero", *[asked(TRACE)] * MAX_TRIED, *[asked(TAGGED)] * MAX_TRIED)
    assert template_fit.share == 0.5
    misfit = template_fit.misfit()
    assert misfit is not None and "set template = 'r1', which 100% of them" in misfit[1]
