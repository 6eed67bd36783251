"""Training data of a reward model: files read, pairs decided, prompts held out, lengths balanced.

In: the stage's table and its files. Out: `Preferences`. Imports no torch, so that a plan can count rows.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.base.preference_records import Labelled, Pair, TextExample
from dianoia.config import RewardModelStage
from dianoia.datasets.pairs import LeftOut, balance, decide_all
from dianoia.tasks.preference_files import read_labelled, read_pairs
from dianoia.tasks.problem_files import dialogue_of, split_of
from dianoia.text.template import Tags, Template
from dianoia.text.visible import Sees, visible_part


@dataclass(frozen=True, slots=True)
class Preferences:
    """Training and held-out examples, and counts of the rows that are neither."""

    train: list[TextExample]
    heldout: list[TextExample]
    rows: int
    """Rows of the files: those on both sides and those left out add up to it."""
    left_out: Counter[str]
    """Rows that are not used, by `datasets.pairs.LeftOut`."""


def preferences(config: RewardModelStage, files: Sequence[Path], template: Template) -> Preferences:
    """Read every usable row into its side; lengths are not balanced yet.

    Raises ProblemFileError for the first row that cannot be used.
    """
    # Modification times are part of the cache's key.
    stamps = tuple((path, path.stat().st_mtime_ns) for path in files)
    return _read(
        stamps,
        config.objective,
        config.scored_part,
        template.tags,
        config.pairs.margin,
        config.heldout_share,
    )


@lru_cache(maxsize=4)
def _read(
    files: tuple[tuple[Path, int], ...],
    objective: str,
    sees: Sees,
    tags: Tags | None,
    margin: float,
    heldout_share: float,
) -> Preferences:
    """Read files; the result is cached while they do not change, since plan, check and stage need the same files."""

    def see(response: str) -> str:
        return visible_part(response, sees, tags)

    read = read_pairs if objective == "pairwise" else read_labelled
    rows = [row for path, _ in files for row in read(path, see)]
    # A file holds labelled responses or pairs, by the objective.
    examples: list[TextExample] = [row for row in rows if isinstance(row, Labelled)]
    pairs, left_out = decide_all([row for row in rows if not isinstance(row, Labelled)], margin)
    sides: dict[str, list[TextExample]] = {"train": [], "heldout": []}
    for example in [*examples, *pairs]:
        # By a hash of the prompt and the turns before it: both responses, and all pairs of a prompt, are on one side.
        sides[split_of(dialogue_of(example.messages), heldout_share)].append(example)
    return Preferences(sides["train"], sides["heldout"], len(rows), left_out)


def texts_of(example: TextExample) -> tuple[str, ...]:
    """Return the responses of an example, the better one of a pair first."""
    if isinstance(example, Pair):
        return example.chosen, example.rejected
    return (example.response,)


def balance_and_check(
    config: RewardModelStage, data: Preferences, name: str, seed: int
) -> Preferences:
    """Balance the lengths on either side if the recipe asks for it, and check that both sides can be used.

    Raises ConfigError where nothing remains to learn from or to measure with; `name` is the stage's.
    """
    if config.objective == "pairwise" and config.pairs.balance_lengths:
        train, heldout = (_balanced(side, seed) for side in (data.train, data.heldout))
        # Counted as left out, so that rows and counts still add up.
        removed = len(data.train) + len(data.heldout) - len(train) - len(heldout)
        left_out = data.left_out + Counter({LeftOut.LENGTH.value: removed})
        data = replace(data, train=train, heldout=heldout, left_out=left_out)
    for side in ("train", "heldout"):
        _check_side(config, data, name, side)
    return data


def _balanced(examples: Sequence[TextExample], seed: int) -> list[TextExample]:
    lengths = [(len(e.chosen), len(e.rejected)) for e in examples if isinstance(e, Pair)]
    return [examples[index] for index in balance(lengths, seed)]


def _check_side(config: RewardModelStage, data: Preferences, name: str, side: str) -> None:
    examples: list[TextExample] = getattr(data, side)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(data.left_out.items()))
    counts = f"{data.rows:,} rows, left out: {reasons or 'none'}"
    if not examples:
        raise ConfigError(
            f"stages.{name}.data = {config.data}: nothing is left on the {side} side ({counts}; "
            f"heldout_share = {config.heldout_share:g}, by a hash of the prompt); give more rows, "
            "another heldout_share, a larger max_length, a smaller pairs.margin, or pairs.balance_lengths = false"
        )
    # A side of one label alone would let any constant score look perfect.
    labels = {e.good for e in examples if isinstance(e, Labelled)}
    if len(labels) == 1:
        raise ConfigError(
            f"stages.{name}.data = {config.data}: every response on the {side} side is labelled "
            f"{'safe' if labels.pop() else 'unsafe'} ({counts}), so there is nothing to tell apart; "
            "give rows of both labels, and a heldout_share that leaves some on either side"
        )
