"""Rewards of the user's own by the real commands: functions, a reward model, a judge; runs that stop and go on."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dianoia.cli import main
from dianoia.metrics.recorder import Recorder

MINE = '''
import asyncio

async def short(completion_ids, trainer_state, log_metric, **columns):
    """Shorter is better, and more so as training goes on."""
    await asyncio.sleep(0)
    log_metric("longest", max(map(len, completion_ids)))
    return [-len(ids) * (1 + trainer_state.global_step) / 100 for ids in completion_ids]

def even(completions, answer, log_extra, **columns):
    """Only where the answer is an even number."""
    log_extra("letters", [len(text) for text in completions])
    return [None if int(gold) % 2 else 1.0 for gold in answer]
'''
REWARDS = """
[[stages.zero.rewards.functions]]
path = "mine.py:short"
weight = 0.5
[[stages.zero.rewards.functions]]
path = "mine.py:even"
name = "evenness"
[stages.zero.rewards.repetition]
ngram = 2
[stages.zero.rewards.tags]
weight = 0.25
[stages.zero.rewards.cosine]
"""
Read = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture
def recipe(tiny_zero: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with functions and shaping rules, and the folder in which the command is typed."""
    monkeypatch.chdir(tiny_zero.parent)
    (tiny_zero.parent / "mine.py").write_text(MINE, encoding="utf-8")
    text = tiny_zero.read_text(encoding="utf-8").partition("[stages.evaluation]")[0]
    text = text.replace("overlong_cache = 20\n", "")
    tiny_zero.write_text(text + REWARDS, encoding="utf-8")
    return tiny_zero


def run(recipe: Path, out: str, *options: str) -> int:
    sets = [part for option in options for part in ("--set", option)]
    return main(["run", str(recipe), "--out", out, *sets])


def rollouts(out: str, step: int) -> list[dict[str, Any]]:
    file = Path(out) / f"stages/zero/rollouts/step-{step:05d}.parquet"
    return [
        row | {key: json.loads(row[key]) for key in ("parts", "notes") if row[key]}
        for row in pq.read_table(file).to_pylist()
    ]


def test_functions_and_shaping_rules_in_a_run(
    recipe: Path, metrics: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe, "run") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "cosine + tags x 0.25 + short x 0.5 (mine.py:short) + evenness (mine.py:even)" in said
    rows = rollouts("run", 2)
    for row in rows:
        parts = row["parts"]
        assert parts["short"] == pytest.approx(-row["tokens"] * 3 / 100), "after two steps"
        assert parts["evenness"] == (None if int(row["gold"]) % 2 else 1.0)
        assert row["notes"] == {"letters": len(row["text"].lstrip())}
        terms = [
            (parts[n] or 0) for n in ("accuracy", "format", "evenness", "repetition", "cosine")
        ]
        assert row["reward"] == pytest.approx(sum(terms) + parts["short"] / 2 + parts["tags"] / 4)
    row = metrics(Path("run"))[3]
    values = [one["parts"]["short"] for one in rows]
    assert row["rewards/short/mean"] == pytest.approx(sum(values) / 16)
    assert row["rewards/short/std"] == pytest.approx(torch.tensor(values).std(correction=0).item())
    assert row["logged/longest"] == max(one["tokens"] for one in rows)
    assert {f"rewards/{name}/std" for name in ("evenness", "repetition", "tags", "cosine")} <= set(
        row
    )
    assert main(["report", "run"]) == 0
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "Additional rewards" in page and "0.5 × short" in page and "Logged values" in page


def test_going_on_is_as_if_never_stopped(
    recipe: Path, metrics: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(recipe, "whole") == 0
    write = Recorder.write

    def write_then_die(self: Recorder, step: int, row: Any) -> None:
        write(self, step, row)
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "write", write_then_die)
        assert run(recipe, "cut") == 130
    assert run(recipe, "cut") == 0
    assert metrics(Path("cut")) == metrics(Path("whole"))
    one, other = (
        load_file(f"{out}/stages/zero/checkpoint/model.safetensors") for out in ("whole", "cut")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_changed_function_runs_its_stage_again(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe, "run", "zero.steps=2") == 0
    assert run(recipe, "run", "zero.steps=2") == 0
    assert "done, skipped" in capsys.readouterr().out
    Path("mine.py").write_text(MINE.replace("/ 100", "/ 50"), encoding="utf-8")
    assert run(recipe, "run", "zero.steps=2") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "runs again: the file mine.py changed" in said
    for row in rollouts("run", 0):
        assert row["parts"]["short"] == pytest.approx(-row["tokens"] / 50)


def test_a_function_that_fails_stops_the_stage_in_words(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = "\n    if trainer_state.global_step:\n        raise ValueError('not today')\n"
    text = MINE.replace("\n    await asyncio", f"{broken}    await asyncio")
    Path("mine.py").write_text(text, encoding="utf-8")
    assert run(recipe, "run") == 2
    said = capsys.readouterr().err
    assert "'short' (mine.py:short) raised ValueError: not today" in said
    assert "mine.py, line 7: raise ValueError('not today')" in said
    assert "16 completions" in said and "Traceback" not in said


# A reward model for problems -----------------------------------------------------------------------


@pytest.fixture
def taste(tiny_base: Path, tmp_path: Path) -> Path:
    """A sequence classification folder from elsewhere, with a chat template."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    )
    model = AutoModelForSequenceClassification.from_pretrained(tiny_base, num_labels=1)
    model.save_pretrained(tmp_path / "taste")
    tokenizer.save_pretrained(tmp_path / "taste")
    return tmp_path / "taste"


def test_a_folder_from_elsewhere_scores_problems(recipe: Path, taste: Path) -> None:
    """The score is the model's own `logits[:, 0]` for question and response in its chat template."""
    text = recipe.read_text(encoding="utf-8").partition("[[stages.zero.rewards")[0]
    recipe.write_text(text, encoding="utf-8")
    models = f'zero.rewards.models=[{{model="{taste.as_posix()}", name="taste", weight=2.0}}]'
    assert run(recipe, "run", "zero.template=plain", models) == 0
    tokenizer = AutoTokenizer.from_pretrained(taste)
    model = AutoModelForSequenceClassification.from_pretrained(taste).eval()
    rows = rollouts("run", 0)
    finished = [row for row in rows if row["status"] == "finished"]
    assert finished, "without tags every response that stops is finished"
    for row in finished:
        messages = [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": row["text"]},
        ]
        chat = tokenizer.apply_chat_template(messages, tokenize=False)
        ids = tokenizer(chat, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            score = model(input_ids=ids).logits[0, 0].item()
        assert row["parts"]["taste"] == pytest.approx(score, abs=1e-4)
        plain = row["parts"]["accuracy"] + row["parts"]["format"]
        assert row["reward"] == pytest.approx(plain + 2 * score, abs=1e-3)


# A judge -------------------------------------------------------------------------------------------


class Model(BaseHTTPRequestHandler):
    """Finds every other answer correct."""

    asked = 0

    def do_POST(self) -> None:
        json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Model.asked += 1
        word = "correct" if Model.asked % 2 else "incorrect"
        text = f'{{"analysis": "", "correctness": "{word}"}}'
        reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
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


def test_a_judge_grades_what_no_rule_can(
    recipe: Path, url: str, metrics: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recipe.read_text(encoding="utf-8").partition("[[stages.zero.rewards")[0]
    recipe.write_text(text, encoding="utf-8")
    rows = [
        {"question": f"Why {n}?", "answer": "a few", "verifier": "reference"} for n in range(60)
    ]
    Path("free.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = ["zero.problems=free.jsonl", "zero.template=plain"]
    judge = f'zero.rewards.judge={{url="{url}", model="m", weight=3.0, budget_requests=2, concurrency=1}}'
    assert run(recipe, "run", *options, judge) == 2
    assert "budget_requests = 2" in capsys.readouterr().err
    assert run(recipe, "run", *options, judge.replace("budget_requests=2, ", "")) == 0
    graded = [row for row in rollouts("run", 0) if row["answer"] is not None]
    assert {row["accuracy"] for row in graded} <= {0.0, 1.0} and graded
    for row in graded:
        assert row["reward"] == 3 * row["accuracy"] + 1.0 and set(row["parts"]) == {
            "accuracy",
            "format",
        }
    found = metrics(Path("run"))
    assert found[1]["judge/unread"] == 0.0 and found[0]["heldout/pass@1"] is not None
    assert any((Path("run") / "stages/zero/answers").rglob("*.json"))
