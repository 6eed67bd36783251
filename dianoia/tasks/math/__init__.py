r"""Mathematics: read an answer by a grammar that overlooks nothing, and compare it with the gold answer exactly.

The room is a small compiler front end and an equivalence checker. One answer on its way through it:

    question     How many metres long is the rope?
    gold answer  1\frac{1}{2}
    answer       So it is $\boxed{1.5 \text{ m}}$.

1. `math_verifier`, in the process that trains, checks that no text is too long and sends (gold answer, answer, question) to
   a worker process. Everything below runs in that worker, within limits of time and memory; `grade` is its entry point.
2. `extract` takes the bare answer out of the text: `1.5 \text{ m}`.
3. `lexer` turns it into tokens: the number 1.5, and the letters m, marked as upright because they stand in `\text`.
   Its tables are in `alphabet`; numbers as they are written (1,234; 0.\overline{3}; 1e3; 101_2) are in `numerals`.
4. A recursive-descent parser turns the tokens into an abstract syntax tree (`nodes`):
   `Quantity(Number(3/2, "decimal"), unit=metre)`. The parser is one class in four layers, each a subclass of the one
   before: `terms` (sums, products, powers), `grammar` (numbers, names, functions, brackets), `quantities` (units, percent
   signs, words), `answer_parser` (lists, relations, whole answers). The gold answer takes the same path: `Number(3/2, "fraction")`.
   An answer that can be read in several ways has several trees.
5. `compare` decides which rule applies to two trees. Here `question` says that the question asks for a length, so that the
   unit may stand (`units` has the table of units). `relations` splits equations and approximations into parts, and `sets`
   brings intervals, unions and inequalities to one normal form.
6. `equal` decides whether two expressions have one value: 3/2 - 3/2 = 0, exactly. `evaluate` computes values, by the
   `arithmetic` of fractions and mpmath numbers and the `functions` by name.
7. `repetition` refuses an answer that is equal but only the question's own expression, such as 17*23 for 391.
8. The `verdict`, here RIGHT, goes back as text and scores 1.

An answer that no rule reads ends at step 2, 3 or 4 as UNREADABLE, with a `Reason`, and scores 0.
"""

from dianoia.tasks.math.math_verifier import MATH, grade_many, judged, shared_workers
from dianoia.tasks.math.verdict import Judgement, Reason, Verdict

__all__ = ["MATH", "Judgement", "Reason", "Verdict", "grade_many", "judged", "shared_workers"]
