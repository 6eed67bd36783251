"""The miniature's rewriter: rules that stand for the people and for DeepSeek-V3 (section B.3.2).

In the paper annotators turn some traces of R1-Zero into readable ones, and a large model rewrites the rest
after their example, translates mixed thoughts into the question's language, and writes a summary. Nothing in
the miniature can do that, and nothing has to: the thoughts of its models are short lines with a few phrases
between them (`voice`), so rules can read them and tell them again. They show what the step does to a model
that is trained on the result, not how well a model rewrites.

In: a problem, a thought, the answer it led to. Out: the same derivations and checks, line by line, in the question's
language, in the first person with sentences around them, and a summary with the answer in a box (a program in a fence); or a typed refusal. A
slip that a check has found stays in the thought; the derivation that decides has to be right in every step, so that
a right answer by luck is refused. No result is changed and the answer never is.
"""

import re
from collections.abc import Callable, Sequence

from dianoia.base.records import Problem
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.miniature.chains import Operation
from dianoia.miniature.code import LETTERS, program
from dianoia.miniature.harms import JUDGED, PLANS
from dianoia.miniature.readings import PRINT, STORY, TURN, Tally, phrases, read
from dianoia.miniature.requests import Request, readable
from dianoia.miniature.things import KINDS, LABELS, THINGS, weighed
from dianoia.miniature.turns import HOW, WAYS
from dianoia.miniature.wording import DAYS
from dianoia.tasks.short_answers import parse_number

_PLACES: dict[str, dict[str, Sequence[str]]] = {
    "en": {
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
"""What a line begins with, as the authors of a language write it."""

_TELL = {
    "en": {
        "start": "I count step by step.\n{start}",
        "again": "Wait, let me check. I count again.\n{start}",
        "result": "So I get {result}.",
        "same": "First {before}, now {result}. Same, so it is {result}.",
        "differ": "First {before}, now {result}. But they differ, so one is wrong.",
        "last": "Now I get {result}, so it is {result}.",
        "steps": "I write down the steps.",
        "options": "I look for the {kind}.",
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
        "options": "我找{kind}。",
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
        """One outcome a case, in their order."""
        return [rewrite(case.problem, case.thought, case.answer) for case in cases]


def rewrite(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    """A readable thought in the question's language and a summary, or why there is none."""
    if problem.language not in _TELL:
        return Refusal.LANGUAGE
    match problem.domain, problem.verifier:
        case "code", _:
            return _function(problem, thought, answer)
        case "stem", _:
            return _choice(problem, thought, answer)
        case "logic", "exact":
            return _facing(problem, thought, answer)
        case "general" | "near-miss" | "safety", _:
            return _answering(problem, thought, answer)
        case _:
            return _counting(problem, thought, answer)


# Tallies: stories, programs that print, turns --------------------------------------------------------


def _counting(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    story = problem.domain == "math"
    tallies = read(thought, STORY if story else PRINT)
    if isinstance(tallies, Refusal):
        return tallies
    last = tallies[-1]
    if parse_number(answer) != last.result:
        return Refusal.CONTRADICTS
    labels = _PLACES[problem.language]["story" if story else "print"]
    if not last.right(STORY) or len(last.lines) != problem.difficulty:
        return Refusal.FALSE_STEP
    told = _told(tallies, problem.language, labels, str, str)
    summary = _TELL[problem.language]["story" if story else "print"].format(
        start=last.start, steps=len(last.lines), answer=answer
    )
    return Rewritten(told, summary)


def _facing(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    tallies = read(thought, TURN)
    if isinstance(tallies, Refusal):
        return tallies
    ways, how, last = WAYS[problem.language], HOW[problem.language], tallies[-1]
    if answer.strip() != ways[last.result]:
        return Refusal.CONTRADICTS
    if not last.right(TURN) or len(last.lines) != problem.difficulty:
        return Refusal.FALSE_STEP
    told = _told(
        tallies,
        problem.language,
        _PLACES[problem.language]["turn"],
        lambda way: ways[way],
        lambda step: how[int(step) - 1],
    )
    return Rewritten(told, _TELL[problem.language]["face"].format(answer=answer.strip()))


def _told(
    tallies: Sequence[Tally],
    language: str,
    labels: Sequence[str],
    value: Callable[[int], str],
    step: Callable[[str], str],
) -> str:
    """The thought: sentences around the lines, which stay as they are but for their language."""
    says, told = _TELL[language], []
    for place, tally in enumerate(tallies):
        told.append(says["again" if place else "start"].format(start=value(tally.start)))
        told += [
            f"{label}{step(one.step)}={value(one.after)}"
            for label, one in zip(labels, tally.lines, strict=False)
        ]
        told.append(_after(place, tallies, says, value))
    return "\n".join(told)


def _after(
    place: int, tallies: Sequence[Tally], says: dict[str, str], value: Callable[[int], str]
) -> str:
    """What a derivation comes to, beside the one before it."""
    result, last = tallies[place].result, place == len(tallies) - 1
    if place == 0:
        return says["result"].format(result=value(result))
    before = tallies[place - 1].result
    words = {"before": value(before), "result": value(result)}
    if result == before:
        return says["same"].format(**words)
    return says["last" if last else "differ"].format(**words)


# Requests, whose answers nobody changes ----------------------------------------------------------------


def _answering(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    """A plan is told in a sentence; the answer is the summary."""
    language, kind, subject = problem.language, problem.columns["kind"], problem.columns["subject"]
    said = [line for line in map(str.strip, thought.splitlines()) if line]
    if all(_SAID.fullmatch(line) for line in said):
        return Refusal.NO_REASONING
    if problem.domain != "general":
        harmful = problem.domain == "safety"
        if not any(PLANS[tongue][harmful] in thought for tongue in PLANS):
            return Refusal.CONTRADICTS
        return Rewritten(JUDGED[language][harmful], answer)
    return Rewritten(readable(Request(kind, subject, problem.columns["n"], 0, language)), answer)


# Lists: functions and choices ------------------------------------------------------------------------

_STEP = re.compile(rf"(?P<label>[{LETTERS}]) ?(?P<sign>[-+*])(?P<operand>[0-9]{{1,2}})")
_KIND = {kind: place for kinds in KINDS.values() for place, kind in enumerate(kinds)}
_KINDS = "|".join(_KIND)
_OPTION = re.compile(
    rf"(?P<label>[{LABELS}]) (?P<thing>[^:]+): ?(?P<kind>{_KINDS})"
    rf"(?:, |，)(?P<asked>{_KINDS})(?:\? |？)(?P<verdict>yes|no|是|否)"
)
_YES = ("yes", "是")
_SAID = phrases(f"[{LABELS}]")


def _lines(thought: str, line: re.Pattern[str], labels: str) -> list[re.Match[str]] | Refusal:
    """The lines of one list, each label in its turn."""
    found: list[re.Match[str]] = []
    for text in filter(None, map(str.strip, thought.splitlines())):
        if one := line.fullmatch(text):
            if len(found) >= len(labels) or one["label"] != labels[len(found)]:
                return Refusal.UNREADABLE
            found.append(one)
        elif not _SAID.fullmatch(text):
            return Refusal.UNREADABLE
    return found or Refusal.NO_REASONING


def _function(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    found = _lines(thought, _STEP, LETTERS)
    if isinstance(found, Refusal):
        return found
    steps = tuple(Operation(one["sign"], int(one["operand"])) for one in found)
    if answer.strip() != program(steps):
        return Refusal.CONTRADICTS
    says = _TELL[problem.language]
    told = [says["steps"]]
    told += [
        f"{letter} {step.sign}{step.operand}" for letter, step in zip(LETTERS, steps, strict=False)
    ]
    return Rewritten("\n".join(told), says["code"].format(answer=answer.strip()))


def _choice(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    found = _lines(thought, _OPTION, LABELS)
    if isinstance(found, Refusal):
        return found
    asked = _asked(problem)
    if not _weighs(problem, asked, found):
        return Refusal.FALSE_STEP
    if _KIND[found[-1]["kind"]] != asked or answer.strip() != found[-1]["label"]:
        return Refusal.CONTRADICTS
    says, last = _TELL[problem.language], answer.strip()
    told = [says["options"].format(kind=KINDS[problem.language][asked])]
    told += [
        f"{label} {weighed(option, _KIND[one['kind']], asked, problem.language)}"
        for label, option, one in zip(LABELS, _options(problem), found, strict=False)
    ]
    told.append(says["found"].format(label=last))
    return Rewritten("\n".join(told), says["choice"].format(answer=last))


def _asked(problem: Problem) -> int:
    """The kind that the question asks for; with it the first line ends, a mark apart."""
    asked = problem.question.splitlines()[0]
    kinds = KINDS[problem.language]
    return next(place for place, kind in enumerate(kinds) if asked[:-1].endswith(kind))


def _options(problem: Problem) -> list[str]:
    return [line.split(" ", 1)[1] for line in problem.question.splitlines()[1:]]


def _weighs(problem: Problem, asked: int, found: Sequence[re.Match[str]]) -> bool:
    """Whether each line names its option, what that is, what is asked, and says rightly whether the two are one."""
    names, options = THINGS[problem.language], _options(problem)
    return len(found) <= len(options) and all(
        one["thing"] == option
        and option in names[_KIND[one["kind"]]]
        and _KIND[one["asked"]] == asked
        and (one["verdict"] in _YES) == (_KIND[one["kind"]] == asked)
        for one, option in zip(found, options, strict=False)
    )
