r"""Tokens of an answer: LaTeX, Unicode and plain typing in one alphabet, each character read or refused.

In: a bare answer. Out: `Token`s. What is layout and nothing else (`\left`, `\,`, `\displaystyle`, colours, dollar signs)
is taken away here by name; it leaves a mark on the token behind it, so that no rule joins what it separates. A character
or command without a rule makes the answer unreadable. Linear in the text, whose length the caller bounds.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import takewhile

from dianoia.tasks.math import alphabet, numerals
from dianoia.tasks.math.alphabet import Kind, Token
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable
from dianoia.text.boxes import closing_brace

MAX_DIGITS = 400
"""Of all numbers of an answer together."""
MAX_TOKENS = 700
MAX_EXPONENT = 400
"""Of a number in scientific notation."""

_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_LETTERS = re.compile(r"[A-Za-z]+")
_HYPHENATED = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_HALF_DAY = re.compile(r"([ap])\.\s?m\b\.?", re.IGNORECASE)
_CJK = re.compile(r"[\u3400-\u9fff]+")
_ENVIRONMENT = re.compile(r"\s*\{([A-Za-z]+)\*?\}")
_COLUMNS = re.compile(r"\s*\{[lcr|]{1,24}\}")
_ROW_SPACING = re.compile(r"\s*\[[-0-9.a-z ]{1,8}\]")
_COLOUR = re.compile(r"\s*(?:\[[A-Za-z]{1,8}\])?\{[A-Za-z0-9!#]{1,24}\}")
_BOLD = re.compile(
    r"(?<![\dA-Za-z)}\]*])(\s*)\*\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*\*(?![\dA-Za-z({\\*])"
)


def tokens(text: str, commas_separate: bool = False) -> list[Token]:
    """The tokens of a bare answer.

    Args:
        commas_separate: no comma separates thousands, as in the list `200,100`.

    Raises:
        Unreadable: a character or command has no rule.
        TooLarge: there are more tokens or digits than the bounds allow.
    """
    read = Lexer(text.translate(alphabet.SPELLINGS)).read()
    if sum(len(token.text) for token in read if token.kind in ("number", "based")) > MAX_DIGITS:
        raise TooLarge("digits")
    return numerals.with_thousands(read, commas_separate)


class Lexer:
    """Reads a text from left to right."""

    def __init__(self, text: str, upright: bool = False, lenient: bool = False) -> None:
        self.text = text if upright or lenient else _BOLD.sub(r"\1 \2 ", text)
        self.position = 0
        self.upright = upright
        self.read_tokens: list[Token] = []
        self.spaced = self.shifted = False
        self.currency = set() if upright or lenient else numerals.currency_signs(self.text)

    def read(self) -> list[Token]:
        """All tokens; raises Unreadable or TooLarge."""
        while self.position < len(self.text):
            self._next()
            if len(self.read_tokens) > MAX_TOKENS:
                raise TooLarge("tokens")
        return self.read_tokens

    def _next(self) -> None:
        char = self.text[self.position]
        if self.text.startswith("~~", self.position):
            raise Unreadable(Reason.CHARACTER)  # struck out
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
            if char != "(" or not self._based(numerals.BASED_IN_BRACKETS):
                self._sign(char)
        else:
            self._other(char)

    # What is put down ------------------------------------------------------------------------------

    def _put(
        self, kind: Kind, text: str, length: int, value: Fraction | None = None, base: int = 0
    ) -> None:
        self.read_tokens.append(
            Token(kind, text, value, self.spaced, self.shifted, self.upright, base)
        )
        self.spaced = self.shifted = False
        self.position += length

    def _skip(self, length: int) -> None:
        self.spaced = True
        self.position += length

    def _sign(self, char: str) -> None:
        following = self.text[self.position : self.position + 2]
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
        if following in pairs and (following != "||" or self.text.count("|") % 2):
            self._put("sign", pairs[following], 2)
        else:
            self._put("sign", char, 1)

    def _dots(self) -> None:
        if self.text.startswith("...", self.position):
            self._put("sign", "ldots", 3)
        elif self.upright:  # a.m., approx.
            self._skip(1)
        else:
            raise Unreadable(Reason.CHARACTER)

    def _dollar(self) -> None:
        double = self.text.startswith("$$", self.position)
        if self.position in self.currency:
            self._put("sign", "currency $", 1)
            return
        self.shifted = True
        self.position += 2 if double else 1

    # Numbers and letters ---------------------------------------------------------------------------

    def _based(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether a number with its base stands here; if so it is put down."""
        match = pattern.match(self.text, self.position)
        if match is None or not numerals.digits_fit(match[1], base := numerals.base_of(match)):
            return False
        self._put("based", numerals.without_zeros(match[1]), len(match[0]), base=base)
        return True

    def _number(self) -> None:
        text, position = self.text, self.position
        touching = position > 0 and (text[position - 1].isalnum() or text[position - 1] == ".")
        if not touching and self._based(numerals.BASED):
            return
        if repeating := numerals.REPEATING.match(text, position):
            self._put(
                "number", repeating[0], len(repeating[0]), numerals.repeating_value(repeating)
            )
        elif (match := numerals.SCIENTIFIC.match(text, position)) and numerals.is_scientific(match):
            if abs(int(match[2])) > MAX_EXPONENT:
                raise TooLarge("exponent")
            self._put(
                "number",
                match[0],
                len(match[0]),
                Fraction(match[1]) * Fraction(10) ** int(match[2]),
            )
        else:
            match = numerals.PLAIN_NUMBER.match(text, position)
            if match is None or len(match[0]) > MAX_DIGITS:
                raise TooLarge("digits")
            self._put("number", match[0], len(match[0]), Fraction(match[0]))

    def _letters(self) -> None:
        if self._based(numerals.BASED):
            return
        match = _LETTERS.match(self.text, self.position)
        assert match is not None
        word = match[0]
        if half := _HALF_DAY.match(self.text, self.position):
            self._put("letters", half[1].lower() + "m", len(half[0]))
            return
        if self.upright:
            match = _HYPHENATED.match(self.text, self.position)
            word = match[0] if match else word
        self._word(word, len(word))

    def _word(self, word: str, length: int) -> None:
        following = self.text[self.position + length :].lstrip()[:1]
        if word == "sqrt":
            self._put("sign", "sqrt", length)
        elif word in alphabet.CONSTANTS or word.lower() in ("infinity",):
            self._put("constant", alphabet.CONSTANTS.get(word, "infinity"), length)
        elif word in alphabet.FUNCTIONS:
            self._put("function", alphabet.FUNCTIONS[word], length)
        elif (
            not self.upright and (split := _function_behind(word)) and following in ("(", "{", "^")
        ):
            self._put("letters", word[:split], split)
            self._put("function", alphabet.FUNCTIONS[word[split:]], length - split)
        else:
            self._put("letters", word, length)

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
            self._put(*token, length)
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
        self._put("font", "boxed", length)

    def _blackboard(self, name: str, length: int) -> None:
        self._put("sign", "mathbb", 0)
        self._put("letters", name, length)

    def _escaped(self, char: str) -> None:
        if char in ",;:> !":
            if char == "!":
                self.position += 2
                if (
                    self.read_tokens
                    and self.read_tokens[-1].text == ","
                    and not self.read_tokens[-1].upright
                ):
                    self.read_tokens[-1] = replace(self.read_tokens[-1], text="thousands")
                    self.position += len(self.text[self.position :]) - len(
                        self.text[self.position :].lstrip()
                    )
            else:
                self._skip(2)
        elif char in "()[]":
            self.shifted = True
            self.position += 2
        elif char in "{}":
            self._put("sign", "\\" + char, 2)
        elif char == "\\":
            self._put("sign", "row", 2)
            spacing = _ROW_SPACING.match(self.text, self.position)
            self.position += len(spacing[0]) if spacing else 0
        elif char == "%":
            self._put("sign", "%", 2)
        elif char == "$":
            self._put("sign", "currency $", 2)
        elif char == "|":
            raise Unreadable(Reason.COMMAND)
        elif char in "&#_":
            raise Unreadable(Reason.CHARACTER)
        else:
            raise Unreadable(Reason.COMMAND)

    def _layout(self, name: str, length: int) -> None:
        self.position += length
        if name in ("left", "right") and re.match(r"\s*\.(?!\d)", self.text[self.position :]):
            self.position += (
                len(self.text[self.position :]) - len(self.text[self.position :].lstrip()) + 1
            )
        if name not in ("left", "right", "middle"):
            self.spaced = self.spaced or self.text[self.position : self.position + 1].isspace()

    def _text(self, name: str, length: int) -> None:
        start = self.position + length
        start += len(self.text[start:]) - len(self.text[start:].lstrip())
        if self.text[start : start + 1] == "*":
            start += 1
        if self.text[start : start + 1] != "{":
            letter = self.text[start : start + 1]
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
            first = words[0]
            words[0] = replace(
                first, spaced=first.spaced or self.spaced, shifted=first.shifted or self.shifted
            )
            self.spaced = self.shifted = False
        self.read_tokens += words
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
        self._put(
            "begin" if command == "begin" else "end",
            alphabet.ENVIRONMENTS[match[1]],
            length + len(match[0]) + (len(columns[0]) if columns else 0),
        )

    # The rest of Unicode ---------------------------------------------------------------------------

    def _other(self, char: str) -> None:
        if char in alphabet.SUPERSCRIPTS:
            self._script("^", alphabet.SUPERSCRIPTS)
        elif char in alphabet.SUBSCRIPTS:
            self._script("_", alphabet.SUBSCRIPTS)
        elif char in alphabet.VULGAR_FRACTIONS:
            top, bottom = alphabet.VULGAR_FRACTIONS[char]
            self._put("number", char, 1, Fraction(top, bottom))
        elif char == "π":
            self._put("constant", "pi", 1)
        elif char == "∞":
            self._put("constant", "infinity", 1)
        elif char in alphabet.GREEK:
            self._put("name", "\\" + alphabet.GREEK[char], 1)
        elif char in alphabet.SIGN_CHARACTERS:
            self._put("sign", alphabet.SIGN_CHARACTERS[char], 1)
        elif char in "€£¥₹¢":
            self._put("sign", f"currency {char}", 1)
        elif char in "ℝℤℕℚℂ":
            self._put("sign", "mathbb", 0)
            self._put("letters", "RZNQC"["ℝℤℕℚℂ".index(char)], 1)
        elif words := _CJK.match(self.text, self.position):
            self._put("words", words[0], len(words[0]))
        else:
            raise Unreadable(Reason.CHARACTER)

    def _script(self, sign: str, signs: Mapping[str, str]) -> None:
        """Raised or lowered characters as the exponent or subscript that they are."""
        run = list(takewhile(signs.__contains__, self.text[self.position :]))
        self._put("sign", sign, 0)
        self._put("sign", "{", 0)
        self.read_tokens += Lexer("".join(signs[char] for char in run)).read()
        self._put("sign", "}", len(run))


def _function_behind(word: str) -> int:
    """Find where a function's name begins behind one or two letters, as in `xsin(`; 0 where none does."""
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
"""Commands that take something with them."""
_SIMPLE: dict[str, tuple[Kind, str]] = {
    **{name: ("sign", sign) for name, sign in alphabet.SIGN_COMMANDS.items()},
    **{name: ("name", "\\" + name) for name in alphabet.NAME_COMMANDS},
    **{name: ("constant", constant) for name, constant in alphabet.CONSTANTS.items()},
    **{name: ("function", function) for name, function in alphabet.FUNCTIONS.items()},
}
"""Commands that are one token."""
