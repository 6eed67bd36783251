"""Two checkpoints on the same problems: what is paired, what is not, and what the paired intervals promise."""

import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from dianoia.algo.estimates import Estimate, estimate, paired_correlation, paired_difference
from dianoia.base.errors import DamagedFile
from dianoia.base.files import digest, write_json
from dianoia.claims.evidence import REASONING, Evidence
from dianoia.claims.intervals import difference, ratio
from dianoia.claims.measures import PAIRED, gain_of, ratio_of
from dianoia.claims.pairing import Pairs, pair, read_means
from dianoia.storage.problem_table import ProblemMeans, write_problem_means
from dianoia.storage.run_directory import RunDirectory


def means(accuracy: list[float], domain: str = "math", first: int = 0) -> list[ProblemMeans]:
    """Return the means of problems with these accuracies; thoughts are ten times as long as accurate."""
    return [
        ProblemMeans(f"p{n}", f"q{n}", domain, 2, 4, share, share, 1.0, 0.0, 4,
                     10 * share or None, share, share, 1.0)
        for n, share in enumerate(accuracy, start=first)
    ]  # fmt: skip


def as_evidence(first: list[list[ProblemMeans]], second: list[list[ProblemMeans]]) -> Evidence:
    """Return evidence on two parts, `zero` and `base`, with a list of means per domain."""
    by_part = {"zero": first, "base": second}
    tables = {
        part: {
            rows[0].domain: {
                "pass@1": _table(estimate([row.accuracy for row in rows])),
                "thought_tokens": _table(
                    estimate([(row.thought_tokens or 0) / 10 for row in rows if row.thoughts])
                ),
            }
            for rows in domains
        }
        for part, domains in by_part.items()
    }
    paired = {part: {rows[0].domain: rows for rows in lists} for part, lists in by_part.items()}
    return Evidence({part: part for part in by_part}, tables, {}, {}, paired)


def _table(value: Estimate) -> dict[str, float]:
    return {"value": value.value, "low": value.low, "high": value.high, "n": value.n}


# What is paired ----------------------------------------------------------------------------------


def test_the_order_of_problems_does_not_matter() -> None:
    first, second = means([1.0, 0.5, 0.0]), means([0.25, 0.75, 1.0])
    assert pair(first, second[::-1], "pass@1") == Pairs([1.0, 0.5, 0.0], [0.25, 0.75, 1.0])
    # The third problem of the first has no thought.
    assert pair(first, second, "thought_tokens") == Pairs([10.0, 5.0, None], [2.5, 7.5, 10.0])


def test_what_cannot_be_paired_says_why() -> None:
    rows = means([1.0, 0.5])
    renamed = [rows[0], replace(rows[1], question="other")]
    assert pair(rows, None, "pass@1") == pair(rows, rows, "cons@16") == "no values per problem"
    assert pair(rows, means([1.0, 0.5], first=1), "pass@1") == "measured on other problems"
    assert pair(rows, means([1.0, 0.5, 1.0]), "pass@1") == "measured on other problems"
    assert pair(rows, renamed, "pass@1") == "measured on other problems"  # one id, two questions
    assert pair([*rows, rows[0]], rows, "pass@1") == "a problem occurs twice"


def test_gain_and_ratio_by_hand() -> None:
    ours, theirs = [1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]
    run = as_evidence([means(ours)], [means(theirs)])
    gain = gain_of("zero", "base", "math")(run)
    expected = paired_difference(ours, theirs)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.25, expected.low, expected.high))
    assert gain.note == f"75.0 % against 50.0 %; {PAIRED}"
    # With half a problem in each corner there are 6 problems, and a covariance is E[ab] - E[a] E[b].
    mean_a, mean_b, product = (3 + 1) / 6, (2 + 1) / 6, (1 + 0.5) / 6
    spread = (mean_a * (1 - mean_a) * mean_b * (1 - mean_b)) ** 0.5
    correlation = (product - mean_a * mean_b) / spread
    assert paired_correlation(ours, theirs, shares=True) == pytest.approx(correlation)
    parts = [run.estimate(part, "math", "pass@1") for part in ("zero", "base")]
    by_hand = ratio(*parts, correlation=correlation)
    measured = ratio_of("zero", "base", "math", "pass@1")(run)
    assert (measured.low, measured.high) == pytest.approx((by_hand.low, by_hand.high))
    assert measured.note == f"from 50.0 % to 75.0 %; {PAIRED}"


def test_reasoning_is_paired_domain_by_domain() -> None:
    zero = [means([1.0, 0.5, 0.75, 0.5], domain) for domain in REASONING]
    base = [means([0.75, 0.25, 0.5, 0.0], domain) for domain in REASONING]
    run = as_evidence(zero, base)
    gain = gain_of("zero", "base", "reasoning")(run)
    one = paired_difference([1.0, 0.5, 0.75, 0.5], [0.75, 0.25, 0.5, 0.0])
    # Four equal and independent parts: half the distance of one.
    assert gain.value == pytest.approx(one.value)
    assert gain.low == pytest.approx(one.value - (one.value - one.low) / 2)
    # One domain on other problems keeps its own interval, and the note says so.
    other = as_evidence(zero, [means([0.75, 0.25, 0.5, 0.0], REASONING[0], first=9), *base[1:]])
    mixed = gain_of("zero", "base", "reasoning")(other)
    assert mixed.note.endswith("; interval not paired by problem: measured on other problems")
    assert mixed.low is not None and gain.low is not None and mixed.low < gain.low


def test_means_of_another_evaluation_are_not_used() -> None:
    run = as_evidence([means([1.0, 0.5])], [means([0.5, 0.0])])
    run.evaluations["zero"]["math"]["pass@1"]["value"] = 0.7
    gain = gain_of("zero", "base", "math")(run)
    assert gain.note.endswith("not paired by problem: no values per problem")
    assert gain.value == pytest.approx(0.7 - 0.25)


# What they promise -------------------------------------------------------------------------------


def test_paired_intervals_cover_and_are_narrower() -> None:
    generator, runs, problems = random.Random(5), 200, 60
    covered, narrower = [0, 0], [0, 0]
    for _ in range(runs):
        # Easy and hard problems for both models: 20 and 60 % of base, 60 and 100 % of zero.
        hard = [generator.random() < 0.5 for _ in range(problems)]
        base = [_share(generator, 0.2 if h else 0.6) for h in hard]
        zero = [_share(generator, 0.6 if h else 0.98) for h in hard]
        parts = estimate(zero), estimate(base)
        gain, plain_gain = paired_difference(zero, base), difference(*parts)
        correlation = paired_correlation(zero, base, shares=True)
        factor, plain_factor = ratio(*parts, correlation=correlation), ratio(*parts)
        covered[0] += gain.low <= 0.39 <= gain.high
        covered[1] += factor.low <= 0.79 / 0.4 <= factor.high
        narrower[0] += gain.high - gain.low < plain_gain.high - plain_gain.low
        narrower[1] += factor.high / factor.low < plain_factor.high / plain_factor.low
    # The added problems and Student's t err on the side of width.
    assert all(0.93 <= count / runs <= 0.995 for count in covered), covered
    assert all(count / runs > 0.97 for count in narrower), narrower


def _share(generator: random.Random, chance: float) -> float:
    return fmean(generator.random() < chance for _ in range(4))


# Files -------------------------------------------------------------------------------------------

STAGES = {
    "zero": {"kind": "rl"},
    "first": {"kind": "evaluate", "checkpoints": ["zero"], "problems": "miniature/all", "max_tokens": 9},
    "second": {"kind": "evaluate", "checkpoints": ["zero"], "problems": "miniature/math", "max_tokens": 9},
    "third": {"kind": "evaluate", "checkpoints": ["zero"], "problems": "miniature/math", "max_tokens": 9,
              "template": "plain"},
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path)
    contents = {
        "first": [*means([0.1], "math"), *means([0.2], "code")],
        "second": means([0.3], "math"),
        "third": means([0.4], "math"),
    }
    for name, rows in contents.items():
        directory = run.stage(name)
        write_problem_means(directory.problem_means("zero"), "zero", rows)
        outputs = {directory.output_name(file): digest(file) for file in directory.outputs()}
        write_json(directory.manifest, {"outputs": outputs}, checked=True)
    return run


def test_the_last_evaluation_of_a_domain_counts(run: RunDirectory) -> None:
    table = read_means(STAGES, run, list(STAGES))
    assert {name: {d: rows[0].accuracy for d, rows in by.items()} for name, by in table.items()} == {
        "zero": {"math": 0.3, "code": 0.2},
        "zero under plain": {"math": 0.4},
    }  # fmt: skip
    assert read_means(STAGES, run, ["first"])["zero"]["math"][0].accuracy == 0.1
    assert read_means({**STAGES, "first": {**STAGES["first"], "of_2030": 1}}, run, ["first"]) == {}


def test_a_file_that_changed_is_refused_and_one_that_is_gone_is_not(run: RunDirectory) -> None:
    file = run.stage("second").problem_means("zero")
    write_problem_means(file, "zero", means([0.9]))
    with pytest.raises(DamagedFile, match=r"problems/zero\.parquet.*intervals as if independent"):
        read_means(STAGES, run, ["second"])
    file.unlink()
    assert read_means(STAGES, run, ["second"]) == {}
