"""Mutators that add something to a gold answer, so that it says something else.

The law that they try: nothing of an answer is overlooked. What is added may be text, mathematics, another box, marks
that a parser drops, commands that print nothing, characters that nobody sees, a hedge or a negation. 97 stands for
another value; no gold answer holds it.
"""

import re

from benchmarks.graders.golds import Gold
from benchmarks.graders.mutators import (
    Mutator,
    is_bare,
    is_mathematics,
    is_single,
    is_whole,
    is_word,
    templates,
)

TEXT_BEHIND = (
    r"@\text{ or 97}", r"@\text{97}", r"@\text{ million}", r"@\text{ thousand}", r"@\text{ hundred}", r"@\text{ billion}",
    r"@\text{ dozen}", r"@\text{ and a half}", r"@\mathrm{97}", r"@\mbox{ and 97}", r"@\textbf{ or 97}", r"@\textit{97}",
    r"@\texttt{ 97}", r"@\textrm{ or 97}", r"@\mathbf{97}", r"@\mathit{97}", r"@\mathsf{97}", r"@\operatorname{97}",
    r"@\text{ is wrong}", r"@\text{ is not right}", r"@\text{, but not really}", r"@\text{ or so}", r"@\text{?}", r"@\text{ or } 97",
    r"@\text{ and } 97", r"@\text{ to } 97", r"@\text{ plus } 97", r"@\text{ more}", r"@\text{ less than } 97",
    r"@ \text{ if } x > 97", r"@ \text{ for } x \ne 97", r"@ \text{ mod } 97", r"@ \pmod{97}", r"@ \bmod 97", r"@\ \text{(approximately)}",
    r"@\text{ when } n = 97, \text{ else } 97", r"@\text{ th}", r"@\text{ 's square}", r"@\text{-ish}", r"@ \quad \text{(or } 97 \text{)}",
)  # fmt: skip
TEXT_BEFORE = (
    r"\text{97 or }@", r"\text{not }@", r"\text{about }@", r"\text{at least }@", r"\text{at most }@",
    r"\text{more than }@", r"\text{less than }@", r"\text{not equal to } @", r"\text{between } 97 \text{ and } @",
    r"\text{either } 97 \text{ or } @", r"97 \text{ or } @", r"97 \text{ and } @", r"\mathrm{97}@", r"\mbox{97 and }@", r"\text{97}@",
    r"\text{all except } @", r"\text{nearly } @", r"\text{the negative of } @",
)  # fmt: skip
DOLLARS = (
    "$@$, 97", "$@$+97", "$@$ 97", "@$97", "97 - $@$", "$97$ $@$", "$@$$97$", "$@$ and $97$", "$@$ or $97$", "$$@$$97",
    r"\(@\) 97", r"\(@\)\(97\)", r"\[@\]+97", r"\[@\] \[97\]", "$@$; $97$", "$@ + $97$", "$@$-$97$", r"\sqrt{$@$}", "$97 = $@",
    "$@$\n$97$", "$@$ = $97$", r"$@$ \(97\)",
)  # fmt: skip
RELATIONS = (
    r"@ \approx 97", r"@ \simeq 97", r"@ \sim 97", r"@ \cong 97", "@ ≈ 97", r"@ \doteq 97", r"@ \equiv 97", r"@ \to 97", r"@ \rightarrow 97",
    r"@ \Rightarrow 97", r"@ \implies 97", r"@ \iff 97", r"@ \mapsto 97", r"@ \propto 97", r"@ \ne 97", r"@ \neq 97", r"@ \mp 97", r"97 \approx @", r"97 \to @",
    r"97 \Rightarrow @", "@ → 97", "@ ⇒ 97", "@ => 97", "@ -> 97", r"@ \therefore 97", r"@ \in \{97\}", r"@ \ni 97", r"@ \mid 97", r"@ \parallel 97",
    r"@ \perp 97", r"@ \subset \{97\}", r"@ \ll 97", r"@ \gg 97", "@ ≠ 97", "@ != 97", "@ == 97", r"@ := 97", r"\sim @", r"\ne @", "≠@", "!=@",
)  # fmt: skip
EQUALS = ("@ = 97", "97 = @", "@ = @ = 97", "97 = 97 = @", "@ = 97 = @", r"@ = 97 \cdot 2", "x = 97 = @", "@=97", "@ &= 97", r"@ \\ = 97")  # fmt: skip
MARKS = (
    "@_{97}", "@_97", "@_x", r"@_{\text{base } 97}", "@'", "@''", r"@^\prime", r"@^{\prime}", r"@^{\dagger}", "@^*",
    r"\overline{@}", r"\bar{@}1", r"\hat{@}", r"\vec{@}", r"\tilde{@}", r"\dot{@}", r"\underline{97 + @}", r"\widehat{@}", r"@^{\ast}", r"@^{+}", r"@^{-}", "@^{97}_{97}",
    r"\underbrace{@}_{97}", r"\overbrace{@}^{97}", r"\overset{97}{@}", r"\underset{97}{@}", r"\stackrel{97}{@}", r"\prescript{97}{}{@}", "{}^{97}@", "{}_{97}@", r"\mathring{@}",
    r"\breve{@}", "@₉₇", r"@\!_{97}",
)  # fmt: skip
BOXES = (
    r"\boxed{97}, \text{ or } \boxed{@}", r"\boxed{97}; \boxed{@}", r"\boxed{97} \quad \text{and} \quad \boxed{@}", r"\boxed{@} \boxed{97}", r"\boxed{@}\boxed{97}",
    r"\boxed{@} and \boxed{97}", r"\boxed{97} or \boxed{@}", r"\boxed{@ + 97}", r"\boxed{@}+97", r"97-\boxed{@}", r"\boxed{@}^2 + 97", r"\boxed{@}97",
    r"\sqrt{\boxed{@} + 97}", r"\boxed{@} \text{ or } 97", r"\boxed{97} @", r"\boxed{97", r"\boxed{} 97", r"\boxed{97}\boxed{@", r"\boxed{\boxed{97} @}",
    r"\boxed{@, \boxed{97}}", r"\boxed{@ \text{ or } 97}", r"\boxed{@}_{97}", r"\boxed{@}\text{ or }97", r"\boxed{@}, 97", r"97, \boxed{@}", r"\boxed{@} = 97", r"\boxed{@}!97", r"\boxed{@} is wrong.",
    r"not \boxed{@}", r"It is not \boxed{@}.", r"\boxed{97} / \boxed{@}", r"\boxed{97} - \boxed{@}", r"\boxed{97} + \boxed{@}", r"\boxed{97} = \boxed{@}", r"\boxed{97} \\ \boxed{@}",
    r"\fbox{97} and \fbox{@}", r"\boxed{97} \text{ and also } \boxed{@}", r"\boxed{97} & \boxed{@}", r"\boxed{97}: \boxed{@}", r"$\boxed{97}$ or $\boxed{@}$", r"\boxed{97} to \boxed{@}",
    r"\boxed{97} \approx \boxed{@}", r"\boxed{97} \cup \boxed{@}", r"\boxed{97} \text{ or maybe } \boxed{@}", r"\boxed{@ \mid 97}", r"\boxed{@} \boxed{@} \boxed{97}",
)  # fmt: skip
BOX_AND_PROSE = (
    r"$97 = \boxed{@}$", r"$\boxed{@}$ (or 97)", r"maybe $\boxed{@}$", r"$\boxed{@}$; I also found 97", r"\boxed{@}?", "\\boxed{@}\n\nWait, 97", r"Therefore $97 = \boxed{@}$.", "Answer: @\n97",
)  # fmt: skip
"""Text or mathematics next to a box changes the meaning of the answer."""
LISTS = (
    "@, 97", "97, @", "@; 97", "97; @", "@ or 97", "97 or @", "@ and 97", "97 and @", "@ 97", "@\n97", "97\n@", r"@ \\ 97", r"@ \quad 97", "@ & 97", "@ | 97", r"\{@, 97\}", "(@, 97)", "[@, 97]",
    r"\{97\} \cup \{@\}", r"@ \vee 97", r"@ \lor 97", r"@ \land 97", r"@ \cup 97", "either @ or 97", "@, or 97", "@ (or 97)", "@ (97)", "@ [97]", "@{97}", r"@ \{97\}", "@ und 97", "@ 或 97", "@、97", "@，97", "@； 97",
    "@ or perhaps 97", "@ vs 97", "@ to 97", "@ through 97", "@ – 97", "@ — 97", "@: 97", "97: @", "@ plus 97", "@ minus 97", "@\t97", "- @\n- 97", "1) 97 2) @", "@ & 97 \\\\ 97 & @", "@ or both",
    "@ then 97", "@, 97, @", "@ AND 97", "@ OR 97", "@ + 97", "@ - 97", "97 + @", "97 - @", "97^{@}", r"\frac{97}{@}", r"@ \oplus 97",
)  # fmt: skip
PRODUCTS = (
    r"@ \cdot 97", r"@ \times 97", r"@ \div 97", r"97 \cdot @", r"@ \ast 97", "@ / 97", "@/97", "-$@$", "$@$/$97$", "97$@$", "@ times 97", "@ over 97", r"\boxed{97}\cdot\boxed{@}", r"97\boxed{@}", r"-\boxed{@}", r"\frac{@}{97}", r"\frac{\boxed{@}}{97}", r"@\text{ times } 97", r"\text{minus }@", r"\text{twice }@", r"\text{half of }@", "97 $@$", r"@ \circ 97",
)  # fmt: skip
"""Not for gold answers that hold a 0, which a product may leave unchanged."""
INVISIBLE = (
    r"@\phantom{97}", r"@\hphantom{97}", r"@\vphantom{97}", r"{\color{white}97}@", r"@\color{white}{97}", r"@\textcolor{white}{97}", r"@{\tiny 97}", r"@ \tiny{97}", "@ % 97", r"@ \iffalse 97 \fi", r"@\label{97}", r"@\tag{97}",
    r"@\footnote{97}", r"@\hfill 97", r"@\hspace{-5cm}97", r"@\kern-5em 97", r"@\llap{97}", r"@\rlap{97}", r"@\smash{97}", r"@\raisebox{9cm}{97}", r"\phantom{97}@", r"\phantom{-}97@", r"\not @ 97", r"\cancel{@}97", r"\xcancel{@} 97", r"\sout{@} 97",
    r"\cancelto{97}{@}", r"\cancel{@}", r"\sout{@}", r"\xcancel{@}", r"\bcancel{@}", r"@\href{97}{97}", r"\href{97}{@}", r"\def\a{97}@\a", r"\newcommand{\a}{97}@\a", r"@\mathchoice{97}{97}{97}{97}", r"@ \mathbin{97}", r"@ \mathrel{97}", r"@\begin{comment}97\end{comment}",
    "@<!-- 97 -->", "~~@~~", "<del>@</del>", "<s>@</s>97", "[@](97)", "@[^97]", "`@` 97", "@<sub>97</sub>", "@<sup>97</sup>", "@ &nbsp; 97", r"@\unknown{97}", r"\unknown{@}", r"@ \input{97}", r"@\char57\char55", "@ ^^39^^37", r"@\unicode{x39}", r"@\symbol{57}",
    r"{@ \over 97}", r"{@ \choose 97}", r"@ \atop 97", r"@\limits_{97}", r"@\mspace{97mu}97", r"\lefteqn{97}@", r"\makebox[0pt]{97}@",
)  # fmt: skip
HIDDEN = (
    "@\u200b97", "@\u200d97", "@\u206097", "@\ufeff97", "@\u206297", "@\u206397", "@\u206497", "\u202e@\u202c97", "@\u202e79\u202c", "@\u0338", "@\u0305", "@\u20e0", "@\u0336", "@\U000e0039\U000e0037", "@\ufe0f97", "@\u00ad97", "@\u180e97", "@\u034f97", "@\u115f97",
    "@⑨⑦", "@\u2088", "@\x0097", "@\x0897", "@\x7f97", "@\u20dd", "@\x1b[8m97", "@\u30fc97", "@\u2008\u20dd", "\u2212@97", "@\u0661", "@\u0302",
)  # fmt: skip
HEDGES = (
    "not @", "@?", "maybe @", "probably @", "I think @", "about @", "roughly @", "approx. @", "@ (approximately)", "at least @", "at most @", "less than @", "more than @", "between @ and 97", "up to @", "@ or more", "@ or less", "@ is false", "@ is not the answer", "The answer is not @",
    "The answer is not @.", "The answer is not @, it is 97", "The answer is @. No, it is 97", "The answer is @ or 97", "The answer is 97 or @", "The answer is @, 97", "@? No, 97", "@, no wait, 97", "isn't @", "anything but @", "not equal to @", "never @", "except @", "neither @ nor 97", "cannot be @", "no @",
    "unlikely @", "@ or so", "@ - wrong", "@ (wrong)", "@ is impossible", "if @ then 97", "@ unless 97", "The answer is near @", "The answer could be @ or 97", "The answer is: not @", "Answer: 97 @", "Answer: @ 97", "The answer is 97. The answer is @ or 97.", "@ i guess or 97", "I do not know, @", "@ sometimes",
    "¬@", r"\neg @", r"\lnot @", "! @", "~= @ 97", "either @", "The answer is @ minus 97", "The answer is twice @", "**not** @", "@ **or 97**", "**@** 97", "**@**, **97**", "*@* or *97*", "__@__ 97", "The answer is **97** or **@**", "@…97", "97…@",
)  # fmt: skip
CODE = (
    "print(@)97", "eval('@')", "lambda: @", "@ if True else 97", "@ # 97", "@ // 97", "/* 97 */ @", "@ || 97", "@ && 97", "@ ? 97 : 97", "return @", "<answer>97</answer>@", "@</answer><answer>97", "@</think>97", "{'a': @}", "[@][97]", "@;97;", "str(@)", "<b>@</b>97", "@\\97", "@\r97", "@\u202897", "@`97`", "@_97_", "@@97"[1:] + "\u00b197",
)  # fmt: skip

BARE = (
    "@%", r"@\%", r"@\text{ percent}", "@ percent", "@‰", "@ million", "@ billion", "@ thousand", "@ hundred", "@k",
    "@M", "@ dozen", "@ pairs", "@ halves", "@ percent more", r"@\text{ pears}", "@ pears", "@ am", r"@\text{ p.m.}", "@ o'clock", r"@\mathrm{i}", "@i", "@ i", "@j", r"@\pi", r"@ \pi", "@π", "@e", r"@\mathrm{e}", "@x", "@ x", "x@", "x^{@}", "@x^0 y", "f(@)", r"\sin @", r"\sqrt{@}97", r"\log @", r"\ln @", r"\exp(@)", r"\Gamma(@)", "g(@) = 97", r"\gamma @",
    r"@ + \gamma", "@e3", "@e-3", "1e@", "@E5", "@ + 1", "@ - 1", "@ + 0.5", "-(@)", r"@ \cdot (-1)", "@ + x", "@ + i", r"@ + \epsilon", r"@ + \varepsilon", r"@ + \frac{1}{2^{97}}", "@ + 10^{-30}", "@ + 0.0000000001", "@ + dx", "@ + o(1)", "@ + O(1)", "@ + C", "@^{-1} + 1", r"@ \pm 1", r"\pm @", "@±1", "@ + 10^{-9}", r"@ + \frac{1}{10^{12}}", "@ - 2^{-60}",
    "<@", ">@", "≥@", "≤@", "< @", "> @", r"\le @", r"\ge @", r"\leq @", r"\geq @", r"x < @", r"x \ge @", "x > @", "@ < x", "@+", "@-", "@...", r"@\ldots", r"@ \ldots", r"@, \ldots", "@, ...", r"\ldots, @", r"@ \cdots", "..., @", "@..97", "@ , , 97", "@:97", "97:@", "@:00", "1:@", "@/97/2024", "2024-@-97", "@-01-01", "@ AD", "@th", r"@^{th}", r"@^{\text{rd}}", "#@ of 97", "No. @ of 97", "Chapter @",
    r"@^{2}+97", r"\binom{@}{97}", r"\max(@, 10^{97})", r"\min(@, -10^{97})", r"\gcd(@, 97)", r"\{x : x > @\}", r"\sum @", r"\int @ dx", r"\lim @", r"\sum_{k=1}^{97} @", r"\prod_{k=1}^{97} @", r"\int_0^{97} @ dx", r"\frac{d}{dx} @", r"\begin{pmatrix} @ & 97 \end{pmatrix}", r"\begin{pmatrix} @ \\ 97 \end{pmatrix}", r"\begin{vmatrix} @ & 0 \\ 0 & 97 \end{vmatrix}", r"\begin{cases} @ & x > 0 \\ 97 & x \le 0 \end{cases}",
    "@ @", "@@", "@, @", "@ and @", "@ or @ or 97", "@ + @", "@ - @ + 97", r"@ \cdot @ + 97", "(@)(@) + 97", "@(@) + 97", "@ + 97i", "@ + 0.97", "@.97", "97.@", "@ 0", "@,000", r"@\,000", "@ 000", "@'000", "@{,}000", r"@,\!000", "0x@97", "@ L97", r"\text{Rs. } @ \text{ lakh}", "@ in base 97", "(@)_{97}", "@ mod 97", r"@ \pmod 2", r"@ k, k \in \mathbb{Z}", r"@ + 97k", r"@n", r"@ \hat{i} + 97\hat{j}",
)  # fmt: skip

UNASKED = (
    r"@^\circ", r"@^{\circ}", "@°", r"@\degree", r"@\text{ degrees}", "@ degrees", r"@^\circ\text{C}", r"@\text{ cm}", "@ cm", r"@\text{ cm}^2", r"@\,\mathrm{m}", r"@\text{ kg}", "@ seconds", r"@\text{ dollars}", "€@", "@€", "£@", "@ radians", "@ m", "@ km/h",  "@ hours", "$@$ cm", r"\boxed{@} cm", r"\boxed{@\text{ cm}}", r"@\ \mathrm{kg}", "@ dollars", "@ inches", r"@\,\text{s}", "@ liters",
)  # fmt: skip
"""Units, if the question asks for none."""

SINGLE = (
    "@ > 0.5", r"@ \text{ for all } x", "@ dx", "@ + C + 97", r"|@| + 97", r"@ = 0 \text{ or } 97", r"x = @ \text{ or } x = 97", "x = @, y = 97", r"\frac{@}{2} + 97", "(@) + 97", "(@) 97", "(@)(97)", "@ (mod 97)", "@ + h.c.", r"@ \vert_{97}", r"\left. @ \right|_{x=97}", "@ : 97", "O(@)", r"\Theta(@)", r"\Re(@) + 97", "@ !97", r"\{@\} \setminus \{97\}", r"\mathbb{R} \setminus \{@\}", r"(-\infty, @)", r"[@, \infty)", r"(@, @)",
)  # fmt: skip


def _not_one(gold: Gold) -> bool:
    """Return True if factorials and powers change the value of a bare number."""
    return is_whole(gold) and abs(int(gold.text)) > 2


WHOLE = ("1@", "@0", "@!", "@!!", "@! + 97", "@^{2}", "@³", "@**2", "@^{-1}", r"@^{1+10^{-9}}", r"\sqrt{@}", "√@", r"\frac{1}{@}", "1/@", r"\left(@\right)^2", "@_2", "@_{3}", "0@97", "@.5", "@.0001", "@½", "½@", "@¼", r"@\frac{1}{2}", r"@ \frac12", "@.@", r"@\overline{3}", r"@.\overline{3}", "@_{(16)}", "@^{0}", r"\phi(@)", r"\tau(@)", "@#", "@ squared", "@ cubed", r"\overline{@}_{16}", "0x@", "0b@", "1.@", "@ factorial", r"\sigma(@)", r"@^{\underline{3}}", "P(@)", r"\left\lfloor @.5 \right\rfloor + 1", r"-@", "--@ + 1", "+-@", "-+@", "−@", "–@", r"\text{-}@", "($@)", "(@ points lost)", "minus @", "negative @")  # fmt: skip


def _negatable(gold: Gold) -> bool:
    return _not_one(gold) and int(gold.text) > 2


RAISED = (
    "@^2", "@^{94}", r"@^{\text{94}}", "@⁹⁴", r"@^{(94)}", r"@^{[94]}", "@^94", "@²", "@**94", "@^T", r"@^\top", r"@^{\rm T}", "@^x", r"@^{\infty}",
)  # fmt: skip


def _holds_no_zero(gold: Gold) -> bool:
    """Return True if no part of the gold answer is 0, which products leave as it is."""
    return not re.search(r"(?<![0-9.])0(?![0-9.])", gold.text)


def _changes_when_raised(gold: Gold) -> bool:
    """Return True if the last thing of the gold answer is no 0, 1 or imaginary unit, which powers may leave as they are."""
    if "begin" in gold.text and not re.search("[2-9]", gold.text):
        return False
    return (
        not is_word(gold)
        and gold.text.strip()[-1] in "23456789})]axyz"
        and not gold.text.rstrip("}").endswith("i")
    )


def _is_measured(gold: Gold) -> bool:
    return not is_mathematics(gold) and not is_word(gold)


MEASURED = (r"@ \text{ per } 97", r"@\text{ squared}", r"97@", "@ each", r"@ \text{ more}", r"@ \text{ per hour}", "@ per day", "@/h 97")  # fmt: skip

WORDS = ("@ or none", "@ and others", "un@", "@?!", r"@\text{ and more}", "@ if n > 97", r"\text{non-}@", "no, @ is wrong", "almost @", "@, then not")  # fmt: skip

ADDED: tuple[Mutator, ...] = (
    *templates(False, None, (*TEXT_BEHIND, *TEXT_BEFORE, *DOLLARS, *RELATIONS, *EQUALS, *BOXES, *BOX_AND_PROSE, *LISTS)),
    *templates(False, _holds_no_zero, PRODUCTS),
    *templates(False, lambda gold: not is_word(gold), MARKS),
    *templates(False, None, (*INVISIBLE, *HIDDEN, *HEDGES, *CODE)),
    *templates(False, is_bare, BARE),
    *templates(False, lambda gold: bool(gold.question) and is_bare(gold), UNASKED),
    *templates(False, is_single, SINGLE),
    *templates(False, _negatable, WHOLE),
    *templates(False, _changes_when_raised, RAISED),
    *templates(False, _is_measured, MEASURED),
    *templates(False, is_word, WORDS),
)  # fmt: skip
"""Mutators whose answers all have another meaning."""
