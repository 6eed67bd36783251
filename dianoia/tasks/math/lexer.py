r"""Tokens of an answer: LaTeX, Unicode and plain typing in one alphabet, each character read or refused.

In: a bare answer. Out: `Token`s. What is layout and nothing else (`\left`, `\,`, `\displaystyle`, colours, dollar signs)
is taken away here by name; it leaves a mark on the token behind it, so that no rule joins what it separates. A character
or command without a rule makes the answer unreadable. Linear in the text, whose length the caller bounds.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

MAX_DIGITS = 400
"""Of all numbers of an answer together."""
MAX_TOKENS = 700
MAX_EXPONENT = 400
"""Of a number in scientific notation."""

Kind = Literal[
    "number",
    "letters",
    "name",
    "function",
    "constant",
    "words",
    "sign",
    "based",
    "begin",
    "end",
    "font",
]


@dataclass(frozen=True, slots=True)
class Token:
    """One sign, number, name or word."""

    kind: Kind
    text: str
    value: Fraction | None = None
    spaced: bool = False
    """White space stands before it."""
    shifted: bool = False
    """A dollar sign stands before it: mathematics begins or ends here."""
    upright: bool = False
    r"""It stands in `\text{}`."""
    base: int = 0
    thin: bool = False
    """The white space before it is a thin one."""


_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_CHARACTERS = {
    **_FULL_WIDTH,
    **{ord(space): " " for space in "\u3000\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\t\r\n"},
    **{ord(space): "\\," for space in "\u2009\u202f\u200a"},
    **dict.fromkeys(map(ord, "\u2212\u2013\u2014\u2010\u2011"), "-"),
    **dict.fromkeys(map(ord, "×⋅·∙∗"), "*"),
    **dict(zip(map(ord, "，；：、。‘’′"), ",;:,.'''", strict=True)),
}
_SIGN_CHARACTERS = {
    "÷": "/", "∕": "/", "⁄": "/", "±": "pm", "∓": "mp", "≤": "le", "⩽": "le", "≥": "ge", "⩾": "ge", "≠": "ne", "≈": "approx",
    "≡": "equiv", "∪": "cup", "∩": "cap", "∈": "in", "∖": "minus", "∅": "emptyset", "°": "degree", "√": "sqrt", "∛": "cbrt",
    "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "⟨": "langle", "⟩": "rangle", "…": "ldots", "∣": "|", "∠": "angle",
    "△": "triangle", "％": "%",
}  # fmt: skip
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΠΣΦΨΩϕ",
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "rho",
            "sigma",
            "tau",
            "upsilon",
            "phi",
            "chi",
            "psi",
            "omega",
            "Gamma",
            "Delta",
            "Theta",
            "Lambda",
            "Xi",
            "Pi",
            "Sigma",
            "Phi",
            "Psi",
            "Omega",
            "varphi",
        ],
        strict=True,
    )
)
_NAMES = frozenset(_GREEK.values()) | frozenset(
    ("varepsilon", "vartheta", "varrho", "varsigma", "ell", "hbar", "Upsilon")
)
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5), "⅘": (4, 5),
    "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
FUNCTIONS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "cosec": "csc",
    "arcsin": "arcsin", "arccos": "arccos", "arctan": "arctan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "arccot": "arccot", "arcsec": "arcsec", "arccsc": "arccsc", "tg": "tan", "ctg": "cot", "arctg": "arctan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "coth": "coth", "ln": "ln", "log": "log", "lg": "lg", "exp": "exp",
    "abs": "abs", "max": "max", "min": "min", "gcd": "gcd", "lcm": "lcm", "floor": "floor", "ceil": "ceil", "det": "det",
    "arcsinh": "arcsinh", "arccosh": "arccosh", "arctanh": "arctanh", "sgn": "sgn",
}  # fmt: skip
_CONSTANTS = {
    "pi": "pi",
    "infinity": "infinity",
    "infty": "infinity",
    "inf": "infinity",
    "imath": "i",
    "oo": "infinity",
}
_SPACES = frozenset(
    ("quad", "qquad", "enspace", "thinspace", "medspace", "thickspace", "space", "nobreakspace")
)
_LAYOUT = frozenset(
    ("left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr",
     "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "rm", "bf", "it", "sf", "tt", "mathstrut", "strut",
     "normalsize", "small", "large", "Large", "LARGE", "huge", "Huge", "boldmath", "unboldmath", "bm", "boldsymbol", "mathbf", "mathit", "mathsf",
     "mathtt", "pmb", "bold", "underline", "mathnormal", "mathord", "mathop", "ensuremath", "boxed", "fbox")
)  # fmt: skip
"""Commands that change how mathematics looks; a group behind them stays a group."""
_TEXT = frozenset(
    (
        "text",
        "textbf",
        "textit",
        "textrm",
        "textnormal",
        "textsf",
        "texttt",
        "textup",
        "mathrm",
        "mbox",
        "hbox",
        "emph",
        "operatorname",
        "textmd",
    )
)
_COLOURS = frozenset(("color", "textcolor"))
_SIGNS = {
    "cdot": "*", "times": "*", "ast": "*", "cdotp": "*", "centerdot": "*", "bullet": "*", "div": "/", "slash": "/", "pm": "pm", "mp": "mp",
    "le": "le", "leq": "le", "leqslant": "le", "leqq": "le", "ge": "ge", "geq": "ge", "geqslant": "ge", "geqq": "ge", "lt": "<", "gt": ">",
    "ne": "ne", "neq": "ne", "approx": "approx", "approxeq": "approx", "simeq": "approx", "doteq": "approx", "equiv": "equiv",
    "cup": "cup", "bigcup": "cup", "cap": "cap", "bigcap": "cap", "setminus": "minus", "smallsetminus": "minus", "backslash": "minus",
    "in": "in", "emptyset": "emptyset", "varnothing": "emptyset", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "lfloor": "lfloor", "rfloor": "rfloor", "lceil": "lceil", "rceil": "rceil",
    "langle": "langle", "rangle": "rangle", "degree": "degree", "circ": "circ", "prime": "'", "colon": ":", "ratio": ":",
    "frac": "frac", "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "sfrac": "frac", "nicefrac": "frac", "sqrt": "sqrt", "root": "root",
    "binom": "binom", "dbinom": "binom", "tbinom": "binom", "over": "over", "choose": "choose", "of": "of", "overline": "overline", "bar": "overline",
    "dot": "dot", "vec": "vec", "hat": "hat", "widehat": "hat", "tilde": "tilde", "overrightarrow": "overrightarrow", "angle": "angle",
    "measuredangle": "angle", "triangle": "triangle", "mathbb": "mathbb", "mathcal": "mathcal", "ldots": "ldots", "dots": "ldots", "cdots": "ldots",
    "dotsc": "ldots", "dotsb": "ldots", "pmod": "pmod", "bmod": "bmod", "mod": "mod", "top": "top", "intercal": "top", "land": "and", "lor": "or", "wedge": "and", "vee": "or", "parallel": "parallel",
    "perp": "perp", "to": "to", "sim": "sim", "notin": "notin", "subset": "subset", "subseteq": "subset", "oplus": "oplus",
    "hline": "hline",
}  # fmt: skip
_PLAIN_SIGNS = "+-*/^_!'|,;:=<>()[]{}%&"
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_REPEATING = re.compile(
    r"(\d*\.\d*)(?:\\(?:overline|bar)\s*\{\s*(\d+)\s*\}|\\(?:overline|bar)\s*(\d)|\\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)?|\((\d+)\))"
)
_SCIENTIFIC = re.compile(r"(\d+\.\d+|\d+|\.\d+)[eE]([+-]?\d{1,4})(?![\dA-Za-z.])")
_SUBSCRIPT = r"\s*_\s*(?:\{\s*([0-9]{1,2}|[a-z]{3,7})\s*\}|\{\s*\\(?:text|mathrm|mbox)\s*\{\s*([0-9]{1,2}|[a-z]{3,7})\s*\}\s*\}|([0-9]{1,2}))"
_BASED = re.compile(
    r"([0-9][0-9A-F]{0,60}(?:\.[0-9A-F]{1,40})?|[A-F]{1,20}[0-9][0-9A-F]{0,40})" + _SUBSCRIPT
)
_BASED_IN_BRACKETS = re.compile(r"\(\s*([0-9][0-9A-F]{0,60})\s*\)" + _SUBSCRIPT)
_BASE_WORDS = {
    word: base
    for base, word in enumerate(
        [
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
        ],
        start=2,
    )
}
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_LETTERS = re.compile(r"[A-Za-z]+")
_CJK = re.compile(r"[\u3400-\u9fff]+")
_ENVIRONMENT = re.compile(r"\s*\{([A-Za-z]+)\*?\}")
_COLUMNS = re.compile(r"\s*\{[lcr|]{1,24}\}")
_COLOUR = re.compile(r"\s*(?:\[[A-Za-z]{1,8}\])?\{[A-Za-z0-9!#]{1,24}\}")
_BOLD = re.compile(
    r"(?<![\dA-Za-z)}\]*])(\s*)\*\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*\*(?![\dA-Za-z({\\*])"
)
_ENVIRONMENTS = {
    "pmatrix": "matrix", "bmatrix": "matrix", "matrix": "matrix", "Bmatrix": "matrix", "smallmatrix": "matrix", "array": "matrix",
    "vmatrix": "det", "cases": "cases", "aligned": "cases", "align": "cases", "gathered": "cases", "dcases": "cases",
}  # fmt: skip


def tokens(text: str, commas_separate: bool = False) -> list[Token]:
    """The tokens of a bare answer.

    Args:
        commas_separate: no comma separates thousands, as in the list `200,100`.

    Raises:
        Unreadable: a character or command has no rule.
        TooLarge: there are more tokens or digits than the bounds allow.
    """
    read = _Lexer(text.translate(_CHARACTERS)).read()
    if sum(len(token.text) for token in read if token.kind in ("number", "based")) > MAX_DIGITS:
        raise TooLarge("digits")
    return _thousands(read, commas_separate)


def signs(text: str) -> list[str]:
    """The tokens of a longer text as they are written, what has no rule left out: for comparing a question."""
    text = text.translate(_CHARACTERS)
    read: list[str] = []
    position = 0
    while position < len(text):
        lexer = _Lexer(text[position:], lenient=True)
        try:
            lexer.read()
        except (Unreadable, TooLarge):
            lexer.position += 1
        read += _split_fractions(
            [token for token in lexer.read_tokens if not token.upright or len(token.text) == 1]
        )
        position += max(1, lexer.position)
        if len(read) > 10 * MAX_TOKENS:
            break
    return read


def _split_fractions(read: list[Token]) -> list[str]:
    """As written, but `\\frac12` as 1/2."""
    texts: list[str] = []
    for before, token in zip([None, *read], read, strict=False):
        if (
            before is not None
            and before.text == "frac"
            and token.kind == "number"
            and len(token.text) == 2
            and token.text.isdigit()
        ):
            texts += [token.text[0], "/", token.text[1]]
        else:
            texts.append(token.text)
    return texts


class _Lexer:
    """Reads a text from left to right."""

    def __init__(self, text: str, upright: bool = False, lenient: bool = False) -> None:
        self.text = text if upright or lenient else _BOLD.sub(r"\1 \2 ", text)
        self.position = 0
        self.upright = upright
        self.read_tokens: list[Token] = []
        self.spaced = self.shifted = self.thin = False
        self.currency = set() if upright or lenient else _currency_signs(self.text)

    def read(self) -> list[Token]:
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
        elif (
            char == "("
            and (based := _BASED_IN_BRACKETS.match(self.text, self.position))
            and _digits_fit(based[1], _base(based))
        ):
            self._put("based", based[1].lstrip("0") or "0", len(based[0]), base=_base(based))
        elif char in _PLAIN_SIGNS:
            self._sign(char)
        else:
            self._other(char)

    # What is put down ------------------------------------------------------------------------------

    def _put(
        self, kind: Kind, text: str, length: int, value: Fraction | None = None, base: int = 0
    ) -> None:
        self.read_tokens.append(
            Token(kind, text, value, self.spaced, self.shifted, self.upright, base, self.thin)
        )
        self.spaced = self.shifted = self.thin = False
        self.position += length

    def _skip(self, length: int, thin: bool = False) -> None:
        self.thin = thin and not self.spaced
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
            "''": "''",
            "||": "||",
        }
        if self.upright and char == "'":
            raise Unreadable(Reason.TEXT)
        if (
            following in pairs
            and following != "''"
            and (following != "||" or self.text.count("|") % 2)
        ):
            self._put("sign", pairs[following], 2)
        elif char == "%":
            self._put("sign", "%", 1)
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

    def _number(self) -> None:
        text, position = self.text, self.position
        touching = position > 0 and (text[position - 1].isalnum() or text[position - 1] == ".")
        based = None if touching else _BASED.match(text, position)
        if based and (base := _base(based)) and _digits_fit(based[1], base):
            self._put("based", _digits(based[1]), len(based[0]), base=base)
        elif repeating := _REPEATING.match(text, position):
            self._put("number", repeating[0], len(repeating[0]), _repeating(repeating))
        elif (match := _SCIENTIFIC.match(text, position)) and _is_scientific(match):
            if abs(int(match[2])) > MAX_EXPONENT:
                raise TooLarge("exponent")
            self._put(
                "number",
                match[0],
                len(match[0]),
                Fraction(match[1]) * Fraction(10) ** int(match[2]),
            )
        else:
            match = _NUMBER.match(text, position)
            if match is None or len(match[0]) > MAX_DIGITS:
                raise TooLarge("digits")
            self._put("number", match[0], len(match[0]), Fraction(match[0]))

    def _letters(self) -> None:
        based = _BASED.match(self.text, self.position)
        if based and (base := _base(based)) and _digits_fit(based[1], base):
            self._put("based", based[1], len(based[0]), base=base)
            return
        match = _LETTERS.match(self.text, self.position)
        assert match is not None
        word = match[0]
        if self.upright:
            apostrophe = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*").match(self.text, self.position)
            word = apostrophe[0] if apostrophe else word
        self._word(word, len(word))

    def _word(self, word: str, length: int) -> None:
        following = self.text[self.position + length :].lstrip()[:1]
        if word == "sqrt":
            self._put("sign", "sqrt", length)
        elif word in _CONSTANTS or word.lower() in ("infinity",):
            self._put("constant", _CONSTANTS.get(word, "infinity"), length)
        elif word in FUNCTIONS:
            self._put("function", FUNCTIONS[word], length)
        elif (
            not self.upright and (split := _function_behind(word)) and following in ("(", "{", "^")
        ):
            self._put("letters", word[:split], split)
            self._put("function", FUNCTIONS[word[split:]], length - split)
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
        elif name in _SPACES:
            self._skip(length)
        elif name in _TEXT:
            self._text(name, length)
        elif name in _COLOURS:
            colour = _COLOUR.match(self.text, self.position + length)
            if colour is None:
                raise Unreadable(Reason.COMMAND)
            self.position += length + len(colour[0])
        elif name in ("boxed", "fbox"):
            self._put("font", "boxed", length)
        elif name in _LAYOUT:
            self._layout(name, length)
        elif name in ("begin", "end"):
            self._environment(name, length)
        elif name in FUNCTIONS:
            self._put("function", FUNCTIONS[name], length)
        elif name in _CONSTANTS:
            self._put("constant", _CONSTANTS[name], length)
        elif name in _NAMES:
            self._put("name", "\\" + name, length)
        elif name in _SIGNS:
            self._put("sign", _SIGNS[name], length)
        elif name in ("R", "Z", "N", "Q", "C"):
            self._put("sign", "mathbb", 0)
            self._put("letters", name, length)
        else:
            raise Unreadable(Reason.COMMAND)

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
                self._skip(2, thin=char in ",:;> ")
        elif char in "()[]":
            self.shifted = True
            self.position += 2
        elif char in "{}":
            self._put("sign", "\\" + char, 2)
        elif char == "\\":
            self._put("sign", "row", 2)
            spacing = re.compile(r"\s*\[[-0-9.a-z ]{1,8}\]").match(self.text, self.position)
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
            end = _closing(self.text, start + 1)
            content, end = self.text[start + 1 : end - 1], end
        inner = _Lexer(content, upright=True)
        words = inner.read()
        if words:
            first = words[0]
            words[0] = replace(
                first, spaced=first.spaced or self.spaced, shifted=first.shifted or self.shifted
            )
            self.spaced = self.shifted = self.thin = False
        self.read_tokens += words
        self.spaced = self.spaced or inner.spaced
        self.position = end

    def _environment(self, command: str, length: int) -> None:
        match = _ENVIRONMENT.match(self.text, self.position + length)
        if match is None or match[1] not in _ENVIRONMENTS:
            raise Unreadable(Reason.COMMAND)
        columns = (
            _COLUMNS.match(self.text, self.position + length + len(match[0]))
            if match[1] == "array" and command == "begin"
            else None
        )
        self._put(
            command,
            _ENVIRONMENTS[match[1]],
            length + len(match[0]) + (len(columns[0]) if columns else 0),
        )  # type: ignore[arg-type]

    # The rest of Unicode ---------------------------------------------------------------------------

    def _other(self, char: str) -> None:
        if char in _SUPERSCRIPTS:
            run = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+").match(self.text, self.position)
            assert run is not None
            self._script("^", "".join(_SUPERSCRIPTS[sign] for sign in run[0]), len(run[0]))
        elif char in _SUBSCRIPTS:
            run = re.compile(f"[{''.join(_SUBSCRIPTS)}]+").match(self.text, self.position)
            assert run is not None
            self._script("_", "".join(_SUBSCRIPTS[sign] for sign in run[0]), len(run[0]))
        elif char in _VULGAR:
            top, bottom = _VULGAR[char]
            self._put("number", char, 1, Fraction(top, bottom))
        elif char == "π":
            self._put("constant", "pi", 1)
        elif char == "∞":
            self._put("constant", "infinity", 1)
        elif char in _GREEK:
            self._put("name", "\\" + _GREEK[char], 1)
        elif char in _SIGN_CHARACTERS:
            self._put("sign", _SIGN_CHARACTERS[char], 1)
        elif char in "€£¥₹¢":
            self._put("sign", f"currency {char}", 1)
        elif char in "ℝℤℕℚℂ":
            self._put("sign", "mathbb", 0)
            self._put("letters", "RZNQC"["ℝℤℕℚℂ".index(char)], 1)
        elif words := _CJK.match(self.text, self.position):
            self._put("words", words[0], len(words[0]))
        else:
            raise Unreadable(Reason.CHARACTER)

    def _script(self, sign: str, content: str, length: int) -> None:
        self._put("sign", sign, 0)
        self._put("sign", "{", 0)
        inner = _Lexer(content)
        self.read_tokens += inner.read()
        self._put("sign", "}", length)


def _closing(text: str, start: int) -> int:
    """The place behind the brace that closes what was opened before `start`."""
    depth = 1
    for position in range(start, len(text)):
        if text[position - 1] != "\\":
            depth += (text[position] == "{") - (text[position] == "}")
        if not depth:
            return position + 1
    raise Unreadable(Reason.BRACKETS)


def _currency_signs(text: str) -> set[int]:
    """Places of dollar signs that stand for money: those that pair with no other and touch a number."""
    dollars = [place.start() for place in re.finditer(r"(?<!\\)\$", text)]
    if len(dollars) % 2 == 0:
        return set()
    for place in dollars:
        if re.match(r"\$\s*-?[\d.]", text[place:]):
            return {place}
    if text.rstrip().endswith("$") or text.lstrip().startswith("$"):
        return set()  # the other one stood outside the answer
    raise Unreadable(Reason.DOLLARS)


def _base(match: re.Match[str]) -> int:
    """The base of a number with a subscript; 0 where it is none."""
    text = match[2] or match[3] or match[4]
    base = int(text) if text.isdigit() else _BASE_WORDS.get(text, 0)
    return base if 2 <= base <= 36 else 0


def _digits_fit(digits: str, base: int) -> bool:
    return base > 0 and all(int(digit, 36) < base for digit in digits.replace(".", ""))


def _digits(text: str) -> str:
    """Without zeros that say nothing."""
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.lstrip("0") or "0"


def _is_scientific(match: re.Match[str]) -> bool:
    """3.5e-2, 1e3 and 1e-05 are; 2e-1 is 2e less 1."""
    mantissa, exponent = match[1], match[2]
    return "." in mantissa or not exponent.startswith(("+", "-")) or len(exponent) > 2


def _repeating(match: re.Match[str]) -> Fraction:
    """0.1 and 6 for 0.1666...: the digits to the end of the first period less those before it, over nines."""
    period = match[2] or match[3] or match[7] or (match[4] + (match[5] or "") + (match[6] or ""))
    before = match[1]
    if match[5] and not match[6]:
        raise Unreadable(Reason.CHARACTER)
    whole, _, decimals = before.partition(".")
    fixed = int(whole + decimals or "0")
    nines = (10 ** len(period) - 1) * 10 ** len(decimals)
    return Fraction(int(f"{whole}{decimals}{period}") - fixed, nines)


def _function_behind(word: str) -> int:
    """Where a function's name begins behind one or two letters, as in `xsin(`; 0 where none does."""
    for split in (1, 2):
        if word[split:] in FUNCTIONS and len(word) > split:
            return split
    return 0


def _thousands(read: list[Token], commas_separate: bool) -> list[Token]:
    """Numbers whose thousands are separated, in one token each.

    `{,}` and `,\\!` always separate thousands, a space does between groups of three digits. A comma without a space
    behind it does where it stands alone in its brackets' level with others like it, outside all brackets, or
    beside commas with a space, which then separate members: `1,234` and `(1,234, 5,678)` but not `(1,234)`.
    """
    read = _braced_commas(read)
    levels = ["separator"] * len(read) if commas_separate else _levels(read)
    joined: list[Token] = []
    position = 0
    while position < len(read):
        end = _number_end(read, levels, position)
        if end > position:
            digits = "".join(
                token.text for token in read[position : end + 1] if token.kind == "number"
            )
            joined.append(replace(read[position], text=digits, value=Fraction(digits)))
        else:
            joined.append(read[position])
        position = end + 1
    if any(token.text == "thousands" for token in joined):
        raise Unreadable(Reason.NUMBERS)
    return joined


def _braced_commas(read: list[Token]) -> list[Token]:
    """`{,}` as one token."""
    joined: list[Token] = []
    position = 0
    while position < len(read):
        if [token.text for token in read[position : position + 3]] == ["{", ",", "}"]:
            joined.append(replace(read[position], text="thousands"))
            position += 3
        else:
            joined.append(read[position])
            position += 1
    return joined


_OPENING, _CLOSING = ("(", "[", "{", r"\{", "langle"), (")", "]", "}", r"\}", "rangle")


def _levels(read: list[Token]) -> list[str]:
    """For each token, how a tight comma is read where it stands: "thousands", "separator" or "either"."""
    spans: list[list[int]] = [[]]
    inside: list[list[int]] = []
    for position, token in enumerate(read):
        if token.text in _OPENING and token.kind == "sign":
            inside.append([])
        target = inside[-1] if inside else spans[0]
        target.append(position)
        if token.text in _CLOSING and token.kind == "sign" and inside:
            spans.append(inside.pop())
    reading = ["separator"] * len(read)
    for number, span in enumerate([spans[0], *spans[1:], *inside]):
        separators = [p for p in span if _separates(read, p)]
        braces = number > 0 and read[span[0]].text == "{"
        if separators or braces or number == 0:
            kind = "thousands" if separators or braces else "either"
            for position in span:
                reading[position] = kind
    return reading


def _separates(read: list[Token], position: int) -> bool:
    """Whether a token separates members whatever else: a comma with a space, a semicolon, "and", "or"."""
    token = read[position]
    if token.text in (";", "and", "or", "和", "或"):
        return True
    following = read[position + 1] if position + 1 < len(read) else None
    return token.text == "," and following is not None and (following.spaced or following.shifted)


def _number_end(read: list[Token], levels: list[str], start: int) -> int:
    """The last token of the number that begins here; `start` itself for a number in one piece."""
    first = read[start]
    if (
        first.kind != "number"
        or not first.text.isdigit()
        or not first.text.isascii()
        or first.text[0] == "0"
    ):
        return start
    before = read[start - 1] if start else None
    if before is not None and (
        before.text == "frac" or (before.kind == "number" and not first.spaced)
    ):
        return start
    end, separator = start, ""
    while len(first.text) <= 3:
        nxt = _next_group(read, end, separator)
        if nxt is None:
            break
        position, kind = nxt
        if kind == "," and levels[end + 1] == "separator":
            break
        end, separator = position, kind
        if "." in read[end].text:
            break
    if separator == "," and levels[start] == "either" and not _alone(read, start, end):
        return start
    if (
        separator == " "
        and end + 1 < len(read)
        and read[end + 1].kind == "number"
        and "." not in read[end].text
    ):
        return start
    return end


def _next_group(read: list[Token], end: int, separator: str) -> tuple[int, str] | None:
    """Where the next three digits of a number stand, and what separates them."""
    following = read[end + 1] if end + 1 < len(read) else None
    if following is None:
        return None
    if (
        following.kind == "number"
        and following.spaced
        and not following.shifted
        and not following.upright
    ):
        return (end + 1, " ") if _three(following) and separator in ("", " ") else None
    group = read[end + 2] if end + 2 < len(read) else None
    if group is None or group.kind != "number" or not _three(group) or group.shifted:
        return None
    if following.text == "thousands":
        return (end + 2, "thousands") if separator in ("", "thousands", ",") else None
    if (
        following.text == ","
        and not following.spaced
        and not group.spaced
        and separator in ("", ",", "thousands")
    ):
        return end + 2, ","
    return None


def _three(token: Token) -> bool:
    whole = token.text.partition(".")[0]
    return len(whole) == 3 and whole.isdigit() and token.value is not None


def _alone(read: list[Token], start: int, end: int) -> bool:
    """Whether no other comma stands beside a number outside of all brackets."""
    return all(
        token.text != "," for position, token in enumerate(read) if not start <= position <= end
    )
