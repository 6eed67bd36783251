r"""Lexer: turn an answer in LaTeX, Unicode or plain typing into tokens of one alphabet; refuse any other character.

In: a bare answer. Out: `Token`s. Pure layout (`\left`, `\,`, `\displaystyle`, colours, dollar signs) is dropped here, each
kind by a rule of its own. It leaves a mark on the token after it (`spaced`, `shifted`), so that no later rule joins what it
separates: `$5$99` is not 599. A character or command without a rule makes the answer unreadable. Time is linear in the
length of the text, which the caller bounds.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import takewhile

from dianoia.tasks.math import alphabet, numerals
from dianoia.tasks.math.alphabet import Token, TokenKind
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable
from dianoia.text.boxes import closing_brace

MAX_DIGITS = 400
"""Of all numbers of an answer together; with more, arithmetic could become slow."""
MAX_TOKENS = 700
MAX_EXPONENT = 400
"""Largest exponent of a number in scientific notation, its sign aside."""

_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_LETTERS = re.compile(r"[A-Za-z]+")
_HYPHENATED = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_HALF_DAY = re.compile(r"([ap])\.\s?m\b\.?", re.IGNORECASE)
"""a.m. and p.m."""
_CJK = re.compile(r"[\u3400-\u9fff]+")
_ENVIRONMENT = re.compile(r"\s*\{([A-Za-z]+)\*?\}")
_COLUMNS = re.compile(r"\s*\{[lcr|]{1,24}\}")
_ROW_SPACING = re.compile(r"\s*\[[-0-9.a-z ]{1,8}\]")
_COLOUR = re.compile(r"\s*(?:\[[A-Za-z]{1,8}\])?\{[A-Za-z0-9!#]{1,24}\}")
_BOLD = re.compile(
    r"(?<![\dA-Za-z)}\]*])(\s*)\*\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*\*(?![\dA-Za-z({\\*])"
)


def tokenize(text: str, commas_separate: bool = False) -> list[Token]:
    """Return the tokens of a bare answer.

    Args:
        commas_separate: every comma separates members and none thousands, as in the list `200,100`.

    Raises:
        Unreadable: a character or command has no rule.
        TooLarge: there are more tokens or digits than the bounds allow.
    """
    tokens = Lexer(text.translate(alphabet.SPELLINGS)).read()
    digits = sum(len(token.text) for token in tokens if token.kind in ("number", "based"))
    if digits > MAX_DIGITS:
        raise TooLarge("digits")
    return numerals.join_thousands(tokens, commas_separate)


class Lexer:
    r"""Reads a text from left to right.

    Args:
        text: in the spelling of `alphabet.SPELLINGS`.
        upright: the text is the argument of `\text{}`.
        lenient: the text is a stretch of prose (`repetition`), in which dollar and bold marks need not pair.
    """

    def __init__(self, text: str, upright: bool = False, lenient: bool = False) -> None:
        self.text = text if upright or lenient else _BOLD.sub(r"\1 \2 ", text)
        self.position = 0
        self.upright = upright
        self.tokens: list[Token] = []
        self.spaced = self.shifted = False  # marks for the next token
        self.currency = set() if upright or lenient else numerals.currency_signs(self.text)

    def read(self) -> list[Token]:
        """Return all tokens. Raises Unreadable or TooLarge."""
        while self.position < len(self.text):
            self._next()
            if len(self.tokens) > MAX_TOKENS:
                raise TooLarge("tokens")
        return self.tokens

    def _next(self) -> None:
        char = self.text[self.position]
        if self.text.startswith("~~", self.position):
            raise Unreadable(Reason.CHARACTER)  # ~~5~~ is struck out, so it is no answer
        # The order of the cases matters: a dot before a digit begins a number, other dots do not.
        if char.isspace() or char == "~":
            self._skip(1)
        elif char == "$":
            self._dollar()
        elif char == "\\":
            self._command()
        elif (char.isdigit() and char.isascii()) or (
            char == "." and self.text[self.position + 1 : self.position + 2].isdigit()
        ):
            self._number()
        elif char.isalpha() and char.isascii():
            self._letters()
        elif char == ".":
            self._dots()
        elif char in alphabet.PLAIN_SIGNS:
            if char != "(" or not self._emit_based(numerals.BASED_IN_BRACKETS):
                self._sign(char)
        else:
            self._other(char)

    # Emitting tokens ------------------------------------------------------------------------------

    def _emit(
        self, kind: TokenKind, text: str, length: int, value: Fraction | None = None, base: int = 0
    ) -> None:
        self.tokens.append(Token(kind, text, value, self.spaced, self.shifted, self.upright, base))
        self.spaced = self.shifted = False
        self.position += length

    def _skip(self, length: int) -> None:
        self.spaced = True
        self.position += length

    def _sign(self, char: str) -> None:
        two_characters = self.text[self.position : self.position + 2]
        pairs = {
            "**": "^",
            "<=": "le",
            ">=": "ge",
            "!=": "ne",
            "=<": "le",
            "==": "=",
            "||": "||",
        }
        if self.upright and char == "'":
            raise Unreadable(Reason.TEXT)
        # || is one sign if the other bars do not pair, else the end of one absolute value and the start of the next.
        if two_characters in pairs and (two_characters != "||" or self.text.count("|") % 2):
            self._emit("sign", pairs[two_characters], 2)
        else:
            self._emit("sign", char, 1)

    def _dots(self) -> None:
        if self.text.startswith("...", self.position):
            self._emit("sign", "ldots", 3)
        elif self.upright:  # a.m., approx.
            self._skip(1)
        else:
            raise Unreadable(Reason.CHARACTER)

    def _dollar(self) -> None:
        # A dollar sign is a currency sign or a delimiter; which, `currency_signs` has decided for the whole text.
        double = self.text.startswith("$$", self.position)
        if self.position in self.currency:
            self._emit("sign", "currency $", 1)
            return
        self.shifted = True
        self.position += 2 if double else 1

    # Numbers and letters ---------------------------------------------------------------------------

    def _emit_based(self, pattern: re.Pattern[str]) -> bool:
        """Emit the number with a base that begins here, if one does; return True in that case."""
        match = pattern.match(self.text, self.position)
        if match is None or not numerals.digits_fit(match[1], base := numerals.base_of(match)):
            return False
        self._emit("based", numerals.without_zeros(match[1]), len(match[0]), base=base)
        return True

    def _number(self) -> None:
        text, position = self.text, self.position
        # Not inside a longer number or word: 5101_2 is not 5 times 101_2.
        touching = position > 0 and (text[position - 1].isalnum() or text[position - 1] == ".")
        if not touching and self._emit_based(numerals.BASED):
            return
        # The longest notation first: 0.1\overline{6} and 1.5e3 begin as plain numbers too.
        if repeating := numerals.REPEATING.match(text, position):
            self._emit(
                "number", repeating[0], len(repeating[0]), numerals.repeating_value(repeating)
            )
        elif (match := numerals.SCIENTIFIC.match(text, position)) and numerals.is_scientific(match):
            if abs(int(match[2])) > MAX_EXPONENT:
                raise TooLarge("exponent")
            self._emit(
                "number",
                match[0],
                len(match[0]),
                Fraction(match[1]) * Fraction(10) ** int(match[2]),
            )
        else:
            match = numerals.PLAIN_NUMBER.match(text, position)
            if match is None or len(match[0]) > MAX_DIGITS:
                raise TooLarge("digits")
            self._emit("number", match[0], len(match[0]), Fraction(match[0]))

    def _letters(self) -> None:
        if self._emit_based(numerals.BASED):
            return
        match = _LETTERS.match(self.text, self.position)
        assert match is not None
        word = match[0]
        if half_day := _HALF_DAY.match(self.text, self.position):
            self._emit("letters", half_day[1].lower() + "m", len(half_day[0]))
            return
        if self.upright:
            match = _HYPHENATED.match(self.text, self.position)
            word = match[0] if match else word
        self._word(word, len(word))

    def _word(self, word: str, length: int) -> None:
        # xsin(2) is x times sin(2), if a bracket or exponent follows the function's name.
        following = self.text[self.position + length :].lstrip()[:1]
        if word == "sqrt":
            self._emit("sign", "sqrt", length)
        elif word in alphabet.CONSTANTS or word.lower() in ("infinity",):
            self._emit("constant", alphabet.CONSTANTS.get(word, "infinity"), length)
        elif word in alphabet.FUNCTIONS:
            self._emit("function", alphabet.FUNCTIONS[word], length)
        elif not self.upright and (split := _function_start(word)) and following in ("(", "{", "^"):
            self._emit("letters", word[:split], split)
            self._emit("function", alphabet.FUNCTIONS[word[split:]], length - split)
        else:
            self._emit("letters", word, length)

    # LaTeX -----------------------------------------------------------------------------------------

    def _command(self) -> None:
        match = _COMMAND.match(self.text, self.position)
        if match is None:
            raise Unreadable(Reason.COMMAND)
        name, length = match[1], len(match[0])
        if not name.isalpha():
            self._escaped(name)
        elif name in _READERS:
            _READERS[name](self, name, length)
        elif (token := _SIMPLE.get(name)) is not None:
            self._emit(*token, length)
        else:
            raise Unreadable(Reason.COMMAND)

    def _space(self, name: str, length: int) -> None:
        self._skip(length)

    def _colour(self, name: str, length: int) -> None:
        colour = _COLOUR.match(self.text, self.position + length)
        if colour is None:
            raise Unreadable(Reason.COMMAND)
        self.position += length + len(colour[0])

    def _box(self, name: str, length: int) -> None:
        self._emit("font", "boxed", length)

    def _blackboard(self, name: str, length: int) -> None:
        self._emit("sign", "mathbb", 0)
        self._emit("letters", name, length)

    def _escaped(self, char: str) -> None:
        """Read a backslash and one character that is no letter."""
        if char in ",;:> !":
            if char == "!":  # negative space: `10,\!080` is how LaTeX users type thousands
                self.position += 2
                if self.tokens and self.tokens[-1].text == "," and not self.tokens[-1].upright:
                    self.tokens[-1] = replace(self.tokens[-1], text="thousands")
                    self.position += len(self.text[self.position :]) - len(
                        self.text[self.position :].lstrip()
                    )
            else:
                self._skip(2)
        elif char in "()[]":  # \( and \[ delimit mathematics, as dollar signs do
            self.shifted = True
            self.position += 2
        elif char in "{}":
            self._emit("sign", "\\" + char, 2)
        elif char == "\\":
            self._emit("sign", "row", 2)
            spacing = _ROW_SPACING.match(self.text, self.position)
            self.position += len(spacing[0]) if spacing else 0
        elif char == "%":
            self._emit("sign", "%", 2)
        elif char == "$":
            self._emit("sign", "currency $", 2)
        elif char == "|":
            raise Unreadable(Reason.COMMAND)
        elif char in "&#_":
            raise Unreadable(Reason.CHARACTER)
        else:
            raise Unreadable(Reason.COMMAND)

    def _layout(self, name: str, length: int) -> None:
        self.position += length
        # \left. and \right. are invisible; the dot of `\left.5` is a decimal point.
        if name in ("left", "right") and re.match(r"\s*\.(?!\d)", self.text[self.position :]):
            self.position += (
                len(self.text[self.position :]) - len(self.text[self.position :].lstrip()) + 1
            )
        # \left and \right belong to their bracket; other commands separate words, as a space does.
        if name not in ("left", "right", "middle"):
            self.spaced = self.spaced or self.text[self.position : self.position + 1].isspace()

    def _text(self, name: str, length: int) -> None:
        """Read the argument of `\\text`, `\\mathrm` or `\\operatorname*` with a lexer of its own, which marks it as upright."""
        start = self.position + length
        start += len(self.text[start:]) - len(self.text[start:].lstrip())
        if self.text[start : start + 1] == "*":
            start += 1
        if self.text[start : start + 1] != "{":
            letter = self.text[start : start + 1]
            # \mathrm x takes one letter, as TeX does.
            if not letter.isalpha():
                raise Unreadable(Reason.COMMAND)
            content, end = letter, start + 1
        else:
            closing = closing_brace(self.text, start + 1)
            if closing is None:
                raise Unreadable(Reason.BRACKETS)
            content, end = self.text[start + 1 : closing], closing + 1
        inner = Lexer(content, upright=True)
        words = inner.read()
        if words:
            # The marks that were waiting for the next token belong to the first one of the text.
            first = words[0]
            words[0] = replace(
                first, spaced=first.spaced or self.spaced, shifted=first.shifted or self.shifted
            )
            self.spaced = self.shifted = False
        self.tokens += words
        self.spaced = self.spaced or inner.spaced
        self.position = end

    def _environment(self, command: str, length: int) -> None:
        match = _ENVIRONMENT.match(self.text, self.position + length)
        if match is None or match[1] not in alphabet.ENVIRONMENTS:
            raise Unreadable(Reason.COMMAND)
        columns = (
            _COLUMNS.match(self.text, self.position + length + len(match[0]))
            if match[1] == "array" and command == "begin"
            else None
        )
        self._emit(
            "begin" if command == "begin" else "end",
            alphabet.ENVIRONMENTS[match[1]],
            length + len(match[0]) + (len(columns[0]) if columns else 0),
        )

    # Other Unicode characters ---------------------------------------------------------------------------

    def _other(self, char: str) -> None:
        if char in alphabet.SUPERSCRIPTS:
            self._script("^", alphabet.SUPERSCRIPTS)
        elif char in alphabet.SUBSCRIPTS:
            self._script("_", alphabet.SUBSCRIPTS)
        elif char in alphabet.VULGAR_FRACTIONS:
            top, bottom = alphabet.VULGAR_FRACTIONS[char]
            self._emit("number", char, 1, Fraction(top, bottom))
        elif char == "π":
            self._emit("constant", "pi", 1)
        elif char == "∞":
            self._emit("constant", "infinity", 1)
        elif char in alphabet.GREEK:
            self._emit("name", "\\" + alphabet.GREEK[char], 1)
        elif char in alphabet.SIGN_CHARACTERS:
            self._emit("sign", alphabet.SIGN_CHARACTERS[char], 1)
        elif char in "€£¥₹¢":
            self._emit("sign", f"currency {char}", 1)
        elif char in "ℝℤℕℚℂ":
            self._emit("sign", "mathbb", 0)  # the same two tokens as \mathbb{R}
            self._emit("letters", "RZNQC"["ℝℤℕℚℂ".index(char)], 1)
        elif words := _CJK.match(self.text, self.position):
            self._emit("words", words[0], len(words[0]))
        else:
            raise Unreadable(Reason.CHARACTER)

    def _script(self, sign: str, signs: Mapping[str, str]) -> None:
        """Emit a run of raised or lowered characters as an exponent or subscript in braces: `x²³` as `x^{23}`."""
        run = list(takewhile(signs.__contains__, self.text[self.position :]))
        self._emit("sign", sign, 0)
        self._emit("sign", "{", 0)
        self.tokens += Lexer("".join(signs[char] for char in run)).read()
        self._emit("sign", "}", len(run))


def _function_start(word: str) -> int:
    """Return the index at which a function's name begins after one or two letters, as in `xsin(`; 0 if none does."""
    for split in (1, 2):
        if word[split:] in alphabet.FUNCTIONS and len(word) > split:
            return split
    return 0


_READERS: dict[str, Callable[[Lexer, str, int], None]] = {
    **dict.fromkeys(alphabet.LAYOUT_COMMANDS, Lexer._layout),
    **dict.fromkeys(alphabet.SPACE_COMMANDS, Lexer._space),
    **dict.fromkeys(alphabet.TEXT_COMMANDS, Lexer._text),
    **dict.fromkeys(alphabet.COLOUR_COMMANDS, Lexer._colour),
    **dict.fromkeys(("boxed", "fbox"), Lexer._box),
    **dict.fromkeys(("begin", "end"), Lexer._environment),
    **dict.fromkeys("RZNQC", Lexer._blackboard),
}
"""Commands that take an argument or leave a mark. A reader gets the lexer, the name and the length of `\\name`."""
_SIMPLE: dict[str, tuple[TokenKind, str]] = {
    **{name: ("sign", sign) for name, sign in alphabet.SIGN_COMMANDS.items()},
    **{name: ("name", "\\" + name) for name in alphabet.NAME_COMMANDS},
    **{name: ("constant", constant) for name, constant in alphabet.CONSTANTS.items()},
    **{name: ("function", function) for name, function in alphabet.FUNCTIONS.items()},
}
"""Commands that are one token."""
