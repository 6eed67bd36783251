"""Parses a response into its thought and answer, or names the rule of the template that it breaks.

In: a response, without the end-of-sequence token, and its template. Out: `Parsed` or `Broken`; `make_rollout`
turns either into a `Rollout`. Not here: whether the answer is right.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section 2.2) only says that the thinking must be between its tags:
1. Every tag comes exactly once and in order, with only white space before, between and after the two parts:
   looser rules are exploited (Logic-RL, arXiv 2502.14768).
2. An empty thought is well-formed. The paper does not forbid it, and forbidding it would only move the exploit
   to one filler word. `dianoia.judge.diagnosis` reports a collapse into empty thoughts instead.
3. Reasoning inside the answer is a fault only if it shows in the tags (nested, repeated) or is a placeholder.
   Prose around an answer, two answers in one pair of tags and a copy of the question are well-formed and wrong:
   the verifiers accept a bare answer only.
4. Filler inside the thought is not a fault: no rule can tell it from thinking, and nothing here rewards length.
5. Only the exact tags count. `<THINK>`, `< think >` and look-alike letters are ordinary text, so a response that
   uses them lacks the real tag.
6. Without tags (template `plain`), the last line that is not blank is the answer, and everything before it is the
   thought. An answer of several lines, such as a program, needs tags. In templates without tags that expect a summary
   (`chat`, a recipe's own), the answer is in the boxes of the last line that holds one, behind `</think>` if there is
   such a tag; without a box it is the last line. For
   the verifier `code` it is the whole response.
7. If a summary follows the thought (template `r1`), only the thinking tags count, and the answer is the content of
   the summary's boxes, several of them as a list (`dianoia.text.boxes`). A box that is empty, a placeholder or
   never closed is a fault. A summary without a box is the answer as a whole, since the paper's summaries of
   writing and facts have none. A box inside fenced code is a part of the program. For the verifier `code` there
   are no boxes: the program is in the summary's last fenced block, which the verifier finds.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.text.boxes import UnclosedBox, boxed_answer, last_box
from dianoia.text.template import Tags, Template


class Fault(StrEnum):
    """The rules of a template that a response can break; the first broken one is reported."""

    NO_TAGS = "no_tags"
    """None of the tags occurs: the response ignores the template."""
    TAG_REPEATED = "tag_repeated"
    """A tag occurs more than once, or the response opens a thought that the prompt already opened."""
    NO_THOUGHT_TAG = "no_thought_tag"
    """The thought is not opened; typically it was skipped."""
    THOUGHT_NOT_CLOSED = "thought_not_closed"
    """The thought is not closed."""
    NO_ANSWER_TAG = "no_answer_tag"
    """The answer is not opened."""
    ANSWER_NOT_CLOSED = "answer_not_closed"
    """The answer, or the box that holds it, is not closed."""
    TAGS_OUT_OF_ORDER = "tags_out_of_order"
    """Every tag occurs once, but not in order, as in a thought after or inside the answer."""
    TEXT_BEFORE = "text_before"
    """There is text before the thought."""
    TEXT_BETWEEN = "text_between"
    """There is text between the thought and the answer."""
    TEXT_AFTER = "text_after"
    """There is text after the answer."""
    EMPTY_ANSWER = "empty_answer"
    """The answer, its box, or the summary has no visible character."""
    PLACEHOLDER_ANSWER = "placeholder_answer"
    """The answer is a placeholder from an example, such as "..." or "answer here"."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A well-formed response."""

    thought: str
    """Text between the thinking tags, unchanged; may be empty."""
    answer: str
    """Text between the answer tags, or in the summary's boxes, or the whole summary; stripped, never empty."""
    summary: str | None = None
    """Everything after the thought, stripped; None if the answer has tags or a line of its own."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A response that breaks a rule of its template."""

    rule: Fault


_PLACEHOLDER = re.compile(
    r"[\[({<]*\s*(?:(?:your |the |final )*answer (?:goes )?here|your (?:final )?answer|[.…]+)"
    r"\s*[])}>]*[.…]*",
    re.IGNORECASE,
)
# Longer than any placeholder: a huge answer is not searched.
_MAX_PLACEHOLDER = 60
_FENCED = re.compile(r"^ {0,3}```.*?(?:^ {0,3}```[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
_UNBOXED = "code"
"""The verifier that reads a summary as a whole (decision 7)."""


def parse(text: str, template: Template, boxed: bool = True) -> Parsed | Broken:
    """Parse a response, or name the first rule that it breaks. `boxed`: the answer of a summary is in its boxes."""
    if template.tags is None:
        return _last_line(text) if template.final == "answer" else _without_tags(text, boxed)
    expected = _expected(template.tags, template)
    # Splitting by a group gives texts and tags in turn: text, tag, text, ..., tag, text.
    pieces = _pattern(*expected).split(text)
    texts, tags = pieces[0::2], pieces[1::2]
    # A prefilled opening tag is not expected, but it must not pass as ordinary text either.
    if template.opens_thought and template.tags.open_thought in text:
        return Broken(Fault.TAG_REPEATED)
    if tags != expected:
        return Broken(_tag_fault(tags, expected, template.tags))
    return _parts(texts, template, boxed)


@lru_cache
def _pattern(*tags: str) -> re.Pattern[str]:
    return re.compile("(" + "|".join(map(re.escape, tags)) + ")")


def _expected(tags: Tags, template: Template) -> list[str]:
    """Return the tags that a response must have, in order."""
    in_order = [tags.open_thought, tags.close_thought]
    if template.final == "answer":
        in_order += [tags.open_answer, tags.close_answer]
    return in_order[1:] if template.opens_thought else in_order


def _tag_fault(present: list[str], expected: list[str], tags: Tags) -> Fault:
    if not present:
        return Fault.NO_TAGS
    # Repetition is reported before absence: it is the more telling fault.
    if len(set(present)) < len(present):
        return Fault.TAG_REPEATED
    missing = {
        tags.open_thought: Fault.NO_THOUGHT_TAG,
        tags.close_thought: Fault.THOUGHT_NOT_CLOSED,
        tags.open_answer: Fault.NO_ANSWER_TAG,
        tags.close_answer: Fault.ANSWER_NOT_CLOSED,
    }
    return next((missing[tag] for tag in expected if tag not in present), Fault.TAGS_OUT_OF_ORDER)


def _parts(texts: list[str], template: Template, boxed: bool) -> Parsed | Broken:
    """Assign the texts around the tags, from before the first to after the last, to their roles."""
    # If the prompt opens the thought, nothing can come before it.
    before, thought, *final = ["", *texts] if template.opens_thought else texts
    if template.final == "summary":
        (summary,) = final
        if before.strip():
            return Broken(Fault.TEXT_BEFORE)
        return _with_summary(thought, summary, boxed)
    between, answer, after = final
    # The first of several faults is reported, in reading order.
    outside = (
        (before, Fault.TEXT_BEFORE),
        (between, Fault.TEXT_BETWEEN),
        (after, Fault.TEXT_AFTER),
    )
    for text, fault in outside:
        if text.strip():
            return Broken(fault)
    return _checked(thought, answer.strip())


def _with_summary(thought: str, summary: str, boxed: bool) -> Parsed | Broken:
    """Parse a thought and its summary, whose boxes hold the answer if there are any (decision 7)."""
    summary = summary.strip()
    try:
        answer = boxed_answer(summary, _outside_code(summary)) if boxed else None
    except UnclosedBox:
        return Broken(Fault.ANSWER_NOT_CLOSED)
    parsed = _checked(thought, (summary if answer is None else answer).strip())
    return replace(parsed, summary=summary) if isinstance(parsed, Parsed) else parsed


def _outside_code(text: str) -> str:
    """Replace fenced code by as many blanks, so that positions stay the same."""
    return _FENCED.sub(lambda block: " " * len(block.group()), text)


def _last_line(text: str) -> Parsed | Broken:
    head, _, answer = text.rstrip().rpartition("\n")
    return _checked(head, answer.strip())


def _without_tags(text: str, boxed: bool) -> Parsed | Broken:
    """Parse a response of any form: the last box is its answer, or else the last line (decision 6)."""
    if not boxed:
        return _with_summary("", text, boxed)
    # A model may think in tags of its own; its answer stands behind them.
    thought = text.rfind(Tags().close_thought)
    box = last_box(_outside_code(text)[max(0, thought) :])
    if box is None:
        return _last_line(text)
    box += max(0, thought)
    # What stands on the box's line, and after it, is the summary: `whole` makes the same response of the two parts.
    line = text.rfind("\n", 0, box) + 1
    return _with_summary(text[:line], text[line:], boxed)


def _checked(thought: str, answer: str) -> Parsed | Broken:
    if not any(_visible(char) for char in answer):
        return Broken(Fault.EMPTY_ANSWER)
    # The length is tested first: the pattern is slow on long texts.
    if len(answer) <= _MAX_PLACEHOLDER and _PLACEHOLDER.fullmatch(answer):
        return Broken(Fault.PLACEHOLDER_ANSWER)
    return Parsed(thought, answer)


def _visible(char: str) -> bool:
    """Return False for white space, control and format characters such as the zero-width space."""
    return unicodedata.category(char)[0] not in "ZC"


def parse_answer(problem: Problem, text: str, template: Template) -> Parsed | Broken:
    """Parse a response to a problem, with the answer in the form that the problem's verifier needs."""
    return parse(text, template, boxed=problem.verifier != _UNBOXED)


def make_rollout(
    problem: Problem,
    sample: int,
    prompt_ids: tuple[int, ...],
    completion: Completion,
    text: str,
    template: Template,
) -> Rollout:
    """Return the rollout of a sample, with its status. A sample that was cut is TRUNCATED, whatever its text.

    `text` is the decoded response without the prompt and without the end-of-sequence token.
    """
    # A cut response may happen to look complete; it is still not finished.
    if not completion.stopped:
        status = RolloutStatus.TRUNCATED
        return Rollout(problem, sample, prompt_ids, completion, text, status)
    parsed = parse_answer(problem, text, template)
    if isinstance(parsed, Broken):
        status = RolloutStatus.MALFORMED
        return Rollout(
            problem, sample, prompt_ids, completion, text, status, fault=parsed.rule.value
        )
    status = RolloutStatus.FINISHED
    return Rollout(
        problem,
        sample,
        prompt_ids,
        completion,
        text,
        status,
        parsed.thought,
        parsed.answer,
        summary=parsed.summary,
    )
