"""Every claim on numbers worked out by hand: on its threshold, beyond it, and with something missing."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from dianoia.claims.claim_rules import RULES
from dianoia.claims.evidence import REASONING, Evidence, Training
from dianoia.claims.measures import HELDOUT_ACCURACY, HELDOUT_HELPFUL
from dianoia.claims.paper import NAMES, STAGES, TABLE
from dianoia.claims.verdicts import Verdict, combine, verdict_on
from dianoia.config import ClaimsSettings

Shares = Mapping[str, Mapping[str, float]]


def est(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": value if low is None else low,
            "high": value if high is None else high, "n": 100}  # fmt: skip


def evidence(
    values: Mapping[str, Mapping[str, Mapping[str, Any]]],
    levels: Mapping[str, Any] | None = None,
    trainings: Mapping[str, Training] | None = None,
) -> Evidence:
    """Return evidence from estimates by part; the checkpoint of a part is its name in capitals."""
    parts = {part: part.upper() for part in {**values, **(trainings or {})}}
    by_difficulty = {"ZERO": {"math": levels}} if levels else {}
    evaluations = {part.upper(): domains for part, domains in values.items()}
    return Evidence(parts, evaluations, by_difficulty, trainings or {})


def claim(number: int, run: Evidence) -> Verdict:
    """Return the verdict on one claim."""
    (rule,) = (rule for rule in RULES if rule.number == number)
    return verdict_on(rule, run)


def on_math(**metrics: Mapping[str, Any]) -> Evidence:
    """Return evidence on math: one metric per part."""
    (metric,) = {metric for by in metrics.values() for metric in by}
    return evidence({part: {"math": {metric: by[metric]}} for part, by in metrics.items()})


def shares(table: Shares) -> Evidence:
    """Return evidence from pass@1 by part and domain; `reasoning` sets each of its four domains."""
    return evidence(
        {
            part: {
                member: {"pass@1": est(value)}
                for domain, value in domains.items()
                for member in (REASONING if domain == "reasoning" else (domain,))
            }
            for part, domains in table.items()
        }
    )


# 1 to 5 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_high", "low", "holds"), [(0.225, 4.0, True), (0.226, 3.982, False), (0.3, 3.0, False)]
)
def test_1_the_lower_end_decides(base_high: float, low: float, holds: bool) -> None:
    # 0.9 / 0.2 = 4.5; the lower end is 4.5 / (base_high / 0.2), as the other part has no width.
    verdict = claim(
        1, on_math(zero={"pass@1": est(0.9)}, base={"pass@1": est(0.2, 0.2, base_high)})
    )
    (value,) = verdict.values
    assert (value.value, value.low) == (pytest.approx(4.5), pytest.approx(low, abs=5e-4))
    assert verdict.holds is value.holds is holds
    assert verdict.why.startswith(
        "pass@1 on math, zero over base: 4.50 times, needs at least 4 times"
    )


@pytest.mark.parametrize(
    ("baseline", "holds"), [(0.625, False), (0.9, False), (0.55, False), (0.54, True), (0.1, True)]
)
def test_1_one_answer_to_everything_multiplies_nothing(baseline: float, holds: bool) -> None:
    # 0.625 / 0.1 is 6.25 times; zero's interval begins at 0.55
    metrics = {"pass@1": est(0.625, 0.55, 0.7), "baseline": est(baseline)}
    verdict = claim(
        1, evidence({"zero": {"math": metrics}, "base": {"math": {"pass@1": est(0.1)}}})
    )
    assert verdict.holds is holds
    assert f"(always the most common gold answer): {100 * baseline:.1f} %" in verdict.values[0].note
    assert (verdict.values[0].value is None) is not holds


def test_other_numbers_of_problems_are_said() -> None:
    few = est(0.9) | {"n": 53}
    verdict = claim(1, on_math(zero={"pass@1": few}, base={"pass@1": est(0.2)}))
    assert verdict.values[0].note == (
        "from 20.0 % to 90.0 %, on 100 and 53 problems; interval not paired by problem: no values per problem"
    )
    same = claim(1, on_math(zero={"pass@1": est(0.9)}, base={"pass@1": est(0.2)}))
    assert "100" not in same.values[0].note


def test_1_a_ratio_over_nearly_nothing_has_no_upper_end() -> None:
    verdict = claim(1, on_math(zero={"pass@1": est(0.9)}, base={"pass@1": est(0.01, 0.0, 0.03)}))
    assert verdict.values[0].high is None and verdict.values[0].low == pytest.approx(30.0)
    assert verdict.holds is True


@pytest.mark.parametrize(("zero", "holds"), [(est(20, 16, 25), True), (est(12), False)])
def test_2_thoughts_are_surely_longer(zero: dict[str, Any], holds: bool) -> None:
    # 20 over 10 [8, 12]: hypot(ln 1.25, ln 1.2) = 0.28815, 2 exp(-0.28815) = 1.4993. 12 over 10: exactly 1.
    verdict = claim(
        2, on_math(zero={"thought_tokens": zero}, base={"thought_tokens": est(10, 8, 12)})
    )
    assert verdict.values[0].low == pytest.approx(1.4993 if holds else 1.0, abs=1e-4)
    assert verdict.holds is holds


@pytest.mark.parametrize(
    ("tokens", "difference", "rank", "holds"),
    [
        ((10, 30, 20, 40), 30.0, 0.8, True),  # one exchange of neighbours among four: exactly 0.8
        ((10, 40, 20, 30), 20.0, 0.4, False),  # 1 - 6 * 6 / 60: longer, but in no order
        ((40, 41, 42, 43), 3.0, 1.0, False),  # in order, but within the intervals
    ],
)
def test_3_harder_is_longer(
    tokens: tuple[float, ...], difference: float, rank: float, holds: bool
) -> None:
    levels = {str(i): {"thought_tokens": est(t, t - 3, t + 4)} for i, t in zip((2, 3, 10, 4), (tokens[0], tokens[1], tokens[3], tokens[2]), strict=True)}  # fmt: skip
    verdict = claim(3, evidence({"zero": {}}, levels))
    longer, order = verdict.values
    # Down: 3 from the hardest, 4 from the easiest, 5 together; up: 4 and 3. Level 10 comes after 4.
    assert (longer.value, longer.low, longer.high) == pytest.approx(
        (difference, difference - 5, difference + 5)
    )
    assert order.value == pytest.approx(rank) and verdict.holds is holds
    assert "at level 2" in longer.note and "at level 10" in longer.note


def test_3_two_levels_are_no_order() -> None:
    levels = {str(i): {"thought_tokens": est(10.0 * i)} for i in (2, 3)}
    verdict = claim(3, evidence({"zero": {}}, levels))
    assert verdict.holds is None and "2 levels of difficulty" in verdict.why


@pytest.mark.parametrize(("zero", "holds"), [(0.3, True), (0.29, False)])
def test_4_three_times_the_reflection(zero: float, holds: bool) -> None:
    verdict = claim(4, on_math(zero={"reflection": est(zero)}, base={"reflection": est(0.1)}))
    assert verdict.holds is holds and verdict.values[0].value == pytest.approx(10 * zero)


def test_4_nothing_is_a_multiple_of_nothing() -> None:
    verdict = claim(4, on_math(zero={"reflection": est(0.3)}, base={"reflection": est(0.0)}))
    assert verdict.holds is None and "is 0" in verdict.why


@pytest.mark.parametrize(("low", "holds"), [(0.001, True), (0.0, False), (-0.01, False)])
def test_5_the_paired_gain_is_surely_positive(low: float, holds: bool) -> None:
    verdict = claim(5, on_math(zero={"vote_gain": est(0.02, low, 0.04)}))
    assert verdict.holds is holds and verdict.values[0].value == 0.02


# 6 to 9 ------------------------------------------------------------------------------------------


def languages(zero: float, dev2: float, reasoning: float) -> Evidence:
    run = shares({"zero": {"reasoning": 0.90}, "dev2": {"reasoning": reasoning}})
    for part, share in (("ZERO", zero), ("DEV2", dev2)):
        run.evaluations[part]["math"]["target_language"] = est(share)
    return run


@pytest.mark.parametrize(
    ("zero", "dev2", "reasoning", "verdicts"),
    [
        (0.94, 0.95, 0.85, (True, True, True)),  # 95 % is consistent, 5 points are a small cost
        (0.95, 0.95, 0.85, (False, True, True)),  # and 95 % does not mix
        (0.94, 0.949, 0.85, (True, False, True)),
        (0.94, 0.99, 0.849, (True, True, False)),
    ],
)
def test_6_languages(
    zero: float, dev2: float, reasoning: float, verdicts: tuple[bool, ...]
) -> None:
    verdict = claim(6, languages(zero, dev2, reasoning))
    assert tuple(value.holds for value in verdict.values) == verdicts
    assert verdict.holds is all(verdicts)
    assert verdict.values[2].value == pytest.approx(reasoning - 0.90)


def training(points: Mapping[int, float], problems: str = "p") -> Training:
    rows: list[dict[str, Any]] = [
        {"step": step, HELDOUT_ACCURACY: value} for step, value in points.items()
    ]
    return Training(problems, ({"step": 1, "loss": 0.1}, *rows))


ZERO_CURVE = {0: 0.2, 10: 0.6, 20: 0.89, 30: 0.90}
"""Its best is 0.90 at step 30, and within a point of it at step 20."""


@pytest.mark.parametrize(
    ("curve", "saved"),
    [
        ({0: 0.6, 10: 0.89, 20: 0.95}, 10.0),
        ({0: 0.89}, 20.0),
        ({0: 0.6, 20: 0.93}, 0.0),  # as late is not earlier
        ({0: 0.6, 30: 0.93}, -10.0),
        ({0: 0.6, 30: 0.88}, None),
    ],
)
def test_7_steps_to_zeros_best(curve: dict[int, float], saved: float | None) -> None:
    trainings = {"zero": training(ZERO_CURVE), "dev2": training(curve)}
    verdict = claim(7, evidence({}, trainings=trainings))
    assert verdict.values[0].value == saved and verdict.holds is (saved is not None and saved > 0)
    assert "zero comes within 1 point of its best, 90.0 %, at step 20" in verdict.values[0].note
    assert saved is not None or (
        "dev2 never does, its best is 88.0 %" in verdict.values[0].note and "never" in verdict.why
    )


def test_7_curves_of_different_problems_are_not_compared() -> None:
    trainings = {"zero": training(ZERO_CURVE, "math"), "dev2": training(ZERO_CURVE, "reasoning")}
    verdict = claim(7, evidence({}, trainings=trainings))
    assert verdict.holds is None and "of reasoning and that of zero of math problems" in verdict.why


def test_7_without_a_curve() -> None:
    verdict = claim(7, evidence({}, trainings={"zero": training(ZERO_CURVE), "dev2": training({})}))
    assert (
        verdict.holds is None and "no heldout/pass@1 in metrics.jsonl of dev2 (DEV2)" in verdict.why
    )
    assert "is no finished rl stage" in claim(7, evidence({"zero": {}, "dev2": {}})).why


TABLE_8: dict[str, dict[str, float]] = {
    "zero": {"reasoning": 0.90, "general": 0.20, "safety": 0.10},
    "dev1": {"reasoning": 0.70, "general": 0.40, "safety": 0.10},  # +0.10
    "dev2": {"reasoning": 0.85, "general": 0.40, "safety": 0.20},  # +0.05
    "dev3": {"reasoning": 0.85, "general": 0.60, "safety": 0.20},  # +0.10
    "r1": {"reasoning": 0.86, "general": 0.70, "safety": 0.90},  # +0.40
}
"""Gains in the mean of general and safety stand beside the rows."""


def test_8_the_shape_by_hand() -> None:
    verdict = claim(8, shares(TABLE_8))
    values = [value.value for value in verdict.values]
    assert values == pytest.approx([0.20, 0.20, 0.15, -0.05, 0.20, 0.40 - 0.10])
    assert verdict.holds is True
    assert verdict.values[5].note == "gains in points: dev1 +10.0, dev2 +5.0, dev3 +10.0, r1 +40.0"


@pytest.mark.parametrize(
    ("part", "domain", "value", "fails"),
    [
        ("dev1", "general", 0.20, {0}),  # as much is not more
        ("dev1", "reasoning", 0.90, {1, 2}),
        ("dev2", "reasoning", 0.84, {3}),
        ("dev3", "general", 0.40, {4}),
        ("r1", "safety", 0.30, {5}),  # gains 0.10, as dev1 and dev3 do
    ],
)
def test_8_each_part_can_fail(part: str, domain: str, value: float, fails: set[int]) -> None:
    table = {**TABLE_8, part: {**TABLE_8[part], domain: value}}
    verdict = claim(8, shares(table))
    assert {i for i, v in enumerate(verdict.values) if v.holds is False} == fails
    assert verdict.holds is False and verdict.why.count("needs") == len(fails)


def test_8_the_papers_own_table_passes_its_rule() -> None:
    alpaca, aime = TABLE["English"]["AlpacaEval 2.0"], TABLE["Mathematics"]["AIME 2024"]
    table = {
        part: {"general": a / 100, "safety": a / 100, "reasoning": m / 100}
        for part, a, m in zip(STAGES, alpaca, aime, strict=True)
    }
    verdict = claim(8, shares(table))
    assert verdict.holds is True and verdict.values[5].value == pytest.approx(0.255 - 0.254)


@pytest.mark.parametrize(
    ("general", "safety", "near_miss", "verdicts"),
    [
        (0.31, 0.90, 0.90, (True, True, True)),
        (0.30, 0.90, 0.90, (False, True, True)),
        (0.31, 0.89, 0.90, (True, False, True)),
        (0.31, 0.90, 0.89, (True, True, False)),
    ],
)
def test_9_a_better_assistant(
    general: float, safety: float, near_miss: float, verdicts: tuple[bool, ...]
) -> None:
    r1 = {"general": general, "safety": safety, "near-miss": near_miss}
    verdict = claim(9, shares({"zero": {"general": 0.30}, "r1": r1}))
    assert tuple(value.holds for value in verdict.values) == verdicts and verdict.holds is all(
        verdicts
    )


def test_9_a_missing_domain_decides_nothing_but_a_failure_does() -> None:
    unknown = claim(9, shares({"zero": {"general": 0.3}, "r1": {"general": 0.9, "safety": 0.95}}))
    assert unknown.holds is None
    assert unknown.why == "not measured: no pass@1 of r1 (R1) on near-miss problems"
    failed = claim(9, shares({"zero": {"general": 0.3}, "r1": {"general": 0.9, "safety": 0.5}}))
    assert failed.holds is False and "needs at least 90 %" in failed.why


# 10 to 12 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("small", "low", "holds"), [(0.70, 0.0035, True), (0.75, -0.0465, False)])
def test_10_distilled_is_surely_better(small: float, low: float, holds: bool) -> None:
    # The mean of four that are each d away is hypot(d, d, d, d) / 4 = d / 2 away, the difference of two such
    # means d / sqrt(2): 0.1365 / sqrt(2) = 0.0965, and 0.80 - 0.70 - 0.0965 = 0.0035.
    away = 0.1365
    wide = {
        "distilled": {d: {"pass@1": est(0.8, 0.8 - away, 0.9)} for d in REASONING},
        "small_zero": {d: {"pass@1": est(small, 0.1, small + away)} for d in REASONING},
    }
    verdict = claim(10, evidence(wide))
    assert verdict.values[0].value == pytest.approx(0.8 - small)
    assert verdict.values[0].low == pytest.approx(low, abs=1e-4) and verdict.holds is holds


@pytest.mark.parametrize(
    ("ppo", "ppo_095", "verdicts"),
    [
        (0.90, 0.20, (True, True)),
        (1.00, 0.20, (True, True)),  # ahead by five points is as close
        (0.89, 0.20, (False, True)),
        (0.95, 0.90, (True, False)),  # five points behind is not more than five
        (0.95, 0.899, (True, True)),
    ],
)
def test_11_ppo(ppo: float, ppo_095: float, verdicts: tuple[bool, ...]) -> None:
    table = {"grpo": {"math": 0.95}, "ppo": {"math": ppo}, "ppo_095": {"math": ppo_095}}
    verdict = claim(11, shares(table))
    assert tuple(value.holds for value in verdict.values) == verdicts and verdict.holds is all(
        verdicts
    )


def helpful(points: Mapping[int, tuple[float, float]]) -> Evidence:
    rows = tuple(
        {"step": s, HELDOUT_ACCURACY: a, HELDOUT_HELPFUL: r} for s, (a, r) in points.items()
    )
    return evidence(
        {}, trainings={"overoptimized": Training("p", ({"step": 5, HELDOUT_ACCURACY: 1.0}, *rows))}
    )


@pytest.mark.parametrize(
    ("last", "verdicts"),
    [
        ((0.84, 1.5), (True, True)),
        ((0.85, 1.5), (True, False)),  # five points lost are not more than five
        ((0.80, 1.0), (False, True)),  # the score is that of the best point, step 10
        ((0.90, 2.0), (True, False)),
    ],
)
def test_12_reward_rises_and_accuracy_falls(
    last: tuple[float, float], verdicts: tuple[bool, ...]
) -> None:
    verdict = claim(12, helpful({0: (0.80, 0.0), 10: (0.90, 1.0), 20: (0.90, 1.2), 30: last}))
    assert tuple(value.holds for value in verdict.values) == verdicts and verdict.holds is all(
        verdicts
    )
    assert verdict.values[0].value == pytest.approx(last[1] - 1.0)
    assert verdict.values[1].value == pytest.approx(0.90 - last[0])


def test_12_the_best_point_at_the_end_is_no_overoptimization() -> None:
    verdict = claim(12, helpful({0: (0.80, 0.0), 10: (0.90, 1.0)}))
    assert [value.value for value in verdict.values] == [0.0, 0.0] and verdict.holds is False


# All ---------------------------------------------------------------------------------------------


def test_rules_are_numbered_and_their_parts_exist() -> None:
    assert [rule.number for rule in RULES] == list(range(1, 13))
    parts = set(ClaimsSettings.model_fields)
    assert all(set(rule.parts) <= parts for rule in RULES) and set(NAMES) == parts
    # Every part but the small base, which is in the stage table alone, belongs to a claim.
    assert parts - {part for rule in RULES for part in rule.parts} == {"small_base"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.number))
def test_a_missing_part_is_named(rule: Any) -> None:
    for missing in rule.parts:
        verdict = claim(rule.number, evidence({part: {} for part in rule.parts if part != missing}))
        assert verdict.holds is None and verdict.values == ()
        assert verdict.why == f"not measured in this recipe: its [claims] table has no {missing}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.number))
def test_parts_without_numbers_decide_nothing(rule: Any) -> None:
    verdict = claim(rule.number, evidence({part: {} for part in rule.parts}))
    assert verdict.holds is None and verdict.why.startswith("not measured: ")
    assert [value.what for value in verdict.values] == [check.title for check in rule.checks]
    assert all(value.holds is value.value is None and value.note for value in verdict.values)


def test_rows_are_json() -> None:
    row = asdict(claim(5, on_math(zero={"vote_gain": est(0.02, 0.01, 0.04)})))
    assert set(row) == {"number", "title", "rule", "paper", "holds", "why", "values"}
    assert set(row["values"][0]) == {
        "what",
        "needs",
        "unit",
        "value",
        "low",
        "high",
        "holds",
        "note",
    }


def test_one_failure_outweighs_what_is_unknown() -> None:
    assert combine([True, True]) is True
    assert combine([True, None]) is None
    assert combine([None, False, True]) is False
