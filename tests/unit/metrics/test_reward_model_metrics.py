"""Estimates of a reward model by hand: accuracy, baseline, margins, over prompts."""

import pytest

from dianoia.base.preference_records import Labelled, Pair
from dianoia.learner.reward_learner import Example
from dianoia.metrics.reward_model_metrics import baseline, grades, measures, spread

PAIR = Example(((1,), (2,)))


def test_pairs_by_hand() -> None:
    texts = [Pair("a", "long one", "short"), Pair("a", "ab", "abc"), Pair("b", "xy", "yz")]
    rewards = [(2.0, 1.0), (0.0, 3.0), (1.0, 1.0)]
    examples = [PAIR] * 3
    assert grades(examples, rewards) == [1.0, 0.0, 0.5]
    assert baseline(texts) == [1.0, 0.0, 0.5]
    metrics = measures(texts, examples, rewards)
    # prompt a: (1 + 0) / 2, prompt b: 1/2; margins (1 - 3) / 2 = -1 and 0; chosen 1 and 1
    assert (metrics["accuracy"].value, metrics["accuracy"].n) == (0.5, 2)
    assert metrics["margin"].value == -0.5
    assert metrics["rewards/chosen"].value == 1.0
    assert metrics["rewards/rejected"].value == 1.5
    spreads = spread(examples, rewards)
    assert spreads["margin"] == pytest.approx(1.0 - 5 / 3)
    # chosen 2, 0, 1: mean 1, variance (1 + 1 + 0) / 3
    assert spreads["rewards/chosen/std"] == pytest.approx((2 / 3) ** 0.5)


def test_labels_by_hand() -> None:
    texts = [Labelled("a", "x", True), Labelled("b", "y", False), Labelled("c", "z", True)]
    examples = [Example(((1,),), good=text.good) for text in texts]
    rewards = [(0.5,), (0.25,), (0.0,)]
    assert grades(examples, rewards) == [1.0, 0.0, 0.5]
    assert baseline(texts) == [1.0, 0.0, 1.0], "safe is the more frequent label"
    metrics = measures(texts, examples, rewards)
    assert metrics["accuracy"].value == 0.5 and metrics["baseline"].value == pytest.approx(2 / 3)
    assert metrics["rewards/chosen"].value == 0.25 and metrics["rewards/chosen"].n == 2
    assert metrics["rewards/rejected"].value == 0.25 and "margin" not in metrics
    only_safe = spread(examples[:1], rewards[:1])
    assert only_safe["margin"] is None and only_safe["rewards/rejected/mean"] is None
