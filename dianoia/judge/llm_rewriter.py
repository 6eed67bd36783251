"""An LLM as rewriter of thoughts: the role of annotators and DeepSeek-V3 for the cold start (section B.3.2).

In: a problem, a sampled thought, and the answer it led to. Out: a readable thought in the question's
language and a summary, or a typed refusal. Departures from the paper:
1. One request gives both texts; the paper refines the thought and has the summary written from it.
2. No examples by people are shown: the prompt describes the style instead, in our own words.
3. Where the form of the data has its answer in a box, the summary has to have one too, except for programs.
4. The sample's answer is kept as it is and a summary without it is refused, so that no rewriting changes it.
"""

import re
from collections.abc import Sequence

from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.judge.llm_grader import Ask
from dianoia.models.endpoint import Answer, Messages
from dianoia.text.language import LANGUAGES, language_share

ONE_LANGUAGE = 0.9
"""Least share of a rewritten thought's words in the question's language."""
_NAMES = {"en": "English", "zh": "Chinese"}
_BOX = ", written as \\boxed{the answer}"
_BETWEEN = re.compile(r"</thought>\s*<summary>")

_PROMPT = """\
Below are a question, the rough notes of someone who solved it, and the answer they came to. Write two texts in {language}.

1. The notes as a readable train of thought, as if one person thought aloud: begin with what the question asks, \
say "I", keep every step in its order, also doubts, checks and mistakes that are found and mended. Short \
paragraphs, no headings, no code blocks. Add no step, leave none out, and change no number. Translate what is in another language.
2. A summary of one or two sentences for the person who asked: the decisive steps and the answer, exactly as given \
below{box}. Nothing that the notes do not say, and no mention of notes or of a thought.

Reply with exactly this and nothing around it:
<thought>
the train of thought
</thought>
<summary>
the summary
</summary>

# Question
{question}

# Notes
{thought}

# Answer
{answer}
"""


class LLMRewriter:
    """A `Rewriter` that asks an LLM; `boxed`: for summaries with the answer in a box."""

    def __init__(self, ask: Ask, boxed: bool = False) -> None:
        self.ask, self.boxed = ask, boxed

    def rewrite(self, cases: Sequence[Case]) -> list[Rewritten | Refusal]:
        """Return an outcome per case, in order."""
        replies = self.ask([_messages(case, self.boxed) for case in cases])
        return [read(case, reply) for case, reply in zip(cases, replies, strict=True)]


def _messages(case: Case, boxed: bool) -> Messages:
    box = _BOX if boxed and case.problem.verifier != "code" else ""
    language = _NAMES.get(case.problem.language, "the language of the question")
    text = _PROMPT.format(
        language=language,
        box=box,
        question=case.problem.question,
        thought=case.thought,
        answer=case.answer,
    )
    return [{"role": "user", "content": text}]


def read(case: Case, reply: Answer) -> Rewritten | Refusal:
    """Return the two texts of a reply, or the reason for which it cannot be used."""
    if reply.cut:
        return Refusal.CUT
    thought, summary = _parts(reply.text)
    if not thought or not summary:
        return Refusal.UNREADABLE
    # The answer as text: the caller also grades it where a box allows that.
    if not _holds(summary, case.answer):
        return Refusal.ANSWER_MISSING
    if not _in_language(f"{thought}\n{summary}", case.problem.language):
        return Refusal.LANGUAGE
    return Rewritten(thought, summary)


def _parts(text: str) -> tuple[str, str]:
    """Return thought and summary between their tags, split at the last border between them; empty without the tags.

    One pass, however many tags a hostile reply repeats.
    """
    text = text.strip()
    if not (text.startswith("<thought>") and text.endswith("</summary>")):
        return "", ""
    inner = text.removeprefix("<thought>").removesuffix("</summary>")
    borders = list(_BETWEEN.finditer(inner))
    if not borders:
        return "", ""
    border = borders[-1]
    return inner[: border.start()].strip(), inner[border.end() :].strip()


def _holds(summary: str, answer: str) -> bool:
    """Return True if the summary has the answer, and not only inside a longer number or word."""
    left_edge, right_edge = r"(?<![0-9A-Za-z-])(?<![0-9][.,/])", r"(?![0-9A-Za-z]|[.,/][0-9])"
    return re.search(left_edge + re.escape(answer) + right_edge, summary) is not None


def _in_language(text: str, language: str) -> bool:
    # None, for a language that is not measured, cannot be a reason to refuse.
    share = language_share(text, language) if language in LANGUAGES else None
    return share is None or share >= ONE_LANGUAGE
