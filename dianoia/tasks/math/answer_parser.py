r"""Parser, top layer: whole answers. Lists, relations, sets, ratios and words, made of the operands of `quantities`.

In: a bare answer. Out: its readings, each a tree, the ordinary one first. A token that no production takes makes the answer
unreadable.

    answer   = item { ("," | ";" | "and" | "or") item }
    item     = side { ("=" | "<" | "≤" | "≠" | "≈" | "∈" | "≡" | ...) side } [ "mod" expression ]
    side     = words | function name | operand { ("∪" | "∩" | "\") operand } | operand { ":" operand }
    operand  : `quantities`

An answer may have more than its value. Each such part has a rule:

- `full stop`: a full stop, comma, semicolon or colon at the very end is dropped here.
- `name`: names before an equals sign are kept in the tree, so that `compare` can tell another name from the right one.
- `unit`, `scale`, `percent`: words after a value are kept in a `Quantity`; whether they may stand there, `compare` decides.

Decisions:
1. "and", "or", commas and semicolons separate several answers. A list has an order only if an ellipsis leaves members
   out.
2. Words are an answer only if there is nothing else. A word after a value is a unit or a noun; words that change
   a number ("5 or so", "half of 5") make the answer unreadable.
3. `5 m` is five metres as well as 5 times m, and `200,100` a list as well as a number: such answers have two readings.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.lexer import tokenize
from dianoia.tasks.math.nodes import (
    Apply,
    Boxed,
    Bracketed,
    Cases,
    Listing,
    Matrix,
    Negative,
    Node,
    Number,
    Quantity,
    Ratio,
    Relation,
    SetOf,
    SetOperation,
    Words,
)
from dianoia.tasks.math.quantities import RELATIONS, QuantityParser, normal_words
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

MAX_CHARS = 2000
MAX_ITEMS = 64
"""Members of a list: comparing two lists takes the square of their length."""
_SET_SIGNS = ("cup", "cap", "minus")
# Not a full stop after another one: the dots of an ellipsis stay.
_SENTENCE_END = re.compile(r"(?<!\.)[.,;:。，；：]\Z")


class Reading(NamedTuple):
    """One way to read an answer, and the rule that allows it.

    "ordinary" is the usual one. "unit letters": a letter after a value is a unit (`5 m`). "commas separate": no comma
    separates thousands (`200,100`). "spelled": letters and digits are words (`VW`, `1:03 PM`).
    """

    rule: Literal["ordinary", "unit letters", "commas separate", "spelled"]
    node: Node


@lru_cache(maxsize=1024)
def readings(text: str) -> tuple[Reading, ...]:
    """Return every reading of a bare answer, the ordinary one first.

    Raises:
        Unreadable: there is no reading.
        TooLarge: it is longer, deeper or larger than the bounds.
    """
    if len(text) > MAX_CHARS:
        raise TooLarge("characters")
    if not text.isprintable():
        raise Unreadable(Reason.CHARACTER)
    bare = _trimmed(text)
    results: list[Reading] = []
    refusal: Unreadable | None = None
    # The first rule that works is the ordinary reading; the others count only if they give another tree.
    for rule in _rules(bare):
        if (
            rule == "commas separate"
            and results
            and not isinstance(results[0].node, Number | Quantity | Negative)
        ):
            continue  # its commas separate already
        try:
            node = _parse(bare, rule == "unit letters", rule == "commas separate")
        except Unreadable as error:
            refusal = refusal or error
        else:
            if all(node != reading.node for reading in results):
                results.append(Reading(rule, node))
    if not results and refusal is not None:
        raise refusal
    if (spelled := _spelled(bare)) is not None and not isinstance(results[0].node, Words):
        results.append(Reading("spelled", spelled))
    return tuple(results)


def _rules(text: str) -> tuple[Literal["ordinary", "unit letters", "commas separate"], ...]:
    """Return the rules to try on a text: letters are units only without LaTeX, and commas matter only if there are some."""
    # An escaped $ or % is no LaTeX: `\$5 m` is plain typing.
    latex = "\\" in text.replace("\\$", "").replace("\\%", "")
    return (
        "ordinary",
        *(() if latex else ("unit letters",)),
        *(("commas separate",) if "," in text else ()),
    )


def _parse(text: str, letters_are_units: bool, commas_separate: bool) -> Node:
    try:
        parser = AnswerParser(_unbraced(tokenize(text, commas_separate)), letters_are_units)
        return parser.whole()
    except RecursionError:
        raise TooLarge("depth") from None


def _unbraced(tokens: list[Token]) -> list[Token]:
    r"""Return the tokens without braces around the whole, unless they delimit the arguments of `\over` or `\choose`."""
    if any(token.text in ("over", "choose") for token in tokens):
        return tokens
    while (
        len(tokens) > 2
        and tokens[0].text == "{"
        and tokens[-1].text == "}"
        and tokens[0].kind == tokens[-1].kind == "sign"
    ):
        # {a}+{b} begins and ends with braces too, but they are not partners.
        depth = 0
        for token in tokens[:-1]:
            depth += (token.text == "{") - (token.text == "}")
            if not depth:
                return tokens
        tokens = tokens[1:-1]
    return tokens


def _trimmed(text: str) -> str:
    """Return the text without the mark that ends a sentence, in or after the dollar signs, and without Markdown wrappers."""
    for _ in range(6):  # wrappers and marks may be nested: **$5.$**.
        before = text
        text = text.strip()
        if text.endswith("\\") and not text.endswith("\\\\"):
            text = text[:-1].strip()  # what is left of an escaped space
        text = (
            _SENTENCE_END.sub("", text) if not text.endswith(("\\,", "\\;", "\\:")) else text[:-2]
        )
        # The mark may be inside the dollar signs: `$5.$` is `5`.
        inner = re.fullmatch(
            r"(\$\$?|\\\(|\\\[)(.*?)[.,;:。，；：]\s*(\$\$?|\\\)|\\\])", text, re.DOTALL
        )
        if inner and not inner[2].endswith(("\\", ".")) and inner[1] not in inner[2]:
            text = inner[2]
        # Markdown around the whole: **5**, `5`, "5".
        for wrapper in ("**", "__", "`", '"', "*"):
            inside = text[len(wrapper) : -len(wrapper)]
            if (
                len(text) > 2 * len(wrapper)
                and text == wrapper + inside + wrapper
                and wrapper not in inside
            ):
                text = inside
        if text == before:
            break
    return text


_PLAIN_TEXT = re.compile(r"[A-Za-z0-9 .,:;'’/()-]{1,60}")
_DELIMITED = re.compile(r"(?:\$\$?|\\\(|\\\[)(.*?)(?:\$\$?|\\\)|\\\])", re.DOTALL)


def _spelled(text: str) -> Node | None:
    """Return plain text as words, to be compared with a gold answer in words: VW, 1:03 PM, June 20; None for other text."""
    inner = _DELIMITED.fullmatch(text)
    bare = (inner[1] if inner else text).strip()
    if not _PLAIN_TEXT.fullmatch(bare) or not any(char.isalpha() for char in bare):
        return None
    return Words(normal_words(bare))


class AnswerParser(QuantityParser):
    """Adds lists, relations and set operations to `QuantityParser`."""

    def whole(self) -> Node:
        """Parse the whole answer. Raises Unreadable if a token is left, TooLarge for too many items."""
        # The text may be nothing but layout, such as `$$`.
        if not self.tokens:
            raise Unreadable(Reason.NOTHING)
        node = self._listing()
        if self.peek() is not None:
            raise Unreadable(self._reason_of_leftover())
        return node

    def _reason_of_leftover(self) -> Reason:
        """Return the reason why the next token could not be parsed."""
        token = self.take()
        if token.kind in ("letters", "words"):
            return Reason.TEXT_BEHIND
        if token.text in (")", "]", "}", r"\}", "rangle", "|"):
            return Reason.BRACKETS
        if token.text in ("_", "'", "''"):
            return Reason.SCRIPT
        return Reason.NUMBERS if token.kind in ("number", "based") or token.shifted else Reason.TEXT

    # Lists -----------------------------------------------------------------------------------------

    def _listing(self) -> Node:
        """Parse one item, or several as a list."""
        items = [self._item()]
        joints = set()  # what joins the items
        while (joint := self._separator()) is not None:
            joints.add(joint)
            items.append(self._item())
            if len(items) > MAX_ITEMS:
                raise TooLarge("items")
        if (
            len(items) == 1
            # [5] may be a list, a floor, or only an answer in brackets; [1, 2] and [1, 2) are intervals.
            and self.tokens[0].text == "["
            and self.tokens[-1].text == "]"
            and not isinstance(items[0], Bracketed | SetOperation | Listing | Matrix | Cases)
        ):
            raise Unreadable(Reason.AMBIGUOUS)
        if len(items) == 1:
            return items[0].content if isinstance(items[0], Boxed) else items[0]
        # Boxes are answers of their own, of which equal ones count once (`compare`); `boxed` says so.
        boxed = all(isinstance(item, Boxed) for item in items)
        bare = tuple(item.content if isinstance(item, Boxed) else item for item in items)
        return Listing(bare, "or" if "or" in joints else "and" if "and" in joints else ",", boxed)

    def _separator(self) -> str | None:
        """Consume what separates two items and return ",", "and" or "or"; None at the end of the list.

        Raises:
            Unreadable: an item is missing, as in `5,` and `5 and, 6`.
        """
        joint = None
        # `5, and 6`: a comma before a word is part of the same separator.
        if self.at(",", ";"):
            self.take()
            joint = ","
        word = self._joining_word()
        if word is not None:
            self.take()
            if self.peek() is not None and self.at(",", ";"):
                raise Unreadable(Reason.SEPARATOR)
            return word
        if joint and self.peek() is None:
            raise Unreadable(Reason.SEPARATOR)
        return joint

    # Items -----------------------------------------------------------------------------------------

    def _item(self) -> Node:
        """Parse a relation, or a single side.

        Raises:
            Unreadable: the relation is one of sets or limits, a side is missing, or a side is text with a relation in it.
            TooLarge: it has more than eight parts.
        """
        start = self.position
        parts, signs = [self._side()], []
        modulus = None
        while self.at(*RELATIONS):
            sign = self.take().text
            # Of sets and limits nothing can be computed.
            if sign in ("subset", "to"):
                raise Unreadable(Reason.TEXT)
            # The text was cut: `x = -`.
            if self.at("-", "+") and sign == "=" and self.peek(1) is None:
                raise Unreadable(Reason.INCOMPLETE)
            signs.append(sign)
            parts.append(self._side())
            if sign == "equiv":
                modulus = self._modulus()
            if len(parts) > 8:
                raise TooLarge("relations")
        if not signs:
            return parts[0]
        # A label has no value of its own: 2\text{=A} calls 2 A, and 2\text{=A=3} says two things.
        if any(isinstance(part, Words) for part in parts):
            relations = [
                token for token in self.tokens[start : self.position] if token.text in RELATIONS
            ]
            if len(relations) > len(signs):
                raise Unreadable(Reason.TEXT)
        parts = [part.content if isinstance(part, Boxed) else part for part in parts]
        return Relation(tuple(parts), tuple(signs), modulus)

    def _modulus(self) -> Node:
        """Parse the modulus of a congruence: `(mod 7)`, `\\pmod{7}`, `mod 7`."""
        if self.at("("):
            self.take()
            if self.at("mod", "bmod", "pmod"):
                self.take()
            elif not self._take_word("mod"):
                raise Unreadable(Reason.TEXT)
            node = self.expression()
            self.expect(")")
            return node
        if self.at("pmod", "bmod", "mod"):
            self.take()
            return self._argument()
        if self._take_word("mod"):
            return self.expression()
        raise Unreadable(Reason.TEXT)

    def _take_word(self, word: str) -> bool:
        """Consume the next token if it is a word; return True if it was."""
        token = self.peek()
        if token is not None and token.kind == "letters" and token.text == word:
            self.take()
            return True
        return False

    def _side(self) -> Node:
        """Parse one side of a relation: words, an operation on sets, a ratio, or a quantity."""
        if (words := self._words()) is not None:
            return words
        node = self._function_name() or self._operand()
        while self.at(*_SET_SIGNS) or self._is_at_union_letter(node):
            sign = self.take().text
            operation = "cup" if sign == "U" else sign
            node = SetOperation(operation, node, self._operand())  # type: ignore[arg-type]
        # 3:4, and 12:30 as a time of day. A colon at the end has been trimmed as punctuation.
        if self.at(":") and self.peek(1) is not None:
            parts = [node]
            while self.at(":"):
                self.take()
                parts.append(self._operand())
            return Ratio(tuple(parts))
        return node

    def _function_name(self) -> Apply | None:
        """Parse a function's name with its arguments before an equals sign: `P(x) = x^2`, `f^{-1}(x) = 2x`.

        None, with nothing consumed, if this is anything else: then `P(x)` is a product.
        """
        start = self.position
        inverse = [token.text for token in self.tokens[start + 1 : start + 6]] == [
            "^",
            "{",
            "-",
            "1",
            "}",
        ]
        # Look ahead without consuming: name, inverse, bracket, plain arguments, bracket, equals sign.
        begin = start + (7 if inverse else 2)
        token, bracket = self.peek(), self._at(begin - 1)
        if (
            token is None
            or bracket is None
            or token.kind not in ("letters", "name")
            or bracket.text != "("
            or bracket.spaced
        ):
            return None
        # One letter only: `ab(c)` is a product; and i(x), e(x) are products of constants.
        if token.kind == "letters" and (len(token.text) > 1 or token.text in ("i", "e")):
            return None
        end = begin
        while (inner := self._at(end)) is not None and inner.text != ")":
            if not (
                inner.kind in ("letters", "number", "name", "constant") or inner.text in (",", "-")
            ):
                return None
            end += 1
        following = self._at(end + 1)
        if (
            following is None
            or following.kind != "sign"
            or following.text not in ("=", "approx")
            or end == begin
        ):
            return None
        self.position = begin
        arguments = tuple(self._items(")"))
        self.expect(")")
        return Apply(token.text + ("^-1" if inverse else ""), arguments)

    def _is_at_union_letter(self, operand: Node) -> bool:
        """Return True if the next token is the U of a union: `(1,2) U (3,4)`."""
        token = self.peek()
        return (
            token is not None and token.kind == "letters" and token.text == "U" and isinstance(operand, Bracketed | SetOf | SetOperation)
            and self.at("(", "[", r"\{", ahead=1)
        )  # fmt: skip

    def factor_follows(self) -> bool:
        """Return True if a factor follows, as in `TermParser`; the U of a union is no factor."""
        token = self.peek()
        if (
            token is not None
            and token.kind == "letters"
            and token.text == "U"
            and self.at("(", "[", r"\{", ahead=1)
        ):
            # Only between two bracketed sets: `2U(x)` stays a product.
            before = self.tokens[self.position - 1].text if self.position else ""
            if before in (")", "]", r"\}"):
                return False
        return super().factor_follows()

    def member(self) -> Node:
        """Parse a member of brackets: an expression, or a relation, as in the set {x = 1, x = 2}."""
        node = self.expression()
        if self.at(*RELATIONS):
            parts, signs = [node], []
            while self.at(*RELATIONS):
                signs.append(self.take().text)
                parts.append(self.expression())
            return Relation(tuple(parts), tuple(signs))
        return node

    def condition(self) -> Node:
        """Parse the condition on the members of a set, or an entry of cases: one or several relations, or words."""
        if (words := self._words()) is not None:
            return words
        # A row of cases may begin with `\text{if}`: `x^2, & \text{if } x > 0`.
        token = self.peek()
        if (
            token is not None
            and token.kind == "letters"
            and token.upright
            and token.text in ("if", "for", "when", "where")
        ):
            self.take()
        # A comma before the end of a row of cases is punctuation.
        items = [self._item()]
        while (
            self.at(",")
            and not self.at("row", "&", ahead=1)
            and not (self.peek(1) is None or self.tokens[self.position + 1].kind == "end")
        ):
            self.take()
            items.append(self._item())
        return items[0] if len(items) == 1 else Listing(tuple(items), "and")
