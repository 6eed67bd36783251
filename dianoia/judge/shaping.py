"""Shaping rewards beside the paper's: what length, repetition and tags are worth, as pure functions.

In: token ids, lengths, texts. Out: a float each. Left out: weights and the rules around them (`judge.rules`,
`judge.judge`). None is a part of DeepSeek-R1. DAPO's soft punishment of overlong responses stands in
`algo.advantage.soft_overlong`.

Sources: Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), appendix C.1
for the cosine and C.2 for the penalty on repetition. Where we depart from it:
1. The penalty there falls on each repeated token. Here it is one number a response, the share of repeated n-grams,
   as others have it who give a response one reward.
2. Beyond the full length the cosine stays where it ends; going on, it would rise again.
3. The defaults of its five values are on the scale of an accuracy of 1 and 0, not the paper's.
"""

import math
from collections.abc import Sequence

from dianoia.text.template import Template


def repetition_penalty(ids: Sequence[int], ngram: int) -> float:
    """-(1 - distinct n-grams / n-grams) of the tokens, from -1 to 0.

    0 for a response with fewer tokens than an n-gram has. Assumes that text worth having rarely says the same
    `ngram` tokens twice; short n-grams punish ordinary language too.
    """
    grams = [tuple(ids[start : start + ngram]) for start in range(len(ids) - ngram + 1)]
    return len(set(grams)) / len(grams) - 1.0 if grams else 0.0


def cosine_by_length(length: int, full: int, short: float, long: float) -> float:
    """`long` + (`short` - `long`) (1 + cos(pi length / full)) / 2: `short` at no token, `long` from `full` on.

    Yeo et al. 2025, appendix C.1: a right answer earns more the shorter it is, a wrong one loses less the longer it
    is, so that thinking pays where it is needed. `full` is at least 1 token.
    """
    share = min(1.0, length / full)
    return long + 0.5 * (short - long) * (1.0 + math.cos(math.pi * share))


def tag_count(text: str, tags: Sequence[str]) -> float:
    """Share of `tags` that stand in the text exactly once, 0 to 1.

    A step towards the format for a model that hardly ever keeps it; says nothing about order, so that it is no
    substitute for the format rule.
    """
    return sum(text.count(tag) == 1 for tag in tags) / len(tags)


def tags_to_write(template: Template) -> tuple[str, ...]:
    """The tags that a response has to write itself; none where the template has none."""
    if template.tags is None:
        return ()
    tags = template.tags
    opened = () if template.opens_thought else (tags.open_thought,)
    answer = (tags.open_answer, tags.close_answer) if template.final == "answer" else ()
    return (*opened, tags.close_thought, *answer)
