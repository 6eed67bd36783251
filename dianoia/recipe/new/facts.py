"""What a new recipe is made for: the request as typed, the model's sizes, the problems and their verifiers, the machine.

In: names. Out: facts. What cannot work is refused here, before anything is chosen: a model that does not exist, problems that
cannot be read, gold answers that no verifier accepts.
"""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Problem
from dianoia.bases import SHIPPED, model_folder
from dianoia.config import FileSettings
from dianoia.hardware.machine import Machine, other_machine, this_machine
from dianoia.models.folder_check import has_chat_template
from dianoia.models.hub_config import KNOWN, model_config, text_config, unavailable_reason
from dianoia.recipe.plan.model_sizes import size_from_config
from dianoia.tasks.catalog import is_built_in, problem_source, training_sample
from dianoia.tasks.conversation_files import read_conversations
from dianoia.tasks.data.file_problems import FileProblems
from dianoia.tasks.file_formats import ending_of
from dianoia.tasks.gold_check import Graded, Outcome, check_files, check_set
from dianoia.text.template import checkpoint_template

GOALS = ("zero", "lora", "r1", "distill")
_GRADED = 256
"""Rows whose gold answers are graded."""
MANY_SAMPLES = 200
"""Samples of which a twentieth may be held out for an evaluation loss."""
_COUNTED = 100_000
"""Held-out problems that are counted."""
_CHARACTERS_PER_TOKEN = 3
"""Bytes of text per token, fewer than most tokenizers reach."""
_PROMPT_TOKENS = 96
"""Tokens of a template around a question."""
_INSTRUCT = re.compile(r"(?i)instruct|chat|[-_]it\b|[-_](?:sft|dpo|rlhf)\b")


@dataclass(frozen=True, slots=True)
class Request:
    """What `dianoia new` was asked for, as typed."""

    goal: str
    """One of GOALS."""
    model: str
    problems: str
    reward: str | None = None
    """`FILE.py:FUNCTION`."""
    test: str | None = None
    """Problems to evaluate on; None: those that are held out of `problems`."""
    teacher: str | None = None
    """Of `distill`: the model whose samples are learnt, or a file of samples."""
    template: str | None = None
    name: str | None = None
    gpu: str | None = None
    """`--for`: the GPU of another machine than this one."""

    def check(self) -> None:
        """Raise ConfigError for an unknown goal, and for options that the goal does not read."""
        if self.goal not in GOALS:
            raise ConfigError(
                f"{self.goal!r} is no goal{nearest(self.goal, GOALS)}; zero is reinforcement learning alone, lora the same "
                "with low-rank adapters, r1 the whole of DeepSeek-R1, distill learning a teacher's samples"
            )
        if self.goal == "distill" and self.teacher is None:
            raise ConfigError(
                "distill needs --teacher: the model whose samples are learnt (a folder, a hub name), or a file of samples "
                "with the columns `prompt` and `completion`, or `messages`"
            )
        if self.goal != "distill" and self.teacher is not None:
            raise ConfigError(
                f"--teacher {self.teacher}: {self.goal} has no teacher; use the goal distill"
            )
        if self.goal == "distill" and self.reward is not None:
            raise ConfigError(
                f"--reward {self.reward}: distill learns samples and has no reward; use zero, lora or r1"
            )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model."""

    source: str
    """As a recipe names it."""
    parameters: int
    positions: int | None
    """Most tokens of prompt and response together."""
    template: str | None
    """Name of the template that it was trained under, by its own record."""
    is_instruct: bool
    """True for a model that was trained on its chat template, as far as its name and files tell."""
    unavailable: str | None = None
    """Why it is not on this machine; its sizes are known all the same."""

    @property
    def is_tiny(self) -> bool:
        """True for models of the miniature's size."""
        return self.parameters < 10e6


def model_facts(source: str, option: str = "--model") -> ModelFacts:
    """Return the facts of a shipped model, a folder or a hub name.

    Raises:
        ModelError: there is no such model.
    """
    config = model_config(option, source)
    # Not an error: a recipe may be written on another machine than the one that runs it.
    reason = unavailable_reason(source)
    if reason is not None and source not in KNOWN:
        # A configuration in the cache without weights: sizes are known, and the run fetches the rest.
        reason = f"{reason}; its configuration is in the cache"
    recorded = checkpoint_template(source, config)
    return ModelFacts(
        source=source,
        parameters=size_from_config(text_config(config), source).parameters,
        positions=text_config(config).get("max_position_embeddings"),
        template=None if recorded is None else recorded.name,
        # A record of Dianoia's own says more than the name does.
        is_instruct=recorded is None and _is_instruct(source),
        unavailable=reason,
    )


def _is_instruct(source: str) -> bool:
    if _INSTRUCT.search(source):
        return True
    # Bases often come with a chat template too, so that a folder whose name says nothing is a guess; a trial tells more.
    folder = model_folder(source)
    is_plain = source in SHIPPED or "base" in source.lower() or not folder.is_dir()
    return not is_plain and has_chat_template(folder)


@dataclass(frozen=True, slots=True)
class ProblemFacts:
    """Problems to train on."""

    name: str
    train: int | None
    """Problems for training; None for a set without end, or one that is read during the run."""
    heldout: int
    """Held-out problems, as far as they were counted."""
    verifiers: tuple[str, ...]
    prompt_tokens: int
    """Tokens of the longest prompt, estimated from above."""
    sample: tuple[Problem, ...]
    """The first training problems."""
    warning: str = ""
    """A sentence on gold answers that are not right by their own verifier."""


def problem_facts(
    problems: str, option: str = "--problems", all_heldout: bool = False
) -> ProblemFacts:
    """Return the facts of a built-in set, a file or a hub name with a ready mapping.

    Raises:
        ConfigError, ProblemFileError: there is no such set, a row cannot be used, or no gold answer is right by its verifier.
    """
    source = problem_source(problems, all_heldout, key=option)
    heldout = source.heldout(_COUNTED if not is_built_in(problems) else 512)
    training = list(heldout) if all_heldout else training_sample(source)
    # Bytes, not characters: one Chinese character may take several tokens.
    longest = max((len(problem.question.encode()) for problem in training), default=0)
    return ProblemFacts(
        name=problems,
        train=len(training) if isinstance(source, FileProblems) else None,
        heldout=len(heldout),
        verifiers=tuple(sorted({problem.verifier for problem in training})),
        prompt_tokens=longest // _CHARACTERS_PER_TOKEN + _PROMPT_TOKENS,
        sample=tuple(training[:64]),
        warning=_gold_warning(problems, option),
    )


def _gold_warning(problems: str, option: str) -> str:
    """Return a sentence on gold answers that are not right; empty if all are. Raises ConfigError if none is."""
    rows = (
        check_set(problems) if is_built_in(problems) else check_files(FileSettings(path=problems))
    )
    # The first rows only: a large file would take minutes, and a wrong column shows at once.
    graded = list(islice((row for row in rows if row.outcome is not Outcome.LEFT_OUT), _GRADED))
    bad = [row for row in graded if row.outcome in (Outcome.WRONG, Outcome.UNREADABLE)]
    if not bad:
        return ""
    if len(bad) == len(graded):
        raise ConfigError(_no_verifier(problems, option, bad))
    return (
        f"{len(bad)} of the first {len(graded)} gold answers are not right by their own verifier; dianoia tasks check {problems} "
        "lists them"
    )


def _no_verifier(problems: str, option: str, bad: list[Graded]) -> str:
    return (
        f"{option} {problems}: no verifier accepts any of the first {len(bad)} gold answers, so that every answer would be wrong "
        f"and nothing could be learnt. The first: {bad[0].message}. Name a verifier that fits in the column `verifier` (dianoia "
        "tasks lists them), or write answers that it reads"
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the numbers of a recipe depend on."""

    request: Request
    model: ModelFacts
    problems: ProblemFacts
    test: ProblemFacts | None
    machine: Machine
    teacher: ModelFacts | None = None
    """None also where the teacher is a file of samples."""
    samples: int | None = None
    """Samples in the teacher's file, counted up to MANY_SAMPLES; None without one."""


def gather(request: Request) -> Facts:
    """Look at model, problems and machine.

    Raises:
        ConfigError, ModelError, ProblemFileError: one of them cannot be used; the message names the option.
    """
    request.check()
    machine = this_machine(0) if request.gpu is None else other_machine(request.gpu)
    teacher = request.teacher
    is_file = teacher is not None and bool(ending_of(Path(teacher)))
    if is_file and teacher is not None and not Path(teacher).expanduser().is_file():
        raise ConfigError(
            f"--teacher {teacher}: there is no such file; give a file of samples, or a model"
        )
    return Facts(
        request=request,
        model=model_facts(request.model),
        problems=problem_facts(request.problems),
        test=None if request.test is None else problem_facts(request.test, "--test", True),
        machine=machine,
        teacher=None if teacher is None or is_file else model_facts(teacher, "--teacher"),
        samples=_count_samples(teacher) if teacher is not None and is_file else None,
    )


def _count_samples(file: str) -> int:
    """Return the samples of a file, at most MANY_SAMPLES. Raises ProblemFileError for a row that cannot be learnt."""
    return sum(1 for _ in islice(read_conversations(Path(file).expanduser()), MANY_SAMPLES))
