"""Reward models by the real command: learnt, measured, resumed, refused, read by transformers."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dianoia.base.progress import Progress
from dianoia.base.records import Turn
from dianoia.cli import main
from dianoia.judge.reward_model_scores import RewardModel

RECIPE = """
name = "tiny-helpful"
threads = 1
[stages.helpful]
kind = "reward_model"
start = "{base}"
data = ["{source}"]
heldout_share = 0.25
epochs = 4
samples_per_step = 32
checkpoint_every = 5
[stages.helpful.optimizer]
learning_rate = 1e-2
"""
WORDS = ["two", "six", "ten", "apple", "pear", "box", "red", "blue", "buys", "sells"]
Write = Callable[..., Path]


def pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """The better response says "Alice" somewhere; lengths are drawn alike for both."""
    draw = random.Random(seed)

    def words() -> list[str]:
        return draw.choices(WORDS, k=draw.randint(3, 8))

    rows = []
    for number in range(count):
        chosen, rejected = words(), words()
        chosen[draw.randrange(len(chosen))] = "Alice"
        rows.append(
            {
                "prompt": f"Question {number}?",
                "chosen": " ".join(chosen),
                "rejected": " ".join(rejected),
            }
        )
    return rows


def labelled(count: int) -> list[dict[str, Any]]:
    rows = []
    for row in pairs(count // 2):
        rows.append({"prompt": row["prompt"], "response": row["chosen"], "label": "safe"})
        rows.append({"prompt": row["prompt"], "response": row["rejected"], "label": "unsafe"})
    return rows


@pytest.fixture
def write(tmp_path: Path, tiny_base: Path) -> Write:
    """Writes rows and a recipe that learns from them."""

    def write(rows: list[dict[str, Any]], recipe: str = RECIPE) -> Path:
        data = tmp_path / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        path = tmp_path / "helpful.toml"
        text = recipe.replace("{base}", tiny_base.as_posix()).replace("{source}", data.as_posix())
        path.write_text(text, encoding="utf-8")
        return path

    return write


def run(recipe: Path, out: Path, *overrides: str) -> int:
    options = [part for override in overrides for part in ("--set", override)]
    return main(["run", str(recipe), "--out", str(out), *options])


def read(out: Path, name: str) -> Any:
    return json.loads((out / "stages/helpful" / name).read_text(encoding="utf-8"))


def metrics(out: Path) -> list[dict[str, Any]]:
    lines = (out / "stages/helpful/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def test_a_preference_is_learnt_that_length_does_not_explain(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(write(pairs(500)), out) == 0
    evaluation = read(out, "evaluation.json")
    accuracy, baseline = (evaluation["reward_model"][name] for name in ("accuracy", "baseline"))
    assert accuracy["value"] >= 0.9 and accuracy["low"] > 0.8
    assert baseline["value"] == 0.5, "length says nothing"
    assert evaluation["reward_model"]["margin"]["low"] > 0
    data = evaluation["data"]
    assert data["rows"] == 500
    assert data["train"] + data["heldout"] + sum(data["left_out"].values()) == 500
    assert accuracy["n"] == data["heldout"]
    rows = metrics(out)
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0]["epoch"] == 0 and rows[-1]["epoch"] == 3
    assert rows[-1]["loss"] < 0.3 < rows[0]["loss"]
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["reward_models"]["helpful"]["accuracy"] == accuracy
    assert main(["report", str(out)]) == 0


def test_adapters_learn_a_preference(write: Write, tmp_path: Path) -> None:
    """The folder is the merged classifier, and the head is in PEFT's `modules_to_save`."""
    out = tmp_path / "run"
    assert run(write(pairs(300)), out, "helpful.lora.rank=8", "helpful.epochs=5") == 0
    assert read(out, "evaluation.json")["reward_model"]["accuracy"]["value"] >= 0.8
    checkpoint = out / "stages/helpful/checkpoint"
    model, faults = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, output_loading_info=True
    )
    assert not faults["missing_keys"] and not faults["unexpected_keys"]
    saved = load_file(checkpoint / "adapter/adapter_model.safetensors")
    assert torch.equal(saved["base_model.model.score.weight"], model.score.weight)
    adapter = json.loads((checkpoint / "adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["task_type"], adapter["modules_to_save"]) == ("SEQ_CLS", ["score"])


def test_labels_are_learnt_point_by_point(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "run"
    rows = labelled(400)
    assert run(write(rows), out, 'helpful.objective="pointwise"', "helpful.epochs=5") == 0
    evaluation = read(out, "evaluation.json")["reward_model"]
    assert evaluation["accuracy"]["value"] >= 0.9 > 0.6 > evaluation["baseline"]["value"]
    assert evaluation["rewards/chosen"]["low"] > 0 > evaluation["rewards/rejected"]["high"]
    assert "margin" not in evaluation, "labelled responses have no partner"
    assert metrics(out)[-1]["margin"] > 0


def test_length_alone_cannot_be_learnt(write: Write, tmp_path: Path) -> None:
    """Longer is better in four rows of five: with every row a model learns it, balanced it does not."""
    draw, rows = random.Random(3), []
    for number in range(1000):
        short, long = (
            " ".join(draw.choices(WORDS, k=draw.randint(*span))) for span in ((3, 5), (8, 10))
        )
        chosen, rejected = (short, long) if number % 5 == 0 else (long, short)
        rows.append({"prompt": f"Question {number}?", "chosen": chosen, "rejected": rejected})
    recipe = write(rows)
    options = ("helpful.heldout_share=0.5", "helpful.epochs=2")
    assert run(recipe, tmp_path / "all", "helpful.pairs.balance_lengths=false", *options) == 0
    assert run(recipe, tmp_path / "balanced", *options) == 0
    whole, balanced = (read(tmp_path / name, "evaluation.json") for name in ("all", "balanced"))
    assert whole["reward_model"]["accuracy"]["low"] > 0.6
    assert whole["reward_model"]["baseline"]["low"] > 0.6
    assert balanced["reward_model"]["baseline"]["value"] == 0.5
    assert 0.35 < balanced["reward_model"]["accuracy"]["value"] < 0.65
    data = balanced["data"]
    assert data["left_out"]["length"] > 500
    assert data["train"] + data["heldout"] + sum(data["left_out"].values()) == 1000


def test_the_checkpoint_gives_the_same_scores_everywhere(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(write(pairs(120)), out, "helpful.epochs=1") == 0
    folder = out / "stages/helpful/checkpoint"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.num_labels == 1
    prompts = [[Turn("user", text)] for text in ("Why?", "What is red?", "Why?")]
    responses = ["Alice buys", "<think> long thought </think> <answer> red </answer>", "six"]
    texts = ["Why?\nAlice buys", "What is red?\nred", "Why?\nsix"]
    reward_model = RewardModel.load(folder)
    scores = reward_model.score(prompts, responses)
    assert len(set(scores)) == 3
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        together = model(**batch).logits[:, 0].tolist()
        alone = [model(**tokenizer(t, return_tensors="pt")).logits.item() for t in texts]
    assert scores == pytest.approx(together, abs=1e-6)
    assert scores == pytest.approx(alone, abs=1e-5)
    apart = [reward_model.score([p], [r])[0] for p, r in zip(prompts, responses, strict=True)]
    assert scores == pytest.approx(apart, abs=1e-5)
    assert reward_model.score([], []) == []


@pytest.mark.parametrize("last_step", [3, 5, 7])
def test_going_on_is_as_if_never_stopped(
    last_step: int, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, options = write(pairs(100)), ("helpful.samples_per_step=16", "helpful.epochs=2")
    assert run(recipe, tmp_path / "whole", *options) == 0
    update = Progress.update

    def update_then_die(self: Progress, done: int, metrics: Any) -> None:
        update(self, done, metrics)
        if done == last_step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "update", update_then_die)
        assert run(recipe, tmp_path / "cut", *options) == 130
    assert not (tmp_path / "cut/stages/helpful/manifest.json").exists()
    assert run(recipe, tmp_path / "cut", *options) == 0
    assert len(metrics(tmp_path / "whole")) > 7
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert read(tmp_path / "cut", "evaluation.json") == read(tmp_path / "whole", "evaluation.json")
    first, other = (
        load_file(tmp_path / name / "stages/helpful/checkpoint/model.safetensors")
        for name in ("whole", "cut")
    )
    assert all(torch.equal(first[name], other[name]) for name in first)


def test_a_reward_model_can_be_trained_on(write: Write, tmp_path: Path) -> None:
    """A second stage starts from the first one's head, not from a new one."""
    extra = RECIPE.split("[stages.helpful]")[1].replace("stages.helpful.", "stages.more.")
    extra = "[stages.more]" + extra.replace("{base}", "helpful").replace("epochs = 4", "epochs = 1")
    recipe = write(pairs(300), RECIPE + extra)
    assert run(recipe, tmp_path / "run") == 0
    file = tmp_path / "run/stages/more/metrics.jsonl"
    first = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    assert first["accuracy"] > 0.8, "the first step already knows"


def test_verdicts_become_pairs(write: Write, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": row["prompt"],
            "responses": [row["rejected"], row["chosen"]],
            "verdicts": ["B>A", "A>>B", "On balance: [[B>>A]]", "A>B"]
            if number % 4
            else ["A=B"] * 4,
        }
        for number, row in enumerate(pairs(400))
    ]
    rows[1]["verdicts"] = ["B>A"]
    rows[2]["verdicts"] = ["B>A", "I cannot say"]
    assert run(write(rows), tmp_path / "run") == 0
    evaluation = read(tmp_path / "run", "evaluation.json")
    left_out = evaluation["data"]["left_out"]
    assert (left_out["close"], left_out["one_sided"], left_out["unreadable"]) == (100, 1, 1)
    assert evaluation["reward_model"]["accuracy"]["value"] > 0.8


def test_texts_that_are_too_long_are_counted(write: Write, tmp_path: Path) -> None:
    rows = pairs(100)
    rows[7]["chosen"] = "apple " * 200
    assert run(write(rows), tmp_path / "run", "helpful.max_length=60", "helpful.epochs=1") == 0
    assert read(tmp_path / "run", "evaluation.json")["data"]["left_out"]["too_long"] == 1


def test_the_plan_counts_pairs_and_steps(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(pairs(200))
    options = ["--set", "helpful.pairs.balance_lengths=false", "--dry-run"]
    assert main(["run", str(recipe), "--out", str(tmp_path / "run"), *options]) == 0
    stdout = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "of 200 rows" in stdout and "optimizer steps of 32 pairs in 4 epochs" in stdout
    assert not (tmp_path / "run").exists()


BAD_ROW = {"prompt": "Why?", "chosen": "a", "rejected": "a"}


@pytest.mark.parametrize(
    ("override", "row", "parts"),
    [
        ("helpful.objective=pairs", {}, ["helpful.objective=pairs", "pairwise"]),
        ("helpful.data=[]", {}, ["helpful.data=[]", "at least 1"]),
        ('helpful.data=["nowhere.jsonl"]', {}, ["stages.helpful.data", "nowhere.jsonl", "JSONL"]),
        ("helpful.template=plan", {}, ["stages.helpful.template", "'plan'", "plain"]),
        ("helpful.start=./nowhere", {}, ["stages.helpful", "./nowhere", "config.json"]),
        ("helpful.heldout_share=1.0", {}, ["helpful.heldout_share=1.0", "less than 1"]),
        ("helpful.heldout_share=0.000001", {}, ["nothing is left on the heldout side"]),
        ("helpful.pairs.margni=1", {}, ["did you mean 'margin'"]),
        ("seed=1", BAD_ROW, ["rows.jsonl, row 41", "'rejected'", "same text"]),
        ("seed=1", {"prompt": "Why?", "chosen": "a"}, ["row 41", "no rejected response"]),
        ("seed=1", {"chosen": "a", "rejected": "b"}, ["row 41", "'prompt'", "no prompt"]),
        ("seed=1", {"prompt": " ", "chosen": "a", "rejected": "b"}, ["row 41", "blank"]),
        ("seed=1", {"prompt": "Why?", "chosen": 3, "rejected": "b"}, ["row 41", "'chosen'"]),
        (
            "seed=1",
            {"prompt": "Why?", "chosen": "<think> hm", "rejected": "b"},
            ["row 41", "nothing follows the thought", 'sees = "response"'],
        ),
        (
            'helpful.objective="pointwise"',
            {"prompt": "Why?", "response": "a", "label": "nice"},
            ["row 1", "'response'", "no response"],
        ),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_what_cannot_run_is_refused(
    override: str,
    row: dict[str, Any],
    parts: list[str],
    dry: bool,
    write: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, out = write(pairs(40) + ([row] if row else [])), tmp_path / "run"
    options = ["--dry-run"] if dry else []
    absent = "nowhere.jsonl" in override  # a plan lists what is not there yet
    command = ["run", str(recipe), "--out", str(out), "--set", override, *options]
    assert main(command) == (0 if dry and absent else 2)
    if dry and absent:
        assert "a run would be refused: nowhere.jsonl" in capsys.readouterr().out
        return
    stderr = capsys.readouterr().err
    assert stderr.startswith("dianoia: ") and "Traceback" not in stderr
    for part in parts:
        assert part in stderr, stderr
    assert not out.exists(), "nothing may have begun"


def test_what_makes_no_sense_together_is_refused(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = labelled(40)
    options = ('helpful.objective="pointwise"', "helpful.pairs.margin=0.5")
    assert run(write(rows), tmp_path / "run", *options) == 2
    assert "pairs.margin" in capsys.readouterr().err
    one_label = [row | {"label": True} for row in rows]
    assert run(write(one_label), tmp_path / "run", 'helpful.objective="pointwise"') == 2
    assert "is labelled safe" in capsys.readouterr().err
    longer = [row | {"chosen": "apple " * 9, "rejected": "box"} for row in pairs(40)]
    assert run(write(longer), tmp_path / "run") == 2
    assert "balance_lengths = false" in capsys.readouterr().err


def test_a_reward_model_cannot_be_sampled(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = """
[stages.evaluation]
kind = "evaluate"
checkpoints = ["helpful"]
problems = "miniature/math"
max_tokens = 8
"""
    assert run(write(pairs(40), RECIPE + evaluation), tmp_path / "run") == 2
    assert "stages.evaluation uses 'helpful', which is a reward" in capsys.readouterr().err
    assert run(write(pairs(40)), tmp_path / "first", "helpful.epochs=1") == 0
    folder = (tmp_path / "first/stages/helpful/checkpoint").as_posix()
    recipe = write(pairs(40), RECIPE + evaluation.replace("helpful", folder))
    assert run(recipe, tmp_path / "second") == 2
    stderr = capsys.readouterr().err
    assert folder in stderr and "writes no text" in stderr


def test_a_broken_gradient_stops(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "helpful.optimizer.max_grad_norm=1e-9",
        "helpful.optimizer.stop_grad_norm=1e-8",
    )
    assert run(write(pairs(60)), tmp_path / "run", *options) == 2
    stderr = capsys.readouterr().err
    assert "stop_grad_norm" in stderr and "No weight was changed" in stderr
