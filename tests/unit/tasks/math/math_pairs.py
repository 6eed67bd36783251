"""Labelled pairs for the verifier of mathematics: by hand, and by generators whose labels follow from how they build.

A label says what a careful person would: equivalent, different, junk (no answer at all) or hostile (made to hang, to
crash or to cheat). Only equivalent answers may score.
"""

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

Label = Literal["equivalent", "different", "junk", "hostile"]


class Pair(NamedTuple):
    """A gold answer, an answer, what the answer is, and the question where it matters."""

    gold: str
    answer: str
    label: Label
    question: str = ""


_PERCENT = "What percent of the students passed?"
_APPLES = "Tom has 12 apples and buys 7 more. How many apples does he have now?"
_EXPAND = "Expand $(x+1)^2$."

_EQUIVALENT = [
    # numbers
    ("5", "5"), ("5", "5.0"), ("5", " 5. "), ("5", "+5"), ("-5", "−5"), ("5", "５"), ("5", "$5$"), ("5", r"\(5\)"),
    ("5", r"\[5\]"), ("5", "**5**"), ("5", r"\boxed{5}"), ("5", r"So it is $\boxed{5}$."), ("73", "The answer is **73**."),
    ("5", "Answer: 5"), ("5", "答案是5"), ("1234", "1,234"), ("1,234,567", "1234567"), ("1234", r"1{,}234"), ("1234", r"1\,234"),
    ("0.5", "1/2"), ("0.5", ".5"), ("1/2", r"\frac{1}{2}"), (r"\frac{1}{2}", r"\dfrac12"), (r"\frac{1}{2}", "2/4"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"), (r"-\frac{1}{2}", r"\frac{1}{-2}"), ("3/2", r"1\frac{1}{2}"), ("3/2", "1 1/2"),
    ("1/3", r"0.\overline{3}"), ("1/6", r"0.1\overline{6}"), ("1", r"0.\overline{9}"), ("1000", "1e3"), ("1000", "10^3"),
    ("2500", r"2.5\times10^3"), ("0.001", r"10^{-3}"), ("300000", r"3 \cdot 10^{5}"), ("1/2", "½"), ("5000000", "5 million"),
    ("30000", "3万"), ("0", "-0"), ("0.10", "0.1"), ("100", "1.00e2"), ("7/1", "7"),
    # percentages
    ("50%", "50"), ("50%", r"50\%"), ("50%", "0.5"), ("50%", "1/2"), ("0.5", "50%"), ("50", "50%", _PERCENT),
    ("12.5%", "0.125"), (r"33\frac{1}{3}\%", "1/3"), ("50", r"50 \text{ percent}", _PERCENT), ("100%", "1"),
    # units
    ("5 cm", "5"), ("5", "5 cm"), ("5 cm", r"5\text{ cm}"), ("5 cm", "0.05 m"), ("1.5 km", "1500 m"), ("60", "60 miles per hour"),
    ("36 km/h", "10 m/s"), (r"12\text{ cm}^2", "12 square centimeters"), ("2 hours", "120 minutes"), ("$5", "5 dollars"),
    (r"\$5.00", "500 cents"), ("30", r"30^\circ"), (r"30^\circ", "30 degrees"), ("19", "19 apples", _APPLES), ("5元", "5"),
    (r"12\pi\text{ cm}^2", r"12\pi"), (r"\$1{,}000", "1000"), ("3 feet", "1 yard"), ("1000", "1 000"), ("2 L", "2000 mL"),
    # roots, powers, constants
    (r"\sqrt{2}/2", r"\frac{1}{\sqrt{2}}"), (r"2\sqrt{3}", r"\sqrt{12}"), (r"2\sqrt{3}", "2*sqrt(3)"), (r"2\sqrt{3}", "2√3"),
    ("8", "2^3"), ("4", r"\sqrt{16}"), (r"\pi/2", r"\frac{\pi}{2}"), (r"3\pi", "3π"), (r"\sqrt{2}", "1.41421356"),
    ("e^{2}", r"e\cdot e"), ("10!", "3628800"), (r"\binom{5}{2}", "10"), (r"\log_2 8", "3"), ("2^{100}", "1267650600228229401496703205376"),
    (r"\frac{3+\sqrt5}{2}", r"\frac{\sqrt{5}+3}{2}"), ("1+2i", "2i+1"), (r"\sqrt[3]{8}", "2"), ("x^{1/2}", r"\sqrt{x}"),
    (r"\frac{1}{1+\sqrt{2}}", r"\sqrt{2}-1"), (r"\ln 8", r"3\ln 2"), (r"\infty", "infinity"),
    # symbols
    ("x^2+2x+1", "(x+1)^2"), ("x^2+2x+1", "1+2x+x^2", _EXPAND), ("-3x+2", "2-3x"), (r"\frac{x}{2}", "0.5x"), ("ab", "ba"),
    (r"2\sin x\cos x", r"\sin(2x)"), ("a(b+c)", "ab+ac"), (r"\frac{x^2-1}{x-1}", "x+1"), ("x^2 - y^2", "(x-y)(x+y)"),
    (r"\frac{a}{b}", "a/b"), ("2n+1", "1+2n"), ("x^{10}", "x^10"), (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"),
    # names and equations
    ("x=5", "5"), ("5", "x=5"), ("5", "2+3=5"), ("x = 5", "x=5.0"), ("y=2x+1", "2x-y+1=0"), ("y=2x+1", "2x+1"), ("x+y=3", "2x+2y=6"),
    (r"x \le 3", r"3\ge x"), ("x<3", "3>x"), ("f(x)=2x", "2x"), ("x=1, y=2", "y=2, x=1"), ("x=1,y=2", "(1,2)"), ("A = 6", "6"),
    # sets, tuples, intervals, matrices
    (r"\{1,2\}", "2, 1"), ("1,2", "x=1 or x=2"), ("1, 2", "1 and 2"), (r"\{1,2,3\}", r"\{3,2,1\}"), ("(1,2)", "(1, 2)"), (r"\pm 2", "2, -2"),
    ("2, -2", r"x=\pm 2"), ("2,3", r"\boxed{2} and \boxed{3}"), (r"1\pm\sqrt{2}", r"1-\sqrt{2}, 1+\sqrt{2}"), ("5", r"\{5\}"),
    ("[1,2)", r"1 \le x < 2"), ("(1,3)", "1<x<3"), (r"(2,\infty)", r"x\in(2,\infty)"), (r"x>2", r"(2,\infty)"), (r"(\frac12, 3)", "(0.5, 3)"),
    (r"(-\infty,1)\cup(2,\infty)", r"(2,\infty)\cup(-\infty,1)"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    (r"\begin{pmatrix}1/2\\3\end{pmatrix}", r"\begin{pmatrix}0.5\\3\end{pmatrix}"), (r"\emptyset", r"\{\}"), ("(1,2),(3,4)", "(3,4), (1,2)"),
    # words, choices, bases, ratios
    (r"\text{even}", "even"), ("Tuesday", "tuesday"), ("C", "(C)"), ("(C)", "C"), ("C", r"\text{(C)}"), (r"\text{(C)}", "C"), ("yes", "Yes"),
    ("101_2", "101_{2}"), ("101_2", "101"), ("3:4", "3 : 4"), (r"\text{Evelyn}", "Evelyn"),
    # as they stand in sets of competition problems
    ("10,\\!080", "10080"), (r"\text{June 20}", r"\text{june 20}"), (r"15\mbox{ cm}^2", "15"), (r"(3, \frac{\pi}{2})", r"\left(3,\frac12\pi\right)"), ("-2+7i", "7i-2"),
    (r"11\sqrt2", r"\sqrt{242}"), (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"), ("2516_8", "2516_{8}"), (r"x \in [-2,7]", "[-2,7]"), (r"\frac{5}{7} \text{ pounds}", "5/7"),
    (r"5.4 \text{ cents}", "5.4"), ("3R^2", r"3 R^{2}"), (r"\cot x", r"\frac{\cos x}{\sin x}"), ("y = 2x + 3", "y=3+2x"), (r"(0,9) \cup (9,36)", r"(9,36)\cup(0,9)"), ("1, 16, 81", "81, 16, 1"),
    (r"\left( \frac{3}{2}, -13 \right)", "(1.5, -13)"), (r"\$36", "36"), (r"33\%", r"33\%"), ("2k+2", "2(k+1)"), (r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", r"\begin{pmatrix}0.2\\-3.6\end{pmatrix}"),
    (r"\frac{\sqrt{21}}{2}", r"\sqrt{\frac{21}{4}}"), (r"145^\circ", "145°"), ("p - q", "-q+p"), (r"\dfrac{9}{7}", "9/7"), (r"\frac14", "0.25"), ("-5, 3", "x=3 and x=-5"), ("6 - 5i", r"6-5\,i"),
    # sets of numbers, calls, equations, as the fast ways see them
    (r"(1,5]", r"(1,3]\cup(2,5]"), ("[1,2]", r"[1,2)\cup\{2\}"), (r"(0,1)\cup(1,2)", r"(1,2)\cup(0,1)"), (r"(\sqrt{2},2]", r"(\frac{2}{\sqrt{2}},2]"), (r"[\frac{1}{3},\infty)", r"[\frac{2}{6},\infty)"),
    (r"(-\infty,0)\cup(0,\infty)", r"(0,\infty)\cup(-\infty,0)"), (r"\sin(\cos(x)+1)", r"\sin(1+\cos x)"), (r"\sin(x)^2", r"\sin^2 x"), (r"\sin(x)\cos(y)", r"\cos(y)\sin(x)"),
    (r"\ln(x)+\ln(y)", r"\ln(y)+\ln(x)"), (r"e^{x}+x^{2}", r"x^2+e^x"), ("x^2+y^2=4", "2x^2+2y^2=8"), (r"x^2+y^2=4", r"\frac{x^2}{4}+\frac{y^2}{4}=1"), (r"\sin x\cos x\cos(2x)\cos(4x)", r"\cos(4x)\cos(2x)\cos x\sin x"),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2"),
]  # fmt: skip

_DIFFERENT = [
    ("5", "6"), ("5", "-5"), ("5", "55"), ("5", "5.1"), ("1/3", "0.333"), ("1/3", "0.333333"), ("2/3", "0.67"), ("1234", "12,34"), ("1234", "1.234"),
    ("1/2", "2"), ("1/2", "1"), ("1000", "1e4"), ("0.001", "10^{3}"), ("100", "101"), ("3/2", "1/2"), ("5", "5 million"), ("3", "3万"), ("12", "1 2"),
    ("7", r"\boxed{7} \text{ then } \boxed{8}"), ("10", "0.1"), ("3.14", r"\pi"), (r"\pi", "3.14"), (r"\pi", "22/7"), ("123456789", "123456780"),
    ("0.0000001", "0.0000002"), ("0", "0.0000001"), ("1000000007", "1000000006"),
    ("50%", "5000%"), ("50", "50%"), ("0.5", "0.5%"), ("50%", "0.05"),
    ("5 cm", "5 m"), ("5 cm", "50 cm"), ("36 km/h", "36 m/s"), ("12 cm^2", "12 cm^3"), ("2 hours", "2 minutes"), ("$5", "5 cents"), ("$5", "€5"),
    ("19", "19 pears", _APPLES), ("19", "12 apples", _APPLES), (r"12\pi\text{ cm}^2", r"12\pi\text{ m}^2"), ("6t", "6"), ("6t", "6s"), ("6m", "6"), ("3a", "3"),
    (r"\sqrt{2}", "1.414"), (r"\sqrt{2}", "2"), ("8", "3^2"), (r"2\sqrt{3}", r"3\sqrt{2}"), (r"\sqrt{2}", r"-\sqrt{2}"), ("2^{100}", "2^{101}"), ("1+2i", "1-2i"),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}"), (r"\infty", r"-\infty"), (r"\ln 8", r"2\ln 2"), ("10!", "9!"), (r"\binom{5}{2}", r"\binom{5}{1}"), ("e", "2.71"),
    ("x^2+2x+1", "x^2+2x-1"), ("x+1", "x-1"), ("-3x+2", "3x-2"), ("x", "y"), ("|x|", "x"), ("x", r"\sqrt{x^2}"), (r"\sin x", r"\cos x"), ("a+b", "a-b"), ("aA", "AA"), ("xy", "x+y"),
    (r"\frac{a}{b}", r"\frac{b}{a}"), ("x^2", "x^3"), ("n!", "n"), ("2x", "x"), ("x^2-1", "x-1"), ("2n+1", "2n"),
    ("x=5", "y=5"), ("x=5", "x=6"), ("5", "2+2=5"), ("5", "6=5"), ("5", "1=2=5"), ("y=2x+1", "y=2x+2"), ("x^2=-1", "x^2=-2"), ("x+y=3", "x+y=4"), ("x+y=3", "3"), ("x=1,y=2", "x=2,y=1"),
    (r"x\le 3", "x<3"), ("x<3", "x>3"), ("x=1,y=2", "x=1"), ("y=2x+1", "x=2y+1"),
    (r"\{1,2\}", r"\{1,3\}"), (r"\{1,2\}", "1"), ("5", "5 or 6"), ("5", "5, 6"), ("5", "4, 5, 6"), ("1,2", "1,2,3"), ("(1,2)", "(2,1)"), (r"\pm 2", "2"), ("2", r"\pm 2"), ("1,1", "1,2"),
    ("[1,2)", "(1,2]"), ("[1,2]", "(1,2)"), ("(1,3)", "[1,3)"), (r"(2,\infty)", r"(-\infty,2)"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"), (r"\emptyset", "0"), ("(1,2),(3,4)", "(1,2),(4,3)"), ("5", r"\boxed{5}, \boxed{6}"),
    (r"(-\infty,1)\cup(2,\infty)", r"(-\infty,1)\cup(3,\infty)"), (r"\{1,2,3\}", r"\{1,2\}"), ("5", "x=5, y=6"), ("5", r"5 \text{ or } 6"), (r"\text{June 20}", r"\text{June 21}"), ("10,\\!080", "10"),
    (r"\text{even}", "odd"), ("Tuesday", "Monday"), ("C", "(D)"), ("C", r"\text{(B)}"), ("yes", "no"), ("101_2", "5"), ("101_2", "101_3"), ("3:4", "4:3"), ("3:4", "6:8"), ("A", "AB"),
    (r"(1,5]", r"(1,3]\cup(4,5]"), ("[1,2]", r"[1,2)\cup(2,3]"), ("[1,2]", r"[1,2)"), (r"(\sqrt{2},2]", "(1,2]"), (r"(0,1)\cup(1,2)", "(0,2)"), (r"(-\infty,0)\cup(0,\infty)", r"(-\infty,\infty)"),
    (r"\sin(\cos(x)+1)", r"\sin(\cos(x))+1"), (r"\sin(x)^2", r"\sin(x^2)"), (r"\ln(x)+1", r"\ln(x+1)"), ("x^2+y^2=4", "x^2+y^2=5"), ("x^2+y^2=4", "x^2-y^2=4"), ("e^{x}", "x^{e}"), (r"\sin(x)y", r"\sin(xy)"),
    # equal, but only the question
    ("x^2+2x+1", "(x+1)^2", _EXPAND), ("x^2+2x+1", r"\left(1+x\right)^{2}", _EXPAND), ("391", "17*23", "What is 17*23?"), ("391", r"23\cdot 17", "What is $17\\times 23$?"),
    ("19", "12+7", _APPLES), ("19", "7+12", _APPLES), ("0.75", r"\frac{3}{4}", r"Write $\frac{3}{4}$ as a decimal."), ("0.75", "3/4", "Write 3/4 as a decimal."), ("1024", "2^{10}", "Compute 2^10."),
    (r"\frac{1}{2}", "0.5", "Write 0.5 as a fraction in lowest terms."), ("720", "6!", "What is 6! ?"), ("3", r"\log_2 8", r"Find $\log_2 8$."), (r"\sqrt{2}-1", r"\frac{1}{1+\sqrt{2}}", r"Rationalise $\frac{1}{1+\sqrt{2}}$."),
]  # fmt: skip

_JUNK = [
    "", " ", "?", "...", "I do not know.", "It is 5", "not 5 but 6", "five or so", "five", "the answer", "Answer:", r"\boxed{}", r"\boxed{", r"\boxed{5", "5 5 5", "5 no wait 6", "5 is wrong",
    "half of 10", "\n\n", "5\n6", "\u200b", "\x00", "5\x00", "{5", "5}", "((5)", "$", "$$", "\\", r"\frac{5}{", r"\frac{5}{0}", "5/0", "0/0", "1e999999", "NaN", "None", "null", "undefined", "inf", ",5,,",
    "= 5 =", "x", "5x", "x5", "5;6;", "<answer>5</answer>", "print(5)", "5?", "5 (approximately 6)", "5±1", "5-", "5%%", "\ud800", "𝟝", "Ⅴ", "五", "5\u202e", "#5", "&5", "5&", "@", "5 apples",
]  # fmt: skip

_HOSTILE = [
    "9^9^9^9", "9^{9^{9^{9}}}", "10**10**10", "(10^9)!", "((9!)!)!", "999999999!", "3^{300000000}", r"\binom{1000000000}{500000000}", "9" * 5000, "9" * 200_000, "1" + "0" * 4000 + "/3",
    "(" * 3000 + "5" + ")" * 3000, r"\frac{1}{" * 400 + "5" + "}" * 400, r"\sqrt{" * 200 + "5" + "}" * 200, "(x+y+z+w)^{200}", "+".join(["x"] * 5000), "5" + "+0" * 3000, "1/" * 400 + "1",
    r"\boxed{" * 20_000, r"\boxed{5}" * 20_000 + r"\boxed{6}", "{" * 10_000, "$" * 10_001, "\\" * 10_001, "\x00" * 10_000, "a" * 10**6, "5" + " " * 10**6 + "6", "^" * 5000, "!" * 5000, "," * 5000, "=" * 5000,
    r"\def\a{\a\a}\a", r"\newcommand{\x}{\x\x}\x", r"\input{/etc/passwd}", r"\write18{ls}", r"\csname end\endcsname", "__import__('os').system('true')", "exec('5')", "lambda: 5", "().__class__", "{{5}}^{{9}}",
    r"\sum_{n=1}^{10^{100}} n", r"\prod_{n=1}^{99999999} n", r"\int_0^{5} 1 dx", r"\lim_{x\to 5} x", r"\det(A)", r"\gcd(10^{4000},7)", r"\phi(10^{60}+7)", "5" * 59 + "!", "1e400*1e400", r"10^{400}\cdot 10^{-400}\cdot 10^{9999}",
    r"\begin{pmatrix}" + r"x&" * 500 + r"\end{pmatrix}", r"\begin{array}{c}", r"\text{" * 500, r"\left(" * 500, "x_" * 2000, "5\u0301" * 3000, "sin(" * 300 + "5" + ")" * 300, "2^" * 1000 + "5", "-" * 9999 + "5",
    r"\sin(\cos(\tan(\ln(x+1)+2)+3)+4)", r"\exp\exp\exp\exp 9", r"\ln{\frac{\sin{\cos{\tan{x}}}}{2}}", r"\begin{vmatrix}" + r"\\".join(["x&y&1&2&3&x&y&z"] * 8) + r"\end{vmatrix}", ",".join(rf"\sqrt{{{n}}}" for n in range(2, 50)),
]  # fmt: skip


def by_hand() -> list[Pair]:
    """Every pair that somebody wrote down."""
    return [
        *(Pair(row[0], row[1], "equivalent", *row[2:]) for row in _EQUIVALENT),
        *(Pair(row[0], row[1], "different", *row[2:]) for row in _DIFFERENT),
        *(Pair("5", answer, "junk", "How many?") for answer in _JUNK if answer != "5 apples"),
        Pair("5", "5 apples", "junk", "How many pears?"),
        *(Pair("5", answer, "hostile") for answer in _HOSTILE),
    ]


def generated(count: int, seed: int) -> Iterator[Pair]:
    """Fractions, surds, polynomials and sets in two notations, and near misses of them: `count` of each kind."""
    draw = random.Random(seed)
    for _ in range(count):
        value = Fraction(draw.randint(-400, 400), draw.choice((1, 2, 4, 5, 8, 10, 20)))
        gold, answer = _notations(value, draw), _notations(value, draw)
        yield Pair(gold, answer, "equivalent")
        yield Pair(gold, _notations(value + Fraction(draw.choice((-1, 1)), 100), draw), "different")
        yield from _quadratics(draw)
        yield from _sets(draw)
        yield from _surds(draw)


def _notations(value: Fraction, draw: random.Random) -> str:
    top, bottom = value.numerator, value.denominator
    factor = draw.randint(2, 5)
    decimal = f"{float(value):.6f}".rstrip("0").rstrip(".")
    return draw.choice(
        [
            decimal,
            f"{top}/{bottom}",
            rf"\frac{{{top}}}{{{bottom}}}",
            f"{top * factor}/{bottom * factor}",
            f"${decimal}$",
            rf"\boxed{{\dfrac{{{top}}}{{{bottom}}}}}",
            f"x = {decimal}",
        ]
    )


def _quadratics(draw: random.Random) -> Iterator[Pair]:
    a, b, c = (draw.choice((-1, 1)) * draw.randint(2, 9) for _ in range(3))
    gold = f"{a * b}x^2{a + b:+d}x+1" if a + b else f"{a * b}x^2+1"
    yield Pair(gold, rf"({a}x+1)({b}x+1)", "equivalent")
    yield Pair(gold, rf"({a}x+1)({b}x+1)+{abs(c)}", "different")


def _sets(draw: random.Random) -> Iterator[Pair]:
    members = draw.sample(range(-20, 20), 3)
    gold = rf"\{{{', '.join(map(str, members))}\}}"
    yield Pair(gold, ", ".join(map(str, draw.sample(members, 3))), "equivalent")
    yield Pair(gold, ", ".join(map(str, [*members[:2], members[2] + 100])), "different")


def _surds(draw: random.Random) -> Iterator[Pair]:
    outside, inside = draw.randint(2, 12), draw.choice((2, 3, 5, 6, 7))
    gold = rf"{outside}\sqrt{{{inside}}}"
    yield Pair(gold, rf"\sqrt{{{outside * outside * inside}}}", "equivalent")
    yield Pair(gold, rf"\sqrt{{{outside * outside * inside + 1}}}", "different")
