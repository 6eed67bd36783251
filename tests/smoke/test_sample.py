"""Sampling with the real command, on tiny and shipped models, in a temporary folder."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dianoia.cli import main
from dianoia.stages import sample
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.problem_ranges import problem_range

RECIPE = """
name = "cold"
threads = 1
[stages.cold]
kind = "sample"
start = "{base}"
problems = "miniature/math"
prompts = 10
samples = 3
problems_per_batch = 4
[stages.cold.keep]
correct = false
language = 0.0
shortest = 0
[stages.cold.sampling]
max_tokens = 40
slots = 8
"""
LEARN = """
[stages.learnt]
kind = "sft"
start = "miniature-base"
datasets = [{ path = "cold" }]
epochs = 4
max_length = 512
tokens_per_step = 1024
evaluation_share = 0.0
[stages.learnt.optimizer]
learning_rate = 1e-3
"""
FILES = ("data.parquet", "rejected.parquet")


@pytest.fixture
def cold(tmp_path: Path, tiny_base: Path) -> Path:
    path = tmp_path / "cold.toml"
    path.write_text(RECIPE.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
    return path


def run(recipe: Path, out: Path, *overrides: str) -> int:
    options = [part for override in overrides for part in ("--set", override)]
    return main(["run", str(recipe), "--out", str(out), *options])


def table(out: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "stages/cold" / name).to_pylist()
    return rows


def counts(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "stages/cold/sampling.json").read_text("utf-8"))
    return {key: value for key, value in document.items() if key != "seconds"}


def check_sums(result: dict[str, Any]) -> None:
    assert result["sampled"] == result["kept"] + sum(result["rejected"].values())
    for name, rejected in result["rejected"].items():
        assert rejected == sum(d["rejected"].get(name, 0) for d in result["by_domain"].values())


def test_the_shipped_model(cold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    options = ("start=miniature-base", "prompts=24", "problems_per_batch=64", "sampling.slots=64")
    assert run(cold, out, *(f"cold.{option}" for option in options)) == 0
    totals = counts(out)
    check_sums(totals)
    kept_rows, rejected = table(out, "data.parquet"), table(out, "rejected.parquet")
    assert totals["sampled"] == 72 == len(kept_rows) + len(rejected)
    assert totals["kept"] == len(kept_rows) == totals["problems_kept"] > 10
    assert {"prompt", "completion", "messages"} <= set(kept_rows[0])
    for row in kept_rows:
        (prompt,), (reply,) = row["prompt"], row["completion"]
        assert row["messages"] == [prompt, reply] and prompt["content"] == row["question"]
        assert reply["content"].endswith(f"</think>\n<answer>{row['answer']}</answer>")
    assert {row["reason"] for row in rejected} == set(totals["rejected"])
    assert (
        not (out / "stages/cold/state").exists() and not (out / "stages/cold/checkpoint").exists()
    )
    assert f"cold: {len(kept_rows)} of 72 samples kept; rejected: " in capsys.readouterr().out
    assert main(["report", str(out)]) == 0
    assert "more samples than needed for its problem" in (out / "report.html").read_text(
        encoding="utf-8"
    )


def test_one_seed_is_one_data_set(cold: Path, tmp_path: Path) -> None:
    assert run(cold, tmp_path / "a") == 0
    assert run(cold, tmp_path / "b", "cold.problems_per_batch=10", "cold.sampling.slots=3") == 0
    for name in FILES:
        assert table(tmp_path / "a", name) == table(tmp_path / "b", name)
    assert counts(tmp_path / "a") == counts(tmp_path / "b")
    assert run(cold, tmp_path / "c", "seed=2") == 0
    assert table(tmp_path / "a", FILES[1]) != table(tmp_path / "c", FILES[1])
    problems = [[r["problem"] for n in FILES for r in table(tmp_path / out, n)] for out in "ac"]
    assert set(problems[0]) == set(problems[1]), "a range of problems depends on no seed"


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_going_on_is_as_if_never_stopped(
    batches: int, cold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(cold, tmp_path / "whole") == 0
    sampled, finish = sample._Sampling.rows, sample._finish

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    def rows(self: Any, problems: Any, start: int) -> Any:
        return stop() if start == 4 * batches else sampled(self, problems, start)

    with monkeypatch.context() as patched:
        patched.setattr(sample._Sampling, "rows", rows)
        patched.setattr(sample, "_finish", stop if batches == 3 else finish)
        assert run(cold, tmp_path / "cut") == 130
    stage = tmp_path / "cut/stages/cold"
    assert len(list(stage.glob("state/*.parquet"))) == batches
    assert not any((stage / name).exists() for name in (*FILES, "sampling.json", "manifest.json"))
    prompts: list[int] = []
    monkeypatch.setattr(
        sample._Sampling, "rows", lambda s, p, start: prompts.append(start) or sampled(s, p, start)
    )
    assert run(cold, tmp_path / "cut") == 0
    assert prompts == [0, 4, 8][batches:]
    for name in FILES:
        files = [tmp_path / out / "stages/cold" / name for out in ("whole", "cut")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert counts(tmp_path / "whole") == counts(tmp_path / "cut")


class Model(BaseHTTPRequestHandler):
    """Judges everything right, rewrites everything into a short thought; fails every third time."""

    count = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Model.count += 1
        content = body["messages"][0]["content"]
        answer = content.rstrip().rpartition("# Answer\n")[2]
        text = '{"analysis": "", "correctness": "correct"}'
        if "<thought>" in content:
            message = rf"\boxed{{{answer}}}" if "boxed" in content else answer
            text = f"<thought>\nI think.\n</thought>\n<summary>It is {message}.</summary>"
        reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        data = json.dumps(reply).encode()
        self.send_response(503 if Model.count % 3 == 0 else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_a_model_judges_and_rewrites_within_its_budget(
    url: str, cold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"question": problem.question, "answer": "a few", "verifier": "reference"}
        for problem in problem_range(problem_source("miniature/math"), 0, 12)
    ]
    file, out = tmp_path / "facts.jsonl", tmp_path / "run"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = [
        f"cold.problems={file}",
        "cold.start=miniature-base",
        "cold.keep.correct=true",
        "cold.prompts=6",
        "cold.sampling.max_tokens=192",
    ]
    model = f'{{url="{url}", model="m", concurrency=2, budget_requests=16}}'
    options += [f"cold.judge={model}", f"cold.rewriter={model}"]
    stopped = run(cold, out, *options)
    assert stopped == 2 and "budget_requests = 16" in capsys.readouterr().err
    tries = 1
    while run(cold, out, *options) == 2:  # the same command spends as much again
        tries += 1
        assert tries < 20
    totals = counts(out)
    check_sums(totals)
    kept_rows = table(out, "data.parquet")
    assert kept_rows and {row["thought"] for row in kept_rows} == {"I think."}
    assert all(row["accuracy"] == 1.0 and row["answer"] in row["summary"] for row in kept_rows)
    assert all(row["sampled_thought"] is not None for row in kept_rows)
    assert "wrong" not in totals["rejected"] and "ungraded" not in totals["rejected"]


def test_a_model_learns_to_sum_up(url: str, cold: Path, tmp_path: Path) -> None:
    """Cold start in the form of the released models: sampled with bare answers, learnt with summaries."""
    out, model = tmp_path / "run", f'{{url="{url}", model="m"}}'
    learn = LEARN.replace("epochs = 4", 'epochs = 1\ntemplate = "r1"')
    cold.write_text(cold.read_text(encoding="utf-8") + learn, encoding="utf-8")
    options = ("start=miniature-base", "prompts=24", "keep.correct=true", "sampling.max_tokens=192")
    written = ("completion_template=r1", "final=summary", f"rewriter={model}")
    assert run(cold, out, *(f"cold.{option}" for option in (*options, *written))) == 0
    kept_rows = table(out, "data.parquet")
    assert kept_rows
    for row in kept_rows:
        content = row["completion"][0]["content"]
        assert content == f"<think>\nI think.\n</think>\nIt is \\boxed{{{row['answer']}}}."
    assert (out / "stages/learnt/checkpoint/model.safetensors").is_file()


def test_a_model_learns_from_what_was_sampled(
    cold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    cold.write_text(cold.read_text(encoding="utf-8") + LEARN, encoding="utf-8")
    options = ("start=miniature-base", "prompts=24", "keep.correct=true", "sampling.max_tokens=192")
    assert run(cold, out, *(f"cold.{option}" for option in options)) == 0
    kept_rows, stdout = len(table(out, "data.parquet")), capsys.readouterr().out
    assert kept_rows and f"learnt: {kept_rows} samples per epoch, 0 held out, 0 longer" in stdout
    lines = (out / "stages/learnt/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[-1]["epoch"] == 4.0 and rows[-1]["loss"] < rows[0]["loss"]
    assert (out / "stages/learnt/checkpoint/model.safetensors").is_file()
    assert main(["report", str(out)]) == 0


def test_an_empty_data_set_names_the_stage_that_left_it(
    cold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cold.write_text(cold.read_text("utf-8") + LEARN, encoding="utf-8")
    # a tiny base has no thought of a thousand tokens in forty
    assert run(cold, tmp_path / "run", "cold.keep.shortest=1000") == 2
    stderr = capsys.readouterr().err
    for part in ("stages.learnt", "data set 'cold' is empty", "rejected.parquet", "cold.keep"):
        assert part in stderr
