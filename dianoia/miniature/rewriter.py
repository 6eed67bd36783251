"""The miniature's rewriter: rules that stand for the annotators and for DeepSeek-V3 (section B.3.2).

In the paper annotators turn some traces of R1-Zero into readable ones. A large model rewrites the rest after their
example, translates mixed thoughts into the question's language, and writes a summary. No model in the miniature can do
that, and none has to: the thoughts of its models are short lines with a few phrases between them (`authors`), so that
rules can parse them and write them out again. They show what the step does to a model that is trained on the result, not
how well a model rewrites.

In: a problem, a thought, and the answer that it led to. Out: the same derivations and checks, line by line, in the
question's language, in the first person, with sentences around them, and a summary with the answer in a box (a program in
a fence); or a typed refusal. A slip that a check has found stays in the thought. The derivation that decides has to be
right in every step, so that a right answer by luck is refused. No result is changed, and the answer never is.
"""

import re
from collections.abc import Callable, Sequence

from dianoia.base.records import Problem
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.miniature.chains import Operation
from dianoia.miniature.choices import CATEGORIES, LABELS, MEMBERS, compared_fact
from dianoia.miniature.derivation_parser import (
    PRINT,
    STORY,
    TURN,
    Tally,
    parse_derivations,
    phrase_pattern,
)
from dianoia.miniature.logic import DIRECTIONS, TURN_WORDS
from dianoia.miniature.programs import LETTERS, function_source
from dianoia.miniature.requests import Request, readable_thought
from dianoia.miniature.safety import READABLE_THOUGHTS, THOUGHTS
from dianoia.miniature.stories import DAYS
from dianoia.tasks.short_answers.number_and_text import parse_number

_LINE_STARTS: dict[str, dict[str, Sequence[str]]] = {
    "en": {
        # With the gap before an operation or a turn: `Monday +7=19`, `周一+7=19`, `a +7=19`, `a左转=西方`.
        "story": [f"{day} " for day in DAYS["en"]],
        "print": [f"{letter} " for letter in LETTERS],
        "turn": [f"{letter} " for letter in LETTERS],
    },
    "zh": {
        "story": DAYS["zh"],
        "print": [f"{letter} " for letter in LETTERS],
        "turn": LETTERS,
    },
}
"""Beginnings of the lines of a derivation, as the authors of a language write them."""

_SENTENCES = {
    "en": {
        # Filled in by str.format: `\\boxed{{{answer}}}` gives `\boxed{19}`. `start` and `again` end with the line of
        # the start value. The last five keys are summaries, the others sentences of a thought.
        "start": "I count step by step.\n{start}",
        "again": "Wait, let me check. I count again.\n{start}",
        "result": "So I get {result}.",
        "same": "First {before}, now {result}. Same, so it is {result}.",
        "differ": "First {before}, now {result}. But they differ, so one is wrong.",
        "last": "Now I get {result}, so it is {result}.",
        "steps": "I write down the steps.",
        "options": "I look for the {category}.",
        "found": "So it is {label}.",
        "story": "Starting with {start} and counting {steps} days gives \\boxed{{{answer}}}.",
        "print": "It prints \\boxed{{{answer}}}.",
        "face": "The way is \\boxed{{{answer}}}.",
        "choice": "The answer is \\boxed{{{answer}}}.",
        "code": "This is the function.\n```python\n{answer}\n```",
    },
    "zh": {
        "start": "我一步一步数。\n{start}",
        "again": "等等，我检查一下。我再数。\n{start}",
        "result": "结果：{result}。",
        "same": "先是{before}，现在{result}。一样，就是{result}。",
        "differ": "先是{before}，现在{result}。但是不同，有一个错了。",
        "last": "现在{result}，就是{result}。",
        "steps": "我写下步骤。",
        "options": "我找{category}。",
        "found": "所以是{label}。",
        "story": "从{start}开始，数{steps}天，现在有\\boxed{{{answer}}}个。",
        "print": "输出是\\boxed{{{answer}}}。",
        "face": "面向\\boxed{{{answer}}}。",
        "choice": "答案是\\boxed{{{answer}}}。",
        "code": "函数是：\n```python\n{answer}\n```",
    },
}


class MiniatureRewriter:
    """The rules as a `Rewriter`."""

    def rewrite(self, cases: Sequence[Case]) -> list[Rewritten | Refusal]:
        """Return one outcome per case, in order."""
        return [rewrite(case.problem, case.thought, case.answer) for case in cases]


def rewrite(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    """Return a readable thought in the question's language and a summary, or why there is none."""
    if problem.language not in _SENTENCES:
        return Refusal.LANGUAGE
    match problem.domain, problem.verifier:
        case "code", _:
            return _rewrite_function(problem, thought, answer)
        case "stem", _:
            return _rewrite_choice(problem, thought, answer)
        # Logic is of two types: turns (answer by `exact`), and programs that print (by `number`, arithmetic below).
        case "logic", "exact":
            return _rewrite_turns(problem, thought, answer)
        case "general" | "near-miss" | "safety", _:
            return _rewrite_request(problem, thought, answer)
        case _:
            return _rewrite_arithmetic(problem, thought, answer)


# Tallies: stories, programs that print, turns


def _rewrite_arithmetic(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    story = problem.domain == "math"
    tallies = parse_derivations(thought, STORY if story else PRINT)
    if isinstance(tallies, Refusal):
        return tallies
    last = tallies[-1]
    # The thought is compared with its own answer; whether that is the gold answer is the caller's concern.
    if parse_number(answer) != last.result:
        return Refusal.CONTRADICTS
    labels = _LINE_STARTS[problem.language]["story" if story else "print"]
    # The last derivation decides; earlier ones may have the slips that a check has found. A tally of all steps is
    # required.
    # STORY serves programs too: both notations apply the same operations.
    if not last.right(STORY) or len(last.steps) != problem.difficulty:
        return Refusal.FALSE_STEP
    readable = _readable_tallies(tallies, problem.language, labels, str, str)
    summary = _SENTENCES[problem.language]["story" if story else "print"].format(
        start=last.start, steps=len(last.steps), answer=answer
    )
    return Rewritten(readable, summary)


def _rewrite_turns(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    tallies = parse_derivations(thought, TURN)
    if isinstance(tallies, Refusal):
        return tallies
    language, last = problem.language, tallies[-1]
    directions, turns = DIRECTIONS[language], TURN_WORDS[language]
    if answer.strip() != directions[last.result]:
        return Refusal.CONTRADICTS
    if not last.right(TURN) or len(last.steps) != problem.difficulty:
        return Refusal.FALSE_STEP
    readable = _readable_tallies(
        tallies,
        language,
        _LINE_STARTS[language]["turn"],
        lambda direction: directions[direction],
        # A sign is 1 to 3 quarters, the index counts from 0.
        lambda sign: turns[int(sign) - 1],
    )
    return Rewritten(readable, _SENTENCES[language]["face"].format(answer=answer.strip()))


def _readable_tallies(
    tallies: Sequence[Tally],
    language: str,
    labels: Sequence[str],
    value_text: Callable[[int], str],
    step_text: Callable[[str], str],
) -> str:
    """Write the derivations with sentences around their lines; the lines change nothing but their language."""
    sentences, lines = _SENTENCES[language], []
    for index, tally in enumerate(tallies):
        opening = sentences["again" if index else "start"]
        lines.append(opening.format(start=value_text(tally.start)))
        lines += [
            f"{label}{step_text(step.sign)}={value_text(step.result)}"
            # Seven labels, and a derivation has at most as many steps: the parser takes no label twice.
            for label, step in zip(labels, tally.steps, strict=False)
        ]
        lines.append(_result_sentence(index, tallies, sentences, value_text))
    return "\n".join(lines)


def _result_sentence(
    index: int,
    tallies: Sequence[Tally],
    sentences: dict[str, str],
    value_text: Callable[[int], str],
) -> str:
    """Write the result of a derivation, compared with that of the derivation before it."""
    result = tallies[index].result
    if index == 0:
        return sentences["result"].format(result=value_text(result))
    before = tallies[index - 1].result
    values = {"before": value_text(before), "result": value_text(result)}
    if result == before:
        return sentences["same"].format(**values)
    # The last derivation decides, so its result is announced and not put in doubt again.
    return sentences["last" if index == len(tallies) - 1 else "differ"].format(**values)


# Requests, whose answers are never changed


def _rewrite_request(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    """Write the plan as a sentence; the answer is the summary."""
    language, columns = problem.language, problem.columns
    lines = [line for line in map(str.strip, thought.splitlines()) if line]
    # An empty thought, too: nothing to rewrite.
    if all(_PHRASE.fullmatch(line) for line in lines):
        return Refusal.NO_REASONING
    if problem.domain != "general":
        harmful = problem.domain == "safety"
        # The verdict has to be that of the domain, in either language.
        if not any(thoughts[harmful] in thought for thoughts in THOUGHTS.values()):
            return Refusal.CONTRADICTS
        return Rewritten(READABLE_THOUGHTS[language][harmful], answer)
    request = Request(columns["kind"], columns["subject"], columns["n"], 0, language)
    return Rewritten(readable_thought(request), answer)


# Lists: functions and choices

# `a +3`. No division: functions have none.
_STEP = re.compile(rf"(?P<label>[{LETTERS}]) ?(?P<sign>[-+*])(?P<operand>[0-9]{{1,2}})")
# Both languages in one table: a thought that mixes them names categories in either.
_CATEGORY_INDEX = {
    category: index for names in CATEGORIES.values() for index, category in enumerate(names)
}
_ANY_CATEGORY = "|".join(_CATEGORY_INDEX)
# `A iron: metal, gas? no` or `A 铁:金属，气体？否`; the colon is the same in both, see `category_fact`.
_OPTION = re.compile(
    rf"(?P<label>[{LABELS}]) (?P<name>[^:]+): ?(?P<category>{_ANY_CATEGORY})"
    rf"(?:, |，)(?P<in_question>{_ANY_CATEGORY})(?:\? |？)(?P<verdict>yes|no|是|否)"
)
_YES = ("yes", "是")
_PHRASE = phrase_pattern(f"[{LABELS}]")


def _parse_list(
    thought: str, pattern: re.Pattern[str], labels: str
) -> list[re.Match[str]] | Refusal:
    """Return the lines of one list; their labels have to come in order from the first one."""
    matches: list[re.Match[str]] = []
    for line in filter(None, map(str.strip, thought.splitlines())):
        if match := pattern.fullmatch(line):
            # A second list would begin with the first label again and is refused here.
            if len(matches) >= len(labels) or match["label"] != labels[len(matches)]:
                return Refusal.UNREADABLE
            matches.append(match)
        elif not _PHRASE.fullmatch(line):
            return Refusal.UNREADABLE
    return matches or Refusal.NO_REASONING


def _rewrite_function(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    matches = _parse_list(thought, _STEP, LETTERS)
    if isinstance(matches, Refusal):
        return matches
    steps = tuple(Operation(match["sign"], int(match["operand"])) for match in matches)
    # No step is false by itself, so the list is only held against the function. That one is tested when it is graded.
    if answer.strip() != function_source(steps):
        return Refusal.CONTRADICTS
    sentences = _SENTENCES[problem.language]
    lines = [sentences["steps"]]
    lines += [
        f"{letter} {step.sign}{step.operand}" for letter, step in zip(LETTERS, steps, strict=False)
    ]
    return Rewritten("\n".join(lines), sentences["code"].format(answer=answer.strip()))


def _rewrite_choice(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    matches = _parse_list(thought, _OPTION, LABELS)
    if isinstance(matches, Refusal):
        return matches
    in_question = _category_in_question(problem)
    # Before the answer is looked at: a false fact is the reason to give even where the answer contradicts it too.
    if not _facts_are_true(problem, in_question, matches):
        return Refusal.FALSE_STEP
    # Authors stop at the first option that fits, so the last line has to be the answer's.
    letter = answer.strip()
    if _CATEGORY_INDEX[matches[-1]["category"]] != in_question or letter != matches[-1]["label"]:
        return Refusal.CONTRADICTS
    language = problem.language
    sentences = _SENTENCES[language]
    lines = [sentences["options"].format(category=CATEGORIES[language][in_question])]
    for label, option, match in zip(LABELS, _options(problem), matches, strict=False):
        category = _CATEGORY_INDEX[match["category"]]
        lines.append(f"{label} {compared_fact(option, category, in_question, language)}")
    lines.append(sentences["found"].format(label=letter))
    return Rewritten("\n".join(lines), sentences["choice"].format(answer=letter))


def _category_in_question(problem: Problem) -> int:
    """Return the category that the question asks for; its name ends the first line, before the question mark."""
    question = problem.question.splitlines()[0][:-1]
    categories = CATEGORIES[problem.language]
    return next(index for index, name in enumerate(categories) if question.endswith(name))


def _options(problem: Problem) -> list[str]:
    # `A iron` -> `iron`; a name may have spaces of its own.
    return [line.split(" ", 1)[1] for line in problem.question.splitlines()[1:]]


def _facts_are_true(problem: Problem, in_question: int, lines: Sequence[re.Match[str]]) -> bool:
    """Return True if each line names its option, its true category and the one in question, and compares them rightly."""
    names, options = MEMBERS[problem.language], _options(problem)
    return len(lines) <= len(options) and all(
        line["name"] == option
        and option in names[_CATEGORY_INDEX[line["category"]]]
        and _CATEGORY_INDEX[line["in_question"]] == in_question
        and (line["verdict"] in _YES) == (_CATEGORY_INDEX[line["category"]] == in_question)
        for line, option in zip(lines, options, strict=False)
    )
