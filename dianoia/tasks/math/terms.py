r"""Sums, products, powers: the upper half of the grammar of expressions (`grammar` has the lower).

In: tokens (`lexer`). Out: a `Node`, and where it ended. What no rule takes raises `Unreadable` with the reason.

Decisions where notation is ambiguous:
1. A number behind a factor is no factor: `x5`, `\frac{1}{2}3`, `2 3` are unreadable. `6\frac15` is a mixed number.
2. `1/2x` is half of x, as people type it; `a/bc` is read in two ways by people, and so by nobody here.
3. `x^10` takes all the digits, as people type them.
"""

from fractions import Fraction

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.nodes import (
    Call,
    Matrix,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Signed,
    Sum,
)
from dianoia.tasks.math.units import unit
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

MAX_DEPTH = 40
DECORATIONS = frozenset(
    ("overline", "vec", "hat", "tilde", "overrightarrow", "angle", "triangle", "mathcal")
)
BEGINS_PRIMARY = (
    frozenset(
        (
            "(",
            "[",
            "{",
            "|",
            r"\{",
            "langle",
            "lfloor",
            "lceil",
            "frac",
            "sqrt",
            "cbrt",
            "root",
            "binom",
            "mathbb",
            "emptyset",
        )
    )
    | DECORATIONS
)
LONGEST_PRODUCT = 3
"""Letters side by side that are factors; more are a word."""


class Terms:
    """Reads one list of tokens from left to right."""

    def __init__(self, read: list[Token], letters_are_units: bool = False) -> None:
        self.tokens = read
        self.position = 0
        self.depth = 0
        self.letters_are_units = letters_are_units
        self.bars = 0
        """Absolute values that are open."""

    # Looking ---------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> Token | None:
        """The next token; None at the end."""
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else None

    def at(self, *texts: str, ahead: int = 0) -> bool:
        """Tell whether the next token is one of these signs."""
        token = self.peek(ahead)
        return (
            token is not None
            and token.kind in ("sign", "font", "end", "begin")
            and token.text in texts
        )

    def take(self) -> Token:
        """The next token, consumed."""
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        self.position += 1
        return token

    def expect(self, *texts: str) -> Token:
        """One of these signs, consumed."""
        if not self.at(*texts):
            raise Unreadable(Reason.BRACKETS)
        return self.take()

    # Sums and products -----------------------------------------------------------------------------

    def expression(self) -> Node:
        """A sum of terms."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge("depth")
        terms = [self._signed_term()] if self.at("+", "-", "pm", "mp") else [self._term()]
        while self.at("+", "-", "pm", "mp"):
            terms.append(self._signed_term())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def _signed_term(self) -> Node:
        sign = self.take().text
        if self.at("+", "-", "pm", "mp"):
            raise Unreadable(Reason.INCOMPLETE)
        term = self._term()
        if sign == "+":
            return term
        return Negative(term) if sign == "-" else Signed(term, 1 if sign == "pm" else -1)

    def _term(self) -> Node:
        """Factors with signs between them, or side by side."""
        node = self._factor()
        over: Node | None = None
        """The number under the last division sign, while only numbers stand on both sides of it."""
        divided = False
        while True:
            if self.at("*", "/"):
                sign = self.take().text
                negative = self.at("-") and bool(self.take())
                self._no_sign()
                factor = self._factor()
                factor = Negative(factor) if negative else factor
                divided = sign == "/"
                over = (
                    factor
                    if divided and isinstance(node, Number) and isinstance(factor, Number)
                    else None
                )
                node = divided_by(node, factor) if divided else times(node, factor)
            elif self._scientific_cross():
                self.take()
                node = times(node, self._factor())
            elif self.factor_follows():
                if (divided and over is None) or node == Number(Fraction(0)):
                    raise Unreadable(Reason.AMBIGUOUS)
                node = times(node, self._factor())
            else:
                return node

    def _no_sign(self) -> None:
        if self.at("+", "-", "pm", "mp"):
            raise Unreadable(Reason.INCOMPLETE)

    def _scientific_cross(self) -> bool:
        """`2.5x10^3`: an x between a number and a power of ten is a multiplication sign."""
        token, ten = self.peek(), self.peek(1)
        before = self.tokens[self.position - 1] if self.position else None
        return (
            token is not None and token.kind == "letters" and token.text == "x" and not token.upright
            and before is not None and before.kind == "number"
            and ten is not None and ten.kind == "number" and ten.text == "10" and self.at("^", ahead=2)
        )  # fmt: skip

    def factor_follows(self) -> bool:
        """Tell whether the next token is a factor without a sign before it."""
        token = self.peek()
        if token is None or token.shifted:
            return False
        if token.kind in ("number", "based"):
            if token.kind == "number" and self.tokens[self.position - 1].text == "!":
                return True  # 2!4! in a quotient of factorials
            raise Unreadable(Reason.NUMBERS)
        if token.kind == "letters":
            return not self.is_word(token)
        if token.kind in ("name", "constant", "function"):
            return True
        if token.kind == "begin":
            return True
        if token.kind == "font":
            raise Unreadable(Reason.NUMBERS)
        if token.text == "|" and self.bars:
            return False
        return token.kind == "sign" and token.text in BEGINS_PRIMARY

    def is_word(self, token: Token) -> bool:
        """Tell whether letters are a word or a unit here, and no factors."""
        if token.upright:
            return token.text not in ("i", "e", "d")
        if token.text.lower() in ("and", "or", "mod") or len(token.text) > LONGEST_PRODUCT:
            return True
        if (
            token.text.lower() in ("am", "pm")
            and token.spaced
            and self.position
            and self.tokens[self.position - 1].kind == "number"
        ):
            return True
        return token.spaced and self._ends_as_unit(token)

    def _ends_as_unit(self, token: Token) -> bool:
        """Tell whether a short word behind a space is a unit: a known one, and nothing but its power and words behind it."""
        if len(token.text) == 1 and not self.letters_are_units:
            return False
        before = self.tokens[self.position - 1] if self.position else None
        behind_value = before is not None and (
            before.kind in ("number", "constant") or before.text in ("}", ")")
        )
        return behind_value and unit(token.text) is not None

    def _factor(self) -> Node:
        """A primary with what stands behind it: factorial, degree, exponent."""
        start = self.peek()
        node = self._primary()
        mixed = self._mixed(start, node)
        node = mixed or node
        while True:
            following = self.peek()
            if following is not None and following.shifted and self.at("!", "^", "_", "'", "''"):
                raise Unreadable(Reason.DOLLARS)
            if self.at("!"):
                self.take()
                if self.at("!"):
                    raise Unreadable(Reason.AMBIGUOUS)
                node = Call("factorial", (node,))
            elif self.at("degree") or self._circle_exponent():
                self._take_degree()
                node = Call("degree", (node,))
            elif self.at("^"):
                self.take()
                node = self._power(node)
            elif self.at("_", "'", "''"):
                raise Unreadable(Reason.SCRIPT)
            else:
                return node

    def _power(self, base: Node) -> Node:
        if isinstance(base, Matrix) and (transposed := self._transposition()):
            return Call(transposed, (base,))
        exponent = self._exponent()
        if self.at("^"):
            raise TooLarge("a power of a power")
        return Power(base, exponent)

    def _transposition(self) -> str | None:
        token = self.peek(1) if self.at("{") else self.peek()
        if token is None or token.text not in ("T", "top", "intercal", "t"):
            return None
        braces = self.at("{")
        self.position += 3 if braces else 1
        return "transpose"

    def _circle_exponent(self) -> bool:
        """`^\\circ` or `^{\\circ}`."""
        return self.at("^") and (
            self.at("circ", ahead=1)
            or (self.at("{", ahead=1) and self.at("circ", ahead=2) and self.at("}", ahead=3))
        )

    def _take_degree(self) -> None:
        if self.at("degree"):
            self.take()
        else:
            self.position += 2 if self.at("circ", ahead=1) else 4

    def _exponent(self) -> Node:
        """Braces, a bracket, or one token with its sign."""
        negative = False
        if self.at("-", "+"):
            negative = self.take().text == "-"
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        if token.kind == "letters":
            node = self._first_letter()
        elif token.kind in ("number", "name", "constant") or self.at("{", "(", "frac", "sqrt"):
            node = self._primary()
        else:
            raise Unreadable(
                Reason.SCRIPT if token.text in ("'", "prime", "*") else Reason.INCOMPLETE
            )
        return Negative(node) if negative else node

    def _mixed(self, start: Token | None, node: Node) -> Node | None:
        """`6\\frac15` and `1 1/2`: a whole number and a proper fraction."""
        if (
            start is None
            or start.kind != "number"
            or not isinstance(node, Number)
            or node.notation != "integer"
        ):
            return None
        following = self.peek()
        if following is None or following.shifted:
            return None
        # A fraction that is no part of a mixed number is read again: its digits, too, are put back.
        mark, before = self.position, list(self.tokens)
        if self.at("frac"):
            fraction = self._primary()
            top, bottom = (
                (fraction.top, fraction.bottom) if isinstance(fraction, Quotient) else (None, None)
            )
        elif following.kind == "number" and not following.text[0].isascii():
            self.take()
            return Number(node.value + (following.value or 0), "fraction")
        elif following.kind == "number" and following.spaced and self.at("/", ahead=1):
            top_token, _, bottom_token = self.take(), self.take(), self.peek()
            if bottom_token is None or bottom_token.kind != "number":
                self.position = mark
                return None
            self.take()
            top, bottom = number(top_token), number(bottom_token)
        else:
            return None
        whole = (
            isinstance(top, Number)
            and isinstance(bottom, Number)
            and top.notation == bottom.notation == "integer"
        )
        if not (whole and isinstance(top, Number) and isinstance(bottom, Number)):
            self.position, self.tokens = mark, before
            return None
        if not 0 < top.value < bottom.value:
            raise Unreadable(Reason.AMBIGUOUS)
        return Number(node.value + top.value / bottom.value, "fraction")

    def _primary(self) -> Node:
        """A number, a name, a function, brackets; `grammar` reads them."""
        raise NotImplementedError

    def _first_letter(self) -> Node:
        """The first of letters side by side; `grammar` reads it."""
        raise NotImplementedError


def number(token: Token) -> Number:
    """The number that a token is."""
    value = token.value if token.value is not None else Fraction(0)
    if not token.text.isascii():
        return Number(value, "fraction")
    if any(sign in token.text for sign in "eE"):
        return Number(value, "power", _places(token.text))
    return Number(value, "decimal" if "." in token.text else "integer", _places(token.text))


def _places(text: str) -> int:
    """Digits behind the point; repeating decimals are exact, so they have none."""
    return len(text.partition(".")[2]) if text.replace(".", "").isdigit() else 0


def times(left: Node, right: Node) -> Node:
    """A product, flat."""
    factors = (*left.factors, right) if isinstance(left, Product) else (left, right)
    return Product(factors)


def divided_by(top: Node, bottom: Node) -> Node:
    """A quotient."""
    return Quotient(top, bottom)
