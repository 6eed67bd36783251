"""The laws for the other verifiers: `number`, `choice`, `exact`, `output`, `value`, `code` and `gym`.

In: a seed. Out: `Case`s, each a problem with answers that say the same as its gold answer and answers that say
something else. For `number` the mutators of mathematics add to them: whatever they put beside a number is no number.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from benchmarks.graders.added import ADDED
from benchmarks.graders.changed import CHANGED
from benchmarks.graders.golds import INTRUDER, Gold
from benchmarks.graders.laws import Break
from dianoia.base.records import Problem

Verify = Callable[[Problem, str], float | None]


@dataclass(frozen=True, slots=True)
class Case:
    """A problem and answers to it, by the name of the change that made them."""

    problem: Problem
    same: Mapping[str, str] = field(hash=False)
    different: Mapping[str, str] = field(hash=False)


ENCLOSED = (
    "@", " @ ", "@\n", "$@$", "$$@$$", r"\(@\)", r"\[@\]", r"\boxed{@}", r"$\boxed{@}$", r"$\boxed{@}$.", r"\boxed{\boxed{@}}", r"\fbox{@}", "**@**", "*@*", "`@`", r"\text{@}",
    r"\textbf{@}", r"\mathbf{@}", r"\boxed{\text{@}}", "@.",
)  # fmt: skip
"""What stands around the whole of an answer and says nothing, for `number`, `exact` and `choice`."""
ANNOUNCED = (
    "The answer is @", "The answer is @.", "The answer is $@$.", r"The answer is $\boxed{@}$.", "The answer is **@**.", "Answer: @", "**Answer:** @", "**Answer**: @",
    "Final Answer: The final answer is $@$. I hope it is correct.", r"Final Answer: The final answer is $\boxed{@}$. I hope it is correct.", "Therefore, the answer is @.", "#### @", "答案是@", "答案：@",
)  # fmt: skip
"""What announces an answer, for `choice`."""


def numbers(draw: random.Random) -> Case:
    """Draw a number: whole, with thousands, decimal, a/b or a percentage."""
    kind = draw.choice(("whole", "whole", "thousands", "decimal", "fraction", "percent"))
    value = Fraction(draw.randint(3, 99999), {"decimal": 100, "fraction": draw.randint(2, 99)}.get(kind, 1))  # fmt: skip
    value *= draw.choice((1, -1)) if kind in ("whole", "decimal", "fraction") else 1
    text = {"decimal": f"{float(value):.2f}", "thousands": f"{int(value):,}", "percent": f"{int(value)}%", "fraction": str(value)}.get(kind, str(int(value)))  # fmt: skip
    if INTRUDER in text:
        return numbers(draw)
    question = draw.choice(("How much is it?", "What is the result?"))
    same = {wrapping: wrapping.replace("@", text) for wrapping in ENCLOSED}
    if kind in ("whole", "decimal"):
        same |= {"plus sign": text if text[0] == "-" else f"+{text}", "trailing zeros": text + ("0" if "." in text else ".00"), "currency": text if text[0] == "-" else f"${text}", "Unicode minus": text.replace("-", "\u2212")}  # fmt: skip
    if kind == "thousands":
        same |= {"without separators": text.replace(",", ""), "LaTeX separators": text.replace(",", "{,}"), "negative space": text.replace(",", r",\!")}  # fmt: skip
    if kind == "percent":
        same |= {"sign left out": text[:-1], "LaTeX percent": text[:-1] + r"\%", "blank before percent": text[:-1] + " %"}  # fmt: skip
    gold = Gold(text, kind, value, number=value if kind in ("whole", "decimal") else None)
    answers = {m.name: m.make(gold) for m in (*ADDED, *CHANGED) if m.name not in _SAME_AS_NUMBERS}
    different = {name: answer for name, answer in answers.items() if answer is not None}
    return Case(Problem("n", question, text, "number"), same, different)


_SAME_AS_NUMBERS = frozenset({r"\$@", "first digits changed"})
"""A dollar sign in front of a number is left out; the other one does not know thousands."""

_OPTIONS = (
    ("Rome", "Paris", "New York", "Oslo"),
    ("$5$", "$6$", "$8$", r"$\frac{1}{2}$", "None of these"),
    ("increases", "decreases", "stays the same"),
    ("H2O", "CO2", "NaCl", "O2", "He", "CH4"),
)


def choices(draw: random.Random) -> Case:
    """Draw a problem with options and the letter of one as the gold answer."""
    options = draw.choice(_OPTIONS)
    right = draw.randrange(len(options))
    letter, text = "ABCDEFGH"[right], options[right]
    other = (right + 1) % len(options)
    wrong, wrong_text = "ABCDEFGH"[other], options[other]
    spelled = (letter, letter.lower(), f"({letter})", f"{letter}.", f"{letter})", f"{letter}) {text}", f"({letter}) {text}", f"{letter}. {text}", text, f"Option {letter}")  # fmt: skip
    same = {f"{wrapping}, {form!r}": wrapping.replace("@", form) for wrapping in (*ENCLOSED, *ANNOUNCED) for form in spelled
            if not (wrapping.endswith("@.") and form.endswith("."))
            and ("$" not in form or ("$" not in wrapping and "\\" not in wrapping and "`" not in wrapping))}  # fmt: skip
    different = {name: template.replace("@", letter).replace("%", wrong).replace("&", wrong_text).replace("^", text) for name, template in ((t, t) for t in (*_NO_CHOICE, *_OTHER_CHOICE))}  # fmt: skip
    problem = Problem("c", "Which one?", letter, "choice", columns={"options": list(options)})
    return Case(problem, same, different)


_NO_CHOICE = (
    "@ or %", "% or @", "@, %", "@ and %", "@%", "%@", "@ %", "@\n%", "not @", "The answer is not @", "@?", "maybe @", "I think @", "probably @", "@ (probably)", "neither @", "both @ and %", "either @ or %", "all but @", "everything except @", "@ is wrong", "@ is not correct", "@ is incorrect",
    "@ is correct and % is correct", "@ is correct, or %", "The answer is @ or %", "The answer is @. The answer is %.", "The answer is %. No, @ or %", "Answer: @, %", r"\boxed{@} \boxed{%}", r"\boxed{%} \boxed{@}", r"\boxed{@} or %", r"\boxed{@}\text{ or %}", r"\boxed{@, %}", r"\boxed{@", "$@$, %", "$@$ $%$", r"\text{not @}",
    r"\text{@ or %}", r"@\text{ or %}", r"@_1", "@'", "@^2", "@1", "1@", "@\u200b", "@\u0338", "\u202e@", "~~@~~", r"\cancel{@}", r"\sout{@}", r"@\phantom{%}", "@ % %", "@) &", "(@) &", "@. &", "@: &", "@ = %", "@ -> %", "@; %", "@/%", "@|%", "@-%", "@ vs %", "[@, %]", "{@, %}", "(@, %)", "(@)(%)", "(@) (%)",
    "@ or none", "@ and others", "^ or &", "^, &", "^ and &", "not ^", "^?", "^ &", "&, ^", "^ is wrong", "I do not know", "", "none", "@" * 50, "ABCD", "A B C D", "A, B, C or D", "any", "Option @ or Option %", "option @, option %", "@) ^ or %) &", "@) ^, %) &", "@) ^\n%) &", "The answer is @) &", "**@** or **%**", "**@**, **%**", "@ because % is wrong", "**not** @", "non-@", "@@", "@ @", "@, @",
)  # fmt: skip
_OTHER_CHOICE = ("%", "(%)", "%.", "&", "%) &", r"\boxed{%}", "The answer is %", "**%**", "Option %", "% is correct", r"\text{%}", r"\textbf{(%)}", "Answer: %", "$%$", "Z", "J", "1", "0", "@) %", "%) @")  # fmt: skip

_TEXTS = ("Paris", "New York", "Straße", "the Treaty of Ghent", "café", "是", "Ada Lovelace")


def texts(draw: random.Random) -> Case:
    """Draw a text that is compared as it is, case and spacing aside."""
    text = draw.choice(_TEXTS)
    same = {"capitals": text.upper(), "small letters": text.lower(), "blanks around": f"  {text}\n", "wide blanks": text.replace(" ", "\u00a0 \t"), "composed otherwise": text.replace("é", "e\u0301")}  # fmt: skip
    same |= {wrapping: wrapping.replace("@", text) for wrapping in ENCLOSED if wrapping != "@."}
    templates = ("not @", "@ or Rome", "@, Rome", "@ and Rome", "@?", "the @", "@ @", "@Rome", "Rome", "", "@ is wrong", "un@", "@\u200b", "@\u202e", "@\u0338", "@_1", "@'", "@ 1", "1 @", "@\nRome", "@\0", "~~@~~", r"@\text{ or Rome}", r"\boxed{@} or Rome", "@;", "(@", "maybe @", "@ (probably)")  # fmt: skip
    different = {template: template.replace("@", text) for template in templates}
    different |= {"cut": text[:-1] or "x", "doubled letter": text + text[-1], "homoglyph": text.replace("a", "\u0430").replace("是", "昰").replace("o", "\u043e")}  # fmt: skip
    return Case(Problem("e", "Which?", text, "exact"), same, {k: v for k, v in different.items() if v.casefold() != text.casefold()})  # fmt: skip


def outputs(draw: random.Random) -> Case:
    """Draw what a program prints: lines of words and numbers."""
    lines = [" ".join(draw.choice(("7", "-3", "ab", "Yes", "0.5", "x y", "[1, 2]")) + str(draw.randint(0, 9)) for _ in range(draw.randint(1, 3))) for _ in range(draw.randint(2, 4))]  # fmt: skip
    text = "\n".join(lines)
    same = {"line break behind": text + "\n", "blank lines behind": text + "\n\n \n", "blanks behind lines": " \n".join(lines) + "  ", "carriage returns": "\r\n".join(lines), "fenced": f"```\n{text}\n```", "fenced with a name": f"```text\n{text}\n```"}  # fmt: skip
    different = {
        "line dropped": "\n".join(lines[:-1]), "line added": f"{text}\n{INTRUDER}", "line before": f"{INTRUDER}\n{text}", "line repeated": f"{text}\n{lines[-1]}", "text twice": f"{text}\n{text}", "word added": f"{text} {INTRUDER}",
        "letters changed": text.swapcase() + "q", "blank line between": "\n\n".join(lines), "blanks doubled": text.replace(" ", "  ") if " " in text else text + "q", "joined lines": " ".join(lines), "nothing": "", "prose": f"It prints {text}", "digit changed": text[:-1] + str((int(text[-1]) + 1) % 10),
        "lines turned": "\n".join(lines[::-1]) if lines != lines[::-1] else text + "q", "two fences": f"```\n{text}\n```\n```\n{INTRUDER}\n```", "text behind a fence": f"```\n{text}\n```\nor {INTRUDER}", "hidden character": text + "\u200b", "zeros": text + "0", "quotes": f"'{text}'", "or": f"{text} or {INTRUDER}", "not": f"not {text}", "NUL": text + "\0",
    }  # fmt: skip
    return Case(Problem("o", "What does it print?", text, "output"), same, different)


def _value(draw: random.Random, depth: int = 2) -> object:
    kind = draw.randint(0, 6 if depth else 4)
    if kind == 5:
        return [_value(draw, depth - 1) for _ in range(draw.randint(1, 3))]
    if kind == 6:
        return {
            key: _value(draw, depth - 1)
            for key in draw.sample(("a", "b", "key"), draw.randint(1, 2))
        }
    return (draw.randint(-50, 50), draw.choice((0.5, -1.25, 3.75)), draw.choice(("x", "no way", "it's")), draw.random() < 0.5, None)[kind]  # fmt: skip


def values(draw: random.Random) -> Case:
    """Draw what a call returns: a value of plain types."""
    inner = _value(draw)
    value = [inner, draw.randint(2, 40)]
    text = json.dumps(value) if draw.random() < 0.5 else repr(value)
    same = {"JSON": json.dumps(value), "Python": repr(value), "tuple": repr(tuple(value)), "blanks": f"  {text} \n", "fenced": f"```python\n{value!r}\n```", "whole float": repr([inner, float(value[1])])}  # fmt: skip
    different = {
        "last changed": repr([inner, value[1] + 1]), "dropped": repr([inner]), "added": repr([*value, 97]), "turned": repr(value[::-1]) if value != value[::-1] else repr([1]), "as text": repr(repr(value)), "nested": repr([value]), "last as text": repr([inner, str(value[1])]),
        "nothing": "", "None": "None", "open": text[:-1], "two": f"{text} {text}", "or": f"{text} or {text}", "list of two": f"{text}, {text}", "equation": f"x = {text}", "call": f"list({text})", "sum": f"{text} + [97]", "set": "{" + "97, 98" + "}", "comparison": f"{text} == {text}",
        "negated": f"not {text}", "comprehension": f"[x for x in {text}]", "prose": f"It returns {text}", "True for 1": repr([inner, True]), "not a number": repr([inner, 0]).replace("0", "NaN"), "comment only": f"# {text}", "ellipsis": "[...]", "repeated": f"{text} * 1", "text behind": f"{text} # or 97", "f-text": f'f"{value[1]}"', "infinity": "[1e999]",
        "tiny": repr([inner, value[1] + 1e-9]), "deep": "[" * 60 + "]" * 60,
    }  # fmt: skip
    different.pop("text behind")  # a comment of Python says nothing
    return Case(Problem("v", "What does it return?", text, "value"), same, {name: answer for name, answer in different.items() if answer != text})  # fmt: skip


_SQUARE = {
    "calls": [{"function": "f", "arguments": [n], "expected": n * n} for n in (3, -12, 0, 97)],
    "limits": {"wall_seconds": 5, "cpu_seconds": 3},
}


def programs(draw: random.Random) -> Case:
    """Draw a problem whose answer is a program, with right and wrong ones."""
    right = "def f(n):\n    return n * n"
    same = {"bare": right, "fenced": f"```python\n{right}\n```", "by power": "def f(n):\n    return n ** 2", "lambda": "f = lambda n: n * n", "with a helper": f"def g(n):\n    return n\n{right}", "by a loop": "def f(n):\n    return sum(abs(n) for _ in range(abs(n)))"}  # fmt: skip
    different = {
        "off by one": "def f(n):\n    return n * n + 1", "doubled": "def f(n):\n    return n * 2", "constant": "def f(n):\n    return 9", "right for the first": "def f(n):\n    return 9 if n == 3 else 144", "no return": "def f(n):\n    print(n * n)", "text": "def f(n):\n    return str(n * n)", "raises": "def f(n):\n    raise ValueError",
        "other name": "def g(n):\n    return n * n", "syntax": "def f(n)\n    return n * n", "nothing": "", "prose": "It returns n squared.", "always equal": "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef f(n):\n    return A(1)", "sign": "def f(n):\n    return -n * n", "exit": "import sys\ndef f(n):\n    sys.exit(0)",
        "os exit": "import os\ndef f(n):\n    os._exit(0)", "list": "def f(n):\n    return [n * n]", "none": "def f(n):\n    return None", "endless": "def f(n):\n    return f(n)", "true": "def f(n):\n    return True", "cube": "def f(n):\n    return n * n * n", "nearly": "def f(n):\n    return n * n + 1e-9", "not a number": "def f(n):\n    return float('nan')",
        "commented out": "# def f(n):\n#     return n * n", "generator": "def f(n):\n    yield n * n", "two arguments": "def f(n, m):\n    return n * n",
    }  # fmt: skip
    del draw
    return Case(Problem("p", "Square n.", json.dumps(_SQUARE), "code"), same, different)


CASES: Mapping[str, Callable[[random.Random], Case]] = {
    "number": numbers, "choice": choices, "exact": texts, "output": outputs, "value": values, "code": programs,
}  # fmt: skip
"""A generator of cases for each verifier; those of `gym` are reasoning-gym's own problems (`gym_cases`)."""


def gym_cases(problems: Sequence[Problem]) -> Iterator[Case]:
    """Make a case of each problem of reasoning-gym."""
    for problem in problems:
        gold = problem.answer
        templates = ("not @", "@ or 97", "@\n97", "97\n@", "@ @", "I think @", "@?", "", "97", "@\u200b", "@; 97", "@ is wrong", "[@]97", "__import__('os')", "@ # 97", "~~@~~", "x" * 50)  # fmt: skip
        different = {template: template.replace("@", gold) for template in templates}
        yield Case(problem, {"gold": gold, "blanks": f" {gold}\n", "boxed": rf"\boxed{{{gold}}}" if "\n" not in gold and "{" not in gold else gold}, different)  # fmt: skip


def cases(verifier: str, count: int, seed: int) -> list[Case]:
    """Draw cases of a verifier."""
    draw = random.Random(seed)
    return [CASES[verifier](draw) for _ in range(count)]


def broken(verify: Verify, all_cases: Sequence[Case]) -> Iterator[Break]:
    """Find the answers to which a verifier gives the wrong score, and those that are right for two golds that differ."""
    for case in all_cases:
        gold = case.problem.answer
        for name, answer in case.same.items():
            if verify(case.problem, answer) != 1.0:
                yield Break(name, gold, answer, False)
        for name, answer in case.different.items():
            if verify(case.problem, answer) != 0.0:
                yield Break(name, gold, answer, True)
    for case, other in pairwise(all_cases):
        if (
            case.problem.answer == other.problem.answer
            or case.problem.columns
            or case.problem.verifier == "code"
        ):
            continue
        for answer in case.same.values():
            if verify(other.problem, answer) != 0.0:
                yield Break(
                    f"right for {case.problem.answer!r} too", other.problem.answer, answer, True
                )
