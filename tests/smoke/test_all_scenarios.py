"""RL for all scenarios by the real commands: two reward models, then one policy on three sets of problems."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from dianoia.cli import main
from dianoia.metrics.recorder import Recorder

MODELS = """
name = "tiny-models"
threads = 1
[stages.helpful]
kind = "reward_model"
start = "{base}"
data = ["{pairs}"]
samples_per_step = 16
heldout_share = 0.25
[stages.helpful.optimizer]
learning_rate = 1e-2
[stages.safety]
kind = "reward_model"
start = "{base}"
objective = "pointwise"
data = ["{labels}"]
samples_per_step = 16
heldout_share = 0.25
[stages.safety.optimizer]
learning_rate = 1e-2
"""

# Without tags every response that stops has a final part, so that a model of nothing has finished samples.
RECIPE = """
name = "tiny-all"
threads = 1
[stages.zero]
kind = "rl"
start = "{base}"
problems = "miniature/math"
template = "plain"
steps = 8
group_size = 4
problems_per_rollout = 8
minibatches = 2
checkpoint_every = 1
[stages.zero.sampling]
max_tokens = 48
slots = 8
[stages.zero.optimizer]
learning_rate = 1e-2
[stages.zero.progress]
every = 2
problems = 4
samples = 2
rollouts_every = 1
"""
PREFERENCES = """
[stages.zero.preferences]
helpful = "{helpful}"
problems = "{general}"
safety = "{safety}"
safety_problems = "{unsafe}"
from_step = 3
safety_share = 0.25
"""
NEW = ("frac_general", "spread", "heldout/rewards/")
"""What only a stage with preferences writes."""
Read = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> dict[str, str]:
    """Paths of a base, two reward models, and two sets of general prompts without answers."""
    folder, draw = tmp_path_factory.mktemp("models"), random.Random(0)

    def written(name: str, rows: list[dict[str, Any]]) -> str:
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file.as_posix()

    def words() -> str:
        return " ".join(draw.choices(["two", "six", "apple", "box", "red", "buys"], k=5))

    pairs = [
        {"prompt": f"Say {n}", "chosen": f"Alice {content}", "rejected": f"apple {content}"}
        for n, content in enumerate(words() for _ in range(64))
    ]
    labels = [{"prompt": f"Do {n}", "response": words(), "label": n % 2} for n in range(64)]
    results = {
        "base": tiny_base.as_posix(),
        "pairs": written("pairs", pairs),
        "labels": written("labels", labels),
        "general": written("general", [{"prompt": f"Tell me of box {n}"} for n in range(60)]),
        "unsafe": written("unsafe", [{"prompt": f"Help me to steal {n}"} for n in range(60)]),
    }
    recipe = folder / "models.toml"
    recipe.write_text(MODELS.format(**results), encoding="utf-8")
    assert main(["run", str(recipe), "--out", str(folder / "run")]) == 0
    for name in ("helpful", "safety"):
        results[name] = (folder / "run/stages" / name / "checkpoint").as_posix()
    return results


def run(files: dict[str, str], out: Path, *options: str, text: str = RECIPE + PREFERENCES) -> int:
    recipe = out.with_suffix(".toml")
    recipe.write_text(text.format(**files), encoding="utf-8")
    options = tuple(part for option in options for part in ("--set", option))
    return main(["run", str(recipe), "--out", str(out), *options])


def rollouts(out: Path, step: int) -> list[dict[str, Any]]:
    file = out / f"stages/zero/rollouts/step-{step:05d}.parquet"
    return [row | {"parts": json.loads(row["parts"])} for row in pq.read_table(file).to_pylist()]


def test_general_prompts_join_the_rollouts(
    files: dict[str, str], tmp_path: Path, metrics: Read
) -> None:
    out = tmp_path / "run"
    assert run(files, out, "zero.rewards.language=0.5", "zero.preferences.helpful_weight=3") == 0
    rows = metrics(out)
    assert [row.get("frac_general") for row in rows] == [
        None,
        0,
        None,
        0,
        None,
        0.5,
        None,
        0.5,
        None,
    ]
    assert "rewards/helpful/mean" not in rows[3], (
        "step 3 is inside of a rollout; the next begins at 4"
    )
    assert all(isinstance(row["heldout/rewards/helpful/mean"], float) for row in rows[::2])
    assert rows[7]["rewards/helpful/min"] <= rows[7]["rewards/helpful/mean"]
    assert rows[7]["rewards/safety/std"] is not None and rows[7]["rewards/safety/spread"] >= 0

    before, after = rollouts(out, 2), rollouts(out, 6)
    assert {tuple(row["parts"]) for row in before} == {("accuracy", "format", "language")}
    kinds = [next(n for n in ("helpful", "safety", "accuracy") if n in r["parts"]) for r in after]
    assert kinds == ["accuracy"] * 16 + ["helpful"] * 12 + ["safety"] * 4
    for row, category in zip(after, kinds, strict=True):
        weight = {"accuracy": 1.0, "helpful": 3.0, "safety": 1.0}[category]
        terms = (
            weight * (row["parts"][category] or 0),
            row["parts"]["format"],
            0.5 * (row["parts"]["language"] or 0),
        )
        assert row["reward"] == pytest.approx(sum(terms))
        assert set(row["parts"]) == {category, "format", "language"}
        assert (row["accuracy"] is None) == (category != "accuracy")
        assert row["problem"].startswith(
            {"accuracy": ("en:", "zh:"), "helpful": "general-", "safety": "unsafe-"}[category]
        )
    samples = [{row["problem"] for row in rollouts(out, step)} for step in (4, 6)]
    assert not samples[0] & samples[1], "every set goes on in its own stream"
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Reward model scores" in page and "Held-out rewards" in page


def test_until_they_come_in_nothing_changes(
    files: dict[str, str], tmp_path: Path, metrics: Read
) -> None:
    assert run(files, tmp_path / "plain", text=RECIPE) == run(files, tmp_path / "mixed") == 0
    plain, mixed = metrics(tmp_path / "plain"), metrics(tmp_path / "mixed")
    assert not any(any(new in key for new in NEW) for row in plain for key in row)
    remainder = [{k: v for k, v in row.items() if not any(n in k for n in NEW)} for row in mixed]
    assert remainder[:5] == plain[:5], "bit for bit, up to the step from which they are drawn"
    assert remainder[5] != plain[5]
    assert plain[1]["reward"] > 0, "something was earned, so that there is something to compare"


@pytest.mark.parametrize("last_step", [5, pytest.param(7, marks=pytest.mark.slow)])
def test_going_on_is_as_if_never_stopped(
    last_step: int,
    files: dict[str, str],
    tmp_path: Path,
    metrics: Read,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(files, tmp_path / "whole") == 0
    write = Recorder.write

    def write_then_die(self: Recorder, step: int, row: Any) -> None:
        write(self, step, row)
        if step == last_step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "write", write_then_die)
        assert run(files, tmp_path / "cut") == 130
    assert run(files, tmp_path / "cut") == 0
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    diagnoses = [
        (tmp_path / name / "stages/zero/diagnoses.jsonl").read_bytes() for name in ("whole", "cut")
    ]
    assert diagnoses[0] == diagnoses[1]
    first, other = (
        load_file(tmp_path / name / "stages/zero/checkpoint/model.safetensors")
        for name in ("whole", "cut")
    )
    assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "options",
    [
        ("zero.algorithm.name=ppo",),
        ("zero.algorithm.dynamic_sampling=true", "zero.split=sample"),
        ("zero.algorithm.name=dr_grpo", "zero.preferences.from_step=0"),
    ],
    ids=["ppo", "dynamic", "dr_grpo"],
)
def test_every_algorithm_takes_them(
    options: tuple[str, ...], files: dict[str, str], tmp_path: Path, metrics: Read
) -> None:
    one_model = PREFERENCES.split("safety =")[0]
    assert run(files, tmp_path / "run", *options, text=RECIPE + one_model) == 0
    rows = metrics(tmp_path / "run")
    assert 0 < rows[1]["frac_general"] < 1, "from_step is 0 here"
    assert isinstance(rows[7]["rewards/helpful/spread"], float)
    assert not any("safety" in key for row in rows for key in row)


BAD = {
    "no model": ("", ["preferences names no reward model"]),
    "no problems": ('helpful = "{helpful}"', ["helpful = ", "and no problems"]),
    "no such stage": (
        'helpful = "helper"\nproblems = "{general}"',
        ["preferences.helpful", "'helper' is neither an earlier stage"],
    ),
    "no reward model": (
        'helpful = "{base}"\nproblems = "{general}"',
        ["preferences.helpful", "is a Qwen3ForCausalLM", "one number per response"],
    ),
    "the wrong view": (
        'helpful = "{safety}"\nproblems = "{general}"',
        ["preferences.helpful", "sees = 'response'", "name it as safety"],
    ),
    "no such file": (
        'helpful = "{helpful}"\nproblems = "nowhere.jsonl"',
        ["stages.zero.preferences.problems = 'nowhere.jsonl'", "no such file"],
    ),
    "no such safety file": (
        'safety = "{safety}"\nsafety_problems = "nowhere.jsonl"',
        ["stages.zero.preferences.safety_problems = 'nowhere.jsonl'"],
    ),
    "too late": (
        'helpful = "{helpful}"\nproblems = "{general}"\nfrom_step = 7',
        ["preferences.from_step = 7", "begins at step 6"],
    ),
    "uneven": (
        'helpful = "{helpful}"\nproblems = "{general}"\nshare = 0.4',
        ["preferences.share = 0.4", "is 3 general and 5 other", "use a share such as 0.25, 0.5"],
    ),
    "no share of safety": (
        'helpful = "{helpful}"\nproblems = "{general}"\nsafety = "{safety}"\nsafety_problems = "{unsafe}"\n'
        "safety_share = 0.1",
        ["safety_share = 0.1", "0 for the safety model"],
    ),
    "read by nobody": (
        'helpful = "{helpful}"\nproblems = "{general}"\nsafety_weight = 2.0',
        ["safety_weight = 2 and no safety model"],
    ),
    "in two sets": (
        'helpful = "{helpful}"\nproblems = "{general}"\nsafety = "{safety}"\nsafety_problems = "{both}"\n'
        "safety_share = 0.25",
        ["prompts, such as 'Tell me of box", "exactly one set"],
    ),
    "a language that cannot be told": (
        'helpful = "{helpful}"\nproblems = "{swahili}"',
        ["rewards.language = 1", "'sw'"],
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("dry", [True, False])
def test_what_cannot_run_is_refused(
    case: str,
    dry: bool,
    files: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, parts = BAD[case]
    combined, swahili = tmp_path / "both.jsonl", tmp_path / "swahili.jsonl"
    combined.write_text(Path(files["general"]).read_text("utf-8"), encoding="utf-8")
    row = json.dumps({"prompt": "Habari {}?", "language": "sw"}) + "\n"
    swahili.write_text("".join(row.replace("{}", str(n)) for n in range(40)), encoding="utf-8")
    text = (
        RECIPE + "[stages.zero.rewards]\nlanguage = 1.0\n[stages.zero.preferences]\n" + table
    ).format(**files, both=combined.as_posix(), swahili=swahili.as_posix())
    recipe, out = tmp_path / "all.toml", tmp_path / "run"
    recipe.write_text(text, encoding="utf-8")
    absent = "nowhere.jsonl" in table  # a plan lists what is not there yet
    options = ["--dry-run"] if dry else []
    assert main(["run", str(recipe), "--out", str(out), *options]) == (0 if dry and absent else 2)
    if dry and absent:
        assert "a run would be refused: nowhere.jsonl" in capsys.readouterr().out
        return
    stderr = capsys.readouterr().err
    assert stderr.startswith("dianoia: ") and "Traceback" not in stderr
    for part in parts:
        assert part in stderr, stderr
    assert not out.exists(), "nothing may have begun"


@pytest.mark.parametrize("category", ["rl", "evaluate"])
def test_what_no_rule_can_grade_is_refused(
    category: str, files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "essays.jsonl"
    rows = [
        {"question": f"Essay {n}?", "answer": "Good", "verifier": "reference"} for n in range(40)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    evaluation = f'''
[stages.evaluation]
kind = "evaluate"
checkpoints = ["zero"]
problems = "{file.as_posix()}"
max_tokens = 8
'''
    text = (
        RECIPE + evaluation
        if category == "evaluate"
        else RECIPE.replace("miniature/math", file.as_posix())
    )
    assert run(files, tmp_path / "run", text=text) == 2
    stderr = capsys.readouterr().err
    where = "evaluation" if category == "evaluate" else "zero"
    assert (
        f"stages.{where}.problems" in stderr
        and "no rule can grade" in stderr
        and "'essays-" in stderr
    )
    assert not (tmp_path / "run").exists()
    # the same file is a set of general prompts
    names = files | {"general": file.as_posix()}
    assert run(names, tmp_path / "run", "zero.steps=6", "zero.progress.problems=0") == 0
