"""Preferences in recipes: what is refused, the plan by hand, and reward models that learn by a stage's name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import UserError
from dianoia.config import EndpointSettings, PreferencesStage
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.tasks.plugins import PREFERENCE_RULES, PreferenceRules
from tests.unit.recipe.conftest import TEXT, planned_work

Write = Callable[..., Path]
PAIRS = """
[stages.pairs]
kind = "preferences"
starts = ["zero", "base"]
problems = "miniature/math"
prompts = 10
samples = 4
pairs_per_problem = 3
judge = "miniature"
[stages.pairs.sampling]
max_tokens = 100
"""
HELPFUL = """
[stages.helpful]
kind = "reward_model"
start = "base"
data = ["pairs"]
samples_per_step = 8
epochs = 2
[stages.helpful.optimizer]
learning_rate = 1e-2
"""
DOMAINS = {"pairwise": frozenset({"math"}), "pointwise": frozenset({"math", "safety"})}
MODEL = 'url = "http://localhost:1/v1", model = "big"'


class Rules:
    """Stands for the miniature's judge."""

    def compare(self, *_: object) -> str | None:
        return "A=B"

    def is_safe(self, *_: object) -> bool | None:
        return True


@pytest.fixture(autouse=True)
def _rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PREFERENCE_RULES, "miniature", PreferenceRules(Rules, DOMAINS))


@pytest.fixture
def pairs(write: Write) -> Path:
    return write(TEXT + PAIRS + HELPFUL)


def test_the_plan_by_hand(pairs: Path) -> None:
    plan = planned_work(pairs)
    # 10 x 4 x 2 = 80 responses; 10 x 3 = 30 pairs x 4 = 120 verdicts; 80 x 100 = 8,000 tokens
    for part in (
        "from zero and base",
        "10 problems x 4 samples x 2 checkpoints = 80 responses",
        "at most 30 pairs with 120 verdicts; at most 8,000 sampled tokens (100 per response)",
    ):
        assert part in plan["pairs (preferences)"], plan["pairs (preferences)"]
    assert "requests" not in plan["pairs (preferences)"]
    # 30 pairs / 8 = 4 steps x 2 epochs
    for part in (
        "at most 30 pairs to learn from or hold out, 30 of them from pairs;",
        "at most 8 optimizer steps of 8 pairs in 2 epochs",
    ):
        assert part in plan["helpful (reward_model)"], plan["helpful (reward_model)"]


def test_the_plan_of_labels_counts_requests(pairs: Path) -> None:
    options = [
        "pairs.objective=pointwise",
        "helpful.objective=pointwise",
        "pairs.pairs_per_problem=1",
    ]
    plan = planned_work(pairs, *options, f"pairs.judge={{{MODEL}}}")
    assert "at most 80 labelled responses with 80 verdicts" in plan["pairs (preferences)"]
    assert "at most 80 requests to big to judge" in plan["pairs (preferences)"]
    assert "80 labelled responses to learn from or hold out" in plan["helpful (reward_model)"]


def test_files_and_stages_are_learnt_together(pairs: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}?", "chosen": "yes", "rejected": "no!"} for n in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    plan = planned_work(pairs, f'helpful.data=["{file.as_posix()}", "pairs"]')[
        "helpful (reward_model)"
    ]
    count = int(plan.partition("at most ")[2].split()[0])
    assert f"{count} pairs to learn from or hold out, 30 of them from pairs" in plan
    assert 30 + 25 < count < 30 + 40, "a tenth of the files' rows is held out"


def test_an_endpoint_is_a_table(pairs: Path) -> None:
    stage = load_recipe(pairs, [f"pairs.judge={{{MODEL}}}"]).stages["pairs"]
    assert isinstance(stage, PreferencesStage) and isinstance(stage.judge, EndpointSettings)
    assert (stage.judgements, stage.judge.model) == (4, "big")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("pairs.starts=[]", ["pairs.starts=[]", "at least 1"]),
        ('pairs.starts=["zero", "zero"]', ["'zero' is named twice", "raise samples"]),
        ('pairs.starts=["zero", "./nowhere"]', ["stages.pairs", "./nowhere"]),
        ('pairs.starts=["helpful"]', ["stages.pairs uses stages.helpful, which comes after"]),
        ("pairs.judge=miniatur", ["pairs.judge = 'miniatur'", "'miniature'"]),
        (f"pairs.judge={{{MODEL}, modle=1}}", ["judge.modle", "did you mean 'model'"]),
        (f'pairs.judge={{{MODEL}, key_env="NOT_SET_1"}}', ["stages.pairs.judge.key_env", "export it"]),
        ("pairs.judgements=3", ["judgements = 3", "each response first equally often"]),
        ("pairs.judgements=0", ["pairs.judgements=0", "greater than or equal to 2"]),
        ("pairs.pairs_per_problem=29", ["pairs_per_problem = 29", "8 responses", "28 pairs"]),
        ("pairs.objective=pointwise", ["pairs_per_problem belong to pairs", "labels each"]),
        ("pairs.guideline=rules.txt", ["guideline = 'rules.txt'", "only a model that labels"]),
        ("pairs.sampling.longer=[{from_step=1, max_tokens=9}]", ["a preferences stage takes none"]),
        ("pairs.sampling.max_tokens=2000", ["stages.pairs.sampling.max_tokens = 2000", "1024"]),
        ("pairs.template=r2", ["stages.pairs.template = 'r2'", "r1-prefilled"]),
        ("pairs.problems=none.jsonl", ["stages.pairs.problems", "'none.jsonl'"]),
        ('helpful.data=["pears"]', ["stages.helpful.data = 'pears'", "did you mean 'pairs'?"]),
        ('helpful.data=["zero"]', ["stages.helpful.data = 'zero'", "kind 'rl'", "no preferences"]),
        ("helpful.objective=pointwise", ["'pairwise'", "'pointwise'", "the same objective"]),
        ("helpful.start=pairs", ["'pairs' is a stage of kind 'preferences', which writes no model"]),
    ],
)  # fmt: skip
def test_what_cannot_run(override: str, parts: list[str], pairs: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_inputs(load_recipe(pairs, [override]))
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_a_guideline_is_read_before_any_work(pairs: Path) -> None:
    options = [
        "pairs.objective=pointwise",
        "helpful.objective=pointwise",
        "pairs.pairs_per_problem=1",
    ]
    options += [f"pairs.judge={{{MODEL}}}", "pairs.guideline=nowhere.txt"]
    with pytest.raises(UserError, match=r"stages\.pairs\.guideline = 'nowhere\.txt'"):
        check_inputs(load_recipe(pairs, options))


def test_preferences_come_before_who_learns_them(write: Write) -> None:
    with pytest.raises(UserError, match=r"stages\.helpful uses stages\.pairs, which comes after"):
        load_recipe(write(TEXT + HELPFUL + PAIRS))


def test_preferences_are_no_samples_for_fine_tuning(pairs: Path) -> None:
    learn = """
[stages.learnt]
kind = "sft"
start = "base"
datasets = [{ path = "pairs" }]
max_length = 64
tokens_per_step = 64
[stages.learnt.optimizer]
learning_rate = 1e-3
"""
    pairs.write_text(pairs.read_text(encoding="utf-8") + learn, encoding="utf-8")
    with pytest.raises(UserError, match="'pairs' is a stage of kind 'preferences'"):
        check_inputs(load_recipe(pairs))


def test_the_miniatures_judge_is_for_the_miniature(pairs: Path, tmp_path: Path) -> None:
    rows = [{"question": f"{n}+1?", "answer": str(n + 1)} for n in range(40)]
    file = tmp_path / "sums.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = [f"pairs.problems={file}"]
    with pytest.raises(UserError, match=r"judge = 'miniature' with problems = .*sums\.jsonl"):
        check_inputs(load_recipe(pairs, options))
    check_inputs(load_recipe(pairs, [*options, f"pairs.judge={{{MODEL}}}"]))


def test_rules_judge_what_they_know(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**DOMAINS, "pairwise": frozenset({"general", "near-miss"})}
    monkeypatch.setitem(PREFERENCE_RULES, "miniature", PreferenceRules(Rules, other))
    message = (
        r"problems = 'miniature/math'.*general, near-miss and no others \(here are some of math\)"
    )
    with pytest.raises(UserError, match=message):
        check_inputs(load_recipe(pairs))
    labels = (
        "pairs.objective=pointwise",
        "pairs.pairs_per_problem=1",
        "helpful.objective=pointwise",
    )
    check_inputs(load_recipe(pairs, labels))
