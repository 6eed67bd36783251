"""The section of a preferences stage: counts and shares by hand, texts as texts, nothing where there is nothing."""

from pathlib import Path
from typing import Any

from dianoia.datasets.response_verdicts import Unjudged
from dianoia.report.run_reader import Run, Stage
from dianoia.report.sections.preference_data_table import WORDS, section

FOUND = {
    "sampled": 12, "kept": 6, "left_out": {"malformed": 2, "unpaired": 4}, "rows": 3, "problems": 4,
    "problems_kept": 3, "verdicts": {"A>>B": 3, "B>A": 6}, "verdicts_unreadable": 3, "labels": {},
    "by_checkpoint": {
        "<zero>": {"sampled": 6, "kept": 4, "left_out": {"malformed": 2}},
        "base": {"sampled": 6, "kept": 2, "left_out": {"unpaired": 4}},
    },
}  # fmt: skip


def shown(found: dict[str, Any], kind: str = "preferences", **settings: Any) -> str:
    table = {"objective": "pairwise", "judge": "miniature"} | settings
    stage = Stage("pairs", kind, table, (), (), (), True, True, 1.0, preferences=found)
    return section(Run(Path(), {}, {}, None, {}, {}, (), (stage,))).replace("\u00a0", " ")


def test_counts_and_shares() -> None:
    page = shown(FOUND)
    assert "3 pairs on 3 of 4 problems, judged by rules" in page
    verdicts = (
        "A&gt;&gt;B</code> 3 (25.0 %), <code>B&gt;A</code> 6 (50.0 %), <code>unreadable</code> 3"
    )
    assert verdicts in page
    assert '<th scope="row">breaks the template</th><td>2 (16.7 %)</td><td>2 (33.3 %)</td>' in page
    assert '<th scope="row">in no pair</th><td>4 (33.3 %)</td><td>0 (0.0 %)</td>' in page
    assert "&lt;zero&gt;" in page and "<zero>" not in page


def test_labels() -> None:
    labels = {"rows": 4, "verdicts": {}, "labels": {"safe": 1, "unsafe": 3}}
    page = shown({**FOUND, **labels}, objective="pointwise", judge={"model": "<big>"})
    assert "4 labelled responses" in page and "<code>&lt;big&gt;</code>: " in page
    assert "<code>safe</code> 1 (25.0 %), <code>unsafe</code> 3 (75.0 %)" in page


def test_before_there_is_anything() -> None:
    assert "not written its data yet" in shown({})
    assert shown(FOUND, kind="rl") == ""
    assert "no verdict" in shown({**FOUND, "verdicts": {}, "verdicts_unreadable": 0})


def test_every_reason_has_words_in_order() -> None:
    assert list(WORDS) == [reason.value for reason in Unjudged]
