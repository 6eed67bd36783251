"""The summary compares evaluations of the same problems, names what differs, and knows the baseline."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from dianoia.report.run_reader import load
from dianoia.report.sections.summary import compare, run_time
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.conftest import estimate, write_json
from tests.unit.report.test_page import edit, read

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
        evaluations = {c: {"math": {"pass@1": estimate(v, n)}} for c, (v, n) in values.items()}
        write_json(run.stage(name).evaluation, {"evaluations": evaluations})
        write_json(run.stage(name).manifest, {"seconds": 1.0})
        merged |= evaluations
    order = sorted(merged, key=lambda name: name != "miniature-base")
    results = {name: merged[name] for name in order}
    edit(run.results, lambda r: r.update(evaluations=results))


def test_the_same_problems_are_compared_though_the_last_stage_measured_others(
    make_run: MakeRun,
) -> None:
    """The base on 53 and, later, on 500 problems; the last model on the 53."""
    run = make_run(problems=1)
    measured(run, {
        "evaluation": ({"problems": "miniature/all"}, {"miniature-base": (0.10, 53), "zero": (0.9, 53)}),
        "more": ({}, {"miniature-base": (0.14, 500)}),
    })  # fmt: skip
    comparison = compare(load(run))
    assert comparison is not None
    assert not comparison.problems_differ and not comparison.differing_settings
    assert comparison.metrics_before["pass@1"].n == comparison.metrics_after["pass@1"].n == 53
    text = read(run).text
    assert "on 53 held-out problems went from 10.0 % to 90.0 %" in text
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
    comparison = compare(load(run))
    assert comparison is not None and comparison.problems_differ
    summary = read(run).sections["summary"]
    assert "No verdict" in summary and "rose" not in summary
    assert f"on {base[1]} problems" in summary and f"on {zero[1]} problems" in summary


@pytest.mark.parametrize(
    ("settings", "differences"),
    [
        ({"template": "r1"}, {"template": ("r1-zero", "r1")}),
        ({"max_tokens": 256}, {"max_tokens": ("192", "256")}),
        ({"samples": 8}, {"samples": ("16", "8")}),
        ({"temperature": 1.0}, {"temperature": ("0.6", "1")}),
        ({"top_p": 1.0, "top_k": 40}, {"top_p": ("0.95", "1"), "top_k": ("0", "40")}),
    ],
)
def test_other_settings_are_named(
    make_run: MakeRun, settings: dict[str, Any], differences: dict[str, tuple[str, str]]
) -> None:
    run = make_run(problems=1)
    measured(
        run,
        {
            "evaluation": ({}, {"miniature-base": (0.1, 53)}),
            "more": (settings, {"zero": (0.9, 53)}),
        },
    )
    summary = read(run).sections["summary"]
    assert "Accuracy rose clearly." in summary
    for key, (before, after) in differences.items():
        assert f"{key} {before} and {after}" in summary


def test_results_alone_with_other_numbers_of_problems(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    edit(
        run.results,
        lambda r: r["evaluations"]["zero"]["math"].update({"pass@1": estimate(0.9, 53)}),
    )
    assert "No verdict" in read(run).text


@pytest.mark.parametrize(
    ("baseline", "clear"),
    [(0.625, False), (0.61, False), (0.30, True)],
)
def test_a_clear_rise_is_above_the_baseline(
    make_run: MakeRun, baseline: float, clear: bool
) -> None:
    run = make_run(problems=1)
    metrics = {
        "pass@1": {"value": 0.625, "low": 0.58, "high": 0.67, "n": 512},
        "baseline": estimate(baseline),
    }
    edit(run.results, lambda r: r["evaluations"]["zero"]["math"].update(metrics))
    page = read(run)
    summary = page.sections["summary"]
    assert ("rose clearly" in summary, "not clearly above" in summary) == (clear, not clear)
    share = f"{100 * baseline:.1f} %"
    assert summary.count(share) >= 2, "in the verdict and on the card"
    assert share in page.sections["evaluation"]


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
    diagnoses = read(run).sections["diagnoses"]
    assert all(part in diagnoses for part in ("One answer", "evaluation", "zero on math"))


def test_a_model_that_repeats_itself_has_not_learnt(make_run: MakeRun) -> None:
    """Always "1" is worth 50 % where half of the gold answers are 1: pass@1 rose, and is no more than that."""
    run = make_run(problems=1)
    metrics = {
        "pass@1": {"value": 0.62, "low": 0.58, "high": 0.66, "n": 512},
        "baseline": estimate(0.5), "one_answer": estimate(0.97),
    }  # fmt: skip
    edit(run.results, lambda r: r["evaluations"]["zero"]["math"].update(metrics))
    assert "rose clearly" in read(run).sections["summary"], "without a diagnosis"
    row = {"step": 0, "checkpoint": "zero", "domain": "math", "code": "one_answer", "message": "m", "advice": "a"}  # fmt: skip
    run.stage("evaluation").diagnoses.write_text(json.dumps(row | {"domain": "code"}) + "\n")
    assert "rose clearly" in read(run).sections["summary"], "it was another domain"
    run.stage("evaluation").diagnoses.write_text(json.dumps(row) + "\n")
    summary = read(run).sections["summary"]
    assert "gives nearly the same answer to every problem" in summary and "clearly" not in summary
    assert "97.0 % of the answers of zero are one and the same." in summary
    assert "97.0 % of the model's answers are one and the same" in summary, "on the card"


def test_a_stage_that_repeats_itself_says_so_without_an_evaluation(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    run.results.unlink()
    file = run.stage("zero").metrics
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows[-1]["heldout/one_answer"] = 0.995
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sentence = "99.5% of its answers to held-out problems are one and the same."
    assert sentence not in read(run).sections["summary"], "nothing was diagnosed"
    run.stage("zero").diagnoses.write_text(
        '{"step": 3, "code": "one_answer", "message": "m", "advice": "a"}\n'
    )
    assert sentence in read(run).sections["summary"]


def test_stages_side_by_side_count_once(make_run: MakeRun) -> None:
    """12:00:00 to 12:01:40 and 12:01:00 to 12:02:40, then a break, then 12:10:00 to 12:10:30: 190 s, 230 s in sum."""
    run = make_run(problems=1, stages=("zero", "more"))
    times = {"zero": ("12:00:00", 100.0), "more": ("12:01:00", 100.0), "evaluation": ("12:10:00", 30.0)}  # fmt: skip
    for name, (began, seconds) in times.items():
        stage = run.stage(name)
        write_json(stage.begun, {"began": f"2026-11-30T{began}+00:00"})
        write_json(stage.manifest, {"seconds": seconds})
    assert run_time(load(run)) == "3 min 10 s (stages side by side, 3 min 50 s in sum)"
    # One after the other: the sum is the time.
    write_json(run.stage("more").begun, {"began": "2026-11-30T12:03:00+00:00"})
    assert run_time(load(run)) == "3 min 50 s"
    # Without a beginning of each stage only the sum of results.json is known.
    run.stage("more").begun.unlink()
    assert run_time(load(run)) == "3 min 07 s"


def test_a_failed_run_says_so_with_the_message(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    run.stage("zero").manifest.unlink()
    write_json(
        run.stage("zero").failure, {"error": "the disk is full: <1 MB> free\nfree 2 GB, and go on"}
    )
    page = read(run)
    summary = page.sections["summary"]
    assert "· failed" in summary and "zero failed after step 40." in summary
    assert "the disk is full: <1 MB> free" in summary and "free 2 GB, and go on" in summary
    assert "Failed after step 40." in summary, "in the stage's sentence"
    write_json(run.stage("zero").manifest, {"seconds": 1.0})
    assert "failed" not in read(run).sections["summary"], "a stage that is done has made it good"
