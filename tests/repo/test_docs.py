"""The documentation agrees with the code where it is written by hand; what can be generated is (`scripts/reference.py`)."""

import argparse
import itertools
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest

from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.claims.claim_rules import RULES
from dianoia.claims.value_format import UNITS
from dianoia.claims.verdicts import Value, Verdict
from dianoia.cli.main import main, parser
from dianoia.config import AlgorithmSettings, RLStage
from dianoia.config.reward_parts import FunctionSettings
from dianoia.datasets.pairs import LeftOut
from dianoia.datasets.response_verdicts import Unjudged
from dianoia.datasets.selection import Reason
from dianoia.judge.functions import FunctionPart, load_function
from dianoia.judge.reward_part import ScoringState
from dianoia.metrics.definitions import METRICS, defined
from dianoia.recipe.graph import Recipe
from dianoia.recipe.load import KINDS, load_recipe
from dianoia.text.parsing import Fault
from dianoia.text.template import TEMPLATES

HEADINGS = ["Usage", "Logged metrics", "Implementation details", "Reading the curves", "Resuming"]


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[str, str]:
    """Text of every page by its path under the repository."""
    paths = [
        *root.glob("*.md"),
        *root.glob("docs/**/*.md"),
        *root.glob("log/*.md"),
        *root.glob("examples/**/*.md"),
    ]
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(paths)
    }


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


# What is generated -------------------------------------------------------------------------------


def test_generated_pages_are_fresh(root: Path) -> None:
    command = [sys.executable, "scripts/reference.py", "--check"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_key_and_metric_has_a_meaning(pages: Mapping[str, str]) -> None:
    for name in ("keys", "metrics"):
        rows = re.findall(
            r"^\| `([^`]+)` .*\| ([^|]*) \|$", pages[f"docs/reference/{name}.md"], re.MULTILINE
        )
        assert len(rows) > 100
        assert not [key for key, meaning in rows if len(meaning.strip()) < 3]


def test_placeholders_of_metrics_stand_for_names() -> None:
    assert defined("rl", "rewards/my_function/mean") and defined("rl", "heldout/cons@16")
    assert defined("rl", "math/timed_out") and defined("rl", "heldout/rewards/helpful/mean")
    assert not defined("rl", "rewards/mean") and not defined("sft", "reward")
    names = [metric.name for section in METRICS["rl"] for metric in section.metrics]
    assert len(names) == len(set(names))


# What is written by hand -------------------------------------------------------------------------


def test_every_kind_of_stage_has_a_page(pages: Mapping[str, str]) -> None:
    for stage_kind in KINDS:
        headings = re.findall(r"^## (.+)$", pages[f"docs/{stage_kind}.md"], re.MULTILINE)
        assert headings == HEADINGS, f"docs/{stage_kind}.md"


@pytest.mark.parametrize(
    ("names", "page"),
    [
        (Reason, "sample"), (Unjudged, "preferences"), (LeftOut, "reward_model"), (Fault, "run-directory"),
        (get_args(AlgorithmSettings.model_fields["name"].annotation), "algorithms"), (TEMPLATES, "recipes"),
    ],
)  # fmt: skip
def test_every_name_that_a_user_meets_is_explained(
    names: type[StrEnum], page: str, pages: Mapping[str, str]
) -> None:
    text = pages[f"docs/{page}.md"]
    assert not [str(name) for name in names if f"`{name}`" not in text], page


def test_every_rule_stands_as_it_is_judged(pages: Mapping[str, str]) -> None:
    page = pages["docs/claims.md"]
    for rule in RULES:
        parts = ", ".join(f"`{part}`" for part in rule.parts)
        row = f"| {rule.number} | {rule.title} | {rule.rule} | {parts} | {rule.paper} |"
        assert row in page.splitlines(), f"docs/claims.md: claim {rule.number}"
    for name in (*Verdict.__dataclass_fields__, *Value.__dataclass_fields__, *UNITS):
        assert f"`{name}`" in page, name


def test_every_command_is_in_the_readme(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    first_cells = re.findall(r"^\| (`dianoia [^|]*)", text, re.MULTILINE)
    names = {name for cell in first_cells for name in re.findall(r"`(dianoia \w+)", cell)}
    assert {f"dianoia {name}" for name in commands.choices} <= names


# TOML and commands -------------------------------------------------------------------------------


def _laid_over(table: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in extra.items():
        old = table.get(key)
        table[key] = _laid_over(old, value) if isinstance(old, dict) else value
    return table


def test_every_toml_block_is_a_recipe_or_fits_into_one(
    root: Path, tmp_path: Path, pages: Mapping[str, str]
) -> None:
    blocks = [block for text in pages.values() for block in _blocks(text, "toml")]
    whole = 0
    for block in blocks:
        table = tomllib.loads(block)
        if "name" in table:
            file = tmp_path / "recipe.toml"
            file.write_text(block, encoding="utf-8")
            load_recipe(file)
            whole += 1
        else:
            recipe = tomllib.loads((root / "recipes/miniature-zero.toml").read_text("utf-8"))
            assert set(table.get("stages", {})) <= set(recipe["stages"]), block
            Recipe.model_validate(_laid_over(recipe, table))
    assert len(blocks) > whole > 1


def test_the_settings_of_r1_zero(tmp_path: Path, pages: Mapping[str, str]) -> None:
    (block,) = [b for b in _blocks(pages["docs/algorithms.md"], "toml") if 'name = "r1-zero"' in b]
    file = tmp_path / "r1-zero.toml"
    file.write_text(block, encoding="utf-8")
    stage = load_recipe(file).stages["zero"]
    assert isinstance(stage, RLStage)
    assert (stage.rollout_size, stage.rollout_count, stage.steps) == (8192, 650, 10_400)
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


# Reward functions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["docs/rewards.md", "docs/extend/reward.md"])
def test_reward_functions_of_a_page_run_as_they_are_named(
    page: str, pages: Mapping[str, str], tmp_path: Path
) -> None:
    """Each function of a Python block is called, and is the one that the page's first recipe names."""
    (code,) = _blocks(pages[page], "python")
    stages = tomllib.loads(_blocks(pages[page], "toml")[0])["stages"]
    (settings,) = stages["zero"]["rewards"]["functions"]
    file, _, name = settings["path"].partition(":")
    (tmp_path / file).write_text(code, encoding="utf-8")
    settings = FunctionSettings(**settings | {"path": f"{tmp_path / file}:{name}"})
    problem = Problem("a", "2+3?", "5", "number", columns={"answer": "5"})
    rollouts = [
        Rollout(problem, n, (1,), Completion((4,) * 50, (0.0,) * 50, True), text, RolloutStatus.FINISHED)
        for n, text in enumerate(["5", "5" * 500])
    ]  # fmt: skip
    values = FunctionPart(load_function(settings)).score(rollouts, ScoringState(0, 1))
    assert values == {"docs/rewards.md": [-0.5, -0.5], "docs/extend/reward.md": [1.0, 0.0]}[page]


# Links -------------------------------------------------------------------------------------------


def _links(page: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]


def _anchors(page: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_link_leads_somewhere(root: Path, pages: Mapping[str, str]) -> None:
    broken = []
    for name, text in pages.items():
        for link in _links(text):
            path, _, anchor = link.partition("#")
            target = (root / name).parent / path if path else root / name
            if not target.exists():
                broken.append(f"{name}: {link}")
            elif (
                anchor
                and target.suffix == ".md"
                and anchor not in _anchors(target.read_text(encoding="utf-8"))
            ):
                broken.append(f"{name}: {link} (no such heading)")
    assert not broken


def test_the_index_names_every_page(pages: Mapping[str, str]) -> None:
    linked = {f"docs/{link.partition('#')[0]}" for link in _links(pages["docs/index.md"])}
    assert {
        name for name in pages if name.startswith("docs/") and name != "docs/index.md"
    } <= linked
