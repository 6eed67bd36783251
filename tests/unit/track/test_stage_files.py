import json
from pathlib import Path

import pytest

from dianoia.base.files import write_json
from dianoia.storage.run_directory import StageDirectory
from dianoia.track.stage_files import MAX_ROLLOUTS, Rows, results, rollouts_between
from tests.unit.track.conftest import WrittenRun


def test_a_damaged_line_is_told_once_and_left_out(tmp_path: Path) -> None:
    path, told = tmp_path / "metrics.jsonl", list[str]()
    path.write_text('{"step": 0}\nnothing\n{"no": 1}\n{"step": 1}\n')
    rows = Rows(path, told.append)
    assert [row["step"] for row, _ in rows.new()] == [0, 1]
    assert [
        f"at byte {start} is damaged" in line for start, line in zip((12, 20), told, strict=True)
    ]
    other = tmp_path / "other"
    other.write_text(path.read_text() + '{"step": 2}\n')
    other.replace(path)
    assert [row["step"] for row, _ in rows.new()] == [0, 1, 2], "another file: every row once more"
    assert len(told) == 2


def test_the_time_of_work_is_that_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 0, "evaluate_seconds": 1.5},
        {"step": 1, "generate_seconds": 2.0, "update_seconds": 1.0, "tokens_per_second": 0.0},
        {"step": 2, "tokens": 100, "tokens_per_second": 50.0},
        {"step": 3, "tokens": 300, "tokens_per_second": 100.0},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    seconds = [seconds for _, seconds in Rows(path, print).new()]
    assert seconds == [1.5, 4.5, 6.5, 8.5]


def test_there_is_no_journal_yet(tmp_path: Path) -> None:
    assert list(Rows(tmp_path / "metrics.jsonl", print).new()) == []


def test_rollouts_of_a_span_of_steps(run: WrittenRun) -> None:
    run.begin()
    for step in (0, 4, 8):
        run.rollouts(f"step-{step:05d}", count=MAX_ROLLOUTS + 5)
    run.rollouts("stopped-00008")
    (table,) = rollouts_between(run.zero, 4, 8)
    assert table.name == "rollouts" and len(table.rows) == MAX_ROLLOUTS
    assert table.columns == ("question", "reward") and table.rows[1][0] == "step-00004 | 1\n?"
    assert len(rollouts_between(run.zero, -1, 9)) == 3


@pytest.mark.parametrize(
    ("file", "content", "numbers"),
    [
        (
            "sampling.json",
            {"kept": 3, "rejected": {"short": 1}, "x": None},
            {"kept": 3, "rejected/short": 1},
        ),
        ("preferences.json", {"sampled": 9, "is": True}, {"sampled": 9}),
    ],
)
def test_counts_of_a_stage(
    file: str, content: dict[str, object], numbers: dict[str, float], tmp_path: Path
) -> None:
    write_json(tmp_path / file, content)
    write_json(tmp_path / "manifest.json", {"seconds": 2.0})
    stage = StageDirectory(tmp_path)
    expected = {f"counts/{name}": value for name, value in numbers.items()} | {
        "counts/seconds": 2.0
    }
    assert results(stage) == (expected, [])


def test_results_of_a_reward_model(tmp_path: Path) -> None:
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 20}
    content = {"reward_model": {"rewards/chosen": estimate}, "data": {"train": 7}}
    write_json(tmp_path / "evaluation.json", content)
    write_json(tmp_path / "manifest.json", {"seconds": 2.0})
    numbers, (table,) = results(StageDirectory(tmp_path))
    assert numbers == {
        "evaluation/rewards/chosen": 0.9,
        "counts/data/train": 7,
        "counts/seconds": 2.0,
    }
    assert table.rows == [["rewards/chosen", 0.9, 0.8, 0.95, 20]]
