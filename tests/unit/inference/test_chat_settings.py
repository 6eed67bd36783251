"""Settings of a conversation, as people type them."""

import pytest

from dianoia.base.errors import ConfigError
from dianoia.inference.chat_settings import Settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.7", 0.7),
        ("max_tokens", "5", 5),
        ("history", "off", False),
        ("seed", "default", None),
        ("history", "default", True),
    ],
)
def test_settings_are_read_as_people_type_them(name: str, text: str, value: object) -> None:
    assert getattr(Settings(seed=1, history=False).with_text(name, text), name) == value


def test_settings_that_are_none_are_refused_in_words() -> None:
    with pytest.raises(
        ConfigError, match=r"'temprature' is no setting .did you mean 'temperature'"
    ):
        Settings().with_text("temprature", "1")
    with pytest.raises(ConfigError, match=r"seed = 'x': it is a whole number"):
        Settings().with_text("seed", "x")


@pytest.mark.parametrize(
    "pair",
    ["temperature=2.1", "temperature=-1", "temperature=nan", "top_p=0", "top_p=1.1", "top_k=-1", "max_tokens=0", "seed=-1"],
)  # fmt: skip
def test_values_out_of_range_are_refused(pair: str) -> None:
    name, _, text = pair.partition("=")
    with pytest.raises(ConfigError, match=rf"{name} = .*{text}"):
        Settings().with_text(name, text)
