r"""Ways to fool a verifier of mathematics, and ways of writing that fool it: kinds, each with its siblings.

A row is (gold answer, answer) or (gold answer, answer, question). `WRONG` says something else than the gold answer,
`RIGHT` the same.
"""

APPLES = "Tom has 12 apples and buys 7 more. How many apples does he have now?"
METERS = "How many meters long is the rope?"

WRONG: dict[str, list[tuple[str, ...]]] = {
    "text behind": [
        ("5", r"5\text{ or 6}"), ("5", r"5\text{ million}"), ("2", r"2\mathrm{i}"), ("19", r"19\text{ pears}", APPLES), ("5", r"5\text{99}"), ("5", r"5\mbox{ and 99}"),
        ("5", r"5\text{ is wrong}"), (r"\frac{1}{2}", r"\frac{1}{2}\text{ or so}"), ("x+1", r"x+1\text{ or } x+2"), ("(1,2)", r"(1,2)\text{ and }(3,4)"), (r"\text{even}", r"\text{even or odd}"),
        ("5", r"5\textbf{!}"), ("5", r"5 \hbox{ hundred}"), ("5", r"\text{not } 5"), ("b=0", r"b=0\text{ million}"), ("b=0", r"b=0\mathrm{i}"), ("5", r"5\operatorname{mod} 3"), ("5", "5 squared"),
    ],
    "dollars inside": [
        ("5", "$5$, 6"), ("5", "$5$+99"), ("5", "$5$^2"), ("5", "5$99"), (r"\frac14", r"1-$\frac14$"), ("5", "$5$!"), ("5", "$5$ $6$"), ("-1", "$-1$^2"), ("5", "99 - $5$"), ("5", "$5$ or $6$"),
        ("5", "$$5$$-1"), ("x", "$x$_1"), ("5", r"\(5\)99"),
    ],
    "several boxes": [
        ("123456", r"\boxed{123} and \boxed{456}"), ("3", r"\boxed{2} \text{ or } \boxed{3}"), ("5", r"\boxed{99}; \boxed{5}"), ("5", r"\boxed{99}, \text{ or } \boxed{5}"), ("5", r"\boxed{99}\boxed{5}"),
        ("5", "\\boxed{99}\n\\boxed{5}"), ("5", r"\boxed{99} \quad \text{and} \quad \boxed{5}"), ("5", r"\boxed{5} \to \boxed{6}"), ("5", r"First \boxed{6}. Finally \boxed{5}."), ("5", r"\boxed{5}\;\vee\;\boxed{6}"),
        ("56", r"\boxed{5}\boxed{6}"), ("5", r"\boxed{5}+\boxed{6}"),
    ],
    "beside a box": [
        ("5", r"-\boxed{5}"), ("5", r"99-\boxed{5}"), ("5", r"\boxed{5} million"), ("5", r"\boxed{5}^2"), ("5", r"\boxed{5}, 6"), ("5", r"\boxed{5} or 6"), ("5", r"not \boxed{5}"), ("5", r"\boxed{5} is wrong."),
        ("5", r"\frac{\boxed{5}}{97}"), ("5", r"\sqrt{\boxed{5}+97}"), ("5", r"\boxed{5} = 97"), ("5", r"\boxed{5}\%"), ("5 m", r"\boxed{5} cm"), ("5", r"$\boxed{5}!$"), ("5", r"\boxed{5}_{99}"), ("5", r"$97 = \boxed{5}$"), ("5", r"$\boxed{5}$ (or 97)"), ("5", r"maybe $\boxed{5}$"), ("5", r"\boxed{5}?"), ("5", "\\boxed{5}\n\nWait, 97"),
        ("5", r"$\boxed{5}$; I also found 97"), ("5", r"\boxed{5}!97"),
    ],
    "thousands": [
        ("1,234 and 5,678", "1,678 and 5,234"), ("1234", "12,34"), ("1234", "1,23,4"), ("43,039", r"\{43,039\}"), ("43,039", "43 and 039"), ("123", "000,123"), ("1234567", "1,234567"), ("1,234", "1.234"),
        ("(1,234)", "1234"), ("5,678", "5, 678"),
    ],
    "marks": [
        ("5", "5_{99}"), ("-221_3", "-221_5"), ("y'=2y", "y=2y"), ("5", "5'"), ("x", "x'"), ("x", "x_1"), ("A", "A^T"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^T"),
        ("x+1", "(x+1)'"), ("101_2", "101_3"), ("C", "C_{99}"), ("12", "12_{3}"), ("a_1", "a_2"),
    ],
    "approximations": [
        ("5", r"5 \approx 6"), ("5", r"5 \approx 99"), ("5", r"\approx 5"), (r"\frac{40}{3}", r"\frac{40}{3} \approx 14.33"), ("13.33", r"\frac{41}{3} \approx 13.33"), (r"\pi", r"\pi \approx 3"), (r"\pi", "3.14"),
        ("5", r"x \approx 5"), ("13", r"\frac{40}{3} \approx 13"), ("1/3", "0.333"), ("1/3", r"0.333\ldots"),
    ],
    "names that libraries know": [
        (r"\gamma+1", "1"), ("720", r"\gamma+7"), (r"\phi", r"\frac{1+\sqrt{5}}{2}"), ("E", "e"), ("I", "i"), ("N", "1"), (r"\zeta", "2"), ("S+1", "1"), (r"\beta", r"\alpha"), ("Q", "C"), ("O", "0"),
    ],
    "lists are no sets": [
        ("1,1,2", "1,2,2"), ("1,2", "1,2,2"), ("1,2,2", "1,2"), ("1,1", "1"), ("2", "2, 2"), ("x=1, x=1, x=2", "1, 2, 2"), (r"1, 2, \ldots, n", r"2, 1, \ldots, n"),
    ],
    "small beside large": [
        (r"1-\frac1{2^{100}}", r"1-\frac1{2^{99}}"), ("5", r"5+\frac{1}{2^{99}}"), (r"\sqrt{2}", r"\sqrt{2}+\frac{1}{2^{300}}"), (r"\pi", r"\pi+10^{-60}"), ("x", r"x+10^{-80}"), (r"10^{80}", r"10^{80}+1"),
        (r"\sqrt{2}+10^{90}", r"\sqrt{3}+10^{90}"), (r"\pi\cdot 10^{-50}", r"2\pi\cdot 10^{-50}"), ("262537412640768744", r"e^{\pi\sqrt{163}}"), ("(0,1)", r"(0,1+10^{-40})"),
    ],
    "chains and names": [
        ("5", "5 = 99"), ("5", "6 = 5"), ("P=(1,2)", "Q=(1,2)"), ("x=5", "y=5"), ("(x,y)=(1,2)", "(y,x)=(1,2)"), ("x=1,y=2", "2, 1"), ("xy=6", "6"), ("5", "x+1=5"), ("x=5", "x'=5"), ("x+y=3", "3"), ("6", "f(6)"), (r"P(A)=\frac12", r"P(B)=\frac12"), ("f(2)=6", "f(-1)=6"),
    ],
    "hidden and struck out": [
        ("5", "5\u200b"), ("5", r"5\phantom{9}"), ("5", r"\color{white}{99}5"), ("5", "~~5~~"), ("5", "5?"), ("5", r"5 \ldots"), ("5", "5 % 99"), ("5", r"\sout{5}"), ("5", r"5\hspace{9cm}9"), ("a", "\u0430"),
    ],
    "announced and taken back": [
        ("5", "The answer is 5. No, it is 97"), ("5", "The answer is 99. The answer is 5"), ("5", "Answer: 5 or 6"), ("5", "The answer is not 5"), ("5", "The answer is 5? Wait, 6"), ("5", "Answer: 5\nActually, 6"), ("5", "Answer: 5\n97"),
    ],
    "units and percent": [
        ("5", "500 cm", METERS), ("75", "75 cm", "Find the number."), ("75", r"75^\circ", "Find x."), ("75", "75 dollars", "Find the sum."), ("75", "75 radians", "What is the number?"), ("75", "€75", "Find x."), ("47%", r"47^\circ"), (r"\frac{3\pi}{4}", r"\frac{3\pi}{4}^\circ"), (r"\tan 19^\circ", r"\tan 19"), ("5 cm", "5 kg"), ("782 dollars", r"\$782 \text{ per hour}"), ("5 apples", "5 pears"),
        ("5 m^2", "5 m"), ("50%", "5000%"), ("19", "19 oranges", APPLES),
    ],
    "what the question does not ask for": [
        ("7", "7 pears", "Tom has 3 apples and 2 pears. How many apples does he buy for 4 dollars?"), ("7", "7 dollars", "Tom has 3 pears. How many apples does he buy for 4 dollars?"),
        ("21", "21 shirts", "How much do 7 shirts cost, in dollars?"), ("21", "€21", "How much do 7 shirts cost, in dollars?"), ("1.5", "1.5 minutes", "A train needs 90 minutes. How many hours is that?"),
        ("25", "25 cm", "A side is 5 cm long. What is the area in square centimeters?"), ("25", "25 cm^3", "A side is 5 cm long. What is the area in square centimeters?"), ("29", "2900%", "What percent of 200 people is 58?"),
        ("29", "29 people", "What percent of 200 people are older?"), ("45", "45 radians", "What is angle ABC, in degrees?"), ("4", "4 trains", "How many hours do two trains need?"),
    ],
    "signs, sets and infinities": [
        (r"[-3,\infty)", r"[\pm 3,\infty)"), ("y = 20x^2+29", r"y \in 20x^2+29"), (r"(37,\infty)", r"(37,\infty]"), (r"(-\infty, 2]", r"[-\infty, 2]"), ("5", "[5]"), ("2, -2", r"x \in \{2\}"),
        (r"\begin{pmatrix} -2 \\ -7 \end{pmatrix}", r"\begin{pmatrix} -2 \\ -7\pi \end{pmatrix}"),
    ],
}  # fmt: skip

RIGHT: dict[str, list[tuple[str, ...]]] = {
    "scales, units and nouns": [
        ("5000000", r"5\text{ million}"), ("19", r"19\text{ apples}", APPLES), ("575 students", "575"), ("12 cm^2", "12 cm$^2$"), ("5", "5 m", METERS), ("5", "$x = 5$ cm"), (r"28\%", "$28$ percent"), ("2 dozen", "24"),
        ("30000", "3万"), (r"9\text{ a.m.}", r"9 \text{ a.m.}"), ("65 children tickets", "65"), ("12 square units", "12"), ("510 m", r"\boxed{510} m"), ("30", r"30^\circ", "What is the angle ABC?"), ("15", r"\$15", "What does it cost?"), ("12", "12 square units", "Find the area."), ("0.0011_{2}", "0.0011_2"), ("90\\text{ square\nunits}", "90"),
    ],
    "several boxes": [
        ("840", r"\boxed{840} \boxed{840}"), ("2, 3", r"\boxed{2} \quad \text{and} \quad \boxed{3}"), ("2,3", r"The roots are \boxed{2} and \boxed{3}."), (r"\frac12", r"\boxed{\frac12}, that is \boxed{0.5}"),
        ("5", r"\boxed{5} ... \boxed{5}"), ("1,2,3", r"\boxed{1}, \boxed{2}, \boxed{3}"), ("5", r"It is not \boxed{4} but \boxed{5}."), ("391", r"$17 \cdot 23 = \boxed{391}$"), ("5", r"$x = \sqrt{25} = \boxed{5}$"), (r"25\pi", r"$\pi r^2 = \boxed{25\pi}$"),
    ],
    "thousands": [
        ("1,234 and 5,678", "1234, 5678"), ("100, 200", "200,100"), (r"32,\! 349", "32349"), ("1234", r"1{,}234"), ("1234", r"1\,234"), ("1234567", "1 234 567"), ("(1,234, 5,678)", "(1234,5678)"), (r"\frac{12}{5,\!525}", r"\frac{12}{5525}"),
        ("(100, 200)", "(100,200)"), ("1,000.5", "1000.5"),
    ],
    "approximations": [
        ("13.33", r"\frac{40}{3}\approx 13.33"), (r"\frac{40}{3}", r"\frac{40}{3}\approx 13.33"), (r"\pi", r"\pi \approx 3.14159"), (r"\sqrt{2}", "1.414214"), ("13.33", r"x \approx 13.33"), (r"2\pi", r"x = 2\pi \approx 6.283"),
    ],
    "i": [
        ("6+9i", "9 i + 6"), ("2i", "2*i"), (r"\frac35-\frac45i", r"\frac{3-4i}{5}"), (r"1-\mathrm{i}", "1-i"), ("6+9i", r"6+i\cdot 9"), ("6+9i", r"6+9\text{i}"), ("6+9i", r"9\,i+6"), ("-1", "i^2"), ("6+9i", r"3(2+3i)"),
        (r"e^{i\pi}", "-1"), ("i", r"\sqrt{-1}"), (r"\frac{i}{5}", "0.2i"), ("2i", r"2\imath"),
    ],
    "e and functions as people type them": [
        (r"1-\frac{1}{\mathrm{e}}", r"1-\frac1e"), ("e^{16}-1", "-1 + exp(16)"), (r"\arctan 2", "atan(2)"), (r"\arctan 2", r"\tan^{-1} 2"), ("|x-1|", "abs(x-1)"), ("10", r"\dbinom{5}{2}"), ("2^{10}", "2^10"), ("2^{10}", "2**10"),
        (r"\sqrt{x}", "sqrt(x)"), (r"\ln 2", "ln(2)"), (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"), ("2", r"\log 100"), (r"\frac{\pi}{6}", "pi/6"), (r"\sin x", "sin(x)"), (r"\arcsin x", r"\operatorname{arcsin}(x)"), ("3", r"\lfloor \pi \rfloor"),
        ("4", r"\max(3,4)"), ("-2", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"), ("0.5x", "x/2"), ("10", r"{5 \choose 2}"), (r"\csc x", r"\frac{1}{\sin x}"),
    ],
    "LaTeX as people write it": [
        (r"\sqrt{2}", r"\sqrt(2)"), (r"\frac{\pi}{6}", r"\frac\pi6"), (r"\frac12", r"{1 \over 2}"), (r"\frac13", r"0.\dot{3}"), ("125", r"{\bf 125}"), ("125", r"\color{red}{125}"), ("125", r"\boxed 125"), ("125", r"\mathbf{125}"),
        ("125", r"\textcolor{blue}{125}"), (r"\sqrt{12}", r"\sqrt12"), (r"\frac{7}{33}", r"0.\overline{21}"), (r"\frac{1}{2}", r"\cfrac12"), ("125", r"{125}"), ("125", r"\left(125\right)"), ("125", r"\displaystyle 125"), (r"\frac{1}{2}", r"\left.\frac12\right."),
        ("6", r"\text{6}"), (r"6\frac15", "31/5"), ("(6156)_8", "6156_8"), (r"a_{10}", "a_10"),
    ],
    "inequalities and intervals": [
        ("x<3", r"-\infty<x<3"), (r"x<3 \text{ or } x>5", r"(-\infty,3)\cup(5,\infty)"), (r"(-\infty,3)\cup(5,\infty)", r"x<3 \text{ or } x>5"), ("x<3", r"x\in(-\infty,3)"), (r"[2,\infty)", r"x \ge 2"), (r"x\ne 2", r"\mathbb{R}\setminus\{2\}"),
        (r"(1,2)\cup(3,4)", "(1,2) U (3,4)"), (r"1 \le x < 2", r"\{x \mid 1 \le x < 2\}"), ("2x<6", "x<3"), ("-x<3", "x>-3"), ("x>2 and x<5", "(2,5)"), ("f(2) < f(1) < f(4)", "f(4)>f(1)>f(2)"), (r"(-\infty,\infty)", r"\mathbb{R}"),
    ],
    "names": [
        ("D=(0,1)", "(0,1)"), ("(x,y)=(1,2)", "(1,2)"), (r"S=\{1,2\}", r"\{2,1\}"), (r"\{1,2\}", r"S=\{1,2\}"), ("6", "f(-1)=6"), ("x=1,y=2", "(x,y)=(1,2)"), ("3:4", "a:b = 3:4"), ("P(x)=x^2+1", "x^2+1"), ("75", "m+n = 75"), (r"\binom{6}{2}", r"\frac{6!}{2!4!}"), ("AB = 6", "6"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"v = \begin{pmatrix}1\\2\end{pmatrix}"), ("5", r"\angle ABC = 5"), ("5", r"S_{12} = 5"), ("5", "5 = x"), ("x=y=5", "5"), (r"\text{Area} = 6", "6"), ("6", r"\text{Area} = 6"),
    ],
    "announcements": [
        ("72", "**Answer**: 72"), ("72", "Final Answer: The final answer is $72$. I hope it is correct."), ("72", "The answer is not 5. The answer is 72."), ("72", "#### 72"), ("72", "**Answer:** 72"), ("72", "答案是$72$。"), ("72", "## Answer\n\n72"),
        ("72", r"\text{Answer: }72"), ("72", "The answer is $72$."), ("72", "The final answer is: $\\boxed{72}$. I hope it is correct."), ("72.5", "The answer is 72.5. Thanks"), ("72", "**72**"), ("72", "`72`"), ("72", "Ans: 72"), ("72", "The solution is $x = 72$."),
    ],
    "texts in plain typing": [
        (r"\text{1:03 PM}", "1:03 PM"), (r"\text{1:03 PM}", "1:03 p.m."), (r"9\text{ a.m.}", "9 am"), (r"9\text{ a.m.}", "9 AM"), (r"\text{B, E, G}", "B, G, E"), (r"\text{C,E}", "C, E"), (r"\text{E}", r"\[E\]"), (r"\text{E}", r"\[(E)\]"),
        ("2, -2", r"x \in \{-2, 2\}"), ("3,4", r"$x=\boxed{3}$ or $x=\boxed{4}$"), ("2x", "f^{-1}(x) = 2x"),
    ],
    "golds that are no numbers": [
        ("no solution", "no solution"), ("no solution", r"\text{No solutions.}"), ("all real numbers", r"\mathbb{R}"), ("all real numbers", r"(-\infty, \infty)"), (r"1, 2, \ldots, n", r"1,2,\dots,n"), ("does not exist", "DNE"), (r"\emptyset", "no solution"),
        (r"x \equiv 3 \pmod 7", r"x\equiv 10\pmod{7}"), (r"\begin{cases}x=1\\y=2\end{cases}", "x=1,y=2"), (r"\text{June 20}", "June 20"), (r"\text{VW}", "VW"), (r"\{(1,2),(3,4)\}", r"\{(3,4),(1,2)\}"), (r"\mathbb{Z}", r"\mathbb Z"),
    ],
    "expressions": [
        (r"30x\sqrt{26x}", r"30\sqrt{26x^3}"), (r"\frac{2a+b}{2}", "a + b/2"), ("x^8+x^7", "x^7(x+1)"), (r"\sin 30^\circ", "1/2"), ("n!", r"n\cdot(n-1)!"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"), ("|x|", r"\sqrt{x^2}"), (r"\tan x", r"\frac{\sin x}{\cos x}"),
        (r"\begin{pmatrix}2&4\end{pmatrix}", r"2\begin{pmatrix}1&2\end{pmatrix}"), (r"-\frac{\sqrt{2}}{2}", r"-\frac{1}{\sqrt2}"), (r"\sqrt[3]{-8}", "-2"), ("y = 2x+1", "x = (y-1)/2"), (r"\sqrt{x^2-2x+1}", "|x-1|"), ("2^{n-1}", r"\frac{2^n}{2}"), ("3^{2n}", "9^n"),
    ],
}  # fmt: skip
