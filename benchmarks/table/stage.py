"""A real `rl` stage, opened so that it can be run one rollout at a time.

The measurement therefore covers everything that a user waits for: tokenizing prompts, sampling, decoding and scoring
completions, advantages, the update, new weights for the sampler, and the row of metrics.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table.cases import Case, prompts
from benchmarks.table.folders import model_folder
from dianoia.bases import shipped_model
from dianoia.config import RLStage
from dianoia.pipeline.stage import settle
from dianoia.recipe import load_recipe
from dianoia.stages.context import StageContext
from dianoia.stages.rl import ReinforcementLearning
from dianoia.storage.run_directory import StageDirectory

NEVER = 1_000_000
RATE = 1e-6
"""Learning rate of both sides, so small that the model hardly changes while it is measured."""
RECIPE = """
name = "benchmark"
threads = {threads}
[data.words]
path = "{problems}"
heldout_share = 0.0
verifier = "exact"
language = "en"
[stages.zero]
kind = "rl"
start = "{model}"
problems = "words"
template = "plain"
steps = {never}
group_size = {group}
problems_per_rollout = {prompts}
checkpoint_every = {never}
autocast = "{autocast}"
[stages.zero.sampling]
max_tokens = {limit}
dtype = "{dtype}"
[stages.zero.rewards]
accuracy = 0.0
format = 0.0
[[stages.zero.rewards.functions]]
path = "benchmarks.table.reward.even_words"
[stages.zero.algorithm]
kl_coefficient = {kl}
reference_every = {never}
clip_low = 0.2
clip_high = 0.2
std_epsilon = 1e-4
[stages.zero.optimizer]
learning_rate = {rate}
[stages.zero.progress]
problems = 0
rollouts_every = {never}
"""


class Silent:
    """A progress display that shows nothing."""

    def set_total(self, total: int) -> None:
        """Do nothing."""

    def update(self, done: int, metrics: Mapping[str, float | None]) -> None:
        """Do nothing."""

    def print_line(self, text: str) -> None:
        """Print to the log."""
        print(text, flush=True)


@dataclass
class Opened:
    """A stage and its directory."""

    training: ReinforcementLearning
    directory: StageDirectory

    def last(self) -> dict[str, float]:
        """Return the last row of its metrics."""
        lines = self.directory.metrics.read_text(encoding="utf-8").splitlines()
        row: dict[str, float] = json.loads(lines[-1])
        return row


def step_recipe(size: Case, folder: Path, threads: int, dtype: str = "float32") -> Path:
    """Write the recipe of a case, its problems and its model; return the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    problems, recipe = folder / "problems.jsonl", folder / "recipe.toml"
    rows = [json.dumps({"prompt": text, "answer": "w1"}) for text in prompts(size, 512)]
    problems.write_text("\n".join(rows) + "\n", encoding="utf-8")
    text = RECIPE.format(
        threads=threads, problems=problems.resolve().as_posix(), never=NEVER, rate=RATE,
        model=model_folder(size, folder.parent).resolve().as_posix(), group=size.group,
        prompts=size.prompts, limit=size.limit, kl=size.kl, dtype=dtype,
        autocast="bfloat16" if dtype == "bfloat16" else "none",
    )  # fmt: skip
    recipe.write_text(text, encoding="utf-8")
    return recipe


def opened(recipe_file: Path, folder: Path, name: str = "zero", **changes: object) -> Opened:
    """Open a stage of a recipe at its start; `changes` replace values of its table."""
    recipe = load_recipe(recipe_file)
    stage = recipe.stages[name]
    assert isinstance(stage, RLStage), "a stage with rollouts"
    # Validated again, so that changes are refused as they would be in a recipe.
    stage = RLStage.model_validate(stage.model_dump() | changes)
    directory = StageDirectory(folder / "stage")
    shutil.rmtree(directory.path, ignore_errors=True)  # results of an earlier measurement
    directory.path.mkdir(parents=True, exist_ok=True)
    device = settle(recipe.threads, recipe.sandbox)
    context = StageContext(name, directory, recipe.seed, device, _resolved, Silent())
    training = ReinforcementLearning(stage, context)
    training.resume()
    return Opened(training, directory)


def _resolved(name: str) -> str | Path:
    return shipped_model(name) or Path(name)
