"""The table of a sample stage: counts and shares by hand, nothing trusted, nothing where there is nothing."""

from pathlib import Path
from typing import Any

from dianoia.datasets.selection import Reason
from dianoia.report.run_reader import Run, Stage
from dianoia.report.sections.sample_data_table import WORDS, section

FOUND = {
    "sampled": 8, "kept": 2, "rejected": {"wrong": 5, "surplus": 1}, "problems": 2, "problems_kept": 1,
    "by_domain": {
        "math": {"sampled": 6, "kept": 2, "rejected": {"wrong": 3, "surplus": 1}},
        "<b>": {"sampled": 2, "kept": 0, "rejected": {"wrong": 2}},
    },
}  # fmt: skip


def shown(found: dict[str, Any], rewriter: Any = "none", kind: str = "sample") -> str:
    settings = {"start": "<zero>", "rewriter": rewriter}
    stage = Stage("cold", kind, settings, (), (), (), True, True, 1.0, found)
    return section(Run(Path(), {}, {}, None, {}, {}, (), (stage,)))


def test_counts_and_shares() -> None:
    page = shown(FOUND).replace("\u00a0", " ")
    assert '<th scope="row">wrong answer</th><td>5 (62.5 %)</td><td>3 (50.0 %)</td>' in page
    surplus = '<th scope="row">more than wanted of one problem</th>'
    assert f"{surplus}<td>1 (12.5 %)</td><td>1 (16.7 %)</td><td>0 (0.0 %)</td>" in page
    assert page.index("wrong answer") < page.index("more than wanted")
    assert "8 samples" in page and "2 are kept, of 1 problems" in page


def test_texts_are_texts() -> None:
    page = shown(FOUND, {"model": "<script>"})
    assert (
        "&lt;zero&gt;" in page and "&lt;b&gt;" in page and "&lt;script&gt;</code> rewrote" in page
    )
    assert "<script>" not in page and "<zero>" not in page


def test_one_domain_needs_no_columns() -> None:
    assert '<th scope="col">samples</th></tr>' in shown({**FOUND, "by_domain": {"math": FOUND}})


def test_who_rewrote() -> None:
    assert "as they were sampled" in shown(FOUND)
    assert "stand for people" in shown(FOUND, "miniature")


def test_before_there_is_anything() -> None:
    assert "not written its data yet" in shown({})
    assert shown(FOUND, kind="rl") == ""
    assert shown({"sampled": None, "rejected": 3}).count("<td>–</td>") == 2


def test_every_reason_has_words_in_order() -> None:
    assert list(WORDS) == [reason.value for reason in Reason]
