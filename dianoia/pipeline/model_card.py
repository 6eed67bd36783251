"""Writes the model card of every checkpoint of a run: `README.md`, as the Hugging Face hub shows it. No torch.

In: a recipe, its run directory and the content of results.json. Out: per finished stage with a checkpoint what it was trained
from and how, its evaluation with intervals, and how to use it. A checkpoint is finished before it is evaluated, so cards are
written again whenever results.json is; the list of checksums in the folder does not cover them. A card whose last line was
removed is the user's own, and stays.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData, metadata_load, try_to_load_from_cache

from dianoia.base.files import read_table, write_text
from dianoia.bases import model_folder
from dianoia.config import EvaluateStage, PretrainStage, RewardModelStage, RLStage
from dianoia.recipe.graph import MODEL_KINDS, Recipe, Stage, result_names, sources
from dianoia.recipe.resume.fingerprint import flatten
from dianoia.storage.run_directory import RunDirectory
from dianoia.text.template import DEFAULT, Template, template_of

CARD = "README.md"
_LAST_LINE = "*Written by Dianoia, again whenever the run's results change. Without this line the file stays as it is.*"
_KINDS = {
    "pretrain": "pretraining",
    "sft": "supervised fine-tuning",
    "rl": "reinforcement learning",
    "reward_model": "training of a reward model",
}
_MAX_CHARS = 120
"""Characters of a setting that a card shows."""


def write_cards(recipe: Recipe, run: RunDirectory, results: Mapping[str, Any]) -> None:
    """Bring the card of every checkpoint of a finished stage up to date."""
    for name, stage in recipe.stages.items():
        folder = run.stage(name).checkpoint
        is_done = results["states"].get(name) == "done"
        if not is_done or stage.kind not in {*MODEL_KINDS, "reward_model"}:
            continue
        # Somebody may have moved a checkpoint away, or protected it.
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            continue
        present = _text(folder / CARD)
        card = model_card(name, recipe, run, results)
        if present is None or (present != card and present.rstrip().endswith(_LAST_LINE)):
            write_text(folder / CARD, card)


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None


def model_card(name: str, recipe: Recipe, run: RunDirectory, results: Mapping[str, Any]) -> str:
    """Return the card of a stage's checkpoint."""
    stage = recipe.stages[name]
    base = _base(name, recipe)
    about = read_table(run.about) if run.about.is_file() else {}
    parts = [
        f"---\n{_front_matter(stage, base)}\n---",
        f"# {recipe.name}: {name}",
        _summary(name, stage, recipe, base),
        *_use(stage, recipe),
        *_evaluation(name, recipe, results),
        *_training(name, stage, recipe),
        *_versions(about),
        _LAST_LINE,
    ]
    return "\n\n".join(parts) + "\n"


# What the model is -------------------------------------------------------------------------------


def _base(name: str, recipe: Recipe) -> str | None:
    """Return the model at the beginning of the chain of starts; None if the run has trained it from scratch."""
    stage: Stage = recipe.stages[name]
    while not isinstance(stage, PretrainStage):
        source = sources(stage)[0]
        if source not in recipe.stages:
            return source
        stage = recipe.stages[source]
    return None


def _is_hub_name(source: str) -> bool:
    is_local = source[0] in "./~" or model_folder(source).exists()
    return source.count("/") == 1 and not is_local


def _front_matter(stage: Stage, base: str | None) -> str:
    tags = ["dianoia", "reasoning"]
    if isinstance(stage, RLStage):
        tags.append(stage.algorithm.name.replace("_", "-"))
    tags.append(stage.kind.replace("_", "-"))
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification"
        if isinstance(stage, RewardModelStage)
        else "text-generation",
        tags=tags,
        # The hub takes names of its own models alone.
        base_model=base if base and _is_hub_name(base) else None,
        license=None if base is None else _license(base),
    )
    return data.to_yaml().strip()


def _license(base: str) -> str | None:
    """Return the license in the card of the base model, if that is here."""
    card: object = model_folder(base) / CARD
    if _is_hub_name(base):
        card = try_to_load_from_cache(base, CARD)
    try:
        metadata = metadata_load(Path(card)) if isinstance(card, str | Path) else None
    except Exception:  # noqa: BLE001 - a card of strangers; YAML may raise anything
        return None
    written = (metadata or {}).get("license")
    return written if isinstance(written, str) else None


def _summary(name: str, stage: Stage, recipe: Recipe, base: str | None) -> str:
    method = _KINDS[stage.kind]
    if isinstance(stage, RLStage):
        method += f" ({stage.algorithm.name})"
    start = sources(stage)[0] if not isinstance(stage, PretrainStage) else None
    origin = f" from `{start}`" if start else " from scratch"
    if base and base != start:
        origin += f", which began with `{base}`"
    text = f"Made by the stage `{name}` of the recipe `{recipe.name}` with {method}{origin}."
    return f"{text} {recipe.description}".strip()


def _template(stage: Stage, recipe: Recipe) -> Template:
    name = getattr(stage, "template", None) or DEFAULT
    return template_of(name, recipe.templates)


# Sections ------------------------------------------------------------------------------------------


def _use(stage: Stage, recipe: Recipe) -> Iterator[str]:
    yield "## Use"
    template = _template(stage, recipe)
    if isinstance(stage, RewardModelStage):
        part = (
            "the final part of a response" if stage.scored_part == "answer" else "a whole response"
        )
        yield (
            f"It scores {part} behind its prompt under the template `{template.name}`: name this folder in `preferences` or "
            "`rewards.models` of an `rl` stage. `AutoModelForSequenceClassification` loads it."
        )
        return
    thinks = template.tags is not None and template.tags.open_thought == "<think>"
    parser = " --reasoning-parser deepseek_r1" if thinks else ""
    prompt_form = (
        "the chat template of its tokenizer"
        if template.chat
        else f"the template `{template.name}`, which is its chat template"
    )
    trained = (
        "A base model: it was trained under no template. "
        if isinstance(stage, PretrainStage)
        else ""
    )
    yield f"{trained}Messages are rendered by {prompt_form}. In this folder:"
    yield f"```sh\nvllm serve .{parser}\ntransformers serve .\n```"
    yield (
        "```python\nfrom transformers import pipeline\n\n"
        'answer = pipeline("text-generation", model=".")([{"role": "user", "content": "..."}], max_new_tokens=1024)\n'
        'answer[0]["generated_text"][-1]  # reasoning_content and content\n```'
    )
    yield "In a recipe of Dianoia this folder is a `start`, or one of the `checkpoints` of an `evaluate` stage."


def _evaluation(name: str, recipe: Recipe, results: Mapping[str, Any]) -> Iterator[str]:
    """Yield tables of estimates; a sentence where there are none yet."""
    yield "## Evaluation"
    rows: list[str] = []
    scorer = results["reward_models"].get(name, {})
    rows += [_row("held-out pairs or labels", metric, value) for metric, value in scorer.items()]
    sampling: dict[str, None] = {}
    for stage_name, stage in recipe.stages.items():
        if not isinstance(stage, EvaluateStage) or name not in stage.checkpoints:
            continue
        title = result_names(stage_name, recipe.stages)[name]
        domains = results["evaluations"].get(title, {})
        if not domains or results["states"].get(stage_name) != "done":
            continue
        suffix = title.removeprefix(name)
        new = [
            _row(f"{domain}{suffix}", metric, value)
            for domain, metrics in domains.items()
            for metric, value in metrics.items()
        ]
        rows += [row for row in new if row not in rows]
        sampling[
            f"{stage.samples} samples per problem at temperature {stage.temperature:g}, top-p {stage.top_p:g}"
        ] = None
    if not rows:
        yield "Not evaluated."
        return
    if sampling:
        yield f"On held-out problems, with {'; '.join(sampling)}. Intervals hold 95 %."
    yield "\n".join(
        ["| problems | metric | value | 95 % interval | n |", "|---|---|---|---|---|", *rows]
    )


def _row(problems: str, metric: str, estimate: Mapping[str, Any]) -> str:
    value, low, high = (_number(estimate.get(key)) for key in ("value", "low", "high"))
    return f"| {problems} | {metric} | {value} | {low} to {high} | {estimate.get('n', '')} |"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "unknown"


def _training(name: str, stage: Stage, recipe: Recipe) -> Iterator[str]:
    yield "## Training"
    yield f"Recipe `{recipe.name}`, stage `{name}`, seed {recipe.seed}. Keys that differ from the defaults:"
    settings = flatten(stage.model_dump(mode="json", exclude_defaults=True))
    lines = [f"{key} = {_cut(value)}" for key, value in settings.items()]
    yield "\n".join(["```", *lines, "```"])


def _cut(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    # Backquotes would end the block.
    text = text.replace("`", "'")
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 3]}..."


def _versions(about: Mapping[str, Any]) -> Iterator[str]:
    libraries = about.get("libraries")
    if not isinstance(libraries, dict):
        return
    names = {"Dianoia": about.get("dianoia"), "Python": about.get("python"), **libraries}
    yield "## Versions"
    yield ", ".join(f"{library} {version}" for library, version in names.items())
