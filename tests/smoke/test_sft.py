"""Supervised fine-tuning with the real command, on a tiny model, in a temporary folder."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dianoia.cli import main
from dianoia.datasets.tokenized import Corpus
from dianoia.learner import supervised
from dianoia.stages import sft
from dianoia.storage.journal import Journal

RECIPE = """
name = "tiny-cold"
threads = 1
[stages.cold]
kind = "sft"
start = "{base}"
epochs = 3
max_length = 300
tokens_per_step = 700
evaluation_share = 0.2
evaluation_every = 3
checkpoint_every = 2
datasets = [{ path = "{file}", weight = 2.0 }]
[stages.cold.optimizer]
learning_rate = 1e-2
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty rows of all the forms there are."""
    rows: list[dict[str, Any]] = []
    for n in range(10):
        question, answer = f"Tom has {n} apples and finds 2 more. How many now?", str(n + 2)
        whole = f"<think>\n{n}+2={answer}\n</think>\n<answer>{answer}</answer>"
        rows += [
            {"prompt": question, "completion": whole},
            {"prompt": question + " Tell me.", "thought": f"{n}+2={answer}", "answer": answer},
            {"prompt": f"{n}+2?", "response": whole},
            {
                "messages": [
                    {"role": "user", "content": f"{n}+1?"},
                    {"role": "assistant", "content": f"<think>\n{n}</think> {n + 1}"},
                    {"role": "user", "content": "One more?"},
                    {"role": "assistant", "content": whole},
                ]
            },
        ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def recipe(tmp_path: Path, tiny_base: Path, data: Path) -> Path:
    text = RECIPE.replace("{base}", tiny_base.as_posix()).replace("{file}", data.as_posix())
    path = tmp_path / "cold.toml"
    path.write_text(text, encoding="utf-8")
    return path


def run(recipe: Path, out: Path, *overrides: str) -> int:
    options = [part for override in overrides for part in ("--set", override)]
    return main(["run", str(recipe), "--out", str(out), *options])


def metrics(out: Path) -> list[dict[str, Any]]:
    """Without times, the one thing in which two runs differ."""
    lines = (out / "stages/cold/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if not k.endswith("_per_second")}
        for line in lines
    ]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "stages/cold/checkpoint/model.safetensors")


def test_the_evaluation_loss_falls_and_the_run_explains_itself(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(recipe, out) == 0
    stdout = capsys.readouterr().out
    rows = metrics(out)
    steps = rows[-1]["step"]
    assert [row["step"] for row in rows] == list(range(steps + 1))
    evaluated = [row["step"] for row in rows if "eval_loss" in row]
    assert evaluated == sorted({*range(0, steps + 1, 3), steps})
    assert rows[-1]["eval_loss"] < 0.7 * rows[0]["eval_loss"]
    assert rows[-1]["eval_mean_token_accuracy"] > rows[0]["eval_mean_token_accuracy"]
    assert rows[-1]["loss"] < rows[1]["loss"]
    assert rows[-1]["epoch"] == 3.0
    # the cosine has not yet arrived at its floor when the last step is taken
    assert rows[1]["learning_rate"] == 1e-2 and 1e-3 < rows[-1]["learning_rate"] < 2e-3
    assert f"{rows[-1]['tokens']:,} tokens in {steps} optimizer steps" in stdout
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Token accuracy" in page and "fine-tunes" in page


def test_the_checkpoint_is_an_ordinary_folder(recipe: Path, tmp_path: Path) -> None:
    assert run(recipe, tmp_path / "run", "cold.epochs=1") == 0
    folder = tmp_path / "run/stages/cold/checkpoint"
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)("1+2?", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape[:2] == ids.shape


def test_one_seed_is_one_result(recipe: Path, tmp_path: Path) -> None:
    assert run(recipe, tmp_path / "a") == run(recipe, tmp_path / "b") == 0
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")
    assert run(recipe, tmp_path / "c", "seed=2") == 0
    assert metrics(tmp_path / "a") != metrics(tmp_path / "c")


def test_going_on_is_as_if_never_stopped(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(recipe, tmp_path / "whole") == 0
    append = Journal.append
    for last_step in (0, 1, 4, 5):

        def append_then_die(self: Journal, row: Any, last_step: int = last_step) -> None:
            append(self, row)
            if row["step"] == last_step:
                raise KeyboardInterrupt

        out = tmp_path / f"cut-after-{last_step}"
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", append_then_die)
            assert run(recipe, out) == 130
        assert not (out / "stages/cold/manifest.json").exists()
        assert run(recipe, out) == 0
        assert metrics(out) == metrics(tmp_path / "whole"), out
        whole, cut = weights(tmp_path / "whole"), weights(out)
        assert all(torch.equal(whole[name], cut[name]) for name in whole), out


def test_a_signal_saves_the_state_of_the_step(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At a step without a state; the same command goes on there, and ends as if it had never stopped."""
    assert run(recipe, tmp_path / "whole") == 0
    append, out = Journal.append, tmp_path / "stopped"

    def append_and_signal(self: Journal, row: Any) -> None:
        append(self, row)
        if row["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", append_and_signal)
        assert run(recipe, out) == 143
    steps = metrics(tmp_path / "whole")[-1]["step"]
    point = f"stopped by SIGTERM: cold after step 3 of {steps}; the same command resumes"
    assert point in capsys.readouterr().err
    assert run(recipe, out) == 0
    assert "resumes after step 3" in capsys.readouterr().out
    assert metrics(out) == metrics(tmp_path / "whole")
    whole, resumed = weights(tmp_path / "whole"), weights(out)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_changed_data_are_not_gone_on_with(
    recipe: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            sft.FineTuning, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        assert run(recipe, tmp_path / "run") == 130
    with monkeypatch.context() as patched:  # the same files, read into other tokens
        patched.setattr(Corpus, "fingerprint", lambda _: "another")
        assert run(recipe, tmp_path / "run") == 2
    captured = capsys.readouterr()
    assert "stages.cold: the data sets have changed" in captured.err
    assert "resumes from step " in captured.out
    data.write_text(data.read_text(encoding="utf-8").replace("apples", "pears"), encoding="utf-8")
    assert run(recipe, tmp_path / "run") == 0
    captured = capsys.readouterr()
    assert "runs again: the file" in captured.out and "resumes after step" not in captured.out
    assert (tmp_path / "run/stages/.old/cold-1/state/state.pt").is_file()


def test_a_step_is_the_same_in_one_row_and_in_many(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(recipe, tmp_path / "packed", "cold.epochs=1") == 0
    monkeypatch.setattr(supervised, "CPU_ROW_TOKENS", 1)
    assert run(recipe, tmp_path / "apart", "cold.epochs=1") == 0
    for first, other in zip(metrics(tmp_path / "packed"), metrics(tmp_path / "apart"), strict=True):
        assert first == pytest.approx(other, rel=1e-3, abs=1e-5)


def test_every_option_runs(recipe: Path, data: Path, tmp_path: Path) -> None:
    options = (
        "cold.longer=cut",
        "cold.max_length=120",
        "cold.earlier_thoughts=keep",
        "cold.template=r1-zero-prefilled",
        f"cold.evaluation_file={data}",
        f'cold.datasets=[{{path="{data.parent / "more.jsonl"}", weight=0.5}}]',
        "cold.autocast=bfloat16",
    )
    extra = [{"prompt": f"{n}+7?", "completion": f"{n + 7}"} for n in range(30)]
    (data.parent / "more.jsonl").write_text("\n".join(map(json.dumps, extra)), encoding="utf-8")
    text = recipe.read_text(encoding="utf-8").replace("evaluation_share = 0.2\n", "")
    recipe.write_text(text, encoding="utf-8")
    assert run(recipe, tmp_path / "run", *options) == 0
    assert metrics(tmp_path / "run")[-1]["eval_loss"] > 0


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("cold.datasets=[]", ["cold.datasets=[]", "at least 1 item"]),
        ('cold.datasets=[{path="no.jsonl"}]', ["stages.cold", "no.jsonl", "no such file"]),
        ('cold.datasets=[{file="no.jsonl"}]', ["unknown key", "path"]),
        ('cold.datasets=[{path="a.jsonl", weight=0.0}]', ["weight", "greater than 0"]),
        ("cold.template=r1zero", ["stages.cold.template", "r1zero", "r1-zero"]),
        ("cold.start=./nowhere", ["stages.cold", "./nowhere"]),
        ("cold.max_length=5000", ["tokens_per_step = 700", "max_length = 5000"]),
        ("cold.evaluation_file=x.jsonl", ["evaluation_share = 0.2", "'x.jsonl'", "remove"]),
        ("cold.evaluation_share=1e-9", ["evaluation_share = 1e-09", "none of 40"]),
    ],
)
def test_what_cannot_run_is_refused_before_any_work(
    override: str,
    parts: list[str],
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(recipe, tmp_path / "run", override) == 2
    stderr = capsys.readouterr().err
    for part in parts:
        assert part in stderr, stderr
    assert not (tmp_path / "run").exists()


def test_a_broken_row_is_refused_before_any_work(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with data.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": "1+1?", "completion": ""}) + "\n")
    assert run(recipe, tmp_path / "run") == 2
    stderr = capsys.readouterr().err
    assert (
        f"stages.cold: {data}, row 41, column 'completion', value ''" in stderr
        and "blank" in stderr
    )
    assert not (tmp_path / "run").exists()


def test_a_broken_gradient_stops(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("cold.optimizer.max_grad_norm=1e-9", "cold.optimizer.stop_grad_norm=1e-8")
    assert run(recipe, tmp_path / "run", *options) == 2
    assert "stop_grad_norm=1e-08" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"prompt": "{n}+2?", "completion": "<think>\nso\n</think>\n\nIt is \\boxed{5}."},
            ["20 of 20 responses", "(100%)", "no_answer_tag", "set template = 'r1'"],
        ),
        (
            {"prompt": "{n}+2?<think>\n", "completion": "so\n</think>\n<answer>5</answer>"},
            ["no_thought_tag", "20 of 20 prompts end with <think>", "columns of their own"],
        ),
    ],
)
def test_demonstrations_of_another_form_are_told_before_any_work(
    row: dict[str, str],
    words: list[str],
    tiny_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the plan, when the stage begins, and in what it leaves."""
    traces = tmp_path / "traces.jsonl"
    rows = ({**row, "prompt": row["prompt"].replace("{n}", str(n))} for n in range(20))
    traces.write_text("".join(json.dumps(entry) + "\n" for entry in rows), encoding="utf-8")
    text = RECIPE.replace("{base}", tiny_base.as_posix()).replace("{file}", traces.as_posix())
    recipe = tmp_path / "cold.toml"
    recipe.write_text(text.replace("_share = 0.2", "_share = 0.0"), encoding="utf-8")
    out = str(tmp_path / "run")
    assert main(["run", str(recipe), "--out", out, "--dry-run"]) == 0
    planned = " ".join(capsys.readouterr().out.split())
    assert main(["run", str(recipe), "--out", out, "--set", "cold.epochs=1"]) == 0
    stdout = " ".join(capsys.readouterr().out.split()).rpartition("template_misfit")[2]
    (diagnoses,) = map(
        json.loads, (tmp_path / "run/stages/cold/diagnoses.jsonl").read_text().splitlines()
    )
    assert diagnoses["code"] == "template_misfit" and diagnoses["step"] == 0
    for word in words:
        assert (
            word in planned
            and word in stdout
            and word in diagnoses["message"] + diagnoses["advice"]
        )
    assert main(["report", out]) == 0
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "Template misfit" in page
