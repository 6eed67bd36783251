"""The recipe that measures models on targets: one `evaluate` stage per target and model, so that each result is kept by itself.

In: models and targets as people name them, and options. Out: an `Evaluation`: the text of the recipe, and which stage measures
which model on which target. The command runs it as any other recipe, so that a command and a stage cannot differ. A model that
is added later leaves the stages of the others as they are. Reads tokenizers, no weights.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem, Turn
from dianoia.bases import SHIPPED
from dianoia.config import TemplateSettings
from dianoia.config.template_table import QUESTION
from dianoia.evaluation.targets import Target, file_word
from dianoia.inference.checkpoints import Checkpoint, find_checkpoint
from dianoia.inference.loaded_model import choose_template
from dianoia.models.hub_config import cache_alone_if_unreachable, model_config, text_config
from dianoia.models.loading import load_tokenizer
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATE_RECORD, TEMPLATES, Template

_LONGEST_NAME = 80
"""Characters of a default folder's name; a longer one is cut and ends in a hash of the whole."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may set; None: as the protocol of each benchmark has it."""

    samples: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    template: str | None = None
    """None: see `inference.loaded_model.choose_template`."""
    slots: int = 256
    dtype: str = "float32"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is measured, with all that its prompts need."""

    typed: str
    checkpoint: Checkpoint
    tokenizer: Any = field(repr=False)
    template: Template
    positions: int | None
    """Tokens of prompt and response together; None if its configuration does not say."""

    @property
    def title(self) -> str:
        """A short name: of a checkpoint its run and its name in it."""
        run, name = self.checkpoint.run, self.checkpoint.name
        return name if run is None else f"{run.resolve().name}:{name}"

    @property
    def source(self) -> str:
        """Its name in a recipe: of a shipped base, else a folder or hub name."""
        name = self.checkpoint.name
        return name if name in SHIPPED and self.checkpoint.stage is None else self.checkpoint.source


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model on one target."""

    stage: str
    """Name of its stage in the recipe."""
    subject: Subject
    target: Target
    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    wording: str
    problems: int
    lowered: bool
    """True if the model has no room for the protocol's `max_tokens`."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A recipe, and what its stages measure."""

    recipe: str
    """Its text in TOML."""
    measurements: tuple[Measurement, ...]
    """By target, then by model, in the order in which they were typed."""
    notes: tuple[str, ...] = ()


def find_subjects(models: Sequence[str], template: str | None = None) -> list[Subject]:
    """Return the models that were typed, with tokenizers and templates.

    Raises ModelError or ConfigError for one that there is not, ConfigError for one that is named twice.
    """
    subjects: list[Subject] = []
    for typed in models:
        subject = _subject(typed, template)
        # By what is loaded and not as typed: a run and its last checkpoint are one folder.
        if any(subject.source == other.source for other in subjects):
            raise ConfigError(f"{typed}: this model is named twice; name each once")
        subjects.append(subject)
    return subjects


def make_evaluation(
    subjects: Sequence[Subject], targets: Sequence[Target], options: Options
) -> Evaluation:
    """Return the recipe that measures the models on the targets.

    Raises ConfigError for options that cannot be, and for a model without room for a prompt.
    """
    # Read once and before any stage: a file that cannot be read is told now, and not after the first model.
    problems = {target.name: target.read() for target in targets}
    notes = [note for target in targets if (note := target.note(len(problems[target.name])))]
    measurements: list[Measurement] = []
    for target in targets:
        for subject in subjects:
            # Stages are named after what they measure, so that a repeated command finds the results in their folders.
            used_names = {measurement.stage for measurement in measurements}
            stage = _stage_name(target, subject, used_names)
            measurements.append(
                _measurement(stage, subject, target, problems[target.name], options)
            )
    return Evaluation(_recipe_text(measurements, options), tuple(measurements), tuple(notes))


def default_folder(subjects: Sequence[Subject], targets: Sequence[Target]) -> Path:
    """Return the run directory of an evaluation whose folder nobody has named: the same for the same models and targets."""
    names = [file_word(subject.title) for subject in subjects]
    name = f"evaluate-{'-'.join(names)}-on-{'-'.join(file_word(t.name) for t in targets)}"
    if len(name) > _LONGEST_NAME:
        # Of the whole name, since two that are too long may begin alike.
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[:_LONGEST_NAME]}-{digest}"
    return Path("runs") / name


def _subject(typed: str, template_name: str | None) -> Subject:
    checkpoint = find_checkpoint(typed)
    source = checkpoint.source
    config = model_config(typed, source)
    with cache_alone_if_unreachable():
        tokenizer = load_tokenizer(source)
    # The template is chosen as for `ask` and `serve`, from the config alone: weights are not loaded to plan.
    record = PreTrainedConfig.from_dict({TEMPLATE_RECORD: config.get(TEMPLATE_RECORD)})
    template = choose_template(checkpoint, record, tokenizer, template_name)
    positions: int | None = text_config(config).get("max_position_embeddings")
    return Subject(typed, checkpoint, tokenizer, template, positions)


def _stage_name(target: Target, subject: Subject, used_names: set[str]) -> str:
    name = f"{file_word(target.name)}--{file_word(subject.checkpoint.name)}"
    numbered = (f"{name}-{number}" for number in range(2, len(used_names) + 3))
    # Also on a disk that does not tell capitals apart.
    used = {other.casefold() for other in used_names}
    return next(stage for stage in (name, *numbered) if stage.casefold() not in used)


def _measurement(
    stage: str, subject: Subject, target: Target, problems: Sequence[Problem], options: Options
) -> Measurement:
    protocol = target.protocol
    temperature = protocol.temperature if options.temperature is None else options.temperature
    # Greedy samples are all the same.
    samples = options.samples or (1 if temperature == 0 else protocol.samples)
    # A template with answer tags says itself how to answer; an instruction to box the answer would contradict it.
    wording = protocol.wording if subject.template.final == "summary" else QUESTION
    # Measured on all prompts, so that no sample of a target has less room than another.
    room = _room(subject, target, problems, wording)
    token_limit = options.max_tokens or protocol.max_tokens
    if room is not None and options.max_tokens is not None and options.max_tokens > room:
        raise ConfigError(
            f"--max-tokens {options.max_tokens}: the model {subject.typed!r} has {subject.positions:,} positions for prompt "
            f"and response together, which leaves {room:,} behind the longest prompt of {target.name}; lower it"
        )
    max_tokens = token_limit if room is None else min(token_limit, room)
    return Measurement(
        stage,
        subject,
        target,
        samples,
        temperature,
        protocol.top_p if options.top_p is None else options.top_p,
        max_tokens,
        wording,
        len(problems),
        max_tokens < token_limit,
    )


def _room(
    subject: Subject, target: Target, problems: Sequence[Problem], wording: str
) -> int | None:
    """Return the tokens that a model has left behind the longest prompt; None if its configuration names no limit."""
    if subject.positions is None:
        return None
    prompts = Prompts(subject.tokenizer, subject.template)
    messages = [(*p.context, Turn("user", wording.replace(QUESTION, p.question))) for p in problems]
    longest = max(map(len, prompts(messages, [f"problem {p.id!r}" for p in problems])), default=0)
    room = subject.positions - longest
    if room < 1:
        raise ConfigError(
            f"--on {target.typed}: its longest prompt has {longest:,} tokens, and the model {subject.typed!r} has "
            f"{subject.positions:,} positions for prompt and response together; leave one of them out"
        )
    return room


# The text of the recipe ------------------------------------------------------------------------------


def _recipe_text(measurements: Sequence[Measurement], options: Options) -> str:
    """Return the recipe in TOML, which people may copy tables of into their own."""
    lines = [
        "# Written by `dianoia evaluate`; `dianoia run` runs it too.",
        'name = "evaluate"',
        'description = "Models side by side"',
        f"seed = {options.seed}",
    ]
    tables, names = _templates(measurements)
    for name, settings in tables.items():
        lines += ["", f"[templates.{_toml(name)}]"]
        lines += _pairs(settings.model_dump(mode="json", exclude_defaults=True))
    for measurement in measurements:
        lines += [
            "",
            f"[stages.{_toml(measurement.stage)}]",
            *_pairs(_stage(measurement, names, options)),
        ]
    return "\n".join(lines) + "\n"


def _stage(
    measurement: Measurement, templates: Mapping[str, str], options: Options
) -> dict[str, Any]:
    problems = measurement.target.problems
    # pass@k for the powers below k; `evaluate` adds k itself.
    samples = measurement.samples
    powers = [2**n for n in range(1, samples.bit_length()) if 2**n < samples]
    return {
        "kind": "evaluate",
        "checkpoints": [measurement.subject.source],
        "problems": problems
        if isinstance(problems, str)
        else problems.model_dump(mode="json", exclude_defaults=True),
        "whole_file": measurement.target.whole_file,
        "limit": measurement.target.limit,
        "samples": samples,
        "pass_at": powers,
        "template": templates[measurement.subject.typed],
        "wording": measurement.wording,
        "max_tokens": measurement.max_tokens,
        "temperature": measurement.temperature,
        "top_p": measurement.top_p,
        "slots": options.slots,
        "dtype": options.dtype,
        # Differences of two models need every problem.
        "keep": measurement.problems,
    }


def _templates(
    measurements: Sequence[Measurement],
) -> tuple[dict[str, TemplateSettings], dict[str, str]]:
    """Return the tables of templates that are not built in, and the name of each model's template."""
    tables: dict[str, TemplateSettings] = {}
    names: dict[str, str] = {}
    for subject in (measurement.subject for measurement in measurements):
        template = subject.template
        name = template.name
        if TEMPLATES.get(name) != template:
            settings = template.settings()
            # One name means one template.
            if name in TEMPLATES or tables.get(name, settings) != settings:
                name = f"{name} of {subject.typed}"
            tables[name] = settings
        names[subject.typed] = name
    return tables, names


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]


def _toml(value: Any) -> str:
    """Return a value in TOML, on one line."""
    if isinstance(value, Mapping):
        pairs = (
            f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items() if inner is not None
        )
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        # A JSON string is one of TOML too, but for the character DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
