"""The order in which a reward model sees its examples."""

import random

from dianoia.base.records import Turn
from dianoia.stages.reward_model import order_by_prompt


def test_examples_of_a_prompt_follow_each_other_in_the_order_of_the_data() -> None:
    a, b, c = ([Turn("user", text)] for text in "abc")
    prompts = [a, b, a, c, b, a]
    orders = {tuple(order_by_prompt(prompts, random.Random(seed))) for seed in range(40)}
    groups = ((0, 2, 5), (1, 4), (3,))
    expected = {
        (*groups[i], *groups[j], *groups[3 - i - j]) for i in range(3) for j in range(3) if i != j
    }
    # Six orders of three prompts, and each of them is drawn.
    assert orders == expected


def test_one_seed_gives_one_order() -> None:
    prompts = [[Turn("user", str(n % 7))] for n in range(50)]
    first, again = (order_by_prompt(prompts, random.Random("order-1-0")) for _ in range(2))
    assert first == again and sorted(first) == list(range(50))
    assert order_by_prompt([], random.Random(1)) == []
