"""Tables of reasoning-gym's tasks: those that are offered, with the rule that grades each, and those that are refused, with
the reason.

tests/slow/test_gym.py checks them for the version in `VERSION`: each offered task makes the same problems in every process,
scores its own gold answers 1 and ten types of junk 0.

reasoning-gym's own scorers are used only where many answers are right, since they give partial credit: for a gold answer
inside a longer text, for a list that differs by one everywhere, for "False" instead of true. Where one answer is right, a
verifier of this project compares it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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

_NUMBERS = """
aiw basic_arithmetic binary_alternation chain_sum circuit_logic count_bits count_primes decimal_arithmetic
decimal_chain_sum dice gcd largest_island lcm leg_counting letter_counting maze number_sequence products
rectangle_count rotten_oranges self_reference simple_equations simple_geometry
"""
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
