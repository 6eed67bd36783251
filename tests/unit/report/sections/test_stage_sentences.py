"""Each kind of stage has a sentence, also if its table is empty."""

import re
from typing import Any

import pytest

from dianoia.report.run_reader import Stage
from dianoia.report.sections.stage_sentences import sentence


def text(category: str, done: bool = True, started: bool = True, **settings: Any) -> str:
    stage = Stage("name", category, settings, (), (), (), started, done, 90.0 if done else None)
    return re.sub("<[^>]*>", "", sentence(stage))


@pytest.mark.parametrize(
    "category",
    [
        "rl",
        "sft",
        "pretrain",
        "sample",
        "preferences",
        "demonstrations",
        "reward_model",
        "evaluate",
    ],
)
def test_every_kind_has_a_sentence_even_without_settings(category: str) -> None:
    assert "of kind" not in text(category) and text(category).endswith(".")
    assert "of kind unknown" in text("unknown")


def test_counts_agree_with_their_nouns() -> None:
    table = {"start": "zero", "problems": "p", "prompts": 1200}
    assert "1,200 prompts with 1 sample each" in text("sample", samples=1, **table)
    assert "1,200 prompts with 4 samples each" in text("sample", samples=4, **table)
    assert "for 1 epoch." in text("sft", start="base", datasets=[{"path": "d"}], epochs=1)


def test_the_parts_of_a_reward_have_their_weights() -> None:
    rewards = {
        "accuracy": 1.0,
        "language": 0.5,
        "functions": [{"path": "f.py:brevity", "weight": 2}],
    }
    assert "reward = accuracy + 0.5 × language + 2 × brevity" in text("rl", rewards=rewards)


def test_the_state_follows_the_sentence() -> None:
    assert text("rl").endswith("It took 1 min 30 s.")
    assert text("rl", done=False).endswith("Not finished.")
    assert text("rl", done=False, started=False).endswith("Not started.")
