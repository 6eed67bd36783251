"""Words that are looked up: keys by any part of their name, tables, metrics, near names."""

import pytest

from dianoia.base.errors import ConfigError
from dianoia.recipe.keys import KeyTable
from dianoia.recipe.topics import KeySetting, KeyTopic, MetricTopic, look_up, topic_names


@pytest.mark.parametrize(
    "word",
    [
        "group_size",
        "zero.group_size",
        "stages.zero.group_size",
        "rl.group_size",
        "--set zero.group_size=8",
        " group_size = 8 ",
    ],
)
def test_a_key_as_people_type_it(word: str) -> None:
    (topic,) = look_up(word)
    assert isinstance(topic, KeyTopic)
    assert (topic.name, topic.tables, topic.default) == ("group_size", ("rl",), "16")
    assert "The paper: 16 (section 2)" in topic.meaning and topic.pages == ("rl.md",)
    assert KeySetting("miniature-zero", "zero", 16) in topic.settings


def test_the_exact_name_comes_first_and_equal_keys_come_once() -> None:
    topics = look_up("max_tokens")
    assert topics[0].name == "max_tokens"
    sampling = next(topic for topic in topics if topic.name == "sampling.max_tokens")
    assert isinstance(sampling, KeyTopic) and {"rl", "sample"} <= set(sampling.tables)
    (only,) = look_up("sample.sampling.max_tokens")
    assert isinstance(only, KeyTopic) and only.tables == ("sample",)


def test_values_of_lists_of_tables_and_of_the_top_of_a_recipe() -> None:
    (path,) = look_up("rewards.functions.path")
    assert isinstance(path, KeyTopic)
    assert path.settings == (
        KeySetting("own-reward", "zero", "examples/own_reward/rewards.py:short"),
    )
    (seed,) = look_up("seed")
    assert isinstance(seed, KeyTopic) and KeySetting("miniature-zero", "", 1) in seed.settings
    (split,) = look_up("data.split")
    assert isinstance(split, KeyTopic)
    assert KeySetting("qwen-instruct-gsm8k", "test", "test") in split.settings


def test_tables_and_metrics() -> None:
    (table,) = look_up("rl")
    assert isinstance(table, KeyTable) and table.keys
    (metric,) = look_up("rewards/accuracy/std")
    assert isinstance(metric, MetricTopic) and metric.name == "rewards/NAME/std"
    names = [topic.name for topic in look_up("pass@8")]
    assert names == ["pass@k"]


def test_a_miss_lists_near_names() -> None:
    with pytest.raises(ConfigError, match="'grup_size' is no key .* near ones are group_size"):
        look_up("grup_size")
    with pytest.raises(ConfigError, match="`dianoia help` lists"):
        look_up("qqqqqqqq")


def test_every_name_can_be_looked_up() -> None:
    assert len(topic_names()) > 300 and all(look_up(name) for name in topic_names())
