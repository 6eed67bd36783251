"""Decide judged pairs, and balance their lengths (DeepSeek-R1 section 3.1 and B.2). Pure functions, no torch.

The paper: a judge compares two responses four times, with the order drawn at random; the scores are
averaged; a pair is kept if they differ by more than 1; and over the whole set chosen and rejected
responses have comparable lengths, so that the reward model cannot learn length alone.

Decisions where it is silent:
1. A verdict is a label of Arena-Hard, `A>>B` to `B>>A`, and counts 2, 1, 0, -1, -2 for the response
   shown first. The paper does not give its numbers; with these a difference above 1 means something.
2. The orders alternate instead of being drawn, so that each response is shown first equally often and a
   judge that prefers a place cancels out exactly. An odd number of verdicts cannot do that: the pair is
   left out.
3. A pair with a verdict that cannot be read is left out: without it, the orders no longer balance.
4. Comparable lengths: pairs are sorted by the ratio of the longer to the shorter response into bins a
   factor of `BIN` wide. In each bin as many pairs have the longer response chosen as rejected; surplus
   pairs are left out at random, by seed. Pairs of equal length stay. A rule that looks at who is longer,
   and by how much, is then right half of the time, in every bin and over all.
"""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum

from dianoia.base.preference_records import Judged, Pair

VERDICTS = {"A>>B": 2.0, "A>B": 1.0, "A=B": 0.0, "B>A": -1.0, "B>>A": -2.0}
"""Score of a verdict for the response that was shown first."""

BIN = 1.25
"""Ratio of lengths that one bin spans."""

_MARKED = re.compile(r"\[\[([AB<>=]+)\]\]")


class LeftOut(StrEnum):
    """Reasons for which a row is not learnt from."""

    UNREADABLE = "unreadable"
    """A verdict is missing or no label of `VERDICTS`."""
    ONE_SIDED = "one_sided"
    """The pair was not shown equally often in either order."""
    CLOSE = "close"
    """The scores do not differ by more than the margin."""
    TOO_LONG = "too_long"
    """A text has more tokens than the model is trained on."""
    LENGTH = "length"
    """Left out so that chosen and rejected responses have comparable lengths."""


def preference(verdicts: Sequence[str | None]) -> float | LeftOut:
    """Return the mean score of response 0 over response 1, from -2 to 2; or the reason for which there is none.

    Verdicts 0, 2, ... had response 0 shown first, verdicts 1, 3, ... response 1. A verdict is a label, or a
    judge's whole answer with one label in it as `[[A>B]]`.
    """
    if not verdicts or len(verdicts) % 2:
        return LeftOut.ONE_SIDED
    scores = [VERDICTS[label] for label in map(label_of, verdicts) if label is not None]
    if len(scores) < len(verdicts):
        return LeftOut.UNREADABLE
    # Response 1 was shown first in every second comparison.
    return math.fsum(-s if index % 2 else s for index, s in enumerate(scores)) / len(scores)


def label_of(verdict: str | None) -> str | None:
    """Return the label in a verdict; None if it has none of `VERDICTS`, or two that contradict each other."""
    # A whole reply with a marked label, or the bare label.
    marked = set(_MARKED.findall(verdict or "")) or {(verdict or "").strip()}
    return marked.pop() if len(marked) == 1 and marked <= VERDICTS.keys() else None


def decide(judged: Judged, margin: float) -> Pair | LeftOut:
    """Return the pair with its better response first, or the reason; scores have to differ by more than `margin`."""
    score = preference(judged.verdicts)
    if isinstance(score, LeftOut):
        return score
    if abs(score) <= margin:
        return LeftOut.CLOSE
    first, second = judged.responses
    # A positive score prefers response 0.
    chosen, rejected = (first, second) if score > 0 else (second, first)
    return Pair(judged.prompt, chosen, rejected, judged.context)


def decide_all(rows: Iterable[Pair | Judged], margin: float) -> tuple[list[Pair], Counter[str]]:
    """Return every pair that is decided, in order, and counts of the others by reason.

    Pairs that come decided are taken as they are. Pairs and counts add up to the rows.
    """
    pairs: list[Pair] = []
    left_out: Counter[str] = Counter()
    # `Pair` rows are decided already, by the file; `Judged` rows are decided here.
    for row in rows:
        decided = decide(row, margin) if isinstance(row, Judged) else row
        if isinstance(decided, Pair):
            pairs.append(decided)
        else:
            left_out[decided.value] += 1
    return pairs, left_out


def balance(lengths: Sequence[tuple[int, int]], seed: int) -> list[int]:
    """Return the ascending indices of the pairs to keep, by the lengths of (chosen, rejected); decision 4 above.

    Both lengths of a pair need the same unit, whichever it is. Deterministic by `seed`.
    """
    bins: defaultdict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    indices = [index for index, (chosen, rejected) in enumerate(lengths) if chosen == rejected]
    # Per bin: pairs whose rejected response is longer, and pairs whose chosen response is.
    for index, (chosen, rejected) in enumerate(lengths):
        if chosen != rejected:
            bins[_bin(chosen, rejected)][chosen > rejected].append(index)
    # Seeded, and bins in order: the same pairs at every start of the stage.
    draw = random.Random(f"balance-{seed}")
    for _, sides in sorted(bins.items()):
        # As many pairs of either side as the smaller side has.
        fewest = min(map(len, sides))
        indices += [index for side in sides for index in draw.sample(side, fewest)]
    return sorted(indices)


def _bin(chosen: int, rejected: int) -> int:
    """Return the number of a pair's bin; an empty text counts as length 1."""
    # Bins of equal width on a logarithmic scale of the ratio.
    ratio = max(1, chosen, rejected) / max(1, min(chosen, rejected))
    return int(math.log(ratio) / math.log(BIN))
