"""From a run directory to its claims: parts, the stage table, curves that stages have left."""

import json
from pathlib import Path

import pytest

from dianoia.base.files import read_json, write_json
from dianoia.claims import claims_of
from dianoia.claims.value_format import format_interval, format_value, summarize_verdicts
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.r1 import BASE, SHARES, build_r1, build_recipe


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    run = build_r1(tmp_path_factory.mktemp("r1"))
    return claims_of(run)


def test_every_claim_of_a_whole_run_is_decided(results: dict[str, list[dict[str, object]]]) -> None:
    verdicts = {claim["number"]: claim["holds"] for claim in results["claims"]}
    assert verdicts == {n: n != 9 for n in range(1, 13)}  # near misses: 88 %, of 90 asked
    json.dumps(results, allow_nan=False)


def test_the_stage_table_has_a_row_a_checkpoint(
    results: dict[str, list[dict[str, object]]],
) -> None:
    rows = {str(row["checkpoint"]): row for row in results["stage_table"]}
    assert list(rows) == [BASE, "zero", "dev1", "dev2", "dev3", "r1", "distilled", "miniature-base-small",
                          "small-zero", "ppo", "ppo-095"]  # fmt: skip
    assert rows["zero"]["parts"] == ["zero", "grpo"] and "overoptimized" not in rows
    domains = rows["zero"]["domains"]
    assert isinstance(domains, dict)
    assert list(domains) == [
        "math",
        "code",
        "stem",
        "logic",
        "reasoning",
        "general",
        "near-miss",
        "safety",
    ]
    assert list(domains["math"]) == ["pass@1", "cons@16", "thought_tokens", "target_language"]
    assert domains["reasoning"]["cons@16"]["n"] == 4 * 256
    reasoning = domains["reasoning"]["pass@1"]
    assert (
        reasoning["value"] == pytest.approx(sum(SHARES["zero"][:4]) / 4)
        and reasoning["n"] == 4 * 256
    )
    halves = [
        domains[d]["pass@1"]["value"] - domains[d]["pass@1"]["low"]
        for d in ("math", "code", "stem", "logic")
    ]
    assert reasoning["value"] - reasoning["low"] == pytest.approx(
        sum(h * h for h in halves) ** 0.5 / 4
    )
    assert rows["ppo"]["domains"].keys() == {"math"}  # type: ignore[attr-defined]


def test_without_parts_nothing_is_claimed(tmp_path: Path) -> None:
    run = build_r1(tmp_path)
    write_json(run.recipe, build_recipe(claims={}).model_dump(mode="json"))
    assert claims_of(run) == {"stage_table": [], "claims": []}


def test_a_run_that_has_just_begun_decides_nothing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    write_json(run.recipe, build_recipe().model_dump(mode="json"))
    write_json(run.results, {"states": {}, "evaluations": {}, "by_difficulty": {}})
    tables = claims_of(run)
    assert tables["stage_table"] == [] and {row["holds"] for row in tables["claims"]} == {None}


def test_curves_of_unfinished_stages_do_not_count(tmp_path: Path) -> None:
    run = build_r1(tmp_path)
    results = read_json(run.results)
    results["states"] |= {"dev2": "interrupted", "overoptimized": "out of date"}
    write_json(run.results, results)
    rows = {row["number"]: row for row in claims_of(run)["claims"]}
    assert {n for n, row in rows.items() if row["holds"] is None} == {7, 12}
    assert "dev2 (dev2) is no finished rl stage" in rows[7]["why"]


def test_values_are_written_for_people() -> None:
    texts = [format_value(v, u) for v, u in ((5.128, "times"), (123.4, "times"), (0.0316, "points"), (-0.0316, "points"),
                                   (0.9, "share"), (23.06, "tokens"), (6.0, "steps"), (0.94, "plain"), (None, "steps"))]  # fmt: skip
    assert texts == ["5.13 times", "123 times", "+3.2 points", "-3.2 points", "90.0 %", "+23.1 tokens",
                    "+6 steps", "0.940", "never"]  # fmt: skip
    assert format_interval(0.01, 0.02, "points") == "+1.0 to +2.0"
    assert (
        format_interval(30.0, None, "times") == "30.0 or more"
        and format_interval(None, None, "plain") == ""
    )


def test_the_tally() -> None:
    assert (
        summarize_verdicts([True, True, False, None])
        == "2 of 3 claims of the paper hold, 1 was not measured"
    )
    assert (
        summarize_verdicts([True, None, None])
        == "1 of 1 claims of the paper hold, 2 were not measured"
    )
    assert summarize_verdicts([False]) == "0 of 1 claims of the paper hold"
    assert summarize_verdicts([None] * 12) == "None of the paper's 12 claims was measured"
