"""What models are measured on: the public benchmarks, problem sets and files that a person types behind `--on`.

In: texts such as `aime24`, `aime24=problems.jsonl`, `miniature/math` or `exercises.jsonl`. Out: a `Target` each, whose problems
an `evaluate` stage can read. Data are looked up here, before any model is loaded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Problem
from dianoia.config import DataSettings
from dianoia.evaluation.benchmarks import (
    BENCHMARKS,
    PROTOCOLS,
    Benchmark,
    Protocol,
    installed_file,
)
from dianoia.tasks.catalog import is_built_in, problem_source
from dianoia.tasks.data.locations import DataMissing, files_of
from dianoia.tasks.data.mappings import HUB
from dianoia.tasks.file_formats import FORMATS, ending_of, stem_of
from dianoia.tasks.plugins import PROBLEM_SETS

_SAMPLES = 16
"""Samples per problem of a set or file, as the paper's training curve has it (figure 1)."""
LIMIT = 512
"""Most problems of a built-in set, which may have no end; files and benchmarks are evaluated whole."""
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """A set of problems that models are measured on."""

    name: str
    """The name of a benchmark or set, or a file's without folders and ending."""
    typed: str
    """What the person typed."""
    problems: str | DataSettings
    protocol: Protocol
    benchmark: Benchmark | None = None
    limit: int = _ALL
    """At most so many problems."""
    whole_file: bool = True

    def read(self) -> list[Problem]:
        """Return the problems. Raises ConfigError or ProblemFileError as `problem_source` does."""
        return problem_source(self.problems, self.whole_file, "--on").heldout(self.limit)

    def note(self, count: int) -> str | None:
        """Return a warning where a benchmark has another number of problems than the published one; `count` were read."""
        published = None if self.benchmark is None else self.benchmark.problems
        if published is None or count == published or count == self.limit:
            return None
        return f"{self.name}: these are {count:,} problems, and the published set has {published:,}"


def find_targets(
    texts: Sequence[str],
    protocol: str = PROTOCOLS[0],
    limit: int | None = None,
    heldout: bool = False,
) -> list[Target]:
    """Return what each text behind `--on` names; one text may name several, with commas between them.

    Args:
        protocol: `paper` or `open-r1`.
        limit: at most so many problems of each; None: all of a file or benchmark.
        heldout: of files only the problems that training holds out.

    Raises:
        ConfigError: a name that there is not, or one twice.
        DataMissing: a benchmark whose problems are not here and cannot be fetched; the message has the form of its files.
    """
    parts = [part for text in texts for part in _split(text)]
    targets = [_target(part, protocol, limit, heldout) for part in parts]
    for index, target in enumerate(targets):
        # Stages and rows of the table are named after targets.
        if any(target.name == other.name for other in targets[:index]):
            raise ConfigError(
                f"--on {target.typed}: {target.name!r} is named twice, and results stand under their name; name it once, or "
                "rename a file"
            )
    if not targets:
        raise ConfigError(f"--on names nothing; there are {_known()}")
    return targets


def benchmark_data(name: str, key: str = "--on") -> DataSettings:
    """Return where the problems of a benchmark are on this machine or on the hub, by its name or NAME=FILE.

    Raises ConfigError for an unknown name, DataMissing if there are no problems; `key` is the option in messages.
    """
    return _benchmark_table(*_named(name, key), key)


def is_benchmark(text: str) -> bool:
    """Return True for the name of a benchmark, or NAME=FILE."""
    return text.partition("=")[0] in BENCHMARKS


def _split(text: str) -> list[str]:
    """Split at commas, unless the whole is the path of a file."""
    whole = text.strip()
    # Options of a task of reasoning-gym hold commas too.
    if Path(whole).expanduser().exists() or is_built_in(whole):
        return [whole]
    # Empty parts are left out, so that a comma at the end does no harm.
    return [part for part in (part.strip() for part in whole.split(",")) if part]


def _target(text: str, protocol: str, limit: int | None, heldout: bool) -> Target:
    if is_benchmark(text):
        benchmark, file = _named(text, "--on")
        data = _benchmark_table(benchmark, file, "--on")
        return Target(
            benchmark.name, text, data, benchmark.protocol(protocol), benchmark, limit or _ALL
        )
    # Nobody has published a protocol for these, so wording and samples are those of training.
    plain = Protocol(_SAMPLES)
    if is_built_in(text):
        return Target(text, text, text, plain, limit=limit or LIMIT)
    path = Path(text).expanduser()
    if path.exists() or text in HUB:
        name = stem_of(path) if path.is_file() else path.name
        table = DataSettings(path=text, domain=name)
        files_of(table)  # a folder without data is refused here, with its reason
        return Target(name, text, table, plain, limit=limit or _ALL, whole_file=not heldout)
    # It was meant as a path, so a suggestion of benchmark names would mislead.
    if ending_of(path) or text.startswith((".", "/", "~")):
        raise ConfigError(
            f"--on {text}: there is no such file or folder; check the path ({FORMATS})"
        )
    hint = nearest(text, [*BENCHMARKS, *PROBLEM_SETS])
    raise ConfigError(
        f"--on {text}: there is no benchmark, problem set or file of this name{hint}; there are {_known()}"
    )


def _known() -> str:
    sets = ", ".join(PROBLEM_SETS)
    return (
        f"the benchmarks {', '.join(BENCHMARKS)} (each also as NAME=FILE), the sets {sets} and gym/TASK, and files "
        f"({FORMATS})"
    )


def _named(text: str, key: str) -> tuple[Benchmark, str | None]:
    name, equals, file = text.partition("=")
    if name not in BENCHMARKS:
        raise ConfigError(
            f"{key} {text}: there is no benchmark {name!r}{nearest(name, BENCHMARKS)}; there are {', '.join(BENCHMARKS)}"
        )
    if equals and not file.strip():
        raise ConfigError(f"{key} {text}: no file stands behind the sign; write {name}=FILE")
    return BENCHMARKS[name], file.strip() or None


def _benchmark_table(benchmark: Benchmark, file: str | None, key: str) -> DataSettings:
    """Return the table of a benchmark: the given file, that of an installed package, or the hub."""
    installed = installed_file(benchmark)
    if file is not None:
        if not Path(file).expanduser().exists():
            raise ConfigError(
                f"{key} {benchmark.name}={file}: there is no such file or folder; check the path"
            )
        path, split = file, None
    elif installed is not None:
        path, split = str(installed), None
    elif benchmark.hub is None:
        raise DataMissing(_missing(benchmark, key, "its files are not fetched from the hub"))
    else:
        path, split = benchmark.hub, benchmark.split
    # Its own domain, since two benchmarks of mathematics have two results.
    table = DataSettings(path=path, split=split, mapping=benchmark.mapping, domain=benchmark.name)
    try:
        files_of(table)
    except DataMissing as error:
        raise DataMissing(_missing(benchmark, key, str(error))) from None
    return table


def _missing(benchmark: Benchmark, key: str, reason: str) -> str:
    count = "its problems" if benchmark.problems is None else f"its {benchmark.problems:,} problems"
    return (
        f"{key} {benchmark.name}: {reason}. Without the hub give {count} as {benchmark.name}=FILE, a file ({FORMATS}) or a "
        f"folder of files, with the columns {', '.join(benchmark.columns)}. On a machine with a connection: {benchmark.fetch}"
    )


def file_word(text: str) -> str:
    """Return a text as a part of a file's or stage's name: letters, digits, dots and dashes."""
    # Stripped, since the name of a stage begins with a letter or a digit.
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip(".-") or "x"
