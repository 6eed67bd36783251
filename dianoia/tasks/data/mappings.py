"""Meaning of the columns of a set: a recipe's own `columns`, or a ready mapping of a public set.

In: a `Row` of a file. Out: its columns under Dianoia's names, or None for a row that is no problem (a proof without an
answer, for example). Columns that a mapping does not rename keep their names, for reward functions that read them; columns
with many megabytes of others' solutions are dropped. `reading_of` makes the `Defaults` of a `[data]` table from it.
"""

from collections.abc import Callable, Collection, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError, ProblemFileError, nearest
from dianoia.config import FileSettings
from dianoia.tasks.data import answer_sets
from dianoia.tasks.data.code_sets import read_humaneval, read_livecodebench, read_mbpp
from dianoia.tasks.file_formats import Columns
from dianoia.tasks.problem_files import QUESTION_COLUMNS, Defaults
from dianoia.tasks.table_files import Row, read_rows

Read = Callable[[Row], Columns | None]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A ready mapping of a public set."""

    name: str
    about: str
    read: Read
    verifiers: tuple[str, ...]
    """Verifiers that can grade the rows; the first one that exists is used."""
    domain: str = "math"
    hub: Table[str, Table[str, str]] = field(default_factory=dict, hash=False)
    """Hub names of the set, with the usual configuration and split of each."""
    detect: Callable[[Row], bool] | None = None
    """Tells a row by columns or an answer that no other layout has, and that could not be read without the mapping."""


# In order of preference: `number` reads fewer answers than `math`.
_MATH = ("math", "number")
DETECT_ROWS = 8
"""First rows of a file that must all have the columns of a set, so that its mapping is used without being named."""
_CHOICE = ("choice", "exact")

# Hub names have a configuration or split here only where `datasets` cannot choose one, or where the set is a test set
# without a split `train`.
MAPPINGS: Table[str, Mapping] = {
    mapping.name: mapping
    for mapping in (
        Mapping(
            "gsm8k",
            "grade school word problems; what follows #### is the answer",
            answer_sets.read_gsm8k,
            _MATH,
            hub={"openai/gsm8k": {"config": "main"}},
            detect=answer_sets.is_gsm8k,
        ),
        Mapping(
            "math",
            "competition problems; the answer, or else the last box of the solution",
            answer_sets.read_math,
            _MATH,
            hub={
                "HuggingFaceH4/MATH-500": {"split": "test"},
                "EleutherAI/hendrycks_math": {},
            },
        ),
        Mapping(
            "dapo-math-17k",
            "raw or processed; the raw form's instructions around the problem are taken off",
            answer_sets.read_dapo,
            _MATH,
            hub={
                "BytedTsinghua-SIA/DAPO-Math-17k": {},
                "open-r1/DAPO-Math-17k-Processed": {"config": "all"},
            },
            detect=answer_sets.is_raw_dapo,
        ),
        Mapping(
            # After `dapo-math-17k`, whose raw rows have the same columns.
            "verl",
            "files prepared for verl: messages, reward_model.ground_truth (an answer, or tests of a program)",
            answer_sets.read_verl,
            _MATH,
            detect=answer_sets.is_verl,
        ),
        Mapping(
            "openr1-math-220k",
            "problems with answers; proofs are left out, generations dropped",
            answer_sets.read_openr1,
            _MATH,
            hub={"open-r1/OpenR1-Math-220k": {"config": "default"}},
            detect=answer_sets.is_openr1,
        ),
        Mapping(
            "deepmath-103k",
            "problems with final answers; the three solutions of R1 are dropped",
            answer_sets.read_deepmath,
            _MATH,
            hub={"zwhe99/DeepMath-103K": {}, "trl-lib/DeepMath-103K": {}},
        ),
        Mapping(
            "aime",
            "whole numbers from 0 to 999; the answer, or else the last box of the solution",
            answer_sets.read_aime,
            _MATH,
            hub={
                "HuggingFaceH4/aime_2024": {},
                "Maxwell-Jia/AIME_2024": {},
                "AI-MO/aimo-validation-aime": {},
                "math-ai/aime24": {"split": "test"},
                "math-ai/aime25": {"split": "test"},
                "yentinglin/aime_2025": {},
            },
        ),
        Mapping(
            "gpqa",
            "four options, in an order that a hash of the question decides",
            answer_sets.read_gpqa,
            _CHOICE,
            domain="stem",
            hub={"Idavidrein/gpqa": {"config": "gpqa_diamond"}},
        ),
        Mapping(
            "mmlu-pro",
            "up to ten options, in the order of the set",
            answer_sets.read_mmlu_pro,
            _CHOICE,
            domain="stem",
            hub={"TIGER-Lab/MMLU-Pro": {"split": "test"}},
        ),
        Mapping(
            # No hub name: the set is published with a loader script, and none is run: its files are named by path.
            "livecodebench",
            "programs tested by standard input and output or by calls; private tests included",
            read_livecodebench,
            ("code",),
            domain="code",
        ),
        Mapping(
            "humaneval",
            "functions to complete, tested by calls",
            read_humaneval,
            ("code",),
            domain="code",
            hub={
                "openai/openai_humaneval": {"split": "test"},
                "openai_humaneval": {"split": "test"},
            },
        ),
        Mapping(
            "mbpp",
            "short functions, tested by asserts; the full set or the sanitized one",
            read_mbpp,
            ("code",),
            domain="code",
            hub={
                "google-research-datasets/mbpp": {"config": "full"},
                "mbpp": {"config": "full"},
            },
        ),
    )
}
"""Ready mappings by name."""

HUB: Table[str, Mapping] = {name: mapping for mapping in MAPPINGS.values() for name in mapping.hub}
"""Mappings by hub name."""


def mapping_of(data: FileSettings, files: Sequence[Path] = ()) -> Mapping | None:
    """Return the ready mapping of a table: the one that it names, that of its hub name, or that of its files' columns.

    Raises ConfigError for an unknown name.
    """
    # The recipe's own columns replace the mapping of a hub name.
    if data.mapping is None:
        return None if data.columns else HUB.get(data.path) or _detected(files)
    if data.mapping not in MAPPINGS:
        raise ConfigError(
            f"mapping = {data.mapping!r}: there is no such mapping{nearest(data.mapping, MAPPINGS)}; there are "
            f'{", ".join(MAPPINGS)}. For other columns write columns = {{ question = "...", answer = "..." }}'
        )
    return MAPPINGS[data.mapping]


def _detected(files: Sequence[Path]) -> Mapping | None:
    """Return the mapping whose columns the first rows have, all of them; None without one."""
    try:
        rows = [
            Row(files[0], number, columns)
            for number, columns in islice(read_rows(files[0]) if files else (), DETECT_ROWS)
        ]
        for mapping in MAPPINGS.values():
            if mapping.detect is not None and rows and all(map(mapping.detect, rows)):
                return mapping
    except ProblemFileError:
        pass  # whoever reads the rows to use them finds the same error
    return None


def renamed(row: Row, columns: Table[str, str]) -> Columns:
    """Return the row's columns, with copies under Dianoia's names.

    Raises ProblemFileError if a named column is not in the row.
    """
    return row.columns | {name: _value(row, source) for name, source in columns.items()}


def _value(row: Row, source: str) -> Any:
    if source in row.columns:
        return row.columns[source]
    # "a.b" is the key `b` of the object in column `a`.
    value: Any = row.columns
    for part in source.split("."):
        if not isinstance(value, dict) or part not in value:
            raise row.error(
                source,
                "the recipe's columns name it, and the row has no such column",
                f"correct columns (this row has {', '.join(row.columns)})",
            )
        value = value[part]
    return value


def prepared(row: Row, mapping: Mapping | None, columns: Table[str, str]) -> Row | None:
    """Return the row under Dianoia's names: renamed by the recipe's columns first, then by the ready mapping."""
    # So that `columns` can adapt a copy of a public set with other names to the ready mapping.
    if columns:
        row = replace(row, columns=renamed(row, columns))
    if mapping is None:
        return row
    mapped = mapping.read(row)
    return None if mapped is None else replace(row, columns=mapped)


def reading_of(
    data: FileSettings, files: Sequence[Path], verifiers: Collection[str], defaults: Defaults
) -> Defaults:
    """Return how the rows of a table's files are read; keys that the table does not have are as in `defaults`.

    Raises ConfigError for an unknown mapping or verifier.
    """
    mapping = mapping_of(data, files)
    if data.verifier is not None and data.verifier not in verifiers:
        raise ConfigError(
            f"verifier = {data.verifier!r}: there is no such verifier{nearest(data.verifier, verifiers)}; use one "
            f"of {', '.join(sorted(verifiers))}"
        )
    verifier, domain = _usual_verifier(mapping, verifiers, defaults)
    reading = replace(
        defaults,
        verifier=data.verifier or verifier,
        domain=data.domain or domain,
        language=data.language,
    )
    if mapping is None and not data.columns:
        return reading
    # Rows have a `question` after any ready mapping.
    renamed_to = {*data.columns, *(() if mapping is None else ("question",))}
    # A mapped row may keep its original `prompt`: its `question` comes first.
    questions = ("question", *QUESTION_COLUMNS) if "question" in renamed_to else QUESTION_COLUMNS
    return replace(
        reading,
        questions=tuple(dict.fromkeys(questions)),
        prepare=partial(prepared, mapping=mapping, columns=data.columns),
        lenient=mapping is not None,
        mapping=None if mapping is None else mapping.name,
    )


def _usual_verifier(
    mapping: Mapping | None, verifiers: Collection[str], defaults: Defaults
) -> tuple[str, str]:
    """Return verifier and domain of a table that names none. Those of general prompts do not change."""
    if mapping is None or not defaults.graded:
        return defaults.verifier, defaults.domain
    usable = (name for name in mapping.verifiers if name in verifiers)
    return next(usable, defaults.verifier), mapping.domain
