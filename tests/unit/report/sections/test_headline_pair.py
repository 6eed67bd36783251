"""The headline compares what was measured alike, says what was not, and knows what one answer is worth."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from dianoia.report.run_reader import load
from dianoia.report.sections.headline_pair import compare
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.conftest import estimate, write_json
from tests.unit.report.test_page import edit, read, rewrite

MakeRun = Callable[..., RunDirectory]
STAGE = {
    "kind": "evaluate", "checkpoints": ["miniature-base", "zero"], "problems": "miniature/math",
    "whole_file": False, "limit": 512, "samples": 16, "template": "r1-zero", "max_tokens": 192,
    "temperature": 0.6, "top_p": 0.95, "top_k": 0, "dtype": "float32",
}  # fmt: skip


def measured(
    run: RunDirectory, stages: dict[str, tuple[dict[str, Any], dict[str, tuple[float, int]]]]
) -> None:
    """Evaluate stages in the recipe's order: settings, and pass@1 with its n by checkpoint."""
    merged: dict[str, Any] = {}
    for name, (settings, values) in stages.items():
        edit(run.recipe, lambda r, n=name, s=settings: r["stages"].update({n: STAGE | s}))
        found = {c: {"math": {"pass@1": estimate(v, n)}} for c, (v, n) in values.items()}
        write_json(run.stage(name).evaluation, {"evaluations": found})
        write_json(run.stage(name).manifest, {"seconds": 1.0})
        merged |= found
    order = sorted(merged, key=lambda name: name != "miniature-base")
    evaluations = {name: merged[name] for name in order}
    edit(run.results, lambda r: r.update(evaluations=evaluations))


def test_the_same_problems_are_compared_though_the_last_stage_measured_others(
    make_run: MakeRun,
) -> None:
    """The base on 53 and, later, on 500 problems; the last model on the 53."""
    run = make_run(problems=1)
    measured(run, {
        "evaluation": ({"problems": "miniature/all"}, {"miniature-base": (0.10, 53), "zero": (0.9, 53)}),
        "more": ({}, {"miniature-base": (0.14, 500)}),
    })  # fmt: skip
    found = compare(load(run))
    assert found is not None and not found.problems_differ and not found.differing
    assert (found.metrics_before["pass@1"].n, found.metrics_after["pass@1"].n) == (53, 53)
    text = read(run).text
    assert "pass@1 on 53 held-out problems went from 10.0 % to 90.0 %" in text.replace(
        "\u00a0", " "
    )
    assert "n = 53" in text and "53 and 500" not in text


@pytest.mark.parametrize(
    ("settings", "base", "zero"),
    [
        ({"problems": "miniature/all"}, (0.1, 500), (0.9, 53)),
        ({"problems": "miniature/all"}, (0.1, 53), (0.9, 53)),  # as many, but others
        ({"problems": {"path": "math.jsonl"}}, (0.1, 53), (0.9, 53)),
        ({"limit": 53}, (0.1, 500), (0.9, 53)),
        ({"whole_file": True}, (0.1, 53), (0.9, 53)),
    ],
)
def test_other_problems_give_no_verdict(
    make_run: MakeRun,
    settings: dict[str, Any],
    base: tuple[float, int],
    zero: tuple[float, int],
) -> None:
    run = make_run(problems=1)
    measured(
        run, {"evaluation": ({}, {"miniature-base": base}), "more": (settings, {"zero": zero})}
    )
    text = read(run).text
    assert "No verdict: the two were not measured on the same problems." in text
    assert f"on {base[1]} problems" in text and f"on {zero[1]} problems" in text
    assert "rose" not in text.split("Name both in one evaluate stage")[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": "r1"}, "template r1-zero and r1"),
        ({"max_tokens": 256}, "max_tokens 192 and 256"),
        ({"samples": 8}, "samples 16 and 8"),
        ({"temperature": 1.0}, "temperature 0.6 and 1"),
        ({"top_p": 1.0, "top_k": 40}, "top_p 0.95 and 1 ; top_k 0 and 40"),
    ],
)
def test_other_settings_are_said(make_run: MakeRun, settings: dict[str, Any], said: str) -> None:
    run = make_run(problems=1)
    measured(
        run,
        {
            "evaluation": ({}, {"miniature-base": (0.1, 53)}),
            "more": (settings, {"zero": (0.9, 53)}),
        },
    )
    text = read(run).text
    assert "Accuracy rose clearly." in text
    assert f"They were measured with different settings: {said} ." in text


def test_results_alone_with_other_numbers_of_problems(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    edit(
        run.results,
        lambda r: r["evaluations"]["zero"]["math"].update({"pass@1": estimate(0.9, 53)}),
    )
    assert "No verdict" in read(run).text


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        (0.625, "Accuracy rose, but not clearly above giving one answer to everything."),
        (0.61, "Accuracy rose, but not clearly above giving one answer to everything."),
        (0.30, "Accuracy rose clearly."),
    ],
)
def test_a_rise_is_above_the_baseline(make_run: MakeRun, baseline: float, told: str) -> None:
    run = make_run(problems=1)
    metrics = {
        "pass@1": {"value": 0.625, "low": 0.58, "high": 0.67, "n": 512},
        "baseline": estimate(baseline),
    }
    edit(run.results, lambda r: r["evaluations"]["zero"]["math"].update(metrics))
    text = read(run).text.replace("\u00a0", " ")
    assert told in text
    assert f"always giving the commonest gold answer would have {100 * baseline:.1f} %" in text
    assert f"; always the commonest gold answer: {100 * baseline:.1f} %" in text, "on the card"
    assert "baseline: always the commonest gold answer" in text, "in the table"


def test_an_evaluations_diagnosis_names_checkpoint_and_domain(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    row = {
        "step": 0,
        "checkpoint": "zero",
        "domain": "math",
        "code": "one_answer",
        "message": "m",
        "advice": "a",
    }
    run.stage("evaluation").diagnoses.write_text(json.dumps(row) + "\n")
    assert "One answer stage evaluation, zero on math" in read(run).text


def test_the_reader_says_how_many_samples_vote_alike(make_run: MakeRun) -> None:
    run = make_run(problems=2)
    rewrite(run.stage("evaluation").rollouts("zero"), vote=3)
    for problem in read(run).data["data-heldout"]["problems"]:
        assert {sample["alike"] for sample in problem["samples"]["zero"]} == {16}
        others = problem["samples"]["miniature-base"]
        assert {sample["alike"] for sample in others} == {None}, "from before votes were kept"
