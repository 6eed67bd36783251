"""Generate gold answers that are expressions: roots, multiples of pi, logarithms, powers, complex numbers,
functions of angles.

In: a `random.Random`. Out: `Gold`s, each with forms that say the same and forms that say something else.
"""

import random

from benchmarks.graders.golds import INTRUDER, Generator, Gold, proper, signed, whole

_SQUAREFREE = (2, 3, 5, 6, 7, 10, 11, 13, 14, 15, 17, 19, 21, 22, 23, 26, 29, 30, 33, 34, 35)


def root(draw: random.Random) -> Gold:
    """Draw a multiple of a square root of a number without square factors."""
    factor, inside = whole(draw, 2, 20), draw.choice(_SQUAREFREE)
    short = draw.random() < 0.3 and inside < 10
    text = rf"{factor}\sqrt{inside}" if short else rf"{factor}\sqrt{{{inside}}}"
    sign, size = ("-" if factor < 0 else ""), abs(factor)
    same = {
        "root with a dot": rf"{factor} \cdot \sqrt{{{inside}}}",
        "root first": rf"\sqrt{{{inside}}} \cdot {size}"
        if not sign
        else rf"-\sqrt{{{inside}}}\cdot {size}",
        "factor under the root": rf"{sign}\sqrt{{{factor * factor * inside}}}",
        "root by parentheses": rf"{factor}\sqrt({inside})",
        "root in plain text": f"{factor}*sqrt({inside})",
        "root in plain text, glued": f"{factor}sqrt({inside})",
        "root sign": f"{factor}√{inside}",
        "root as a power": rf"{factor} \cdot {inside}^{{1/2}}",
        "root as a power of a fraction": rf"{factor} \cdot {inside}^{{\frac{{1}}{{2}}}}",
        "root with its index": rf"{factor}\sqrt[2]{{{inside}}}",
        "denominator not rationalised": rf"\frac{{{factor * inside}}}{{\sqrt{{{inside}}}}}",
    }
    different = {
        "root dropped": rf"{factor} \cdot {inside}",
        "other root": rf"{factor}\sqrt[3]{{{inside}}}",
        "factor as an index": rf"{sign}\sqrt[{size}]{{{inside}}}"
        if size > 1
        else rf"{sign}\sqrt[3]{{{inside}}}",
        "plus for times": rf"{factor} + \sqrt{{{inside}}}",
        "factor dropped": rf"\sqrt{{{inside}}}",
        "root of more": rf"{factor}\sqrt{{{inside} + 1}}",
        "root and more": rf"{factor}\sqrt{{{inside}}} {INTRUDER}",
        "root in the denominator": rf"\frac{{{factor}}}{{\sqrt{{{inside}}}}}",
        "root as a mixed number": rf"{sign}{size}{inside}",
    }
    return Gold(text, "root", (factor, inside), same=same, different=different)


def surd(draw: random.Random) -> Gold:
    """Draw a + b sqrt(c), or its quotient by a whole number."""
    a, b, c = whole(draw, 1, 30), whole(draw, 2, 12), draw.choice(_SQUAREFREE)
    # Primes that seldom divide both a and b, so that the quotient rarely shortens.
    d = draw.choice((1, 1, 7, 11, 13))
    above = rf"{a}{signed(f'{b}' + chr(92) + f'sqrt{{{c}}}')}"
    turned = rf"{b}\sqrt{{{c}}}{signed(a)}"
    text = above if d == 1 else rf"\frac{{{above}}}{{{d}}}"
    wrap = (lambda inner: inner) if d == 1 else (lambda inner: rf"\frac{{{inner}}}{{{d}}}")
    same = {
        "surd turned": wrap(turned),
        "surd in parentheses": rf"\left({above}\right)/{d}" if d != 1 else rf"\left({above}\right)",
        "surd negated twice": wrap(rf"-({-a}{signed(f'{-b}' + chr(92) + f'sqrt{{{c}}}')})"),
    }
    if d != 1:
        same["surd as two fractions"] = rf"\frac{{{a}}}{{{d}}} + \frac{{{b}\sqrt{{{c}}}}}{{{d}}}"
    conjugate = wrap(rf"{a}{signed(f'{-b}' + chr(92) + f'sqrt{{{c}}}')}")
    different = {
        "conjugate surd": conjugate,
        "both surds": text.replace(signed(f"{b}")[:3], r" \pm ", 1)
        if "+" in above or " - " in above
        else conjugate,
        "surd dropped": wrap(str(a)),
        "surd as a list": rf"{a}, {b}\sqrt{{{c}}}",
        "surd multiplied": wrap(rf"({a})({b}\sqrt{{{c}}})"),
        "surd over more": rf"\frac{{{above}}}{{{d + 1}}}",
        "surd summed under the root": wrap(rf"\sqrt{{{a * a + c}}}")
        if a * a + c != 1
        else conjugate,
    }
    return Gold(text, "surd", (a, b, c, d), same=same, different=different)


def circle(draw: random.Random) -> Gold:
    """Draw a rational multiple of pi."""
    value = proper(draw, 12) if draw.random() < 0.6 else whole(draw, 2, 60)
    top, bottom = value.numerator, value.denominator
    sign, size = ("-" if top < 0 else ""), abs(top)
    coefficient = "" if size == 1 else str(size)
    if bottom == 1:
        text = draw.choice((rf"{top}\pi", rf"{top} \pi"))
    else:
        text = draw.choice((rf"{sign}\frac{{{coefficient}\pi}}{{{bottom}}}", rf"{sign}\frac{{{size}}}{{{bottom}}}\pi", rf"{sign}\dfrac{{{coefficient} \pi}}{{{bottom}}}"))  # fmt: skip
    same = {
        "pi with a dot": rf"\frac{{{top}}}{{{bottom}}} \cdot \pi",
        "pi first": rf"\pi \cdot \frac{{{top}}}{{{bottom}}}",
        "pi in plain text": f"{top}*pi/{bottom}" if bottom > 1 else f"{top}*pi",
        "pi sign": f"{sign}{coefficient}π/{bottom}" if bottom > 1 else f"{top}π",
        "pi in braces": rf"{sign}\frac{{{coefficient}{{\pi}}}}{{{bottom}}}",
    }
    if bottom < 10 and size == 1:
        same["pi without braces"] = rf"{sign}\frac\pi{bottom}" if bottom > 1 else text
    different = {
        "pi dropped": rf"\frac{{{top}}}{{{bottom}}}",
        "pi squared": rf"\frac{{{top}\pi^2}}{{{bottom}}}",
        "pi rounded": rf"\frac{{{top} \cdot 3.14}}{{{bottom}}}",
        "pi below": rf"\frac{{{top}}}{{{bottom}\pi}}",
        "pi plus": rf"\frac{{{top}}}{{{bottom}}} + \pi",
        "pi in degrees": rf"\frac{{{top}\pi}}{{{bottom}}}^\circ",
        "all multiples": rf"\frac{{{top}\pi}}{{{bottom}}} + 2\pi k",
        "pi with an index": rf"\frac{{{top}\pi_{{2}}}}{{{bottom}}}",
        "pi as a name": rf"\frac{{{top} p}}{{{bottom}}}",
    }
    return Gold(text, "circle", value, same=same, different=different)


def logarithm(draw: random.Random) -> Gold:
    """Draw a logarithm, natural or to a base, with a factor."""
    inside, factor = draw.choice((2, 3, 5, 6, 7, 10, 11, 13)), whole(draw, 2, 9, signed=False)
    base = draw.choice((None, None, 2, 3, 5, 7))
    if base == inside:
        base = None
    command = r"\ln" if base is None else rf"\log_{{{base}}}"
    short = r"\ln" if base is None else rf"\log_{base}"
    text = draw.choice((rf"{factor}{command} {inside}", rf"{factor} {short} {inside}", rf"{factor}{short}({inside})", rf"{factor} \cdot {short}{{{inside}}}"))  # fmt: skip
    same = {
        "logarithm in parentheses": rf"{factor}{command}\left({inside}\right)",
        "logarithm in braces": rf"{factor}{short}{{{inside}}}",
        "factor inside": rf"{command} {inside**factor}",
        "power inside": rf"{command} {inside}^{{{factor}}}",
        "logarithm last": rf"{command}({inside}) \cdot {factor}",
    }
    if base is None:
        same["ln in plain text"] = f"{factor}*ln({inside})"
        same["ln in mathrm"] = rf"{factor}\mathrm{{ln}}({inside})"
        same["ln to the base e"] = rf"{factor}\log_e {inside}"
    else:
        same["change of base"] = rf"{factor} \cdot \frac{{\ln {inside}}}{{\ln {base}}}"
    different = {
        "other base of a logarithm": rf"{factor}\log_{{{(base or 2) + 2}}} {inside}",
        "common logarithm": rf"{factor}\log_{{10}} {inside}"
        if base != 10
        else rf"{factor}\ln {inside}",
        "logarithm dropped": f"{factor * inside}",
        "sine for logarithm": rf"{factor}\sin {inside}",
        "logarithm of more": rf"{factor}{command}({inside} + 1)",
        "logarithm squared": rf"{factor}{command}^2 {inside}",
        "base as an argument": rf"{factor}{command} {inside} \cdot {INTRUDER}",
        "exponential for logarithm": rf"{factor} e^{{{inside}}}",
        "factor in the exponent of a logarithm": rf"({command} {inside})^{{{factor}}}",
    }
    return Gold(text, "logarithm", (factor, inside, base), same=same, different=different)


def exponential(draw: random.Random) -> Gold:
    """Draw e to a power, minus or plus a whole number, or one over e."""
    power, added = whole(draw, 2, 20), whole(draw, 1, 30)
    text = draw.choice(
        (rf"e^{{{power}}}{signed(added)}", rf"\mathrm{{e}}^{{{power}}}{signed(added)}")
    )
    same = {
        "exponential turned": rf"{added} + e^{{{power}}}",
        "exp in plain text": f"exp({power}){signed(added)}",
        "exp as a command": rf"\exp({power}){signed(added)}",
        "e upright": rf"\mathrm{{e}}^{{{power}}}{signed(added)}",
        "e in text": rf"\text{{e}}^{{{power}}}{signed(added)}",
        "exp behind a sum": f"{added} + exp({power})",
    }
    same["negative power below"] = rf"\frac{{1}}{{e^{{{-power}}}}}{signed(added)}"
    different = {
        "e rounded": rf"2.718^{{{power}}}{signed(added)}",
        "power glued": rf"e{power}{signed(added)}"
        if power > 0
        else rf"e \cdot {power}{signed(added)}",
        "e as an index": rf"e_{{{power}}}{signed(added)}",
        "sum in the exponent": rf"e^{{{power}{signed(added)}}}",
        "other base of a power": rf"3^{{{power}}}{signed(added)}",
        "power negated": rf"e^{{{-power}}}{signed(added)}",
        "times for plus": rf"e^{{{power}}} \cdot {added}" if added != 1 else rf"e^{{{power}}} - 1",
        "e as a large letter": rf"E^{{{power}}}{signed(added)}",
    }
    return Gold(text, "exponential", (power, added), same=same, different=different)


def power(draw: random.Random) -> Gold:
    """Draw a power of a prime that is too long to be written out."""
    base, exponent = draw.choice((2, 3, 5, 7)), whole(draw, 15, 2100, signed=False)
    same = {
        "power without braces": f"{base}^{exponent}" if exponent < 10 else f"{base}^{{{exponent}}}",
        "power with a caret": f"{base}^({exponent})",
        "power with stars": f"{base}**{exponent}",
        "power as a product": rf"{base} \cdot {base}^{{{exponent - 1}}}",
    }
    different = {
        "exponent plus one": f"{base}^{{{exponent + 1}}}",
        "exponent minus one": f"{base}^{{{exponent - 1}}}",
        "power plus one": f"{base}^{{{exponent}}} + 1",
        "power minus one": f"{base}^{{{exponent}}} - 1",
        "power turned": f"{exponent}^{{{base}}}",
        "index for power": f"{base}_{{{exponent}}}",
        "power multiplied": rf"{base} \cdot {exponent}",
        "power glued to its base": f"{base}{exponent}",
        "power of a power": f"{base}^{{{exponent}^2}}",
    }
    return Gold(f"{base}^{{{exponent}}}", "power", (base, exponent), same=same, different=different)


def factorial(draw: random.Random) -> Gold:
    """Draw a factorial, one over a factorial, or a binomial coefficient."""
    n = draw.randint(6, 40)
    if draw.random() < 0.5:
        text = draw.choice((f"{n}!", rf"\frac{{1}}{{{n}!}}"))
        same = {"factorial expanded": text.replace(f"{n}!", rf"{n} \cdot {n - 1}!")}
        different = {
            "factorial dropped": text.replace("!", ""),
            "double factorial": text.replace("!", "!!"),
            "next factorial": text.replace(f"{n}", f"{n + 1}"),
            "factorial of factorial": text.replace(f"{n}!", f"({n}!)!"),
        }
        return Gold(text, "factorial", text, same=same, different=different)
    k = draw.randint(2, n // 2 - 1)
    same = {
        "dbinom": rf"\dbinom{{{n}}}{{{k}}}",
        "tbinom": rf"\tbinom{{{n}}}{{{k}}}",
        "choose": rf"{{{n} \choose {k}}}",
        "complement of a binomial": rf"\binom{{{n}}}{{{n - k}}}",
        "binomial by factorials": rf"\frac{{{n}!}}{{{k}!{n - k}!}}",
    }
    different = {
        "fraction for a binomial": rf"\frac{{{n}}}{{{k}}}",
        "other binomial": rf"\binom{{{n}}}{{{k + 1}}}",
        "binomial upside down": rf"\binom{{{k}}}{{{n}}}",
        "vector for a binomial": rf"\begin{{pmatrix}}{n}\\{k}\end{{pmatrix}}",
    }
    return Gold(rf"\binom{{{n}}}{{{k}}}", "factorial", (n, k), same=same, different=different)


def complex_number(draw: random.Random) -> Gold:
    """Draw a complex number, whole or with a denominator."""
    a, b = whole(draw, 1, 40), whole(draw, 2, 40)
    d = draw.choice((1, 1, 1, 41, 43))
    unit = draw.choice(("i", "i", r"\mathrm{i}"))
    plain = f"{a}{signed(f'{b}i')}"
    if d == 1:
        text = f"{a}{signed(f'{b}{unit}')}"
        same = {
            "imaginary part first": f"{b}i{signed(a)}",
            "imaginary unit first": rf"{a} + i \cdot {b}" if b > 0 else rf"{a} - i \cdot {-b}",
            "imaginary with a star": f"{a}{signed(f'{b}*i')}",
            "imaginary with a space": f"{a}{signed(f'{b} i')}",
            "complex in parentheses": rf"\left({plain}\right)",
            "imaginary upright": f"{a}{signed(f'{b}' + chr(92) + 'mathrm{i}')}",
            "imaginary with a dot": f"{a}{signed(f'{b} ' + chr(92) + 'cdot i')}",
            "imaginary in text": f"{a}{signed(f'{b}' + chr(92) + 'text{i}')}",
        }
    else:
        text = rf"\frac{{{a}}}{{{d}}}{signed(rf'{b}')[:3]}\frac{{{abs(b)}}}{{{d}}}{unit}"
        same = {
            "one fraction": rf"\frac{{{plain}}}{{{d}}}",
            "imaginary unit above": rf"\frac{{{a}}}{{{d}}}{signed(b)[:3]}\frac{{{abs(b)}i}}{{{d}}}",
            "complex by a solidus": f"({plain})/{d}",
        }
    over = "" if d == 1 else f"/{d}"
    different = {
        "conjugate": f"({a}{signed(f'{-b}i')}){over}",
        "parts exchanged": f"({b}{signed(f'{a}i')}){over}"
        if a != b
        else f"({a}{signed(f'{b + 1}i')}){over}",
        "imaginary unit dropped": f"({a}{signed(b)}){over}",
        "real part dropped": f"({b}i){over}",
        "imaginary part dropped": f"({a}){over}",
        "complex as a pair": f"({a}, {b}){over}",
        "imaginary squared": f"({a}{signed(f'{b}i^2')}){over}",
        "all negated": f"-({plain}){over}",
        "name for the imaginary unit": f"({a}{signed(f'{b}x')}){over}",
        "modulus": f"|{plain}|{over}",
        "imaginary with an index": f"({a}{signed(f'{b}i_2')}){over}",
        "both conjugates": rf"({a} \pm {abs(b)}i){over}",
    }
    return Gold(text, "complex", (a, b, d), same=same, different=different)


def trigonometric(draw: random.Random) -> Gold:
    """Draw a multiple of a sine, cosine or tangent of an angle in degrees, or of a multiple of x."""
    function, other = draw.choice((("sin", "cos"), ("cos", "sin"), ("tan", "cot"), ("sec", "csc")))
    n, factor = draw.choice((13, 17, 19, 23, 31)), whole(draw, 2, 9, signed=False)
    degrees = draw.random() < 0.5
    inside = rf"{n}^\circ" if degrees else f"{n}x"
    text = rf"{factor}\{function} {inside}"
    same = {
        "function in parentheses": rf"{factor}\{function}({inside})",
        "function in braces": rf"{factor}\{function}{{{inside}}}",
        "function by left and right": rf"{factor} \{function}\left({inside}\right)",
        "function with a dot": rf"{factor} \cdot \{function} {inside}",
    }
    if not degrees:
        same["function in plain text"] = f"{factor}*{function}({n}*x)"
        same["function in operatorname"] = rf"{factor}\operatorname{{{function}}}({inside})"
    different = {
        "other function": rf"{factor}\{other} {inside}",
        "inverse function": rf"{factor}\{function}^{{-1}} {inside}",
        "inverse function by its name": rf"{factor}\arc{function} {inside}"
        if function in ("sin", "cos", "tan")
        else rf"{factor}\ln {inside}",
        "function squared": rf"{factor}\{function}^2 {inside}",
        "function dropped": rf"{factor} \cdot {inside}",
        "angle without degrees": rf"{factor}\{function} {n}",
        "hyperbolic": rf"{factor}\{function}h {inside}"
        if function in ("sin", "cos", "tan")
        else rf"{factor}\sinh {inside}",
        "angle changed": text.replace(str(n), str(n + 1)),
        "factor moved inside": rf"\{function} ({factor} \cdot {inside})",
    }
    return Gold(text, "trigonometric", (function, n, factor, degrees), same=same, different=different)  # fmt: skip


EXPRESSIONS: tuple[Generator, ...] = (
    root, surd, circle, logarithm, exponential, power, factorial, complex_number, trigonometric,
)  # fmt: skip
