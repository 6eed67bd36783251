"""What a reward model is trained and measured on: files read, pairs decided, prompts held out, lengths balanced.

In: the stage's table and its files. Out: `Preferences`. No torch, so that a plan can count them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.base.preference_records import Labelled, Pair, TextExample
from dianoia.config import RewardModelStage
from dianoia.datasets.pairs import LeftOut, balanced, decide_all
from dianoia.tasks.preference_files import read_labelled, read_pairs
from dianoia.tasks.problem_files import split_of
from dianoia.text.template import TEMPLATES, Tags
from dianoia.text.visible import Sees, visible_part


@dataclass(frozen=True, slots=True)
class Preferences:
    """Examples on either side, and the rows that are on none."""

    train: list[TextExample]
    heldout: list[TextExample]
    rows: int
    """Rows of the files: those on both sides and those left out add up to it."""
    left_out: Counter[str]
    """Rows that are not used, by `datasets.pairs.LeftOut`."""


def preferences(config: RewardModelStage, files: Sequence[Path]) -> Preferences:
    """Every usable row on its side; lengths are not balanced yet.

    Raises ProblemFileError for the first row that cannot be used.
    """
    stamps = tuple((path, path.stat().st_mtime_ns) for path in files)
    tags = TEMPLATES[config.template].tags
    return _read(
        stamps,
        config.objective,
        config.scored_part,
        tags,
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
    """Plan, check and stage ask for the same files; they are read once while they do not change."""

    def see(response: str) -> str:
        return visible_part(response, sees, tags)

    read = read_pairs if objective == "pairwise" else read_labelled
    rows = [row for path, _ in files for row in read(path, see)]
    examples: list[TextExample] = [row for row in rows if isinstance(row, Labelled)]
    pairs, left_out = decide_all([row for row in rows if not isinstance(row, Labelled)], margin)
    sides: dict[str, list[TextExample]] = {"train": [], "heldout": []}
    for example in [*examples, *pairs]:
        sides[split_of(example.prompt, heldout_share)].append(example)
    return Preferences(sides["train"], sides["heldout"], len(rows), left_out)


def texts_of(example: TextExample) -> tuple[str, ...]:
    """The responses of an example, the better one of a pair first."""
    if isinstance(example, Pair):
        return example.chosen, example.rejected
    return (example.response,)


def ready(config: RewardModelStage, found: Preferences, name: str, seed: int) -> Preferences:
    """`found` with lengths balanced on either side where the recipe asks for it.

    Raises ConfigError where nothing remains to learn from or to measure with; `name` is the stage's.
    """
    if config.objective == "pairwise" and config.pairs.balance_lengths:
        train, heldout = (_balanced(side, seed) for side in (found.train, found.heldout))
        gone = len(found.train) + len(found.heldout) - len(train) - len(heldout)
        left_out = found.left_out + Counter({LeftOut.LENGTH.value: gone})
        found = replace(found, train=train, heldout=heldout, left_out=left_out)
    for side in ("train", "heldout"):
        _check_side(config, found, name, side)
    return found


def _balanced(examples: Sequence[TextExample], seed: int) -> list[TextExample]:
    lengths = [(len(e.chosen), len(e.rejected)) for e in examples if isinstance(e, Pair)]
    return [examples[index] for index in balanced(lengths, seed)]


def _check_side(config: RewardModelStage, found: Preferences, name: str, side: str) -> None:
    examples: list[TextExample] = getattr(found, side)
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.left_out.items()))
    told = f"{found.rows:,} rows, left out: {told or 'none'}"
    if not examples:
        raise ConfigError(
            f"stages.{name}.data = {config.data}: nothing is left on the {side} side ({told}; "
            f"heldout_share = {config.heldout_share:g}, by a hash of the prompt); give more rows, "
            "another heldout_share, a larger max_length, a smaller pairs.margin, or pairs.balance_lengths = false"
        )
    labels = {e.good for e in examples if isinstance(e, Labelled)}
    if len(labels) == 1:
        raise ConfigError(
            f"stages.{name}.data = {config.data}: every response on the {side} side is labelled "
            f"{'safe' if labels.pop() else 'unsafe'} ({told}), so there is nothing to tell apart; "
            "give rows of both labels, and a heldout_share that leaves some on either side"
        )
