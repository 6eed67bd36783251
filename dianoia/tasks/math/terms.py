r"""Parser, first layer: sums, products and powers. The next layer, `grammar`, adds what they are made of.

In: tokens (`lexer`). Out: a `Node`; `position` says where it ended. A token that no production takes raises `Unreadable`
with the reason.

    expression = ["+" | "-" | "±"] term { ("+" | "-" | "±") term }
    term       = factor { "*" ["-"] factor | "/" ["-"] factor | factor }
    factor     = primary ["mixed fraction"] { "!" | "°" | "^" exponent }
    exponent   = ["-" | "+"] ( "{" expression "}" | "(" expression ")" | one token )
    primary    : `grammar`

Decisions for ambiguous notation:
1. A number after a factor is no factor: `x5`, `\frac{1}{2}3` and `2 3` are unreadable. `6\frac15` is a mixed number.
2. `1/2x` is half of x, as people type it. `a/b c` is read in two ways by people, so it is unreadable; letters without a
   space are one factor, so `a/bc` is a over bc.
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
"""Nesting of expressions and brackets; deeper ones would exhaust Python's stack."""
DECORATIONS = frozenset(
    ("overline", "vec", "hat", "tilde", "overrightarrow", "angle", "triangle", "mathcal")
)
PRIMARY_STARTS = (
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
"""Signs that begin a primary, so that they can follow a factor without a multiplication sign."""
LONGEST_PRODUCT = 3
"""Most adjacent letters that are read as factors: `abc` is a product, `abcd` a word."""


class TermParser:
    """Recursive-descent parser over one list of tokens.

    Args:
        letters_are_units: a letter after a space and a value is a unit (`5 m` is five metres), not a factor.
    """

    def __init__(self, tokens: list[Token], letters_are_units: bool = False) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.letters_are_units = letters_are_units
        self.bars = 0
        """Absolute values that are open: inside one, a bar closes it instead of beginning a factor."""

    # Access to tokens ---------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> Token | None:
        """Return the next token, or the one `ahead` of it, without consuming it; None at the end."""
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else None

    def at(self, *texts: str, ahead: int = 0) -> bool:
        """Return True if the next token, or the one `ahead` of it, is one of these signs."""
        token = self.peek(ahead)
        return (
            token is not None
            and token.kind in ("sign", "font", "end", "begin")
            and token.text in texts
        )

    def take(self) -> Token:
        """Consume the next token and return it. Raises Unreadable at the end."""
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        self.position += 1
        return token

    def expect(self, *texts: str) -> Token:
        """Consume one of these signs and return it. Raises Unreadable if another token is next."""
        if not self.at(*texts):
            raise Unreadable(Reason.BRACKETS)
        return self.take()

    # Sums and products -----------------------------------------------------------------------------

    def expression(self) -> Node:
        """Parse a sum of terms."""
        self.depth += 1
        # Every production of a nested expression comes through here.
        if self.depth > MAX_DEPTH:
            raise TooLarge("depth")
        terms = [self._signed_term()] if self.at("+", "-", "pm", "mp") else [self._term()]
        while self.at("+", "-", "pm", "mp"):
            terms.append(self._signed_term())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def _signed_term(self) -> Node:
        sign = self.take().text
        self._refuse_sign()
        term = self._term()
        if sign == "+":
            return term
        return Negative(term) if sign == "-" else Signed(term, 1 if sign == "pm" else -1)

    def _term(self) -> Node:
        """Parse factors with multiplication or division signs between them, or adjacent."""
        node = self._factor()
        divided = False
        # Set while the last division is of one number by another: then 1/2x is (1/2)x and not ambiguous.
        number_divisor: Node | None = None
        while True:
            if self.at("*", "/"):
                sign = self.take().text
                negative = self.at("-") and bool(self.take())
                self._refuse_sign()
                factor = self._factor()
                factor = Negative(factor) if negative else factor
                divided = sign == "/"
                number_divisor = (
                    factor
                    if divided and isinstance(node, Number) and isinstance(factor, Number)
                    else None
                )
                node = Quotient(node, factor) if divided else times(node, factor)
            elif self._scientific_cross():
                self.take()
                node = times(node, self._factor())
            elif self.factor_follows():
                if (divided and number_divisor is None) or node == Number(Fraction(0)):
                    raise Unreadable(Reason.AMBIGUOUS)
                node = times(node, self._factor())
            else:
                return node

    def _refuse_sign(self) -> None:
        if self.at("+", "-", "pm", "mp"):
            raise Unreadable(Reason.INCOMPLETE)

    def _scientific_cross(self) -> bool:
        """Return True if an x between a number and a power of ten is next, as in `2.5x10^3`: it multiplies."""
        token, ten = self.peek(), self.peek(1)
        before = self.tokens[self.position - 1] if self.position else None
        return (
            token is not None and token.kind == "letters" and token.text == "x" and not token.upright
            and before is not None and before.kind == "number"
            and ten is not None and ten.kind == "number" and ten.text == "10" and self.at("^", ahead=2)
        )  # fmt: skip

    def factor_follows(self) -> bool:
        """Return True if the next token begins a factor that no multiplication sign precedes.

        Raises:
            Unreadable: it is a number or a box, which no factor may precede without a sign.
        """
        token = self.peek()
        if token is None or token.shifted:  # `$x$ y` is no product
            return False
        if token.kind in ("number", "based"):
            if token.kind == "number" and self.tokens[self.position - 1].text == "!":
                return True  # 2!4!, usual in a quotient of factorials
            raise Unreadable(Reason.NUMBERS)
        if token.kind == "letters":
            return not self.is_word(token)
        if token.kind in ("name", "constant", "function"):
            return True
        # A matrix: 2\begin{pmatrix}...
        if token.kind == "begin":
            return True
        if token.kind == "font":
            raise Unreadable(Reason.NUMBERS)
        # Inside |...| a bar closes; `2|x|` begins an absolute value.
        if token.text == "|" and self.bars:
            return False
        return token.kind == "sign" and token.text in PRIMARY_STARTS

    def is_word(self, token: Token) -> bool:
        """Return True if letters are a word or a unit here, and no factors."""
        # \text{cm} is a unit, but \mathrm{e} is a constant and \mathrm{d} the d of dx.
        if token.upright:
            return token.text not in ("i", "e", "d")
        if token.text.lower() in ("and", "or", "mod") or len(token.text) > LONGEST_PRODUCT:
            return True
        if (  # 9 am; but am is a times m elsewhere
            token.text.lower() in ("am", "pm")
            and token.spaced
            and self.position
            and self.tokens[self.position - 1].kind == "number"
        ):
            return True
        return token.spaced and self._is_unit(token)

    def _is_unit(self, token: Token) -> bool:
        """Return True if a short word after a space and a value is a unit: `5 km`, but `5 m` only with `letters_are_units`."""
        if len(token.text) == 1 and not self.letters_are_units:
            return False
        before = self.tokens[self.position - 1] if self.position else None
        follows_value = before is not None and (
            before.kind in ("number", "constant") or before.text in ("}", ")")
        )
        return follows_value and unit(token.text) is not None

    def _factor(self) -> Node:
        """Parse a primary with its postfix operators: factorial, degree, exponent."""
        start = self.peek()
        node = self._primary()
        mixed = self._mixed(start, node)
        node = mixed or node
        while True:
            # `$5$^2`: a dollar sign between an operand and its operator.
            following = self.peek()
            if following is not None and following.shifted and self.at("!", "^", "_", "'", "''"):
                raise Unreadable(Reason.DOLLARS)
            if self.at("!"):
                self.take()
                if self.at("!"):  # n!! is the double factorial, or (n!)!
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
        if self.at("^"):  # 9^9^9 could not be computed
            raise TooLarge("a power of a power")
        return Power(base, exponent)

    def _transposition(self) -> str | None:
        """Consume the T of a transposed matrix, in braces or not, and return "transpose"; None if none is next."""
        token = self.peek(1) if self.at("{") else self.peek()
        if token is None or token.text not in ("T", "top", "intercal", "t"):
            return None
        # T, or {T}.
        braces = self.at("{")
        self.position += 3 if braces else 1
        return "transpose"

    def _circle_exponent(self) -> bool:
        """Return True if `^\\circ` or `^{\\circ}` is next."""
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
        """Parse an exponent: braces, a bracket, or one token; each with an optional sign."""
        negative = False
        if self.at("-", "+"):
            negative = self.take().text == "-"
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        # x^ab is x^a b, as TeX reads it.
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
        """Parse the fraction of a mixed number after its whole number `node`: `6\\frac15`, `1 1/2`, `1½`.

        `start` is the token that `node` began with. None, with nothing consumed, if this is no mixed number.

        Raises:
            Unreadable: the fraction is not between 0 and 1; `1\\frac32` could be a product.
        """
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
        # Backtracking: if the fraction turns out to be no part of a mixed number, it is parsed again as a factor. The tokens
        # are restored too, since \frac12 has split its number into two.
        mark, tokens = self.position, list(self.tokens)
        if self.at("frac"):
            fraction = self._primary()
            top, bottom = (
                (fraction.top, fraction.bottom) if isinstance(fraction, Quotient) else (None, None)
            )
        elif following.kind == "number" and not following.text[0].isascii():  # 1½
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
            self.position, self.tokens = mark, tokens
            return None
        if not 0 < top.value < bottom.value:
            raise Unreadable(Reason.AMBIGUOUS)
        return Number(node.value + top.value / bottom.value, "fraction")

    def _primary(self) -> Node:
        """Parse a number, a name, a function or brackets; defined in `grammar`."""
        raise NotImplementedError

    def _first_letter(self) -> Node:
        """Parse the first of adjacent letters; defined in `grammar`."""
        raise NotImplementedError


def number(token: Token) -> Number:
    """Return the node of a "number" token."""
    value = token.value if token.value is not None else Fraction(0)
    if not token.text.isascii():
        return Number(value, "fraction")
    if any(sign in token.text for sign in "eE"):
        return Number(value, "power", _places(token.text))
    return Number(value, "decimal" if "." in token.text else "integer", _places(token.text))


def _places(text: str) -> int:
    """Return the number of digits after the point; 0 for a repeating decimal, which is exact."""
    return len(text.partition(".")[2]) if text.replace(".", "").isdigit() else 0


def times(lhs: Node, rhs: Node) -> Node:
    """Return a product; a product on the left is extended."""
    factors = (*lhs.factors, rhs) if isinstance(lhs, Product) else (lhs, rhs)
    return Product(factors)
