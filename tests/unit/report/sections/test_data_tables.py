"""The tables of sample and preferences stages: counts and shares by hand, and no text is trusted."""

from pathlib import Path
from typing import Any

from dianoia.datasets.response_verdicts import Unjudged
from dianoia.datasets.selection import Reason
from dianoia.report.run_reader import Run, Stage
from dianoia.report.sections.data_tables import PREFERENCE_REASONS, SAMPLE_REASONS, section

SAMPLING = {
    "sampled": 8, "kept": 2, "rejected": {"wrong": 5, "surplus": 1}, "problems": 2, "problems_kept": 1,
    "by_domain": {
        "math": {"sampled": 6, "kept": 2, "rejected": {"wrong": 3, "surplus": 1}},
        "<b>": {"sampled": 2, "kept": 0, "rejected": {"wrong": 2}},
    },
}  # fmt: skip


PREFERENCES = {
    "sampled": 12, "kept": 6, "left_out": {"malformed": 2, "unpaired": 4}, "rows": 3, "problems": 4,
    "problems_kept": 3, "verdicts": {"A>>B": 3, "B>A": 6}, "verdicts_unreadable": 3, "labels": {},
    "by_checkpoint": {
        "<zero>": {"sampled": 6, "kept": 4, "left_out": {"malformed": 2}},
        "base": {"sampled": 6, "kept": 2, "left_out": {"unpaired": 4}},
    },
}  # fmt: skip


def html_of(stage: Stage) -> str:
    return section(Run(Path(), {}, {}, None, {}, {}, (), (stage,))).replace("\u00a0", " ")


def sample_html(
    sampling: dict[str, Any], rewriter: Any = "none", stage_kind: str = "sample"
) -> str:
    settings = {"start": "<zero>", "rewriter": rewriter}
    return html_of(Stage("cold", stage_kind, settings, (), (), (), True, True, 1.0, sampling))


def preferences_html(data: dict[str, Any], stage_kind: str = "preferences", **settings: Any) -> str:
    table = {"objective": "pairwise", "judge": "miniature"} | settings
    return html_of(Stage("pairs", stage_kind, table, (), (), (), True, True, 1.0, preferences=data))


def row(label: str, *cells: str) -> str:
    return f'<th scope="row">{label}</th>' + "".join(f"<td>{cell}</td>" for cell in cells)


def test_samples_are_counted_by_reason_and_domain() -> None:
    html = sample_html(SAMPLING)
    wrong = row(SAMPLE_REASONS["wrong"], "5 (62.5 %)", "3 (50.0 %)", "2 (100.0 %)")
    surplus = row(SAMPLE_REASONS["surplus"], "1 (12.5 %)", "1 (16.7 %)", "0 (0.0 %)")
    assert html.index(wrong) < html.index(surplus)
    assert row("kept", "2 (25.0 %)", "2 (33.3 %)", "0 (0.0 %)") in html


def test_texts_are_escaped() -> None:
    html = sample_html(SAMPLING, {"model": "<script>"})
    for text in ("&lt;zero&gt;", "&lt;b&gt;", "<code>&lt;script&gt;</code>"):
        assert text in html
    assert "<script>" not in html and "<zero>" not in html
    assert "&lt;zero&gt;" in preferences_html(PREFERENCES)
    assert "<big>" not in preferences_html(PREFERENCES, judge={"model": "<big>"})


def test_one_domain_has_one_column() -> None:
    assert '<th scope="col">samples</th></tr>' in sample_html(
        {**SAMPLING, "by_domain": {"math": SAMPLING}}
    )


def test_each_rewriter_has_its_own_sentence() -> None:
    texts = {sample_html(SAMPLING, rewriter) for rewriter in ("none", "miniature", {"model": "m"})}
    assert len(texts) == 3


def test_a_stage_without_data_yet() -> None:
    assert "<table" not in sample_html({}) and "cold" in sample_html({})
    assert "<table" not in preferences_html({}) and "pairs" in preferences_html({})
    assert (
        sample_html(SAMPLING, stage_kind="rl")
        == preferences_html(PREFERENCES, stage_kind="rl")
        == ""
    )
    assert sample_html({"sampled": None, "rejected": 3}).count("<td>–</td>") == 2


def test_verdicts_have_counts_and_shares() -> None:
    html = preferences_html(PREFERENCES)
    assert "3 pairs on 3 of 4 problems" in html
    for verdict in (
        "A&gt;&gt;B</code> 3 (25.0 %)",
        "B&gt;A</code> 6 (50.0 %)",
        "unreadable</code> 3",
    ):
        assert verdict in html
    malformed = row(PREFERENCE_REASONS["malformed"], "2 (16.7 %)", "2 (33.3 %)", "0 (0.0 %)")
    unpaired = row(PREFERENCE_REASONS["unpaired"], "4 (33.3 %)", "0 (0.0 %)", "4 (66.7 %)")
    assert malformed in html and unpaired in html
    assert "no verdict" in preferences_html(
        {**PREFERENCES, "verdicts": {}, "verdicts_unreadable": 0}
    )


def test_labels_have_counts_and_shares() -> None:
    labels = {"rows": 4, "verdicts": {}, "labels": {"safe": 1, "unsafe": 3}}
    html = preferences_html(
        {**PREFERENCES, **labels}, objective="pointwise", judge={"model": "big"}
    )
    assert "4 labelled responses" in html and "<code>big</code>: " in html
    assert "<code>safe</code> 1 (25.0 %), <code>unsafe</code> 3 (75.0 %)" in html


def test_every_reason_has_a_label_in_the_order_of_the_checks() -> None:
    assert list(SAMPLE_REASONS) == [reason.value for reason in Reason]
    assert list(PREFERENCE_REASONS) == [reason.value for reason in Unjudged]
