"""The pages of docs/ say what the code does: every metric, key, column and link, and TOML that loads."""

import argparse
import ast
import itertools
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, SamplingParams
from dianoia.base.rewriting import Refusal
from dianoia.claims.decide import Value, Verdict
from dianoia.claims.rules import RULES
from dianoia.claims.value_text import UNITS
from dianoia.cli.main import main, parser
from dianoia.config import (
    AlgorithmSettings,
    ClaimsSettings,
    CosineSettings,
    DataSettings,
    DemonstrationsStage,
    EvaluateStage,
    FileSettings,
    PreferenceSettings,
    PreferencesStage,
    PretrainStage,
    ProgressSettings,
    RepetitionSettings,
    RewardModelStage,
    RewardSettings,
    RLStage,
    SampleStage,
    SFTStage,
    TagSettings,
)
from dianoia.datasets.pairs import VERDICTS as PAIR_VERDICTS
from dianoia.datasets.pairs import LeftOut
from dianoia.datasets.response_verdicts import Unjudged
from dianoia.datasets.selection import Reason
from dianoia.judge import diagnosis, hacking
from dianoia.judge.batch_parts import Judge, Parts
from dianoia.judge.functions import Function, TrainerState
from dianoia.judge.judge import general_rules, judge, training_rubric
from dianoia.judge.learned import GENERAL
from dianoia.judge.llm_grader import ModelJudge
from dianoia.judge.problem_sets import Scenario, weights
from dianoia.judge.reward_model_part import Preferred
from dianoia.judge.verdict_counts import COUNTED
from dianoia.learner.step_metrics import UpdateMetrics, ValueMetrics
from dianoia.metrics.group_metrics import measures
from dianoia.metrics.recorder import Recorder
from dianoia.metrics.training_metrics import rollout_row, update_row, verdict_row
from dianoia.models.endpoint import Answer
from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.load import KINDS
from dianoia.sampler.rollouts import Roller
from dianoia.stages.demonstrations import Tally
from dianoia.stages.preferences import counts as preference_counts
from dianoia.stages.sample import counts
from dianoia.storage import preference_table as judged
from dianoia.storage import rollout_table as tables
from dianoia.storage import sample_table as dataset
from dianoia.storage.context import Context
from dianoia.storage.run_directory import StageDirectory, describe_run
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.code.test_cases import COLUMNS as TEST_COLUMNS
from dianoia.tasks.conversation_files import RESPONSE_COLUMNS, ROLES
from dianoia.tasks.data.file_problems import LARGE
from dianoia.tasks.data.large_files import CHECKED, FIRST
from dianoia.tasks.data.mappings import HUB, MAPPINGS
from dianoia.tasks.data.row_reader import CACHE
from dianoia.tasks.gold_check import Outcome
from dianoia.tasks.plugins import DEMONSTRATIONS, PROBLEM_SETS
from dianoia.tasks.preference_files import RESPONSE_COLUMNS as JUDGED_COLUMNS
from dianoia.tasks.problem_files import ANSWER_COLUMNS, QUESTION_COLUMNS
from dianoia.tasks.short_answers import Verifier
from dianoia.text.parsing import Fault
from dianoia.text.template import TEMPLATES

HEADINGS = ["Usage", "Logged metrics", "Implementation details", "Reading the curves", "Resuming"]
STAGES: Mapping[str, type[BaseModel]] = {
    "rl": RLStage,
    "sft": SFTStage,
    "pretrain": PretrainStage,
    "reward_model": RewardModelStage,
    "sample": SampleStage,
    "demonstrations": DemonstrationsStage,
    "preferences": PreferencesStage,
    "evaluate": EvaluateStage,
}
PAGES = (
    "index",
    "rl",
    "sft",
    "pretrain",
    "evaluate",
    "choices",
    "miniature",
    "run-directory",
    "recipes",
)


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[str, str]:
    """Text of every page by its name."""
    found = {p.stem: p.read_text(encoding="utf-8") for p in sorted((root / "docs").glob("*.md"))}
    assert set(PAGES) <= set(found)
    return found


def _first_cells(page: str) -> set[str]:
    """What stands in code marks in the first column of the page's tables."""
    return set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


# Metrics -----------------------------------------------------------------------------------------

RIGHT = ("1+1=2", RolloutStatus.FINISHED, "wait, 1+1=2 apples", "2")
CUT = ("1+1=", RolloutStatus.TRUNCATED, None, None)


def _rollouts() -> list[list[Rollout]]:
    problem = Problem(id="p", question="1+1?", answer="2", verifier="number", difficulty=1)
    completion = Completion(ids=(1, 2), logprobs=(-0.5, -0.5), stopped=True)
    return [
        [
            Rollout(problem, i, (3,), completion, text, status, thought, answer)
            for i, (text, status, thought, answer) in enumerate((RIGHT, CUT))
        ]
    ]


REWARDS = RewardSettings(
    language=1.0,
    random=1.0,
    overlong_cache=1,
    repetition=RepetitionSettings(),
    cosine=CosineSettings(),
    tags=TagSettings(),
)
"""Every rule that a recipe can ask for."""
FURTHER = ("repetition", "cosine", "tags", "mine", "judge")
"""Parts whose names stand for one another; `mine` is a function's."""


def _groups() -> list[Group]:
    """One group, scored by every rule."""
    template = TEMPLATES["r1-zero"]
    (further,) = _parts().of_problems(_rollouts(), _parts().of_all(_rollouts(), TrainerState(0, 1)))
    rubric = training_rubric(REWARDS, 4, 1, template, further=further.rules)
    return judge(rubric, _rollouts())


def _parts() -> Parts:
    """A function that logs, and a judge of everything."""

    def mine(log_metric: Callable[..., None], **columns: Any) -> list[float]:
        log_metric("speed", 1.0)
        return [1.0] * len(columns["prompts"])

    correct = [Answer('{"correctness": "correct"}', False)]
    grader = Judge(ModelJudge(lambda asked: correct * len(asked)), 1.0, everything=True)
    return Parts([(Function("mine", mine, "f.py:mine"), 1.0)], judge=grader)


def _figures() -> set[str]:
    """Keys of what functions and the judge add to a row."""
    parts = _parts()
    parts.of_problems(_rollouts(), parts.of_all(_rollouts(), TrainerState(0, 1)))
    return set(parts.figures())


class _Liking:
    """A reward model that likes everything."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [1.0 for _ in zip(prompts, responses, strict=True)]


class _Prompts:
    """Held-out general prompts."""

    languages = frozenset({"en"})

    def draw(self, *_: int) -> list[Problem]:
        return []

    def heldout(self, limit: int) -> list[Problem]:
        return [_rollouts()[0][0].problem][:limit]


def _general() -> list[Scenario]:
    """A set of general prompts for each reward model."""
    return [Scenario(name, _Prompts(), Preferred(name, _Liking())) for name in GENERAL]


def _mixed_row() -> set[str]:
    """Keys of a rollout with general prompts of both kinds, and of one with programs."""
    rules = general_rules(REWARDS, 4, 1, TEMPLATES["r1-zero"])
    models = [scenario.preferred for scenario in _general()]
    general = [group for m in models if m is not None for group in m.judge(rules, _rollouts())]
    further = {"mine": 1.0, "judge": 1.0}
    chosen = weights(REWARDS, PreferenceSettings(helpful="a", problems="b")) | further
    row = rollout_row([*_groups(), *general], _count_tokens, chosen)
    verdicts = {name: dict.fromkeys(kinds, 0) for name, (kinds, _) in COUNTED.items()}
    return set(row) | set(verdict_row(verdicts))


def _count_tokens(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


class _Roller:
    """Stands in for a sampler: the same two rollouts whatever is asked."""

    count_tokens = staticmethod(_count_tokens)

    def __call__(self, *_: object) -> list[list[Rollout]]:
        return _rollouts()


def _recorded(folder: Path) -> set[str]:
    """Keys of the row that an RL stage's recorder writes."""
    directory = StageDirectory(folder)
    progress = SimpleNamespace(show=lambda *_: None, say=lambda *_: None)
    context = SimpleNamespace(directory=directory, seed=1, progress=progress)
    recorder = Recorder(
        cast(Context, context), cast(Roller, _Roller()), ProgressSettings(samples=2)
    )
    recorder.open(0)
    groups = _groups()
    recorder.rollout(0, groups)
    params = SamplingParams(max_tokens=4, stop_ids=frozenset({2}))
    recorder.curve(0, [groups[0].problem], params, _general())
    recorder.write(1, {})
    return set(json.loads(directory.metrics.read_text(encoding="utf-8")))


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _written_in(path: Path, *functions: str) -> set[str]:
    """Literal keys of the dictionaries that stand in the named functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    chosen = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in functions]
    assert {function.name for function in chosen} == set(functions), path
    dicts = [n for function in chosen for n in ast.walk(function) if isinstance(n, ast.Dict)]
    return {text for d in dicts for key in d.keys if key is not None for text in _strings(key)}


def _spent(path: Path) -> set[str]:
    """Names of the phases whose seconds are recorded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "spending"
    ]
    return {text for call in calls for argument in call.args for text in _strings(argument)}


def _as_on_the_page(name: str) -> str:
    """`cons@16` stands for any k, `pass@1` for itself; parts, reward models and verdicts for one another."""
    name = re.sub(r"^rewards/\w+/spread$", "rewards/PART/spread", name)
    name = re.sub(rf"^rewards/({'|'.join(FURTHER)})/", "rewards/NAME/", name)
    name = re.sub(r"^logged/\w+$", "logged/NAME", name)
    name = re.sub(r"\brewards/(helpful|safety)/", "rewards/MODEL/", name)
    name = re.sub(r"^(code|math|plain)/\w+$", r"\1/VERDICT", name)
    return re.sub(r"(cons|pass)@(?!1$)\d+", r"\1@k", name)


def _rl_metrics(root: Path, folder: Path) -> set[str]:
    stage, recorder = root / "dianoia/stages/rl.py", root / "dianoia/metrics/recorder.py"
    value = ValueMetrics(**dict.fromkeys(ValueMetrics.__dataclass_fields__, 1))
    fields = dict.fromkeys(UpdateMetrics.__dataclass_fields__, 1)
    update = UpdateMetrics(**{**fields, "value": value})
    return (
        _recorded(folder)
        | set(rollout_row(_groups(), _count_tokens))
        | _mixed_row()
        | _figures()
        | set(update_row(update))
        | _written_in(stage, "update")
        | _spent(stage)
        | _spent(recorder)
    )


def test_every_metric_of_rl_is_defined(
    root: Path, tmp_path: Path, pages: Mapping[str, str]
) -> None:
    names = {_as_on_the_page(name) for name in _rl_metrics(root, tmp_path)}
    assert {
        "reward",
        "kl",
        "value_loss",
        "heldout/pass@1",
        "num_tokens",
        "generate_seconds",
        "rewards/PART/spread",
        "heldout/rewards/MODEL/mean",
        "code/VERDICT",
        "rewards/NAME/std",
        "logged/NAME",
        "judge/unread",
        "math/VERDICT",
        "plain/VERDICT",
    } <= names
    assert not names - _first_cells(pages["rl"]), "define these in docs/rl.md"
    assert all(f"`{v}`" in pages["rl"] for verdicts, _ in COUNTED.values() for v in verdicts)


def test_no_metric_of_rl_is_invented(root: Path, tmp_path: Path, pages: Mapping[str, str]) -> None:
    metrics = pages["rl"].split("## Logged metrics")[1].split("## Implementation details")[0]
    names = {_as_on_the_page(name) for name in _rl_metrics(root, tmp_path)}
    invented = _first_cells(metrics) - names
    assert not invented, f"docs/rl.md defines what nothing writes: {invented}"


def test_every_metric_of_pretrain_is_defined(root: Path, pages: Mapping[str, str]) -> None:
    names = _written_in(root / "dianoia/stages/pretrain.py", "update", "speed")
    assert {"loss", "tokens_per_second"} <= names
    metrics = pages["pretrain"].split("## Logged metrics")[1].split("## Implementation")[0]
    assert _first_cells(metrics) == names


def test_every_metric_of_sft_is_defined(root: Path, pages: Mapping[str, str]) -> None:
    names = _written_in(root / "dianoia/stages/sft.py", "update", "evaluation", "speed")
    assert {"loss", "eval_loss", "tokens_per_second"} <= names
    metrics = pages["sft"].split("## Logged metrics")[1].split("## Implementation")[0]
    assert _first_cells(metrics) == names


def test_every_metric_of_reward_model_is_defined(root: Path, pages: Mapping[str, str]) -> None:
    page = pages["reward_model"].split("## Logged metrics")[1].split("## Implementation")[0]
    metrics, estimates = page.split("`evaluation.json` holds")
    names = _written_in(root / "dianoia/stages/reward_model.py", "run", "row")
    names |= _written_in(root / "dianoia/metrics/reward_model_metrics.py", "spread")
    assert {"loss", "rewards/chosen/std", "step_seconds"} <= names
    assert _first_cells(metrics) == names
    assert _first_cells(estimates) >= {"accuracy", "baseline", "margin", *LeftOut}
    columns = pages["reward_model"].split("### Columns")[1]
    assert all(f"`{name}`" in columns for name in (*JUDGED_COLUMNS, *PAIR_VERDICTS))


def test_every_metric_of_evaluate_is_defined(pages: Mapping[str, str]) -> None:
    names = {_as_on_the_page(name) for name in measures(_groups(), _count_tokens)}
    metrics = pages["evaluate"].split("## Logged metrics")[1].split("## Implementation")[0]
    assert _first_cells(metrics) == names


def test_counts_reasons_and_columns_of_sample_are_defined(pages: Mapping[str, str]) -> None:
    metrics, reasons = (
        pages["sample"]
        .split("## Logged metrics")[1]
        .split("## Implementation")[0]
        .split("| reason |")
    )
    assert _first_cells(metrics) == {*counts([]), "verdicts", "seconds"}
    assert list(re.findall(r"^\| `([^`]+)` \|", reasons, re.MULTILINE)) == [*Reason]
    assert all(f"`{refusal}`" in reasons for refusal in Refusal)
    data = pages["sample"].split("### The data")[1].split("## Logged")[0]
    assert all(f"`{column}`" in data for column in (*dataset.COLUMNS, *dataset.WHY))


def test_every_count_of_demonstrations_is_defined(pages: Mapping[str, str]) -> None:
    page = pages["demonstrations"].split("## Logged metrics")[1].split("## Implementation")[0]
    assert _first_cells(page) == {*Tally().found(), "seconds"}
    assert all(f"`{name}`" in pages["demonstrations"] for name in DEMONSTRATIONS)


def test_counts_reasons_and_columns_of_preferences_are_defined(pages: Mapping[str, str]) -> None:
    page = pages["preferences"].split("## Logged metrics")[1].split("## Implementation")[0]
    metrics, reasons = page.split("| reason |")
    assert _first_cells(metrics) == {*preference_counts([], []), "seconds"}
    assert list(re.findall(r"^\| `([^`]+)` \|", reasons, re.MULTILINE)) == [*Unjudged]
    data = pages["preferences"].split("### The data")[1].split("## Logged")[0]
    columns = (*judged.PAIRWISE, *judged.POINTWISE, *judged.RESPONSES)
    assert all(f"`{column}`" in data for column in columns)


# Keys --------------------------------------------------------------------------------------------


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, FileSettings):
        return []  # the tables of `problems` have a page of their own
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key with its table before it: `sampling.max_tokens`."""
    for name, field in model.model_fields.items():
        tables = _models_in(field.annotation)
        if not tables or not isinstance(field.annotation, type):  # a list of tables is a key too
            yield prefix + name, field
        for table in tables:
            yield from _keys(table, f"{prefix}{name}.")


def _default(cell: str) -> object:
    """The value of a default's cell."""
    if cell == "absent":
        return None
    if cell.endswith("required"):
        return PydanticUndefined
    return tomllib.loads(f"value = {cell.strip('`')}")["value"]


@pytest.mark.parametrize("kind", STAGES)
def test_every_key_stands_on_its_page_with_its_default(kind: str, pages: Mapping[str, str]) -> None:
    usage = pages[kind].split("## Usage")[1].split("## Logged metrics")[0]
    told = dict(re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \| [^|]{3,}", usage, re.MULTILINE))
    keys = dict(_keys(STAGES[kind]))
    assert not set(keys) - set(told), f"explain these in docs/{kind}.md"
    assert not set(told) - set(keys), f"docs/{kind}.md explains keys that there are not"
    for key, field in keys.items():
        default = field.get_default(call_default_factory=True)
        assert _default(told[key].strip()) == default, f"docs/{kind}.md: {key} has {default!r}"


def test_every_key_of_data_stands_on_its_page(pages: Mapping[str, str]) -> None:
    usage = pages["data"].split("## Usage")[1].split("## Columns")[0]
    told = dict(re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \| [^|]{3,}", usage, re.MULTILINE))
    fields = DataSettings.model_fields
    assert set(told) == set(fields)
    for key, field in fields.items():
        default = field.get_default(call_default_factory=True)
        assert _default(told[key].strip()) == default, f"docs/data.md: {key} has {default!r}"


def test_mappings_columns_and_outcomes_of_data_are_explained(pages: Mapping[str, str]) -> None:
    page = pages["data"]
    assert {*MAPPINGS, *Outcome} <= _first_cells(page)
    for name in (*HUB, *QUESTION_COLUMNS, *ANSWER_COLUMNS, *TEST_COLUMNS, CACHE):
        assert f"`{name}`" in page, name
    for key, amount in (("64 MiB", LARGE >> 20), ("512 rows", FIRST), ("4,096", CHECKED)):
        assert key in page and key.split()[0] == f"{amount:,}"


def test_every_kind_of_stage_has_a_page(pages: Mapping[str, str]) -> None:
    assert set(KINDS) == set(STAGES)
    for kind in KINDS:
        headings = re.findall(r"^## (.+)$", pages[kind], re.MULTILINE)
        assert headings == HEADINGS, f"docs/{kind}.md"


def test_every_part_of_the_claims_is_explained(pages: Mapping[str, str]) -> None:
    usage = pages["claims"].split("## Usage")[1].split("## The claims")[0]
    told = dict(re.findall(r"^\| `([^`]+)` \| text \| absent \| ([^|]+) \|$", usage, re.MULTILINE))
    fields = ClaimsSettings.model_fields
    assert {part: text.strip() for part, text in told.items()} == {
        part: field.description for part, field in fields.items()
    }


def test_every_rule_stands_as_it_is_judged(pages: Mapping[str, str]) -> None:
    for rule in RULES:
        parts = ", ".join(f"`{part}`" for part in rule.parts)
        row = f"| {rule.number} | {rule.title} | {rule.rule} | {parts} | {rule.paper} |"
        assert row in pages["claims"].splitlines(), f"docs/claims.md: claim {rule.number}"
    for name in (*Verdict.__dataclass_fields__, *Value.__dataclass_fields__, *UNITS):
        assert f"`{name}`" in pages["claims"], name


def test_every_command_is_in_the_readme(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert {f"dianoia {name}" for name in commands.choices} <= set(re.findall(r"^\| `(dianoia \w+)", text, re.MULTILINE))  # fmt: skip


def test_every_key_of_a_recipe_is_explained(pages: Mapping[str, str]) -> None:
    assert set(Recipe.model_fields) <= _first_cells(pages["recipes"])


# Names -------------------------------------------------------------------------------------------


def test_every_diagnosis_is_explained(pages: Mapping[str, str]) -> None:
    makers = ("_Condition", "Diagnosis")
    sources = (Path(module.__file__).read_text(encoding="utf-8") for module in (diagnosis, hacking))
    codes = {
        node.args[0].value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in makers
        and isinstance(node.args[0], ast.Constant)
    }
    assert {"all_wrong", "reward_hacking", "learned_flat", "learned_dominates"} <= codes
    assert not codes - _first_cells(pages["rl"].split("### Diagnoses")[1])


def test_the_run_directory_is_explained(pages: Mapping[str, str]) -> None:
    page = pages["run-directory"]
    assert not set(tables._COLUMNS) - _first_cells(page)
    assert all(f"`{fault}`" in page for fault in Fault)
    assert all(f"`{key}`" in page for key in describe_run("", 1, 1))


def test_every_name_a_recipe_may_use_is_explained(pages: Mapping[str, str]) -> None:
    algorithms = get_args(AlgorithmSettings.model_fields["name"].annotation)
    verifiers: Mapping[str, Verifier] = VERIFIERS
    columns = (*QUESTION_COLUMNS, *ANSWER_COLUMNS)
    assert not {*algorithms, *TEMPLATES} - _first_cells(pages["recipes"])
    for name in (*verifiers, *columns):
        assert f"`{name}`" in pages["recipes"], name
    for name in (*RESPONSE_COLUMNS, *ROLES):
        assert f"`{name}`" in pages["sft"], name
    for name in PROBLEM_SETS:
        assert f"`{name}`" in pages["rl"], name


# TOML and commands -------------------------------------------------------------------------------


def _laid_over(table: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        old = table.get(key)
        table[key] = _laid_over(old, value) if isinstance(old, dict) else value
    return table


def test_every_toml_block_is_a_recipe_or_fits_into_one(
    root: Path, tmp_path: Path, pages: Mapping[str, str]
) -> None:
    blocks = [(page, block) for page, text in pages.items() for block in _blocks(text, "toml")]
    whole = 0
    for page, block in blocks:
        table = tomllib.loads(block)
        if "name" in table:
            file = tmp_path / f"{page}.toml"
            file.write_text(block, encoding="utf-8")
            load_recipe(file)
            whole += 1
        else:
            recipe = tomllib.loads((root / "recipes/miniature-zero.toml").read_text("utf-8"))
            assert set(table.get("stages", {})) <= set(recipe["stages"]), block
            Recipe.model_validate(_laid_over(recipe, table))
    assert len(blocks) > whole > 1


def test_the_settings_of_r1_zero(tmp_path: Path, pages: Mapping[str, str]) -> None:
    (block,) = [b for b in _blocks(pages["recipes"], "toml") if 'name = "r1-zero"' in b]
    file = tmp_path / "r1-zero.toml"
    file.write_text(block, encoding="utf-8")
    stage = load_recipe(file).stages["zero"]
    assert isinstance(stage, RLStage)
    assert (stage.rollout_size, stage.rollouts, stage.steps) == (8192, 650, 10_400)
    assert stage.sampling.max_tokens_at(8199) == 32_768
    assert stage.sampling.max_tokens_at(8200) == 65_536


def _commands(pages: Mapping[str, str]) -> Iterator[tuple[list[str], str | None]]:
    """(words, what it answers or None) of every `dianoia run`."""
    for text in pages.values():
        for block in _blocks(text, "sh"):
            for line in block.splitlines():
                yield shlex.split(line, comments=True), None
        for block in _blocks(text, "console"):
            line, _, answer = block.partition("\n")
            yield shlex.split(line.removeprefix("$ ")), answer


def test_every_command_is_taken_or_refused_as_shown(
    root: Path,
    pages: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(root)
    commands = [(words[2:], answer) for words, answer in _commands(pages) if words[1:2] == ["run"]]
    assert len(commands) > 5
    for (recipe, *options), answer in commands:
        if answer is None:
            overrides = [o for flag, o in itertools.pairwise(options) if flag == "--set"]
            assert load_recipe(recipe, overrides).stages
        else:
            assert main(["run", recipe, *options, "--dry-run"]) == 2, recipe
            assert capsys.readouterr().err == answer


# Links -------------------------------------------------------------------------------------------


def _links(page: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]


def _anchors(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_link_leads_somewhere(root: Path, pages: Mapping[str, str]) -> None:
    broken = []
    for name, text in pages.items():
        for link in _links(text):
            path, _, anchor = link.partition("#")
            target = root / "docs" / path if path else root / "docs" / f"{name}.md"
            if not target.exists():
                broken.append(f"{name}.md: {link}")
            elif anchor and anchor not in _anchors(target.read_text(encoding="utf-8")):
                broken.append(f"{name}.md: {link} (no such heading)")
    assert not broken


def test_the_index_names_every_page(pages: Mapping[str, str]) -> None:
    linked = {link.partition("#")[0] for link in _links(pages["index"])}
    assert {f"{name}.md" for name in pages if name != "index"} <= linked
