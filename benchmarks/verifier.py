"""Sends hostile answers through the verifier of mathematics: nothing may hang or get lost, and memory must not grow.

    python -m benchmarks.verifier --answers 100000 --clients 2

Several clients each ask for one verdict at a time, so that a latency is the time that a caller waits: transfer,
parsing, arithmetic, and the replacement of a worker that was killed. One answer in ten is ordinary and right. One in a
thousand is right but takes long: beyond the time limit its verdict must be "timed out", not "wrong". Other work on the
machine makes latencies longer, so the processor time of one answer in fifty is printed too. The exit status is 1 if a
verdict is missing, a hostile answer counts as right, an ordinary one does not, the 99th percentile is above 100 ms, or
memory grew by more than a fifth.
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
"""Family, gold answer, answer, accepted verdicts."""
RIGHT, RIGHT_OR_LATE = {Verdict.RIGHT}, {Verdict.RIGHT, Verdict.TIMED_OUT}
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


def _tower(rng: random.Random) -> str:
    levels = [str(rng.randint(2, 99)) for _ in range(rng.randint(3, 30))]
    if rng.random() < 0.5:
        return rng.choice(("^", "**")).join(levels)
    return "^{".join(levels) + "}" * (len(levels) - 1)


def _factorial(rng: random.Random) -> str:
    n = rng.randint(10**4, 10**9)
    return rng.choice(
        (f"{n}!", f"({n}^{n})!", f"(({n % 99}!)!)!", f"{n}!!!", rf"\frac{{{n}!}}{{{n - 1}!}}")
    )


def _binomial(rng: random.Random) -> str:
    n = rng.randint(10**4, 10**9)
    return rf"\binom{{{n}}}{{{n // 2}}}"


def _nested(rng: random.Random) -> str:
    opening, closing = rng.choice((("(", ")"), (r"\frac{1}{", "}"), (r"\sqrt{", "}"), ("{", "}"), ("sin(", ")"), (r"\left(", r"\right)"), (r"\boxed{", "}")))  # fmt: skip
    depth = rng.randint(13, 2500)
    return opening * depth + str(rng.randint(6, 99)) + closing * (depth - rng.randint(0, 1))


def _megabyte(rng: random.Random) -> str:
    piece = rng.choice(
        ("9", "(", "x+", r"\frac{1}{2}+", " ", "\\", r"\boxed{", "1,", "ab ", "\n", "^2")
    )
    return piece * (rng.randint(10**6, 2 * 10**6) // len(piece))


def _control(rng: random.Random) -> str:
    return "".join(chr(rng.choice((*range(32), 127, 0x200B, 0x202E, 0xD800, 0xFFFF))) for _ in range(rng.randint(1, 3000))) + str(rng.randint(6, 99))  # fmt: skip


def _unicode(rng: random.Random) -> str:
    return "".join(chr(rng.randrange(0x21, 0x2FFFF)) for _ in range(rng.randint(1, 2000)))


def _bomb(rng: random.Random) -> str:
    return rng.choice(_BOMBS).format(n=rng.randint(6, 10**6))


def _boxes(rng: random.Random) -> str:
    count = rng.randint(2, 2000)
    return rng.choice((r"\boxed{" * count, r"\boxed{5}" * count + rf"\boxed{{{rng.randint(6, 99)}}}", rf"\boxed{{{rng.randint(6, 99)}}}" + "x" * count))  # fmt: skip


def _soup(rng: random.Random) -> str:
    return "".join(rng.choice(_SOUP) for _ in range(rng.randint(1, 120))) + "+100"


def _injected(rng: random.Random) -> str:
    return f"{rng.choice(_INJECTED)} # {rng.random()}"


def _long_number(rng: random.Random) -> str:
    digits = "".join(rng.choices("123456789", k=rng.randint(50, 5000)))
    return rng.choice((digits, f"{digits}/{digits}7", f"1e{digits[:9]}", rf"\sqrt{{{digits}}}", f"{digits}^{digits[:4]}", rf"{digits[:50]}\cdot {digits[:55]}"))  # fmt: skip


def _power_of_sum(rng: random.Random) -> str:
    names = "+".join(rng.sample("abcdxyzuvw", rng.randint(2, 8)))
    return f"({names})^{{{rng.randint(2, 60)}}}"


def _radicals(rng: random.Random) -> str:
    return "+".join(rf"\sqrt{{{rng.randint(2, 999)}+\sqrt{{{rng.randint(2, 999)}}}}}" for _ in range(rng.randint(1, 10)))  # fmt: skip


def _fractions(rng: random.Random) -> str:
    return "+".join(rf"\frac{{{rng.randint(1, 99)}}}{{x+{rng.randint(1, 99)}}}" for _ in range(rng.randint(2, 25)))  # fmt: skip


def _functions(rng: random.Random) -> str:
    text = "x"
    for _ in range(rng.randint(2, 11)):
        text = rf"\{rng.choice(('sin', 'cos', 'tan', 'ln', 'exp', 'arctan'))}({text}+{rng.randint(1, 9)})"
    return text


def _matrix(rng: random.Random) -> str:
    size = rng.randint(2, 9)
    rows = (r"&".join(rng.choice(("x", "y", str(rng.randint(1, 99)))) for _ in range(size)) for _ in range(size))  # fmt: skip
    environment = rng.choice(("pmatrix", "vmatrix"))
    return rf"\begin{{{environment}}}" + r"\\".join(rows) + rf"\end{{{environment}}}"


def _intervals(rng: random.Random) -> str:
    return r"\cup".join(f"({n},{n + rng.randint(1, 9)}]" for n in rng.sample(range(100), rng.randint(1, 12)))  # fmt: skip


def _equation(rng: random.Random) -> str:
    terms = "+".join(f"{rng.randint(1, 99)}x^{{{n}}}" for n in range(rng.randint(2, 12)))
    return f"{terms}={rng.choice(('y', '0', 'x^7'))}"


def _many(rng: random.Random) -> str:
    return ",".join(rf"\sqrt{{{rng.randint(2, 999)}}}" for _ in range(rng.randint(5, 60)))


def _slow_one(rng: random.Random) -> str:
    """Return a product of identities that equals 1 but takes long to evaluate."""
    identity = r"(\sin(x+{0}y)^{{2}}+\cos(x+{0}y)^{{2}})^{{40}}"
    return "".join(identity.format(n) for n in rng.sample(range(2, 99), 3))


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
"""Generator of each family of hostile answers, and a gold answer that none of them equals."""


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield `count` answers; every tenth is an ordinary right one."""
    rng = random.Random(seed)
    names = list(FAMILIES)
    for number in range(count):
        if number % 1000 == 500:
            yield "beyond the limit", "1", _slow_one(rng), RIGHT_OR_LATE
        elif number % 10 == 0:
            value = rng.randint(-(10**6), 10**6)
            yield "ordinary", str(value), rng.choice(("{}.0", r"\boxed{{{}}}", "x = {}", "{}/1")).format(value), RIGHT  # fmt: skip
        else:
            # Ordinary answers are not counted, so that every family gets its turn.
            name = names[(number - number // 10) % len(names)]
            make, gold = FAMILIES[name]
            yield name, gold, make(rng), NOT_RIGHT


def resident(pid: int) -> float:
    """Return the memory of a process in MiB (PSS); 0 if it is unknown."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return (
        next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
    )


def tree() -> list[int]:
    """Return the ids of this process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    pids = [os.getpid()]
    for pid in pids:  # the list grows while it is read
        pids += children.get(pid, [])
    return pids


class Run:
    """Clients that ask for verdicts, and their results."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.verdicts: dict[str, Counter[str]] = {}
        self.false: list[Case] = []
        self.memory: list[float] = []
        self._lock = Lock()

    def ask(self, case: Case) -> None:
        """Ask for one verdict and record it."""
        family, gold, answer, allowed = case
        problem = Problem("benchmark", "", gold, "math")
        started = time.perf_counter()
        (judgement,) = judged([(problem, answer)])
        verdict = judgement.verdict
        elapsed = time.perf_counter() - started
        with self._lock:
            self.seconds.setdefault(family, []).append(elapsed)
            self.verdicts.setdefault(family, Counter())[verdict] += 1
            if verdict not in allowed:
                self.false.append(case)

    def client(self, queue: "Queue[Case | None]") -> None:
        """Ask for verdicts until the queue ends."""
        while (case := queue.get()) is not None:
            self.ask(case)

    def ask_all(self, all_cases: Iterator[Case], count: int, clients: int) -> None:
        """Ask about all cases; measure memory a hundred times."""
        queue: Queue[Case | None] = Queue(4 * clients)
        with ThreadPoolExecutor(clients) as threads:
            futures = [threads.submit(self.client, queue) for _ in range(clients)]
            for number, case in enumerate(all_cases):
                queue.put(case)
                if number % max(1, count // 100) == 0:
                    self.memory.append(sum(map(resident, tree())))
            for _ in futures:
                queue.put(None)
            for future in futures:
                future.result()


def processor_seconds(count: int, seed: int) -> list[float]:
    """Return the processor seconds of `count` other answers, graded in this process; slow ones are left out."""
    grader = importlib.import_module("dianoia.tasks.math.grade")
    grader.warm()
    elapsed = []
    for family, gold, answer, _ in cases(count, seed):
        if family != "beyond the limit" and len(answer) <= MAX_ANSWER_CHARS:
            start = time.process_time()
            grader.grade((gold, answer, ""))
            elapsed.append(time.process_time() - start)
    return elapsed


def percentile(values: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(run: Run, wall: float) -> list[str]:
    """Print the tables and return the requirements that are not met."""
    print(f"{'family':24}{'answers':>8}{'median ms':>11}{'p99 ms':>9}{'max ms':>9}  verdicts")
    for family, elapsed in run.seconds.items():
        counts = ", ".join(
            f"{count} {verdict}" for verdict, count in run.verdicts[family].most_common()
        )
        print(f"{family:24}{len(elapsed):8}{percentile(elapsed, 0.5):11.2f}{percentile(elapsed, 0.99):9.1f}{percentile(elapsed, 1):9.1f}  {counts}")  # fmt: skip
    latencies = [seconds for family in run.seconds.values() for seconds in family]
    high = percentile(latencies, 0.99)
    print(f"\nall: {len(latencies)} answers in {wall:.0f} s; median {percentile(latencies, 0.5):.2f}, 99 % {high:.1f}, 99.9 % {percentile(latencies, 0.999):.1f}, longest {percentile(latencies, 1):.0f} ms")  # fmt: skip
    total = sum(run.verdicts.values(), Counter())
    print(f"verdicts: {', '.join(f'{count} {verdict}' for verdict, count in total.most_common())}")
    workers = shared_workers()
    ended = ", ".join(f"{count} {how}" for how, count in workers.ended.items())
    print(f"workers: {ended}; killed or died {workers.replaced}")
    parts = [statistics.fmean(run.memory[i : i + 10]) for i in (10, len(run.memory) - 10)]
    print(f"memory of all processes: {parts[0]:.0f} MiB after a tenth, {parts[1]:.0f} at the end, peak {max(run.memory):.0f}")  # fmt: skip
    faults = [f"wrong verdict: {family}, gold {gold!r}, answer {answer[:100]!r}" for family, gold, answer, _ in run.false[:20]]  # fmt: skip
    if high > 100:
        faults.append(f"the 99th percentile is {high:.1f} ms")
    if parts[1] > 1.2 * parts[0]:
        faults.append(f"memory grew from {parts[0]:.0f} to {parts[1]:.0f} MiB")
    return faults


def main() -> None:
    """Send all answers and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--answers", type=int, default=100_000, help="number of answers")
    parser.add_argument("--clients", type=int, default=os.cpu_count() or 1, help="clients at once")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    options = parser.parse_args()
    judged([(Problem("first", "", "5", "math"), "6")])  # starts the workers
    run, started = Run(), time.perf_counter()
    run.ask_all(cases(options.answers, options.seed), options.answers, options.clients)
    faults = report(run, time.perf_counter() - started)
    seconds = processor_seconds(options.answers // 50, options.seed + 1)
    print(f"processor time: {len(seconds)} answers, 99 % {percentile(seconds, 0.99):.0f}, longest {percentile(seconds, 1):.0f} ms")  # fmt: skip
    lost = options.answers - sum(map(len, run.seconds.values()))
    faults += [f"{lost} answers have no verdict"] if lost else []
    print("\n".join(faults) or "nothing hung, no answer was lost, no verdict was wrong")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
