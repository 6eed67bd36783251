"""Grade answers by the verifiers of their problems, many at once, and count the verdicts.

In: pairs of a problem and an answer, or rollouts as they end. Out: grades in order; counts of verdicts per family of
verifiers. Not here: what a grade is worth in the reward (`judge.rules`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from dianoia.base.records import Problem, Rollout
from dianoia.distributed.group import ranks
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.verifier import Grade, Pair

Counts = dict[str, dict[str, int]]
"""Number of answers by family of verifiers and verdict."""
Submit = Callable[[Rollout], None]


class _Elsewhere:
    """Grades that other ranks gave while the last rollout was drawn; a verifier remembers only its own."""

    problems: Sequence[Problem] = ()
    """Kept, since their identities are the keys."""
    grades: Mapping[tuple[int, str], Grade] = {}
    """By identity of the problem, and answer."""


def grade(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade each answer by its problem's own verifier, in order.

    Verifiers that share a `grade` function get their answers in one batch. Several batches run side by side, since each
    waits for other processes. Raises VerifierError or SandboxError when these cannot be started.
    """
    known = [_Elsewhere.grades.get((id(problem), answer)) for problem, answer in pairs]
    unknown = [pair for pair, result in zip(pairs, known, strict=True) if result is None]
    # `known` has a None for each of them, in order.
    grades = iter(_grade(unknown))
    return [next(grades) if result is None else result for result in known]


def _grade(pairs: Sequence[Pair]) -> list[Grade]:
    if not pairs:
        return []
    # Verifiers of short answers share one `grade` function, so that they share one batch for their workers.
    batches: dict[Callable[[Sequence[Pair]], list[Grade]], list[int]] = {}
    for index, (problem, _) in enumerate(pairs):
        batches.setdefault(VERIFIERS[problem.verifier].grade, []).append(index)
    if len(batches) == 1:
        return next(iter(batches))(pairs)
    # Threads only to wait: the arithmetic is done by the workers and the sandbox.
    with ThreadPoolExecutor(len(batches), "verify") as threads:
        results = {
            grade_many: threads.submit(grade_many, [pairs[index] for index in indices])
            for grade_many, indices in batches.items()
        }
    # Back into the order of the pairs.
    grade_of = {
        index: graded
        for grade_many, indices in batches.items()
        for index, graded in zip(indices, results[grade_many].result(), strict=True)
    }
    return [grade_of[index] for index in range(len(pairs))]


def grade_rollouts(rollouts: Sequence[Rollout]) -> list[Grade | None]:
    """Grade the answers of rollouts, in order; None for a rollout without an answer, which no verifier is asked about."""
    answered = [(r.problem, r.answer) for r in rollouts if r.answer is not None]
    # `answered` leaves rollouts out, so its grades are dealt out in order.
    grades = iter(grade(answered))
    return [None if rollout.answer is None else next(grades) for rollout in rollouts]


@contextmanager
def graded_early(problems: Sequence[Problem]) -> Iterator[Submit | None]:
    """Grade answers in other processes while the next samples are drawn.

    Yields the function that takes each rollout as soon as it ends, or None if no verifier of the problems is `early`.
    The verifiers remember their grades, so `grade` has them at hand afterwards, on every rank of a stage. When the block ends,
    everything that was submitted is graded; an error of a verifier is raised then.
    """
    _Elsewhere.problems, _Elsewhere.grades = (), {}
    if not any(_is_early(problem) for problem in problems):
        yield None
        return
    # The sampler calls `submit` between two decoding steps, so it must return at once.
    threads = ThreadPoolExecutor(thread_name_prefix="early")
    futures: list[tuple[Pair, Future[list[Grade]]]] = []

    def submit(rollout: Rollout) -> None:
        if rollout.answer is not None and _is_early(rollout.problem):
            pair = (rollout.problem, rollout.answer)
            futures.append((pair, threads.submit(grade, [pair])))

    try:
        yield submit
        # Wait here, and raise the first error, before rollouts are scored.
        graded = [(pair, future.result()) for pair, future in futures]
        _bring_together(problems, graded)
    finally:
        # After an error of the sampler nothing that is queued is worth grading.
        threads.shutdown(cancel_futures=True)


def _bring_together(
    problems: Sequence[Problem], graded: Sequence[tuple[Pair, list[Grade]]]
) -> None:
    """Let `grade` know what other ranks of a stage have graded."""
    group = ranks()
    if group.size == 1:
        return
    numbers = {id(problem): number for number, problem in enumerate(problems)}
    mine = {(numbers[id(problem)], answer): grades[0] for (problem, answer), grades in graded}
    parts = group.gather(mine, "gather grades")
    _Elsewhere.problems = problems
    _Elsewhere.grades = {
        (id(problems[number]), answer): result
        for part in parts
        for (number, answer), result in part.items()
    }


def _is_early(problem: Problem) -> bool:
    verifier = VERIFIERS.get(problem.verifier)  # a general prompt may name none that exists
    return verifier is not None and verifier.early


# Counting verdicts -------------------------------------------------------------------------------


def count_verdicts(graded: Iterable[tuple[Problem, str | None]]) -> Counts:
    """Count answers by family of verifiers and verdict, from each sample's problem and verdict (`Grade.label`).

    A time-out, a crash and a wrong answer score the same and are three different things, which a run has to show. A
    family has an entry if any problem belongs to it, and in it every verdict, also with a count of 0; reasons of a
    verdict, as in `unreadable/text_behind`, follow if they occurred. A sample without a verdict (None) is not counted.
    """
    tallies: dict[str, Counter[str]] = {}
    verdicts: dict[str, list[str]] = {}
    for problem, label in graded:
        verifier = VERIFIERS.get(problem.verifier)
        if verifier is None:
            continue
        # Every verdict has a row even if it never occurs: metrics keep their columns from step to step.
        verdicts.setdefault(verifier.family, [verdict.value for verdict in verifier.verdicts])
        tally = tallies.setdefault(verifier.family, Counter())
        if label is not None:
            verdict, _, reason = label.partition("/")
            tally[verdict] += 1
            if reason:
                tally[label] += 1
    return {
        # Verdicts in the order of their definition, then reasons in alphabetical order.
        family: {verdict: tallies[family][verdict] for verdict in verdicts[family]}
        | {label: count for label, count in sorted(tallies[family].items()) if "/" in label}
        for family in sorted(tallies)
    }


def add_counts(batches: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """Add up the counts of several batches."""
    total: Counts = {}
    for counts in batches:
        for family, verdicts in counts.items():
            sums = total.setdefault(family, {})
            for verdict, count in verdicts.items():
                sums[verdict] = sums.get(verdict, 0) + count
    return total
