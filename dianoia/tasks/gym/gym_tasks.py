"""Tables of reasoning-gym's tasks: those that are offered, with the rule that grades each, and those that are refused, with
the reason.

tests/slow/test_gym.py checks them for the version in `VERSION`: each offered task makes the same problems in every process,
scores its own gold answers 1 and fourteen types of junk 0.

reasoning-gym's own scorers are used only where many answers are right, since they give partial credit: for a gold answer
inside a longer text, for a list that differs by one everywhere, for "False" instead of true. Where one answer is right, a
verifier of this project compares it.

The verifier "gym" is here too. In: a problem of `GymProblems` and an answer. Out: 1.0 for a full score, else 0.0, since partial
credit is no credit; None for a problem that is not reasoning-gym's. Several scorers evaluate the answer as Python. So an answer
is scored only if it matches the form of the task's rule, which allows no call, as it is or without a box, dollars or bold
around the whole of it. The scorer runs in the sandbox, with limits on time and memory.
"""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from dianoia.base.errors import SandboxError
from dianoia.base.extras import pip_install
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import Limits, Packages
from dianoia.tasks.code import CodeTests, Verdict, graded, run_jobs, shared_pool
from dianoia.tasks.code.code_verifier import Job
from dianoia.tasks.code.test_cases import Call
from dianoia.tasks.short_answers.wrappings import unwrapped
from dianoia.tasks.verifier import Grade, Pair, RunsIn, Verifier

VERSION = "0.1.25"
_LIST = r"\[[a-z\s\",\[\]]*\]"
_MOVE = r"Move disk \d+ from Peg \d+ to Peg \d+"
# No rounding division, no name of two letters, no power but that of a short integer: no towers of powers, which take forever.
_POLYNOMIAL = r"(?!.*(?://|[xXC]{2}|\*\*(?!\s*\d{1,3}(?![\d.])(?!\s*\*\*))))"
_LETTER_DIGIT = "[A-Z]=[0-9]"


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule that grades the answers of a task."""

    verifier: str
    """ "number", "output" or "value" compare with the one gold answer; "gym" runs reasoning-gym's scorer in the sandbox."""
    form: str | None = None
    """Pattern of all allowed answers for "gym", since several scorers evaluate the answer as Python."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task; the user's come first."""


_NUMBER, _TEXT, _VALUE = Rule("number"), Rule("output"), Rule("value")

# One right answer, a number.
_NUMBERS = """
aiw basic_arithmetic binary_alternation chain_sum circuit_logic count_bits count_primes decimal_arithmetic
decimal_chain_sum dice gcd largest_island lcm leg_counting letter_counting maze number_sequence products
rectangle_count rotten_oranges self_reference simple_equations simple_geometry
"""
# One right answer, a text, which `output` compares line by line.
_TEXTS = """
ab arc_1d base_conversion binary_matrix bitwise_arithmetic caesar_cipher calendar_arithmetic color_cube_rotation
course_schedule emoji_mystery family_relationships figlet_font fraction_simplification game_of_life_halting
knights_knaves letter_jumble mahjong_puzzle manipulate_matrix mini_sudoku modulo_grid needle_haystack path_star
prime_factorization rearc rotate_matrix sentence_reordering spell_backward spiral_matrix string_insertion
string_manipulation string_splitting string_synthesis survo syllogism time_intervals tsumego
word_sequence_reversal word_sorting
"""

OFFERED: Mapping[str, Rule] = {
    **dict.fromkeys(_NUMBERS.split(), _NUMBER),
    **dict.fromkeys(_TEXTS.split(), _TEXT),
    **dict.fromkeys(["game_of_life", "number_filtering", "number_sorting"], _VALUE),
    # With division it rounds inside brackets, so that some of its gold answers are wrong.
    "basic_arithmetic": Rule("number", options={"operators": ("+", "-", "*")}),
    # One way to write a fraction, whatever the question's is.
    "fraction_simplification": Rule("output", options={"styles": ("plain",)}),
    # From here on many answers are right. Each form is as narrow as the task allows: it has no name that can be
    # called, and no operator whose result can be huge.
    "countdown": Rule("gym", r"(?!.*(?:\*\*|//))[0-9+\-*/() ]+"),
    "cryptarithm": Rule(
        "gym", rf"(?!.*([A-Z])=.*\1=){_LETTER_DIGIT}(?:, ?{_LETTER_DIGIT})*"
    ),  # each letter once
    "group_anagrams": Rule("gym", _LIST),
    "jugs": Rule("gym", r"\[[\w\s\",>-]*\]"),
    "kakurasu": Rule("gym", r"[01\s]+"),
    "n_queens": Rule("gym", r"[Q_ \n]+"),
    "palindrome_generation": Rule("gym", "[a-z]+"),
    "palindrome_partitioning": Rule("gym", _LIST),
    "quantum_lock": Rule("gym", r"[ABC](?:\s*(?:→|->|,)\s*[ABC])*"),
    "shortest_path": Rule("gym", r"infeasible|(?:up|down|left|right)(?:\s+(?:up|down|left|right))*"),
    "simple_integration": Rule("gym", rf"{_POLYNOMIAL}[0-9xXC+\-*/() ]+"),
    "tower_of_hanoi": Rule("gym", rf"{_MOVE}(?:\s*\n\s*{_MOVE})*"),
}  # fmt: skip

_NO_GOLD = "it has no gold answer, so that its scorer cannot be checked"
_BY_PROCESS = (
    "its problems depend on the process that makes them, so that a resumed run would get others"
)
_ALL_FIRST = "it makes a list of all its problems before the first one"
_GLOBAL = "it draws from the random numbers of the whole process"
_SLOW = "it searches for each problem, so that those of one step would take minutes"
_TEST_SET = "its problems are those of a public test set"

REFUSED: Mapping[str, str] = {
    "acre": _ALL_FIRST,
    "advanced_geometry": "its scorer takes an answer that is written twice, and rounds",
    "arc_agi": _TEST_SET,
    "bf": "it prints while it makes problems",
    "boxnet": _NO_GOLD,
    "codeio": f"it runs programs to make problems, and {_GLOBAL.removeprefix('it ')}",
    "coin_flip": "its gold answers are rounded without saying so, and its scorer takes any number close to them",
    "complex_arithmetic": 'its scorer takes "nan" for every number',
    "composite": "it is a mixture of other tasks; list them one by one",
    "futoshiki": _SLOW,
    "graph_color": _NO_GOLD,
    "gsm_symbolic": f"{_TEST_SET} (GSM8K) with other numbers",
    "intermediate_integration": _BY_PROCESS,
    "isomorphic_strings": _BY_PROCESS,
    "knight_swap": _BY_PROCESS,
    "list_functions": _GLOBAL,
    "number_format": "its gold answers carry errors of binary fractions, and its scorer takes what is close",
    "polynomial_equations": "its scorer takes solutions that are close, and one twice",
    "polynomial_multiplication": _BY_PROCESS,
    "pool_matrix": _GLOBAL,
    "power_function": "its gold answers have more places than it asks for, and its scorer rounds them away",
    "propositional_logic": _NO_GOLD,
    "puzzle24": "its scorer takes any four numbers that make 24, and cuts off what is behind the decimal point",
    "ransom_note": _BY_PROCESS,
    "rubiks_cube": _NO_GOLD,
    "rush_hour": _NO_GOLD,
    "sokoban": "its scorer passes over whatever is no move",
    "sudoku": _SLOW,
    "word_ladder": _ALL_FIRST,
    "zebra_puzzles": _SLOW,
}


_LIMITS = Limits(wall_seconds=20.0, cpu_seconds=10.0, memory_bytes=2**30)
_SPARE_CHARS, _SPARE_TIMES = 100, 4
"""An answer may have so many times the characters of the gold answer, and so many more."""
# Runs in the sandbox. Seed and size do not matter: the entry is the problem's own, and none is generated.
_PROGRAM = """
import reasoning_gym

def score(task, options, entry, answer):
    data = reasoning_gym.create_dataset(task, seed=0, size=1, **options)
    return float(data.score_answer(answer, entry)) >= 1.0
"""


def grade_many(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade answers: 1.0 if reasoning-gym gives its full score, else 0.0; None for a task that is not offered.

    Raises SandboxError when no sandbox works on this machine and none was waived, or reasoning-gym is not installed.
    """
    return run_jobs(
        [_job(problem, answer) for problem, answer in pairs], lambda: shared_pool(_packages())
    )


def _job(problem: Problem, answer: str) -> Job | Grade:
    columns = problem.columns
    rule = OFFERED.get(str(columns.get("task")))
    if rule is None or rule.form is None or not {"options", "entry"} <= columns.keys():
        return Grade(None)
    answer = answer.strip()
    # A much longer text is no answer of the task, and would only cost the scorer time.
    if len(answer) > _SPARE_CHARS + _SPARE_TIMES * len(problem.answer):
        return Grade(0.0)
    # The answer as it is comes first: asterisks and underscores, which also make bold, are signs of some forms.
    readings = (text for text in (answer, unwrapped(answer)) if re.fullmatch(rule.form, text))
    reading = next(readings, None)
    if reading is None:
        return Grade(0.0)
    # Task, options and entry are the problem's own; the answer is passed as a string literal.
    call = f"score({columns['task']!r}, {columns['options']}, {columns['entry']}, {reading!r})"
    tests = CodeTests(calls=(Call(0, True),), steps=(("value", call),), limits=_LIMITS)
    return partial(graded, _PROGRAM, tests)


def _check_gold(problem: Problem) -> Grade:
    return grade_many([(problem, problem.answer)])[0]


@lru_cache(maxsize=1)
def _packages() -> Packages:
    """Return the folder in which reasoning-gym is installed."""
    spec = importlib.util.find_spec("reasoning_gym")
    if spec is None or spec.origin is None:
        raise SandboxError(
            f"the verifier 'gym' needs reasoning-gym, which is not installed; {pip_install('gym')}"
        )
    return Packages(Path(spec.origin).parents[1], ("reasoning_gym",))


GYM = Verifier(
    name="gym",
    summary="1.0 if reasoning-gym gives the answer its full score, else 0.0.",
    grade=grade_many,
    check_gold=_check_gold,
    runs_in=RunsIn.SANDBOX,
    family="code",
    verdicts=Verdict,
)
