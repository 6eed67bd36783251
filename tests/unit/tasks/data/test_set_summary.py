"""A set of problems in words."""

from pathlib import Path

from dianoia.config import DataSettings
from dianoia.tasks.catalog import FileProblems, problem_source
from dianoia.tasks.data.set_summary import Summary, summary_lines
from tests.unit.tasks.data.data_files import write


def test_every_number(tmp_path: Path) -> None:
    rows = [
        {"question": "1+1?", "answer": "2"},
        {"question": "1+1 ?", "answer": "2", "domain": "sums"},
        {"question": "1+1?", "answer": "2"},
        {"question": "首都在哪里呢？", "answer": "北京", "verifier": "exact"},
    ]
    data = DataSettings(path=str(write(tmp_path / "p.jsonl", rows)), heldout_share=0.0)
    source = problem_source(data)
    assert isinstance(source, FileProblems)
    (line,) = summary_lines(source.summary)
    assert line == (
        f"{tmp_path}/p.jsonl: 4 for training and 0 held out, of 4 rows. Domains: math 75.0%, sums 25.0%. "
        "Languages: en 75.0%, zh 25.0%. Verifiers: number 75.0%, exact 25.0%. Questions of 4 to 7 characters, "
        "half of them up to 4, 95 % up to 7. Repeated questions: 1."
    )


def test_few_and_many() -> None:
    assert summary_lines(Summary("none"))[0].endswith("No question.")
    many = Summary("many")
    many.domains.update({f"d{n}": 1 for n in range(12)})
    assert "d7 8.3% and 4 more" in summary_lines(many)[0]
