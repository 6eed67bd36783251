"""The benchmark's arithmetic: rows, ratios, the law of lengths, whose turn it is."""

import json
from pathlib import Path

import pytest

from benchmarks.growth.sweeps import SWEEPS, grown, relative_growth
from benchmarks.learning.__main__ import last_within, summary
from benchmarks.table.cases import Case, case, prompts, skewed
from benchmarks.table.grpo import Setting, case_name, completions, rows_of
from benchmarks.table.reward import even_words
from benchmarks.table.rows import Row, document, figure, markdown, median_row, table
from benchmarks.table.turns import alternate


def test_a_row_reads_as_the_issue_writes_it() -> None:
    row = Row("grpo_step_256x128", "trl", 6.743, 1.4987, "s")
    assert table([row]) == "grpo_step_256x128   trl 6.74 s   dianoia 1.50 s   4.5x"


@pytest.mark.parametrize(
    ("direction", "theirs", "ours", "ratio", "shown"),
    [
        ("lower", 6.0, 1.5, 4.0, "4.0x"),
        ("higher", 100.0, 250.0, 2.5, "2.5x"),
        ("share", 200.0, 62.0, 0.31, "31 %"),
        ("difference", 0.25, 0.25 + 2**-20, 2**-20, "9.5e-07"),
        ("alone", 0.0, 40.0, 1.0, ""),
    ],
)
def test_ratios(direction: str, theirs: float, ours: float, ratio: float, shown: str) -> None:
    row = Row("m", "other", theirs, ours, "", direction)
    assert row.ratio == pytest.approx(ratio)
    assert row.shown_ratio == shown


def test_figures_have_three_digits() -> None:
    shown = [figure(value, "s") for value in (0, 0.01234, 1.234, 12.34, 123.4, 12_345.6, 2.5e-7)]
    assert shown == ["0.000 s", "0.012 s", "1.23 s", "12.3 s", "123 s", "12,300 s", "2.50e-07 s"]


def test_lines_are_aligned_and_a_lone_figure_has_nothing_beside_it() -> None:
    rows = [Row("a", "trl", 2.0, 1.0, "s"), Row("longer", "", 0.0, 40.0, "GB/s", "alone")]
    first, second = table(rows).splitlines()
    assert first == "a        trl 2.00 s   dianoia 1.00 s      2.0x"
    assert second == "longer                dianoia 40.0 GB/s"
    assert table([]) == ""


def test_medians_and_single_runs_are_kept() -> None:
    row = median_row("m", "trl", [9.0, 2.0, 3.0], [1.0, 0.5, 8.0], "s")
    assert (row.theirs, row.ours, row.ratio) == (3.0, 1.0, 3.0)
    kept_rows = json.loads(document([row], {"threads": 2}))
    assert kept_rows["about"] == {"threads": 2}
    assert kept_rows["rows"][0]["details"]["ours"] == [1.0, 0.5, 8.0]
    assert kept_rows["rows"][0]["ratio"] == 3.0
    assert "| m | trl 3.00 s | dianoia 1.00 s | 3.0x |" in markdown([row], {"threads": 2})


def test_sides_take_turns_and_warm_runs_do_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> int:
        order.append(name)
        return len(order)

    runs_by_side = alternate({"ours": lambda: side("ours"), "theirs": lambda: side("theirs")}, 2)
    assert order == ["ours", "theirs"] * 3
    assert runs_by_side == {"ours": [3, 5], "theirs": [4, 6]}


def test_sizes_are_read_and_named() -> None:
    assert case("256x128") == Case(256, 128)
    assert case("256x128~32", 0.001) == Case(256, 128, 32, 0.001)
    assert [case(text).name for text in ("64x64", "256x128~32")] == ["64x64", "256x128~32"]
    assert case("64x64", 0.001).name == "64x64_kl"
    with pytest.raises(ValueError, match="COMPLETIONSxTOKENS"):
        case("64")


def test_nothing_ends_early_on_fixed_lengths() -> None:
    fixed, varied = case("64x64"), case("64x64~16")
    assert fixed.end == fixed.vocabulary, "no model of that vocabulary can draw it"
    assert varied.end == varied.vocabulary - 1


def test_skewed_lengths_are_geometric() -> None:
    lengths = skewed(40_000, 10_000, 32)
    assert min(lengths) == 1
    assert sum(lengths) / len(lengths) == pytest.approx(32, rel=0.02)
    assert sorted(lengths)[20_000] == pytest.approx(22, abs=1), "ln 2 / -ln(1 - 1/32) = 21.8"
    assert lengths.count(1) / len(lengths) == pytest.approx(1 / 32, rel=0.1)
    assert skewed(1000, 50, 32) == [min(50, n) for n in skewed(1000, 10_000, 32)], (
        "cut at the limit"
    )
    assert max(skewed(1000, 50, 32)) == 50


def test_prompts_differ_and_have_their_length() -> None:
    size = Case(64, 64)
    texts = prompts(size, 20)
    assert len(set(texts)) == 20 and texts == prompts(size, 20)
    assert {len(text.split()) for text in texts} == {10}
    numbers = [int(word[1:]) for text in texts for word in text.split()]
    assert min(numbers) >= 1 and max(numbers) <= 830, "neither padding nor the end"


def test_completions_come_in_groups_of_one_prompt() -> None:
    size = Case(32, 40)
    batch = completions(size)
    prompts = batch["prompts"]
    assert prompts[0] == prompts[15] != prompts[16] == prompts[31]
    assert max(map(len, batch["completions"])) <= 40
    assert len(batch["advantages"]) == len(batch["completions"]) == 32


def test_the_reward_is_the_share_of_even_words() -> None:
    assert even_words(completions=["w2 w3 w4 w6", "", "w1 <end>"], prompts=[]) == [0.75, 0.0, 0.0]


def test_rows_of_a_step() -> None:
    ours = [{"seconds": 2.0, "rollout": 0.5, "update": 1.5, "tokens": 1000}]
    theirs = [{"seconds": 8.0, "rollout": 6.0, "update": 2.0, "tokens": 2000}]
    results = {"ours": ours, "theirs": theirs}
    rows = {
        row.name: row
        for row in rows_of("s", results, {"ours": 500_000_000, "theirs": 1_000_000_000})
    }
    ratios = {name: row.ratio for name, row in rows.items()}
    assert ratios == {
        "s": 4, "s_rollout": 12, "s_update": pytest.approx(4 / 3), "s_tokens": 2, "s_memory": 2,
    }  # fmt: skip
    assert rows["s_tokens"].ours == 500, "tokens a second, so that different lengths compare"


def test_a_row_tells_of_bfloat16() -> None:
    plain = Setting("python", "peers", Path(), 2, 5)
    combined = Setting("python", "peers", Path(), 2, 5, "bfloat16", "bfloat16")
    assert case_name(Case(), plain) == "64x64"
    assert case_name(Case(), combined) == "64x64_bf16_trl_bf16"


def test_the_last_point_within_some_seconds() -> None:
    def points(pace: float) -> list[dict[str, float]]:
        return [
            {"step": step, "seconds": pace * step, "accuracy": step / 10} for step in range(0, 7, 2)
        ]

    assert last_within(points(10.0), 39.0)["step"] == 2
    message = summary({"dianoia": points(4.0), "trl": points(10.0)})
    assert "after 6 steps: trl 60.0% (60 s), dianoia 60.0% (24 s)" in message
    assert "after 24 seconds: trl 20.0% (step 2), dianoia 60.0% (step 6)" in message


def test_sweeps_change_one_size_each() -> None:
    for name, values in SWEEPS.items():
        cases = [grown(name, value) for value in values]
        assert len({(c.prompts, c.prompt, c.layers) for c in cases}) == 1
        changed = ("group", "limit", "vocabulary", "hidden")
        different = [key for key in changed if len({getattr(c, key) for c in cases}) > 1]
        assert different == ["limit" if name == "length" else name]


def test_growth_beyond_the_work() -> None:
    points = [{"work": 1.0, "seconds": 2.0}, {"work": 4.0, "seconds": 16.0}]
    assert relative_growth(points, "seconds") == 2.0
