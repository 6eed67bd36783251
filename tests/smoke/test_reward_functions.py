"""Reward functions with the signatures that TRL and open-r1 publish, by the real command: files in, rewards out.

The functions are written here; `tests/slow/test_trl.py` has the published ones.
"""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dianoia.cli import main
from dianoia.miniature.problems import MiniatureProblems

THEIRS = r'''
import json
import re
from pathlib import Path

def contents_of(completions):
    return [completion[0]["content"] for completion in completions]

def think_format_reward(completions, **kwargs):
    """The response begins with a thought in its tags, and has no other."""
    return [
        float(text.startswith("<think>") and text.count("<think>") == 1 and "</think>" in text)
        for text in contents_of(completions)
    ]

def format_reward(completions, **kwargs):
    """Each tag stands on a line of its own."""
    pattern = re.compile(r"<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>", re.DOTALL)
    return [float(bool(pattern.fullmatch(text))) for text in contents_of(completions)]

def accuracy_reward(completions, solution, log_extra=None, **kwargs):
    answers = [re.findall(r"<answer>(.*?)</answer>", text) for text in contents_of(completions)]
    if log_extra is not None:
        log_extra("answers", answers)
    golds = [None if gold == "unknown" else [gold.strip("$")] for gold in solution]
    return [None if g is None else float(a == g) for a, g in zip(answers, golds, strict=True)]

class SoftOverlong:
    def __init__(self, longest, cache):
        self.longest, self.cache = longest, cache

    def __call__(self, completion_ids, **kwargs):
        return [min(0.0, max(-1.0, (self.longest - self.cache - len(ids)) / self.cache)) for ids in completion_ids]

def get_soft_overlong_punishment(max_completion_len, soft_punish_cache):
    return SoftOverlong(max_completion_len, soft_punish_cache)

def get_code_format_reward(language="python"):
    def code_format_reward(completions, **kwargs):
        languages = kwargs["language"] if "language" in kwargs else [language] * len(completions)
        return [float(one == "python") for one in languages]
    return code_format_reward

def keeper(file):
    def keep(prompts, completions, completion_ids, level, **kwargs):
        with Path(file).open("a") as opened:
            opened.write(json.dumps([prompts, completions, level, sorted(kwargs)]) + "\n")
        return [None] * len(prompts)
    return keep
'''
STAGE = """
[stages.{name}]
kind = "rl"
start = "miniature-base"
problems = "{file}.jsonl"
template = "{template}"
steps = {steps}
group_size = 8
problems_per_rollout = 4
[stages.{name}.sampling]
max_tokens = 128
[stages.{name}.optimizer]
learning_rate = 1e-5
[stages.{name}.progress]
problems = 0
rollouts_every = 1
"""
FUNCTIONS = {
    "think_format_reward": "",
    "format_reward": "",
    "accuracy_reward": "",
    "get_soft_overlong_punishment": "{ max_completion_len = 128, soft_punish_cache = 100 }",
    "get_code_format_reward": '{ language = "python" }',
}
SYSTEM = {"role": "system", "content": "Be brief."}
EARLIER = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with functions and two files of the same problems: as messages, and as texts."""
    monkeypatch.chdir(tmp_path)
    Path("theirs.py").write_text(THEIRS, encoding="utf-8")
    messages, texts = [], []
    for number, problem in enumerate(MiniatureProblems("math").draw(1, 0, 40)):
        # The verifier reads `answer`; the functions read `solution`, which one row in five lacks.
        about = {
            "answer": problem.answer,
            "solution": f"${problem.answer}$" if number % 5 else "unknown",
            "level": f"level {number % 3}",
        }
        last = {"role": "user", "content": problem.question}
        messages.append({"prompt": [SYSTEM, *EARLIER, last], **about})
        texts.append({"prompt": problem.question, **about})
    for file, rows in (("messages", messages), ("texts", texts)):
        Path(f"{file}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return tmp_path


def stage(name: str, file: str, template: str, form: str, steps: int) -> str:
    text = STAGE.format(name=name, file=file, template=template, steps=steps)
    functions = {**FUNCTIONS, "keeper": f'{{ file = "{name}.kept" }}'}
    for function, arguments in functions.items():
        text += f'[[stages.{name}.rewards.functions]]\npath = "theirs.py:{function}"\n'
        text += f'form = "{form}"\n' + (f"arguments = {arguments}\n" if arguments else "")
    return text


def rollouts(name: str, step: int) -> list[dict[str, Any]]:
    rows = pq.read_table(f"run/stages/{name}/rollouts/step-{step:05d}.parquet").to_pylist()
    return [row | {key: json.loads(row[key]) for key in ("parts", "notes")} for row in rows]


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def expected_parts(row: dict[str, Any], content: str, solution: str) -> dict[str, float | None]:
    """The value of each function for a completion."""
    gold = None if solution == "unknown" else solution.strip("$")
    in_lines = r"<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>"
    formed = content.startswith("<think>") and content.count("<think>") == 1
    answers = re.findall(r"<answer>(.*?)</answer>", content)
    return {
        "think_format_reward": float(formed and "</think>" in content),
        "format_reward": float(bool(re.fullmatch(in_lines, content, re.DOTALL))),
        "accuracy_reward": None if gold is None else float(answers == [gold]),
        "get_soft_overlong_punishment": min(0.0, max(-1.0, (28 - row["tokens"]) / 100)),
        "get_code_format_reward": 1.0,
        "keeper": None,
    }


def test_functions_are_called_and_paid_as_published(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From messages with `auto` and from texts with `messages`, where the prompt opens the thought and where not."""
    recipe = 'name = "theirs"\nthreads = 1\n'
    recipe += stage("messages", "messages", "r1-zero", "auto", 3)
    recipe += stage("texts", "texts", "r1-zero-prefilled", "messages", 1)
    Path("theirs.toml").write_text(recipe, encoding="utf-8")
    assert main(["run", "theirs.toml", "--out", "run"]) == 0
    for name in ("messages", "texts"):
        problems = lines(f"{name}.jsonl")
        of = {_question(problem["prompt"]): problem for problem in problems}
        kept = lines(f"{name}.kept")
        paid = 0
        for step, (prompts, completions, levels, others) in enumerate(kept):
            rows = rollouts(name, step)
            assert len(rows) == 32
            assert others == ["answer", "id", "log_extra", "log_metric", "question", "solution", "trainer_state"]  # fmt: skip
            for row, prompt, completion, level in zip(
                rows, prompts, completions, levels, strict=True
            ):
                problem = of[row["question"]]
                content = row["text"].lstrip() if name == "messages" else "<think>" + row["text"]
                assert completion == [{"role": "assistant", "content": content}]
                whole = problem["prompt"]
                assert prompt == (whole if name == "messages" else [_user(whole)])
                assert level == problem["level"]
                parts = expected_parts(row, content, problem["solution"])
                assert {key: row["parts"][key] for key in parts} == pytest.approx(parts)
                assert row["notes"]["answers"] == re.findall(r"<answer>(.*?)</answer>", content)
                assert row["reward"] == pytest.approx(
                    sum(value or 0.0 for value in row["parts"].values())
                )
            finished = [row for row in rows if row["status"] == "finished"]
            paid += len(finished)
            assert {row["parts"]["think_format_reward"] for row in finished} == {1.0}
        assert paid >= 8 * len(kept)
    everything = [
        *rollouts("texts", 0),
        *(row for n in range(3) for row in rollouts("messages", n)),
    ]
    assert {row["parts"]["accuracy_reward"] for row in everything} == {None, 0.0, 1.0}
    # Of the function that asks for line breaks in <answer> the run says so, and of no other.
    diagnoses = lines("run/stages/messages/diagnoses.jsonl")
    found = [d for d in diagnoses if d["code"] == "function_pays_nothing"]
    assert len(found) == 1 and "'format_reward'" in found[0]["message"]
    assert r"'<answer>\n'" in found[0]["message"] and "templates.NAME" in found[0]["advice"]
    output = capsys.readouterr()
    assert "the reward function 'format_reward' pays 0" in " ".join(
        (output.out + output.err).split()
    )


def _question(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_function_for_messages_that_gets_texts_is_explained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRL's own functions fail on text prompts, in TRL too; here with what to set."""
    text = 'name = "theirs"\nthreads = 1\n' + stage("texts", "texts", "r1-zero", "text", 1)
    Path("theirs.toml").write_text(text, encoding="utf-8")
    assert main(["run", "theirs.toml", "--out", "run"]) != 0
    message = " ".join(capsys.readouterr().err.split())
    assert "'think_format_reward' (theirs.py:think_format_reward) raised TypeError" in message
    assert 'set form = "messages"' in message and "Traceback" not in message
