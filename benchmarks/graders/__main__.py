"""Hold graders to the laws and print one line per mutator.

    python -m benchmarks.graders                                  generated gold answers, the verifier of mathematics
    python -m benchmarks.graders --golds golds.json --every 4     a list of gold answers as JSON
    python -m benchmarks.graders --grader module:function --only 'text'

A grader takes (gold, answer). For a right answer it returns True, 1.0, or something whose text is "right". The exit status
is 1 if an answer with another meaning was right anywhere, if answers with the same meaning were right in fewer than 99
of 100 pairs, or if another law is broken.
"""

import argparse
import gc
import importlib
import json
import random
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from benchmarks.graders import laws
from benchmarks.graders.added import ADDED
from benchmarks.graders.anywhere import ANYWHERE
from benchmarks.graders.changed import CHANGED
from benchmarks.graders.expressions import EXPRESSIONS
from benchmarks.graders.golds import Gold, golds
from benchmarks.graders.mutators import constructed, holds_intruder
from benchmarks.graders.numbers import NUMBERS
from benchmarks.graders.polynomials import POLYNOMIALS
from benchmarks.graders.same import SAME
from benchmarks.graders.structures import STRUCTURES

CPU_SECONDS = 0.5
"""Limit per answer, as in `dianoia.tasks.math.math_verifier`."""
GENERATORS = (*NUMBERS, *EXPRESSIONS, *POLYNOMIALS, *STRUCTURES)

MUTATORS = (*SAME, *CHANGED, *ADDED, *ANYWHERE)


def is_right(verdict: object) -> bool:
    """Return True if a verdict is True, 1.0, or a text that is "right"."""
    return verdict is True or verdict == 1.0 or str(verdict) == "right"


def mathematics(gold: str, answer: str, question: str) -> bool:
    """Grade by the verifier of mathematics, in this process. An answer beyond the time limit is not right."""
    grade = importlib.import_module("dianoia.tasks.math.grade").grade
    signal.signal(signal.SIGVTALRM, _raise_timeout)
    # A full collection of a large process would count as time of the answer, and the alarm could go off inside it.
    gc.disable()
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        return is_right(grade((gold, answer, question)))
    except TimeoutError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()


def _raise_timeout(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def load_grader(name: str) -> laws.Grader:
    """Make a grader of `module:function`, which takes a gold answer and an answer."""
    module, _, function = name.partition(":")
    grade = getattr(importlib.import_module(module), function)
    return lambda gold, answer, question: is_right(grade(gold, answer))


def from_file(path: Path, step: int) -> list[Gold]:
    """Read gold answers from a JSON list of texts."""
    texts = json.loads(path.read_text(encoding="utf-8"))[::step]
    all_golds = [
        Gold(text, "file", text, question="Find the answer.")
        for text in texts
        if text.isprintable()
    ]
    return [gold for gold in all_golds if not holds_intruder(gold)]


def report(tally: laws.Tally, show: int) -> bool:
    """Print the line of a mutator and examples of broken laws; return True if the law holds."""
    label = "right" if tally.mutator.same else "WRONG"
    outcome = "ok" if tally.holds else "FALLS SHORT"
    print(f"{label}  {tally.mutator.name[:60]!r:64} {tally.right:5} right of {tally.pairs:5}  {outcome}", flush=True)  # fmt: skip
    for broken in tally.breaks[: 0 if tally.holds else show]:
        print(f"         {broken.gold!r} || {broken.answer!r}")
    return tally.holds


def main() -> None:
    """Run the laws."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--golds", type=Path, help="a JSON list of gold answers; absent: generated")
    parser.add_argument("--every", type=int, default=1, help="take every so many of a file")
    parser.add_argument("--count", type=int, default=400, help="how many to generate")
    parser.add_argument("--seed", type=int, default=1, help="of the generators")
    parser.add_argument(
        "--grader", type=load_grader, default=mathematics, metavar="MODULE:FUNCTION"
    )
    parser.add_argument("--only", default="", help="mutators whose name holds this")
    parser.add_argument("--show", type=int, default=3, help="examples per mutator")
    options = parser.parse_args()
    answers = from_file(options.golds, options.every) if options.golds else list(golds(GENERATORS, options.count, options.seed))  # fmt: skip
    if not any(options.grader(gold.text, gold.text, gold.question) for gold in answers):
        sys.exit(
            "the grader takes no gold answer for right, so that the laws would say nothing about it"
        )
    grader = laws.Recorded(options.grader)
    started, pairs, failed = time.perf_counter(), 0, 0
    for mutator in (*constructed(answers), *MUTATORS):
        if options.only not in mutator.name:
            continue
        result = laws.tally(grader, mutator, answers)
        pairs += result.pairs
        if result.pairs:
            failed += not report(result, options.show)
    draw = random.Random(options.seed)
    others = {
        "symmetry": laws.asymmetric(grader, answers),
        "two golds": laws.confused(grader, answers, draw),
        "stability": laws.unstable(grader, answers[::4]),
    }
    for name, breaks in others.items():
        if options.only:
            break
        broken = list(breaks)
        failed += bool(broken)
        print(f"{name:12} {len(broken):5} breaks")
        for example in broken[: 5 * options.show]:
            print(f"         {example}")
    failed += bool(grader.raised)
    print(f"exceptions   {len(grader.raised):5}")
    for gold, answer, error in grader.raised[: 5 * options.show]:
        print(f"         {gold!r} || {answer!r}: {error}")
    print(f"{pairs} pairs in {time.perf_counter() - started:.0f} s; {failed} laws fall short")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
