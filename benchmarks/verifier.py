"""Hostile answers through the verifier of mathematics: nothing hangs, nothing is lost, memory stays flat.

    python -m benchmarks.verifier --answers 100000 --clients 2

As many clients as workers ask for one verdict at a time, so that a latency is what a caller waits: hand-over, reading,
arithmetic, and where a worker was killed its replacement. One answer in ten is an ordinary right one, one in a
thousand is right and takes long: if it takes longer than an answer may, it has to be told as timed out, and not as wrong. Other work on
the machine makes latencies longer, so the processor time of one answer in fifty is printed too. Exits with 1
if a verdict is missing, a hostile answer was taken for right, an ordinary one was not, the 99th percentile is
above 100 ms, or memory grew by more than a fifth.
"""

import argparse
import importlib
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Lock

from dianoia.base.records import Problem
from dianoia.tasks.math import Verdict, judged, shared_workers
from dianoia.tasks.math.math_verifier import MAX_ANSWER_CHARS

Case = tuple[str, str, str, set[Verdict]]
"""Family, gold answer, answer, the verdicts that are no fault."""
RIGHT, BEYOND = {Verdict.RIGHT}, {Verdict.RIGHT, Verdict.TIMED_OUT}
NOT_RIGHT = {verdict for verdict in Verdict if verdict.score == 0.0}
_SIGNS = (
    r"\frac \sqrt \sum \int \boxed \left( \right) \begin{pmatrix} \end{pmatrix} { } ( ) [ ] ^ _ ! + - * / = < > , . $ & \\ x y n 1 2 9 99 0.5 "
    r"\cdot \pi \infty \cup \text{cm} % \pm e i"
)
_SOUP = _SIGNS.split()
_INJECTED = (
    "__import__('os').abort()",
    "exec('1')",
    "().__class__.__mro__",
    "open('/etc/passwd').read()",
    "lambda x: x",
    "os._exit(0)",
)
_BOMBS = (r"\def\a{{\a\a}}\a{n}", r"\newcommand{{\x}}{{\x\x}}\x{n}", r"\input{{/dev/zero}}{n}", r"\csname a{n}\endcsname", r"\loop\iftrue\repeat{n}")  # fmt: skip


def _tower(draw: random.Random) -> str:
    levels = [str(draw.randint(2, 99)) for _ in range(draw.randint(3, 30))]
    if draw.random() < 0.5:
        return draw.choice(("^", "**")).join(levels)
    return "^{".join(levels) + "}" * (len(levels) - 1)


def _factorial(draw: random.Random) -> str:
    n = draw.randint(10**4, 10**9)
    return draw.choice(
        (f"{n}!", f"({n}^{n})!", f"(({n % 99}!)!)!", f"{n}!!!", rf"\frac{{{n}!}}{{{n - 1}!}}")
    )


def _binomial(draw: random.Random) -> str:
    n = draw.randint(10**4, 10**9)
    return rf"\binom{{{n}}}{{{n // 2}}}"


def _nested(draw: random.Random) -> str:
    opening, closing = draw.choice((("(", ")"), (r"\frac{1}{", "}"), (r"\sqrt{", "}"), ("{", "}"), ("sin(", ")"), (r"\left(", r"\right)"), (r"\boxed{", "}")))  # fmt: skip
    depth = draw.randint(13, 2500)
    return opening * depth + str(draw.randint(6, 99)) + closing * (depth - draw.randint(0, 1))


def _megabyte(draw: random.Random) -> str:
    piece = draw.choice(
        ("9", "(", "x+", r"\frac{1}{2}+", " ", "\\", r"\boxed{", "1,", "ab ", "\n", "^2")
    )
    return piece * (draw.randint(10**6, 2 * 10**6) // len(piece))


def _control(draw: random.Random) -> str:
    return "".join(chr(draw.choice((*range(32), 127, 0x200B, 0x202E, 0xD800, 0xFFFF))) for _ in range(draw.randint(1, 3000))) + str(draw.randint(6, 99))  # fmt: skip


def _unicode(draw: random.Random) -> str:
    return "".join(chr(draw.randrange(0x21, 0x2FFFF)) for _ in range(draw.randint(1, 2000)))


def _bomb(draw: random.Random) -> str:
    return draw.choice(_BOMBS).format(n=draw.randint(6, 10**6))


def _boxes(draw: random.Random) -> str:
    count = draw.randint(2, 2000)
    return draw.choice((r"\boxed{" * count, r"\boxed{5}" * count + rf"\boxed{{{draw.randint(6, 99)}}}", rf"\boxed{{{draw.randint(6, 99)}}}" + "x" * count))  # fmt: skip


def _soup(draw: random.Random) -> str:
    return "".join(draw.choice(_SOUP) for _ in range(draw.randint(1, 120))) + "+100"


def _injected(draw: random.Random) -> str:
    return f"{draw.choice(_INJECTED)} # {draw.random()}"


def _long_number(draw: random.Random) -> str:
    digits = "".join(draw.choices("123456789", k=draw.randint(50, 5000)))
    return draw.choice((digits, f"{digits}/{digits}7", f"1e{digits[:9]}", rf"\sqrt{{{digits}}}", f"{digits}^{digits[:4]}", rf"{digits[:50]}\cdot {digits[:55]}"))  # fmt: skip


def _power_of_sum(draw: random.Random) -> str:
    names = "+".join(draw.sample("abcdxyzuvw", draw.randint(2, 8)))
    return f"({names})^{{{draw.randint(2, 60)}}}"


def _radicals(draw: random.Random) -> str:
    return "+".join(rf"\sqrt{{{draw.randint(2, 999)}+\sqrt{{{draw.randint(2, 999)}}}}}" for _ in range(draw.randint(1, 10)))  # fmt: skip


def _fractions(draw: random.Random) -> str:
    return "+".join(rf"\frac{{{draw.randint(1, 99)}}}{{x+{draw.randint(1, 99)}}}" for _ in range(draw.randint(2, 25)))  # fmt: skip


def _functions(draw: random.Random) -> str:
    text = "x"
    for _ in range(draw.randint(2, 11)):
        text = rf"\{draw.choice(('sin', 'cos', 'tan', 'ln', 'exp', 'arctan'))}({text}+{draw.randint(1, 9)})"
    return text


def _matrix(draw: random.Random) -> str:
    size = draw.randint(2, 9)
    rows = (r"&".join(draw.choice(("x", "y", str(draw.randint(1, 99)))) for _ in range(size)) for _ in range(size))  # fmt: skip
    kind = draw.choice(("pmatrix", "vmatrix"))
    return rf"\begin{{{kind}}}" + r"\\".join(rows) + rf"\end{{{kind}}}"


def _intervals(draw: random.Random) -> str:
    return r"\cup".join(f"({n},{n + draw.randint(1, 9)}]" for n in draw.sample(range(100), draw.randint(1, 12)))  # fmt: skip


def _equation(draw: random.Random) -> str:
    terms = "+".join(f"{draw.randint(1, 99)}x^{{{n}}}" for n in range(draw.randint(2, 12)))
    return f"{terms}={draw.choice(('y', '0', 'x^7'))}"


def _many(draw: random.Random) -> str:
    return ",".join(rf"\sqrt{{{draw.randint(2, 999)}}}" for _ in range(draw.randint(5, 60)))


def _endless(draw: random.Random) -> str:
    """1, as nobody would write it; a fast machine may still find it out in time."""
    one = r"(\sin(x+{0}y)^{{2}}+\cos(x+{0}y)^{{2}})^{{40}}"
    return "".join(one.format(n) for n in draw.sample(range(2, 99), 3))


FAMILIES: dict[str, tuple[Callable[[random.Random], str], str]] = {
    "towers": (_tower, "5"),
    "factorials": (_factorial, "5"),
    "binomials": (_binomial, "5"),
    "deep nesting": (_nested, "5"),
    "megabyte strings": (_megabyte, "5"),
    "control characters": (_control, "5"),
    "unicode": (_unicode, "5"),
    "LaTeX bombs": (_bomb, "5"),
    "boxes": (_boxes, "5"),
    "LaTeX soup": (_soup, "5"),
    "code": (_injected, "5"),
    "long numbers": (_long_number, "5"),
    "powers of sums": (_power_of_sum, "(a+x)^{3}+1"),
    "radicals": (_radicals, r"\sqrt{2}+\sqrt{3}"),
    "sums of fractions": (_fractions, r"\frac{1}{x}"),
    "functions of functions": (_functions, r"\sin(\cos(x))"),
    "matrices": (_matrix, r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    "unions": (_intervals, r"(100,101]\cup(200,201]"),
    "equations": (_equation, "y=2x+1"),
    "long lists": (_many, r"\sqrt{2},\sqrt{3}"),
}
"""Each family of hostile answers with the gold answer that none of them equals."""


def cases(count: int, seed: int) -> Iterator[Case]:
    """So many answers, none twice but by chance; every tenth is an ordinary right one."""
    draw = random.Random(seed)
    names = list(FAMILIES)
    for number in range(count):
        if number % 1000 == 500:
            yield "beyond the limit", "1", _endless(draw), BEYOND
        elif number % 10 == 0:
            value = draw.randint(-(10**6), 10**6)
            yield "ordinary", str(value), draw.choice(("{}.0", r"\boxed{{{}}}", "x = {}", "{}/1")).format(value), RIGHT  # fmt: skip
        else:
            # Each in turn, also those whose number would always fall on an ordinary answer.
            name = names[(number - number // 10) % len(names)]
            make, gold = FAMILIES[name]
            yield name, gold, make(draw), NOT_RIGHT


def resident(pid: int) -> float:
    """MiB of a process; 0 where nobody can say."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return (
        next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
    )


def tree() -> list[int]:
    """This process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [os.getpid()]
    for pid in found:
        found += parents.get(pid, [])
    return found


class Run:
    """Clients that ask, and what they were told."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.verdicts: dict[str, Counter[str]] = {}
        self.false: list[Case] = []
        self.memory: list[float] = []
        self._lock = Lock()

    def ask(self, case: Case) -> None:
        """One answer, one verdict."""
        family, gold, answer, allowed = case
        problem = Problem("benchmark", "", gold, "math")
        started = time.perf_counter()
        (judgement,) = judged([(problem, answer)])
        verdict = judgement.verdict
        taken = time.perf_counter() - started
        with self._lock:
            self.seconds.setdefault(family, []).append(taken)
            self.verdicts.setdefault(family, Counter())[verdict] += 1
            if verdict not in allowed:
                self.false.append(case)

    def client(self, queue: "Queue[Case | None]") -> None:
        """Ask until there is nothing left."""
        while (case := queue.get()) is not None:
            self.ask(case)

    def everything(self, every: Iterator[Case], count: int, clients: int) -> None:
        """All cases; memory is looked at a hundred times."""
        queue: Queue[Case | None] = Queue(4 * clients)
        with ThreadPoolExecutor(clients) as threads:
            asking = [threads.submit(self.client, queue) for _ in range(clients)]
            for number, case in enumerate(every):
                queue.put(case)
                if number % max(1, count // 100) == 0:
                    self.memory.append(sum(map(resident, tree())))
            for _ in asking:
                queue.put(None)
            for one in asking:
                one.result()


def processor_seconds(count: int, seed: int) -> list[float]:
    """Of so many other answers, graded here and not in a worker; those beyond the limit are left out."""
    grader = importlib.import_module("dianoia.tasks.math.grade")
    grader.warm()
    taken = []
    for family, gold, answer, _ in cases(count, seed):
        if family != "beyond the limit" and len(answer) <= MAX_ANSWER_CHARS:
            began = time.process_time()
            grader.grade((gold, answer, ""))
            taken.append(time.process_time() - began)
    return taken


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(run: Run, wall: float) -> list[str]:
    """Print the tables; what must hold and does not."""
    print(f"{'family':24}{'answers':>8}{'median ms':>11}{'p99 ms':>9}{'max ms':>9}  verdicts")
    for family, taken in run.seconds.items():
        told = ", ".join(
            f"{count} {verdict}" for verdict, count in run.verdicts[family].most_common()
        )
        print(f"{family:24}{len(taken):8}{percentile(taken, 0.5):11.2f}{percentile(taken, 0.99):9.1f}{percentile(taken, 1):9.1f}  {told}")  # fmt: skip
    every = [one for taken in run.seconds.values() for one in taken]
    high = percentile(every, 0.99)
    print(f"\nall: {len(every)} answers in {wall:.0f} s; median {percentile(every, 0.5):.2f}, 99 % {high:.1f}, 99.9 % {percentile(every, 0.999):.1f}, longest {percentile(every, 1):.0f} ms")  # fmt: skip
    total = sum(run.verdicts.values(), Counter())
    print(f"verdicts: {', '.join(f'{count} {verdict}' for verdict, count in total.most_common())}")
    workers = shared_workers()
    ended = ", ".join(f"{count} {how}" for how, count in workers.ended.items())
    print(f"workers: {ended}; killed or died {workers.replaced}")
    parts = [statistics.fmean(run.memory[i : i + 10]) for i in (10, len(run.memory) - 10)]
    print(f"memory of all processes: {parts[0]:.0f} MiB after a tenth, {parts[1]:.0f} at the end, peak {max(run.memory):.0f}")  # fmt: skip
    faults = [f"graded falsely: {family}, gold {gold!r}, answer {answer[:100]!r}" for family, gold, answer, _ in run.false[:20]]  # fmt: skip
    if high > 100:
        faults.append(f"the 99th percentile is {high:.1f} ms")
    if parts[1] > 1.2 * parts[0]:
        faults.append(f"memory grew from {parts[0]:.0f} to {parts[1]:.0f} MiB")
    return faults


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--answers", type=int, default=100_000, help="how many")
    parser.add_argument("--clients", type=int, default=os.cpu_count() or 1, help="that ask at once")
    parser.add_argument("--seed", type=int, default=1, help="of the generator")
    options = parser.parse_args()
    judged([(Problem("first", "", "5", "math"), "6")])  # starts the workers
    run, started = Run(), time.perf_counter()
    run.everything(cases(options.answers, options.seed), options.answers, options.clients)
    faults = report(run, time.perf_counter() - started)
    spent = processor_seconds(options.answers // 50, options.seed + 1)
    print(f"processor time: {len(spent)} answers, 99 % {percentile(spent, 0.99):.0f}, longest {percentile(spent, 1):.0f} ms")  # fmt: skip
    lost = options.answers - sum(map(len, run.seconds.values()))
    faults += [f"{lost} answers have no verdict"] if lost else []
    print("\n".join(faults) or "nothing hung, nothing was lost, nothing was graded falsely")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
