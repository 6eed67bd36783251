"""What the columns of a set mean: a recipe's own `columns`, or a ready mapping of a public set.

In: a `Row` as it stands in the file. Out: its columns under Dianoia's names, or None for a row that is no
problem (a proof without an answer, say). Columns that a mapping does not rename keep their names, for reward
functions that ask for them; those that hold many megabytes of others' solutions are dropped.
"""

from collections.abc import Callable
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from typing import Any

from dianoia.base.errors import ConfigError, nearest
from dianoia.config import FileSettings
from dianoia.tasks.data import public_sets as public
from dianoia.tasks.data.humaneval_mbpp import read_humaneval, read_mbpp
from dianoia.tasks.data.livecodebench import read_livecodebench
from dianoia.tasks.table_files import Columns, Row

Read = Callable[[Row], Columns | None]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A ready mapping."""

    name: str
    about: str
    read: Read
    verifiers: tuple[str, ...]
    """The first of these that the catalogue has grades the rows."""
    domain: str = "math"
    hub: Table[str, Table[str, str]] = field(default_factory=dict, hash=False)
    """Hub names that it is for, with the configuration and the split that are usual there."""


_MATHS = ("math", "number")
_CHOICE = ("choice", "exact")

MAPPINGS: Table[str, Mapping] = {
    one.name: one
    for one in (
        Mapping(
            "gsm8k",
            "grade school word problems; what follows #### is the answer",
            public.read_gsm8k,
            _MATHS,
            hub={"openai/gsm8k": {"config": "main"}},
        ),
        Mapping(
            "math",
            "competition problems; the answer, or else the last box of the solution",
            public.read_math,
            _MATHS,
            hub={
                "HuggingFaceH4/MATH-500": {"split": "test"},
                "EleutherAI/hendrycks_math": {},
            },
        ),
        Mapping(
            "dapo-math-17k",
            "raw or processed; the raw form's instructions around the problem are taken off",
            public.read_dapo,
            _MATHS,
            hub={
                "BytedTsinghua-SIA/DAPO-Math-17k": {},
                "open-r1/DAPO-Math-17k-Processed": {"config": "all"},
            },
        ),
        Mapping(
            "openr1-math-220k",
            "problems with answers; proofs are left out, generations dropped",
            public.read_openr1,
            _MATHS,
            hub={"open-r1/OpenR1-Math-220k": {"config": "default"}},
        ),
        Mapping(
            "deepmath-103k",
            "problems with final answers; the three solutions of R1 are dropped",
            public.read_deepmath,
            _MATHS,
            hub={"zwhe99/DeepMath-103K": {}, "trl-lib/DeepMath-103K": {}},
        ),
        Mapping(
            "aime",
            "whole numbers from 0 to 999; the answer, or else the last box of the solution",
            public.read_aime,
            _MATHS,
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
            public.read_gpqa,
            _CHOICE,
            domain="stem",
            hub={"Idavidrein/gpqa": {"config": "gpqa_diamond"}},
        ),
        Mapping(
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

HUB: Table[str, Mapping] = {name: one for one in MAPPINGS.values() for name in one.hub}
"""The mapping of each hub name that is known."""


def mapping_of(data: FileSettings) -> Mapping | None:
    """The ready mapping of a table: the one it names, or that of its hub name.

    Raises ConfigError for a name that there is not.
    """
    if data.mapping is None:
        return None if data.columns else HUB.get(data.path)
    if data.mapping not in MAPPINGS:
        raise ConfigError(
            f"mapping = {data.mapping!r}: there is no such mapping{nearest(data.mapping, MAPPINGS)}; there are "
            f'{", ".join(MAPPINGS)}. For other columns write columns = {{ question = "...", answer = "..." }}'
        )
    return MAPPINGS[data.mapping]


def renamed(row: Row, columns: Table[str, str]) -> Columns:
    """The row's columns, with copies under Dianoia's names.

    Raises ProblemFileError where a column that is named is not in the row.
    """
    return row.columns | {name: _value(row, source) for name, source in columns.items()}


def _value(row: Row, source: str) -> Any:
    if source in row.columns:
        return row.columns[source]
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
    """The row under Dianoia's names: by the recipe's columns first, then by the ready mapping."""
    if columns:
        row = replace(row, columns=renamed(row, columns))
    if mapping is None:
        return row
    found = mapping.read(row)
    return None if found is None else replace(row, columns=found)
